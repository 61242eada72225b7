//! The one table: what an event does to a rollout.
//!
//! First the event changes the host that it is about, or what an operator wants; then [`settle`] moves the phases on as far as
//! they go.

use roadstead_model::{
    Failure, FailureKind, HostId, HostName, Millis, OrderKey, OrderOutcome, ReleaseId, Report, Safeguard, StepName, StepReport, StepState,
    Timestamp, TrafficSeen,
};

use crate::analysis::{self, Findings};
use crate::ending::go_back;
use crate::gates::{self, Closed, Currents};
use crate::orders::attempt_of;
use crate::settle::{migrated, settle};
use crate::steer::{Steer, steered};
use crate::{Host, RolloutKind, Stage, State, Verb, restore, tending, traffic};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A host's session opened: what it serves, and the outcomes of the orders of this rollout that it remembers.
    HostSeen {
        /// Which.
        host: HostId,
        /// What it serves.
        current: Option<ReleaseId>,
        /// Outcomes that it remembers.
        outcomes: Vec<(OrderKey, OrderOutcome)>,
        /// Steps that it remembers as done: the report of one may have been lost.
        steps: Vec<StepReport>,
    },
    /// A host's session closed.
    HostGone {
        /// Which.
        host: HostId,
    },
    /// A host was revoked: it will not be heard again.
    HostRevoked {
        /// Which.
        host: HostId,
    },
    /// A host reported about an order of this rollout.
    Report {
        /// Which.
        host: HostId,
        /// What.
        report: Report,
    },
    /// The controller was away and is there again: no session is open yet, and the time until now counts against nobody.
    Resumed,
    /// A balancer says what it does.
    BalancerSeen {
        /// Which.
        balancer: HostId,
        /// What it says.
        seen: TrafficSeen,
    },
    /// A host has become a balancer.
    BalancerJoined {
        /// Which.
        balancer: HostId,
        /// Its name.
        name: HostName,
    },
    /// A balancer's session closed.
    BalancerGone {
        /// Which.
        balancer: HostId,
        /// It was revoked, or is none any more: it will not be heard again.
        for_good: bool,
    },
    /// Somebody looked at the gates of a rollout that waits at them.
    GatesSeen {
        /// Those that are closed, beside its approvals.
        closed: Vec<Closed>,
        /// What its hosts serve, should it begin now.
        currents: Currents,
    },
    /// Somebody looked at a batch that bakes.
    Looked {
        /// Which batch.
        batch: u32,
        /// When it was asked.
        asked_at: Timestamp,
        /// What was found.
        findings: Findings,
    },
    /// An operator steers it.
    Steered {
        /// How.
        steer: Steer,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Someone wants another rollout: this one moves no more hosts, keeps what has moved, and ends as soon as it can.
    GiveWay {
        /// Who.
        by: String,
    },
    /// Time has passed.
    Tick,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The next state.
    pub state: State,
    /// What to tell the operator.
    pub notes: Vec<Note>,
}

/// A line of the rollout's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The host that it is about.
    pub host: Option<HostId>,
    /// A word for programs, such as `host-failed`.
    pub kind: &'static str,
    /// The line for people.
    pub text: String,
}

/// An event that does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is about a host that is not in the plan.
    #[error("host {0} is no part of rollout {1}")]
    UnknownHost(HostId, roadstead_model::RolloutId),
    /// It is about another rollout.
    #[error("the report is about another rollout than {0}")]
    OtherRollout(roadstead_model::RolloutId),
    /// What an operator asks for does not fit to where the rollout stands.
    #[error("{rollout} cannot be {what}: {why}")]
    NotNow {
        /// Which rollout.
        rollout: roadstead_model::RolloutId,
        /// What was asked.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

/// So often it is noted that a rollout is driven while nothing happens to it.
pub(crate) const AWAKE_EVERY: Millis = Millis::from_secs(300);

/// Decides what an event does to a rollout.
///
/// # Errors
/// [`Rejected`] when the event does not fit; the state stays as it was.
pub fn decide(state: &State, event: Event, now: Timestamp) -> Result<Decision, Rejected> {
    let mut next = state.clone();
    let mut notes = Vec::new();
    apply(&mut next, event, now, &mut notes)?;
    settle(&mut next, now, &mut notes);
    traffic::count_turns(state, &mut next);
    if next != *state {
        next.revision += 1;
        next.changed_at = now;
    } else if next.outcome().is_none() && now >= state.changed_at.plus(AWAKE_EVERY) {
        // Nothing happens, and somebody is there to see it: this time counts, also after another start.
        next.changed_at = now;
    }
    Ok(Decision { state: next, notes })
}

fn apply(state: &mut State, event: Event, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    match event {
        Event::Tick => {}
        Event::Resumed => {
            state.slept_until(now);
            for host in state.hosts.values_mut() {
                host.away_since.get_or_insert(now);
            }
            state.traffic.heard.clear();
        }
        Event::Steered { steer, by, reason } => steered(state, &steer, &by, &reason, now, notes)?,
        Event::BalancerSeen { balancer, seen } => traffic::heard(state, balancer, seen),
        Event::BalancerJoined { balancer, name } => traffic::joined(state, balancer, name),
        Event::BalancerGone { balancer, for_good } => traffic::gone(state, &balancer, for_good),
        Event::GatesSeen { closed, currents } => gates::seen(state, closed, &currents, now, notes),
        Event::Looked { batch, asked_at, findings } => analysis::looked(state, batch, asked_at, &findings, notes),
        Event::GiveWay { by } => {
            // What was begun to a database is ended first; a backup of it may be made again.
            if !state.gives_way && state.outcome().is_none() && state.plan.kind != RolloutKind::Restore {
                state.gives_way = true;
                state.hold = None;
                notes.push(Note { host: None, kind: "giving-way", text: format!("it gives way to what {by} asked for") });
            }
        }
        Event::HostSeen { host, current, outcomes, steps } => {
            let rollout = state.plan.rollout;
            let seen = host_mut(state, &host)?;
            seen.away_since = None;
            seen.current.clone_from(&current);
            let attempt = seen.attempt;
            for step in steps.into_iter().filter(|step| step.key.rollout == rollout && attempt_of(step.key) == attempt) {
                stepped(state, &host, step, notes)?;
            }
            for (key, outcome) in outcomes {
                if key.rollout == state.plan.rollout {
                    order_ended(state, &host, key, outcome, now, notes)?;
                }
            }
            // What it remembers of its orders is what it served then, and it may have gone back since.
            host_mut(state, &host)?.current = current;
            noticed_going_back(state, &host, now, notes)?;
            noticed_serving(state, &host, now)?;
        }
        Event::HostGone { host } => {
            host_mut(state, &host)?.away_since.get_or_insert(now);
        }
        Event::HostRevoked { host } => {
            let failure = Failure::new(FailureKind::Unfit, "the host was revoked", "it takes no part any more");
            lose(state, &host, Stage::Left, failure, now, notes)?;
        }
        Event::Report { host, report } => reported(state, &host, report, now, notes)?,
    }
    Ok(())
}

pub(crate) fn host_mut<'a>(state: &'a mut State, id: &HostId) -> Result<&'a mut Host, Rejected> {
    let rollout = state.plan.rollout;
    state.hosts.get_mut(id).ok_or_else(|| Rejected::UnknownHost(id.clone(), rollout))
}

fn reported(state: &mut State, id: &HostId, report: Report, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let rollout = state.plan.rollout;
    let belongs = |key: OrderKey| if key.rollout == rollout { Ok(()) } else { Err(Rejected::OtherRollout(rollout)) };
    if is_of_an_earlier_attempt(state, id, &report) {
        return Ok(());
    }
    match report {
        Report::Step(step) => {
            belongs(step.key)?;
            stepped(state, id, step, notes)
        }
        Report::Order { key, outcome } => {
            belongs(key)?;
            order_ended(state, id, key, outcome, now, notes)
        }
        Report::Refused { key, why, highest } => {
            belongs(key)?;
            let (kind, hint) = match highest {
                Some(_) => (FailureKind::Untrusted, "see `roadstead host show`; after a restored database start the controller again"),
                None => (FailureKind::Host, "put that right on the host, then deploy again; what serves there goes on serving"),
            };
            let failure = Failure::new(kind, format!("the host refused the order: {why}"), hint);
            let verb = Verb::of(key);
            let expected = verb.is_some_and(|verb| host_stage(state, id) == Some(stage_during(state, verb)));
            if !expected {
                return Ok(());
            }
            if verb == Some(Verb::Prepare) {
                // It may still be ending what an earlier rollout wanted: what it serves was never said in this one.
                host_mut(state, id)?.current = None;
            }
            // An exchange may be refused by an agent that lost what it had begun.
            let stage = if verb == Some(Verb::Exchange) { Stage::Stuck } else { Stage::Failed };
            lose(state, id, stage, failure, now, notes)
        }
        Report::WentBack { key, current, why, .. } => {
            belongs(key)?;
            host_mut(state, id)?.current = current;
            match host_stage(state, id) {
                Some(stage) if stage.may_serve() => lose(state, id, Stage::Failed, why, now, notes),
                _ => Ok(()),
            }
        }
    }
}

/// Whether a host tells of what it did before it was tried again.
fn is_of_an_earlier_attempt(state: &State, id: &HostId, report: &Report) -> bool {
    let key = match report {
        Report::Step(step) => step.key,
        Report::Order { key, .. } | Report::Refused { key, .. } | Report::WentBack { key, .. } => *key,
    };
    key.rollout == state.plan.rollout && state.hosts.get(id).is_some_and(|host| attempt_of(key) != host.attempt)
}

pub(crate) fn host_stage(state: &State, id: &HostId) -> Option<Stage> {
    state.hosts.get(id).map(|host| host.stage)
}

/// The stage in which a host carries out a verb.
fn stage_during(state: &State, verb: Verb) -> Stage {
    match verb {
        Verb::Prepare => Stage::Preparing,
        Verb::Migrate => Stage::Migrating,
        Verb::Activate => Stage::Moving,
        Verb::Confirm => Stage::Confirming,
        Verb::Revert if state.plan.kind == RolloutKind::Rollback => Stage::Moving,
        Verb::Revert => Stage::Reverting,
        Verb::Abandon => Stage::Abandoning,
        Verb::Tend => Stage::Tending,
        Verb::Survey => Stage::Surveying,
        Verb::Halt => Stage::Halting,
        Verb::Restore => Stage::Restoring,
        Verb::Exchange => Stage::Exchanging,
        Verb::Start => Stage::Moving,
    }
}

fn stepped(state: &mut State, id: &HostId, report: StepReport, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let host = host_mut(state, id)?;
    match report.state {
        StepState::Started => host.at_step(Some((report.step, 0, 0)), String::new()),
        StepState::Progress { done, total, note } => host.at_step(Some((report.step, done, total)), note),
        StepState::Succeeded { took, note, safeguard } => {
            if host.step.is_some_and(|(step, _, _)| step == report.step) {
                host.at_step(None, String::new());
            }
            // A step that ran again after a crash replaces its earlier time; one that is only told again changes nothing.
            match host.times.iter_mut().find(|(step, _, _)| *step == report.step) {
                Some(known) => *known = (report.step, took, note),
                None => host.times.push((report.step, took, note)),
            }
            match (safeguard, report.step) {
                (Some(safeguard), StepName::Backup | StepName::Recheck) => kept(state, id, safeguard, notes),
                (Some(Safeguard::Loss(loss)), StepName::Survey | StepName::Exchange) => {
                    restore::told(state, id, report.step, *loss, notes);
                }
                _ => {}
            }
        }
        StepState::Failed { failure, .. } => {
            host.at_step(None, String::new());
            let text = format!("{} failed: {}", report.step, failure.summary);
            notes.push(Note { host: Some(id.clone()), kind: "step-failed", text });
        }
    }
    Ok(())
}

/// A host has looked after the contents of the database; told again, it is no news.
fn kept(state: &mut State, id: &HostId, safeguard: Safeguard, notes: &mut Vec<Note>) {
    if state.safeguard.as_ref() != Some(&safeguard) {
        notes.push(Note { host: Some(id.clone()), kind: "backup", text: format!("backup {}", safeguard.words()) });
        state.safeguard = Some(safeguard);
    }
}

/// Why what a host did to the database does not count as done: a backup was demanded, and there is no evidence of one that is enough.
fn without_backup(state: &State) -> Option<Failure> {
    let demand = state.plan.backup.filter(|demand| demand.wants_one())?;
    let what = match &state.safeguard {
        Some(Safeguard::NotNeeded { .. } | Safeguard::Loss(_)) => return None,
        Some(Safeguard::Made(backup)) if demand.is_met_by(backup) => return None,
        Some(Safeguard::Made(backup)) => format!("with a backup that was only {}", backup.check.words()),
        None => "and said nothing of a backup".to_owned(),
    };
    let hint = "upgrade its agent, and look at the database before you deploy again";
    Some(Failure::new(
        FailureKind::Host,
        format!("the host migrated the database {what}; the environment demands one that was {demand}"),
        hint,
    ))
}

/// An order has an outcome. One that the host is not carrying out any more (a repeat, a superseded order) changes no stage.
fn order_ended(
    state: &mut State,
    id: &HostId,
    key: OrderKey,
    outcome: OrderOutcome,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Result<(), Rejected> {
    let Some(verb) = Verb::of(key) else { return Ok(()) };
    let during = stage_during(state, verb);
    let host = host_mut(state, id)?;
    if host.stage != during || attempt_of(key) != host.attempt {
        // One that had refused a cutover did it all the same, when it came once more: should the rollout go back, it is asked to.
        if let (Stage::Failed, Verb::Activate, OrderOutcome::Done { current }) = (host.stage, verb, outcome) {
            host.current = current;
        }
        return Ok(());
    }
    let rollback = state.plan.kind == RolloutKind::Rollback;
    let release = state.plan.release.id.clone();
    let host = host_mut(state, id)?;
    host.at_step(None, String::new());
    match outcome {
        OrderOutcome::Done { current } => {
            host.current = current;
            let stage = match verb {
                Verb::Prepare | Verb::Migrate | Verb::Survey => Stage::Prepared,
                Verb::Halt | Verb::Restore | Verb::Exchange => Stage::Halted,
                Verb::Start | Verb::Tend => Stage::Confirmed,
                Verb::Activate => Stage::Healthy,
                Verb::Confirm => Stage::Confirmed,
                Verb::Revert if rollback => Stage::Confirmed,
                Verb::Revert => Stage::Reverted,
                Verb::Abandon => Stage::Abandoned,
            };
            enter(host, stage, now);
            if verb == Verb::Activate {
                traffic::give_back(state, id, now);
            }
            let stage = host_stage(state, id).unwrap_or(stage);
            notes.push(Note { host: Some(id.clone()), kind: "host", text: stage.word().to_owned() });
            restore::done(state, verb, now, notes);
            if verb == Verb::Tend {
                return tending::done(state, id, now, notes);
            }
            if verb == Verb::Migrate {
                match without_backup(state) {
                    None => migrated(state, now, notes),
                    Some(failure) => {
                        lose(state, id, Stage::Failed, failure.clone(), now, notes)?;
                        go_back(state, failure, now, notes);
                    }
                }
            }
            Ok(())
        }
        OrderOutcome::Failed { step, failure, current } => {
            host.current = current;
            match verb {
                // The release serves although the old instance could not be tidied away: the host is level.
                Verb::Confirm if host.current.as_ref() == Some(&release) => {
                    enter(host, Stage::Confirmed, now);
                    host.failure = Some(failure.clone());
                    notes.push(Note { host: Some(id.clone()), kind: "host-untidy", text: failure.summary });
                    Ok(())
                }
                Verb::Abandon => {
                    enter(host, Stage::Abandoned, now);
                    notes.push(Note { host: Some(id.clone()), kind: "host-untidy", text: failure.summary });
                    Ok(())
                }
                Verb::Survey | Verb::Halt | Verb::Restore | Verb::Exchange => {
                    restore::failed(state, id, verb, at_step(step, failure), now, notes)
                }
                Verb::Revert | Verb::Start => lose(state, id, Stage::Stuck, at_step(step, failure), now, notes),
                Verb::Prepare | Verb::Activate | Verb::Confirm | Verb::Tend => {
                    lose(state, id, Stage::Failed, at_step(step, failure), now, notes)
                }
                Verb::Migrate => {
                    let failure = at_step(step, failure);
                    lose(state, id, Stage::Failed, failure.clone(), now, notes)?;
                    // Most often the database was not ready for it: the same release may pass once it is.
                    state.condemn = false;
                    go_back(state, failure, now, notes);
                    Ok(())
                }
            }
        }
        OrderOutcome::Stuck { step, failure, current } => {
            host.current = current;
            lose(state, id, Stage::Stuck, at_step(step, failure), now, notes)
        }
    }
}

fn at_step(step: StepName, mut failure: Failure) -> Failure {
    // A sentence may begin with the step's word and name no step.
    if !failure.summary.strip_prefix(step.as_str()).is_some_and(|rest| rest.starts_with(':')) {
        failure.summary = format!("{step}: {}", failure.summary);
    }
    failure
}

pub(crate) fn enter(host: &mut Host, stage: Stage, now: Timestamp) {
    host.stage = stage;
    host.since = now;
    host.was_stuck &= stage != Stage::Moving;
    host.at_step(None, String::new());
}

pub(crate) fn lose(
    state: &mut State,
    id: &HostId,
    stage: Stage,
    failure: Failure,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Result<(), Rejected> {
    let host = host_mut(state, id)?;
    if host.stage.is_final() && !matches!(host.stage, Stage::Confirmed | Stage::Reverted) {
        return Ok(());
    }
    enter(host, stage, now);
    let kind = if stage == Stage::Left { "host-left" } else { "host-failed" };
    notes.push(Note { host: Some(id.clone()), kind, text: failure.summary.clone() });
    host.failure = Some(failure);
    Ok(())
}

/// A host that was to clear up serves the release: a cutover that it had refused, such as on a full disk, reached it once more, late. So it
/// goes back.
fn noticed_serving(state: &mut State, id: &HostId, now: Timestamp) -> Result<(), Rejected> {
    let release = state.plan.release.clone();
    let served_before = state.plan.hosts.get(id).is_some_and(|planned| planned.current.as_ref() == Some(&release));
    let host = host_mut(state, id)?;
    if host.stage == Stage::Abandoning && host.current.as_ref() == Some(&release.id) && !served_before {
        enter(host, Stage::Reverting, now);
    }
    Ok(())
}

/// A host that says it serves something else than what it reported went back while nobody listened.
fn noticed_going_back(state: &mut State, id: &HostId, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let before = state.plan.hosts.get(id).and_then(|planned| planned.current.as_ref()).map(|release| release.id.clone());
    let release = state.plan.release.id.clone();
    let host = host_mut(state, id)?;
    let should_serve = match host.stage {
        Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed => Some(release),
        // Such as a cutover of the rollout before, which nobody had confirmed.
        Stage::Reverted => before,
        _ => return Ok(()),
    };
    if host.current != should_serve {
        let serves = host.current.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let failure = Failure::new(
            FailureKind::Host,
            format!("the host went back by itself and serves {serves}"),
            "its own checks failed, or it did not hear from the controller; see `roadstead logs`",
        );
        return lose(state, id, Stage::Failed, failure, now, notes);
    }
    Ok(())
}
