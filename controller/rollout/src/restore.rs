//! A restore: all hosts prepare the release that belongs to a backup, the host that has the backup says what it would lose, people accept that,
//! everything stops, the backup is restored beside the database and takes its place, and the release is started.
//!
//! Until the exchange every way out leads back to the database and the release of before. The exchange is one transaction of the database, on
//! one host that is never replaced; behind it there is only the way forward. Where it is not known whether it came about, nothing is started.

use roadstead_model::{Failure, FailureKind, HostId, Loss, Millis, OrderKind, StepName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decide::{enter, host_mut, host_stage, lose};
use crate::ending::{end, go_back, leave};
use crate::gates::{Closed, approval, missing};
use crate::orders::Verb;
use crate::waiting::{Waiting, host_deadline};
use crate::{Note, Outcome, Phase, Plan, Rejected, Stage, State, Steer};

/// How far a restore has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// What it would lose, as its host saw it before anything stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survey: Option<Loss>,
    /// Who accepted that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Which database is in its place.
    #[serde(default)]
    pub exchange: Exchange,
    /// What was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// Somebody accepted what a restore loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which database is in its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// The one of before.
    #[default]
    NotDone,
    /// The restored one.
    Done,
    /// Nobody knows: a person has to look.
    Unknown,
}

impl Recovery {
    /// Whether there is nothing to say of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// All hosts have the release: the one that has the backup looks.
pub(crate) fn prepared(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(host) = place(state) else { return go_back(state, without_plan(), now, notes) };
    if let Some(host) = state.hosts.get_mut(&host) {
        enter(host, Stage::Surveying, now);
    }
    state.phase = Phase::Surveying { since: now };
}

fn place(state: &State) -> Option<HostId> {
    state.plan.restore.as_ref().map(|restore| restore.host.clone()).filter(|host| state.hosts.contains_key(host))
}

fn without_plan() -> Failure {
    Failure::new(FailureKind::Host, "the plan names no backup and no host that has it", "ask for the restore again")
}

/// The order of the host that surveys, halts, restores or exchanges.
pub(crate) fn order(plan: &Plan, stage: Stage) -> Option<(Verb, OrderKind, Millis)> {
    let (release, restore, timeouts) = (plan.release.clone(), plan.restore.as_ref()?, plan.timeouts);
    let backup = restore.backup.clone();
    Some(match stage {
        Stage::Surveying => (Verb::Survey, OrderKind::Survey { release, backup }, timeouts.migrate),
        Stage::Halting => (Verb::Halt, OrderKind::Halt { release }, timeouts.activate),
        Stage::Restoring => (Verb::Restore, OrderKind::Restore { release, backup }, timeouts.migrate),
        Stage::Exchanging => (Verb::Exchange, OrderKind::Exchange { release, backup }, timeouts.migrate),
        _ => return None,
    })
}

/// A host says what would be lost, or what was.
pub(crate) fn told(state: &mut State, id: &HostId, step: StepName, loss: Loss, notes: &mut Vec<Note>) {
    let (known, kind, before) = match step {
        StepName::Survey => (&mut state.recovery.survey, "survey", "a restore would lose "),
        _ => (&mut state.recovery.loss, "loss", "the restore lost "),
    };
    // Told again, it is no news.
    if known.as_ref() == Some(&loss) {
        return;
    }
    notes.push(Note { host: Some(id.clone()), kind, text: format!("{before}{}", loss.words()) });
    if !loss.kept_as.is_empty() {
        notes.push(Note { host: Some(id.clone()), kind: "kept", text: format!("the database of before is kept as {}", loss.kept_as) });
    }
    *known = Some(loss);
}

/// A host has done what it was told: what follows for all of them.
pub(crate) fn done(state: &mut State, verb: Verb, now: Timestamp, notes: &mut Vec<Note>) {
    match (verb, &state.phase) {
        (Verb::Survey, Phase::Surveying { .. }) => surveyed(state, now, notes),
        (Verb::Exchange, Phase::Exchanging { .. }) => {
            state.recovery.exchange = Exchange::Done;
            notes.push(Note { host: None, kind: "exchanged", text: "the restored database is in its place".to_owned() });
            for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Halted) {
                enter(host, Stage::Moving, now);
            }
            state.phase = Phase::Starting { since: now };
        }
        _ => {}
    }
}

fn surveyed(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.recovery.survey.is_none() {
        let hint = "upgrade its agent, and ask for the restore again; nothing was changed";
        return go_back(state, Failure::new(FailureKind::Host, "the host did not say what a restore would lose", hint), now, notes);
    }
    if state.plan.restore.as_ref().is_some_and(|restore| restore.only_survey) {
        // It was only to be looked: what was prepared goes again.
        return leave(state, now);
    }
    state.phase = Phase::Deciding { since: now };
}

/// A host could not do what it was told.
pub(crate) fn failed(
    state: &mut State,
    id: &HostId,
    verb: Verb,
    failure: Failure,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Result<(), Rejected> {
    // The host looked into the database and says that nothing was exchanged; everything else says nothing of that.
    let certain = matches!(failure.kind, FailureKind::Unfit | FailureKind::Check);
    if verb == Verb::Exchange && !certain {
        return lose(state, id, Stage::Stuck, failure, now, notes);
    }
    let host = host_mut(state, id)?;
    host.failure = Some(failure.clone());
    notes.push(Note { host: Some(id.clone()), kind: "host-failed", text: failure.summary.clone() });
    go_back(state, failure, now, notes);
    Ok(())
}

/// Moves a restore on as far as its hosts allow.
pub(crate) fn settle(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    match state.phase {
        Phase::Deciding { .. } => settle_deciding(state, since, now, notes),
        Phase::Halting { .. } => settle_halting(state, now, notes),
        Phase::Surveying { .. } | Phase::Restoring { .. } => settle_working(state, since, now, notes),
        Phase::Exchanging { .. } => settle_exchanging(state, since, now, notes),
        Phase::Starting { .. } => settle_starting(state, now, notes),
        _ => {}
    }
}

fn settle_deciding(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    if let Some(failure) = lost(state) {
        return go_back(state, failure, now, notes);
    }
    if state.recovery.accepted.is_some() && state.is_approved() {
        for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Prepared) {
            enter(host, Stage::Halting, now);
        }
        notes.push(Note { host: None, kind: "halting", text: "the loss is accepted: everything stops".to_owned() });
        state.phase = Phase::Halting { since: now };
        return;
    }
    let within = state.plan.timeouts.decide;
    if now >= since.plus(within) {
        let summary = format!("{} within {within}", undecided(state));
        go_back(state, Failure::new(FailureKind::Deadline, summary, "nothing was changed: ask for the restore again"), now, notes);
    }
}

/// Nobody is left who could write, or it goes back.
fn settle_halting(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if let Some(failure) = lost(state) {
        return go_back(state, failure, now, notes);
    }
    if state.hosts.values().any(|host| host.stage != Stage::Halted) {
        return;
    }
    let Some(host) = place(state) else { return go_back(state, without_plan(), now, notes) };
    if let Some(host) = state.hosts.get_mut(&host) {
        enter(host, Stage::Restoring, now);
    }
    state.phase = Phase::Restoring { since: now };
}

/// The host that has the backup surveys or restores, and is never replaced.
fn settle_working(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(id) = place(state) else { return go_back(state, without_plan(), now, notes) };
    match host_stage(state, &id) {
        Some(Stage::Surveying | Stage::Restoring) if now < until(state, since) => {}
        Some(stage @ (Stage::Surveying | Stage::Restoring)) => {
            let what = if stage == Stage::Surveying { "survey" } else { "restore" };
            let summary = format!("the {what} was not done in time");
            let hint = "give the environment a longer timeouts.migrate, or look at the host; the database of before is in its place";
            go_back(state, Failure::new(FailureKind::Deadline, summary, hint), now, notes);
        }
        Some(Stage::Halted) => {
            if let Some(host) = state.hosts.get_mut(&id) {
                enter(host, Stage::Exchanging, now);
            }
            state.phase = Phase::Exchanging { since: now };
        }
        _ => {
            let failure = lost(state).unwrap_or_else(|| Failure::new(FailureKind::Host, "the host was lost", "see `roadstead host list`"));
            go_back(state, failure, now, notes);
        }
    }
}

/// What is begun here is waited for. When it is not known how it ended, nothing is started.
fn settle_exchanging(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(id) = place(state) else { return };
    match host_stage(state, &id) {
        Some(Stage::Exchanging) if now < until(state, since) => {}
        _ => {
            let name = state.plan.hosts.get(&id).map(|planned| planned.name.to_string()).unwrap_or_default();
            let why = state.hosts.get(&id).and_then(|host| host.failure.as_ref()).map(|failure| format!(": {}", failure.summary));
            let failure = Failure::new(
                FailureKind::Deadline,
                format!("it is not known whether {name} has exchanged the databases{}", why.unwrap_or_default()),
                "nothing of the app runs until you say so: look which database is in its place, and deploy the release that belongs to it \
                 (docs/recovery.md)",
            );
            // It is asked for nothing more: what it says from now on a person hears.
            if let Some(host) = state.hosts.get_mut(&id).filter(|host| host.stage == Stage::Exchanging) {
                enter(host, Stage::Stuck, now);
            }
            state.recovery.exchange = Exchange::Unknown;
            state.failure.get_or_insert(failure);
            end(state, Outcome::Failed, now, notes);
        }
    }
}

/// Every host serves the release, or is told of.
fn settle_starting(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hosts.values().any(|host| host.stage == Stage::Moving) {
        return;
    }
    let failing = state.hosts.values().filter(|host| host.stage != Stage::Confirmed).count();
    if failing == 0 {
        return end(state, Outcome::Done, now, notes);
    }
    let cause = state.hosts.values().find_map(|host| host.failure.clone());
    let mut failure = cause.unwrap_or_else(|| Failure::new(FailureKind::Host, "hosts were lost", ""));
    failure.summary = format!("the database is restored, and {failing} of {} hosts do not serve: {}", state.hosts.len(), failure.summary);
    "put that right; hosts come level by themselves with the release that belongs to the restored database".clone_into(&mut failure.hint);
    state.failure = Some(failure);
    end(state, Outcome::Failed, now, notes);
}

/// Every host is back with what it served, or cleared up.
pub(crate) fn given_up(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let looked = state.failure.is_none() && state.recovery.survey.is_some();
    let well = state.hosts.values().all(|host| matches!(host.stage, Stage::Reverted | Stage::Abandoned));
    let outcome = match (looked, well) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::RolledBack,
        (false, false) => Outcome::Failed,
    };
    end(state, outcome, now, notes);
}

/// What was lost of the hosts, all of which are needed.
fn lost(state: &State) -> Option<Failure> {
    let lost = state.hosts.iter().find(|(_, host)| host.stage.is_lost())?;
    let name = state.plan.hosts.get(lost.0).map(|planned| planned.name.to_string()).unwrap_or_default();
    let why = lost.1.failure.as_ref().map_or("it is lost", |failure| failure.summary.as_str());
    let hint =
        "every host has to stop before a database is restored: bring it back, or revoke it and be sure that nothing of the app runs there";
    Some(Failure::new(FailureKind::Host, format!("{name}: {why}"), hint))
}

/// When the host that works is given up. It gives up by itself at its order's deadline, and has all of that again when it was off meanwhile.
fn until(state: &State, since: Timestamp) -> Timestamp {
    let timeouts = state.plan.timeouts;
    let once = since.plus(timeouts.migrate).plus(timeouts.away);
    if matches!(state.phase, Phase::Exchanging { .. }) { once.plus(timeouts.migrate) } else { once }
}

/// What nobody has decided.
fn undecided(state: &State) -> String {
    let missing: Vec<String> = missing(state).into_iter().map(|(role, count)| format!("{count} of {role}")).collect();
    match (&state.recovery.accepted, missing.is_empty()) {
        (None, _) => format!("{} did not accept the loss", state.requested_by),
        (Some(_), _) => format!("the approval of {} did not come", missing.join(" and ")),
    }
}

pub(crate) fn accept(state: &mut State, by: &str, now: Timestamp) -> Result<(), String> {
    if by != state.requested_by {
        return Err(format!("{} asked for it, and accepts the loss or not", state.requested_by));
    }
    if state.recovery.accepted.is_some() {
        return Err("the loss is accepted already".to_owned());
    }
    state.recovery.accepted = Some(Accepted { by: by.to_owned(), at: now });
    Ok(())
}

/// Why something cannot be done with a restore now.
pub(crate) fn fits(state: &State, steer: &Steer) -> Result<(), String> {
    match (&state.phase, steer) {
        (Phase::Exchanging { .. } | Phase::Starting { .. }, Steer::Abort) => {
            Err("the databases are being exchanged, or are: it goes on to its end; the database of before is kept".to_owned())
        }
        (_, Steer::Abort) | (Phase::Deciding { .. }, Steer::Accept | Steer::Approve { .. }) => Ok(()),
        (Phase::Preparing { .. } | Phase::Surveying { .. }, Steer::Accept | Steer::Approve { .. }) => {
            Err("it is not known yet what it would lose".to_owned())
        }
        (_, Steer::Accept | Steer::Approve { .. }) => Err("it was decided already".to_owned()),
        _ => Err("it is a restore, which is accepted, approved or aborted, and else goes on to its end".to_owned()),
    }
}

/// What a restore waits for.
pub(crate) fn waiting(state: &State) -> Option<Waiting> {
    let name = place(state).and_then(|id| state.plan.hosts.get(&id)).map_or("a host", |planned| planned.name.as_str());
    let count = |stage: Stage| state.hosts.values().filter(|host| host.stage == stage).count();
    let hosts = |number: usize| if number == 1 { "1 host".to_owned() } else { format!("{number} hosts") };
    let of_hosts =
        || state.hosts.values().filter_map(|host| host_deadline(host, &state.plan.timeouts)).map(|deadline| deadline.until).min();
    let timeouts = &state.plan.timeouts;
    let (what, since, until, then) = match &state.phase {
        Phase::Surveying { since } => {
            let until = until(state, *since);
            (format!("{name} to look what a restore would lose"), *since, until, "it ends, and nothing was changed")
        }
        Phase::Deciding { since } => (decision(state), *since, since.plus(timeouts.decide), "it ends, and nothing was changed"),
        Phase::Halting { since } => {
            let until = of_hosts().unwrap_or_else(|| since.plus(timeouts.activate));
            (
                format!("{} to stop everything of the app", hosts(count(Stage::Halting))),
                *since,
                until,
                "it goes back: what served is started again",
            )
        }
        Phase::Restoring { since } => {
            let until = until(state, *since);
            (format!("{name} to restore the backup; nothing of the app runs"), *since, until, "it goes back: what served is started again")
        }
        Phase::Exchanging { since } => {
            let until = until(state, *since);
            (format!("{name} to exchange the databases; nothing of the app runs"), *since, until, "it ends; a person has to look")
        }
        Phase::Starting { since } => {
            let until = of_hosts().unwrap_or_else(|| since.plus(timeouts.activate));
            (format!("{} to serve {}", hosts(count(Stage::Moving)), state.plan.release.id), *since, until, "late hosts count as lost")
        }
        _ => return None,
    };
    Some(Waiting { what, since, until, then })
}

fn decision(state: &State) -> String {
    let mut parts = Vec::new();
    if state.recovery.accepted.is_none() {
        let backup = state.plan.restore.as_ref().map(|restore| restore.backup.to_string()).unwrap_or_default();
        parts.push(format!("{} to accept what it loses (roadstead db restore {backup})", state.requested_by));
    }
    for (role, count) in missing(state) {
        let Closed { why, way } = approval(state, &role, count);
        parts.push(format!("{why} ({way})"));
    }
    parts.join("; ")
}
