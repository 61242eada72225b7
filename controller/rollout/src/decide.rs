//! The one table: what an event does to a rollout.
//!
//! First the event changes the host that it is about, or asks for the way back; then [`settle`] moves the phases on as far
//! as they go. Phases only read host stages, so that the order in which hosts report does not matter.

use roadstead_model::{
    Failure, FailureKind, HostId, OrderKey, OrderOutcome, ReleaseId, Report, StepName, StepReport, StepState, Timestamp,
};

use crate::{Host, Outcome, Phase, Plan, RolloutKind, Stage, State, Verb, Waiting, waiting};

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
    /// An operator wants it to end and go back.
    Abort {
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
    /// When to look again, and why.
    pub wake: Option<Waiting>,
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
    /// The rollout is over.
    #[error("rollout {rollout} has ended ({phase}); it cannot be {what}")]
    Ended {
        /// Which rollout.
        rollout: roadstead_model::RolloutId,
        /// How it ended.
        phase: &'static str,
        /// What was asked.
        what: &'static str,
    },
}

/// Decides what an event does to a rollout.
///
/// # Errors
/// [`Rejected`] when the event does not fit; the state stays as it was.
pub fn decide(state: &State, event: Event, now: Timestamp) -> Result<Decision, Rejected> {
    let mut next = state.clone();
    let mut notes = Vec::new();
    apply(&mut next, event, now, &mut notes)?;
    settle(&mut next, now, &mut notes);
    if next != *state {
        next.revision += 1;
        next.changed_at = now;
    }
    let wake = waiting(&next);
    Ok(Decision { state: next, notes, wake })
}

fn apply(state: &mut State, event: Event, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    match event {
        Event::Tick => {}
        Event::Resumed => {
            state.slept_until(now);
            for host in state.hosts.values_mut() {
                host.away_since.get_or_insert(now);
            }
        }
        Event::Abort { by, reason } => abort(state, &by, &reason, now, notes)?,
        Event::GiveWay { by } => {
            if !state.gives_way && state.outcome().is_none() {
                state.gives_way = true;
                notes.push(Note { host: None, kind: "giving-way", text: format!("it gives way to what {by} asked for") });
            }
        }
        Event::HostSeen { host, current, outcomes, steps } => {
            let seen = host_mut(state, &host)?;
            seen.away_since = None;
            seen.current.clone_from(&current);
            let rollout = state.plan.rollout;
            for step in steps.into_iter().filter(|step| step.key.rollout == rollout) {
                stepped(state, &host, step, notes)?;
            }
            for (key, outcome) in outcomes {
                if key.rollout == state.plan.rollout {
                    order_ended(state, &host, key, outcome, now, notes)?;
                }
            }
            noticed_going_back(state, &host, now, notes)?;
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

fn host_mut<'a>(state: &'a mut State, id: &HostId) -> Result<&'a mut Host, Rejected> {
    let rollout = state.plan.rollout;
    state.hosts.get_mut(id).ok_or_else(|| Rejected::UnknownHost(id.clone(), rollout))
}

fn abort(state: &mut State, by: &str, reason: &str, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    if state.outcome().is_some() {
        return Err(Rejected::Ended { rollout: state.plan.rollout, phase: state.phase.word(), what: "aborted" });
    }
    if matches!(state.phase, Phase::Reverting { .. }) {
        return Ok(());
    }
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let failure = Failure::new(FailureKind::Cancelled, format!("aborted by {by}{why}"), "start it again when you are ready");
    state.condemn = false;
    if matches!(state.phase, Phase::Migrating { .. }) {
        // Half of a migration may be worse than all of it: the host is let through, and then nobody moves.
        if state.failure.is_none() {
            let text = format!("{}; it goes back when the migration has ended", failure.summary);
            notes.push(Note { host: None, kind: "aborting", text });
            state.failure = Some(failure);
        }
        return Ok(());
    }
    go_back(state, failure, now, notes);
    Ok(())
}

fn reported(state: &mut State, id: &HostId, report: Report, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let rollout = state.plan.rollout;
    let belongs = |key: OrderKey| if key.rollout == rollout { Ok(()) } else { Err(Rejected::OtherRollout(rollout)) };
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
            lose(state, id, Stage::Failed, failure, now, notes)
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

fn host_stage(state: &State, id: &HostId) -> Option<Stage> {
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
    }
}

fn stepped(state: &mut State, id: &HostId, report: StepReport, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let host = host_mut(state, id)?;
    match report.state {
        StepState::Started => host.step = Some((report.step, 0, 0)),
        StepState::Progress { done, total } => host.step = Some((report.step, done, total)),
        StepState::Succeeded { took, note } => {
            if host.step.is_some_and(|(step, _, _)| step == report.step) {
                host.step = None;
            }
            // A step that ran again after a crash replaces its earlier time; one that is only told again changes nothing.
            match host.times.iter_mut().find(|(step, _, _)| *step == report.step) {
                Some(known) => *known = (report.step, took, note),
                None => host.times.push((report.step, took, note)),
            }
        }
        StepState::Failed { failure, .. } => {
            host.step = None;
            let text = format!("{} failed: {}", report.step, failure.summary);
            notes.push(Note { host: Some(id.clone()), kind: "step-failed", text });
        }
    }
    Ok(())
}

/// An order has an outcome. One that the host is not carrying out any more (a repeat, a superseded order) changes nothing,
/// except that a host which was given up while it moved may still turn out to be healthy.
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
    if host_stage(state, id) != Some(during) {
        return Ok(());
    }
    let rollback = state.plan.kind == RolloutKind::Rollback;
    let release = state.plan.release.id.clone();
    let host = host_mut(state, id)?;
    host.step = None;
    match outcome {
        OrderOutcome::Done { current } => {
            host.current = current;
            let stage = match verb {
                Verb::Prepare | Verb::Migrate => Stage::Prepared,
                Verb::Activate => Stage::Healthy,
                Verb::Confirm => Stage::Confirmed,
                Verb::Revert if rollback => Stage::Confirmed,
                Verb::Revert => Stage::Reverted,
                Verb::Abandon => Stage::Abandoned,
            };
            enter(host, stage, now);
            notes.push(Note { host: Some(id.clone()), kind: "host", text: stage.word().to_owned() });
            if verb == Verb::Migrate {
                migrated(state, now, notes);
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
                Verb::Revert => lose(state, id, Stage::Stuck, at_step(step, failure), now, notes),
                Verb::Prepare | Verb::Activate | Verb::Confirm => lose(state, id, Stage::Failed, at_step(step, failure), now, notes),
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
    if !failure.summary.starts_with(step.as_str()) {
        failure.summary = format!("{step}: {}", failure.summary);
    }
    failure
}

fn enter(host: &mut Host, stage: Stage, now: Timestamp) {
    host.stage = stage;
    host.since = now;
    host.step = None;
}

fn lose(state: &mut State, id: &HostId, stage: Stage, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
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

/// A host that says it serves something else than what it reported went back while nobody listened.
fn noticed_going_back(state: &mut State, id: &HostId, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    let before = state.plan.hosts.get(id).and_then(|planned| planned.current.as_ref()).map(|release| release.id.clone());
    let release = state.plan.release.id.clone();
    let host = host_mut(state, id)?;
    let should_serve = match host.stage {
        Stage::Healthy | Stage::Confirming | Stage::Confirmed => Some(release),
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

fn migrated(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if matches!(state.phase, Phase::Migrating { .. }) {
        notes.push(Note { host: None, kind: "migrated", text: "the database is migrated".to_owned() });
        match state.failure.clone() {
            Some(aborted) => go_back(state, aborted, now, notes),
            None => state.phase = Phase::Moving { batch: 0, since: now },
        }
    }
}

/// Begins the way back: hosts on which the release may serve revert, the others clear up.
fn go_back(state: &mut State, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) {
    notes.push(Note { host: None, kind: "going-back", text: failure.summary.clone() });
    // Only the release's own fault marks it bad: what a host, the network or the clock did may go well the next time.
    state.condemn &= matches!(failure.kind, FailureKind::Command | FailureKind::Unit | FailureKind::Check);
    state.failure.get_or_insert(failure);
    if state.plan.kind == RolloutKind::Rollback {
        // There is nothing to go back to from a rollback: each host keeps what it serves.
        end(state, Outcome::Failed, now, notes);
        return;
    }
    state.phase = Phase::Reverting { since: now };
    for (id, host) in &mut state.hosts {
        let stage = way_out(&state.plan, id, host);
        if stage != host.stage {
            enter(host, stage, now);
        }
    }
}

/// How a host leaves a rollout that does not go through.
fn way_out(plan: &Plan, id: &HostId, host: &Host) -> Stage {
    let served_before = plan.hosts.get(id).is_some_and(|planned| planned.current.as_ref() == Some(&plan.release));
    // Of a host that is away, or has said nothing in this rollout yet, nothing is known: it is asked.
    let heard = host.away_since.is_none() && host.stage != Stage::Preparing;
    let serves = heard && host.current.as_ref() == Some(&plan.release.id);
    match host.stage {
        // What served before the rollout goes on serving.
        stage if served_before && serves && !stage.is_final() => Stage::Reverted,
        Stage::Moving | Stage::Healthy | Stage::Confirming | Stage::Confirmed => Stage::Reverting,
        // It failed at something else than the release, such as to write down that this is confirmed.
        Stage::Failed if host.current.as_ref() == Some(&plan.release.id) => Stage::Reverting,
        Stage::Preparing | Stage::Prepared | Stage::Migrating | Stage::Failed => Stage::Abandoning,
        Stage::Left | Stage::Reverting | Stage::Reverted | Stage::Abandoning | Stage::Abandoned | Stage::Stuck => host.stage,
    }
}

fn end(state: &mut State, outcome: Outcome, now: Timestamp, notes: &mut Vec<Note>) {
    state.phase = Phase::Ended { outcome, at: now };
    notes.push(Note { host: None, kind: "ended", text: state.phase.word().to_owned() });
}

/// Moves the phases on as far as they go. Each round changes the phase or ends the loop.
pub(crate) fn settle(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    loop {
        let before = state.phase.clone();
        give_up_on_the_late(state, now, notes);
        match before {
            Phase::Preparing { .. } => settle_preparing(state, now, notes),
            Phase::Migrating { since, .. } => settle_migrating(state, since, now, notes),
            Phase::Moving { batch, since } => settle_moving(state, batch, since, now, notes),
            Phase::Baking { since } => settle_baking(state, since, now, notes),
            Phase::Confirming { .. } => settle_confirming(state, now, notes),
            Phase::Reverting { .. } => settle_reverting(state, now, notes),
            Phase::Ended { .. } => {}
        }
        if state.phase == before {
            return;
        }
    }
}

/// Hosts whose deadline has passed leave the rollout.
fn give_up_on_the_late(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let timeouts = state.plan.timeouts;
    let ids: Vec<HostId> = state.hosts.keys().cloned().collect();
    for id in ids {
        let Some(host) = state.hosts.get(&id) else { continue };
        let Some(deadline) = crate::waiting::host_deadline(host, &timeouts) else { continue };
        if now < deadline.until {
            continue;
        }
        let failure = Failure::new(FailureKind::Deadline, deadline.what, "it comes level when it returns; see `roadstead host show`");
        // Deadlines are read from the state, so the host is known.
        let _ignored: Result<(), Rejected> = lose(state, &id, Stage::Left, failure, now, notes);
    }
}

fn over_budget(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) -> bool {
    let lost = state.lost();
    if lost <= state.plan.failure_budget {
        return false;
    }
    let cause = state.hosts.values().filter(|h| h.stage.is_lost()).find_map(|h| h.failure.clone());
    let all = state.hosts.len();
    let budget = state.plan.failure_budget;
    let mut failure = cause.unwrap_or_else(|| Failure::new(FailureKind::Host, "hosts were lost", "see `roadstead rollout show`"));
    failure.summary = format!("{lost} of {all} hosts lost, {budget} may be: {}", failure.summary);
    go_back(state, failure, now, notes);
    true
}

fn settle_preparing(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.gives_way {
        state.condemn = false;
        let failure = Failure::new(FailureKind::Cancelled, "it gave way to another", "hosts that are still behind come level after that");
        return go_back(state, failure, now, notes);
    }
    if over_budget(state, now, notes) || state.hosts.values().any(|h| h.stage == Stage::Preparing) {
        return;
    }
    let first = state.plan.hosts.iter().filter(|(id, _)| host_stage(state, id) == Some(Stage::Prepared));
    let first = first.min_by_key(|(_, planned)| (planned.batch, planned.name.clone())).map(|(id, _)| id.clone());
    let Some(first) = first else {
        let failure = Failure::new(FailureKind::Host, "no host is prepared", "see `roadstead rollout show`");
        return go_back(state, failure, now, notes);
    };
    if !state.plan.migrate {
        state.phase = Phase::Moving { batch: 0, since: now };
        return;
    }
    if let Some(host) = state.hosts.get_mut(&first) {
        enter(host, Stage::Migrating, now);
    }
    let name = state.plan.hosts.get(&first).map(|p| p.name.to_string()).unwrap_or_default();
    notes.push(Note { host: Some(first.clone()), kind: "migrating", text: format!("{name} runs the migrations") });
    state.phase = Phase::Migrating { host: first, since: now };
}

/// The migration's host is never replaced: when it cannot say how the migration ended, the rollout ends and says so.
fn settle_migrating(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let Phase::Migrating { host, .. } = state.phase.clone() else { return };
    let runs = host_stage(state, &host) == Some(Stage::Migrating);
    if runs && now < since.plus(state.plan.timeouts.migrate).plus(state.plan.timeouts.away) {
        return;
    }
    let name = state.plan.hosts.get(&host).map(|p| p.name.to_string()).unwrap_or_default();
    let failure = Failure::new(
        FailureKind::Deadline,
        format!("the migration on {name} has no known outcome"),
        format!("look at the database and at {name} before you start another rollout"),
    );
    if runs {
        let _ignored: Result<(), Rejected> = lose(state, &host, Stage::Left, failure.clone(), now, notes);
    }
    state.condemn = false;
    go_back(state, failure, now, notes);
}

fn settle_moving(state: &mut State, batch: u32, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let rollback = state.plan.kind == RolloutKind::Rollback;
    if !rollback && over_budget(state, now, notes) {
        return;
    }
    if state.gives_way {
        move_no_more(state, now);
    }
    start_moves(state, batch, rollback, now);
    let in_batch = |id: &HostId| state.plan.hosts.get(id).is_some_and(|p| p.batch == batch);
    let unfinished = |h: &Host| matches!(h.stage, Stage::Prepared | Stage::Moving);
    let open = state.hosts.iter().filter(|(id, h)| in_batch(id) && unfinished(h)).count();
    if open > 0 {
        let nothing_moves = !state.hosts.values().any(|h| h.stage == Stage::Moving);
        if nothing_moves && now >= since.plus(state.plan.timeouts.away).plus(state.plan.timeouts.activate) {
            let failure = Failure::new(
                FailureKind::Unfit,
                format!("{} hosts are out and {} may be: batch {} cannot move", state.out(), state.plan.max_unavailable, batch + 1),
                "bring the missing hosts back, or raise max_unavailable",
            );
            go_back(state, failure, now, notes);
        }
        return;
    }
    if batch + 1 < state.plan.batches {
        state.phase = Phase::Moving { batch: batch + 1, since: now };
    } else if rollback {
        let back = state.hosts.values().any(|h| h.stage == Stage::Confirmed);
        let good = back && state.lost() <= state.plan.failure_budget;
        if !good {
            let cause = state.hosts.values().find_map(|h| h.failure.clone());
            state.failure =
                cause.or_else(|| Some(Failure::new(FailureKind::Host, "not every host went back", "see `roadstead host list`")));
        }
        end(state, if good { Outcome::Done } else { Outcome::Failed }, now, notes);
    } else {
        state.phase = Phase::Baking { since: now };
    }
}

/// Nothing else begins. What has moved is not taken back: users may be served by it.
fn move_no_more(state: &mut State, now: Timestamp) {
    for (id, host) in state.hosts.iter_mut().filter(|(_, host)| host.stage == Stage::Prepared) {
        enter(host, way_out(&state.plan, id, host), now);
    }
}

/// Tells as many hosts of the batch to move as may be out.
fn start_moves(state: &mut State, batch: u32, rollback: bool, now: Timestamp) {
    let mut room = if rollback { usize::MAX } else { state.plan.max_unavailable.saturating_sub(state.out()) };
    for (id, host) in &mut state.hosts {
        let waits = host.stage == Stage::Prepared && state.plan.hosts.get(id).is_some_and(|p| p.batch == batch);
        if waits && room > 0 && (rollback || host.away_since.is_none()) {
            enter(host, Stage::Moving, now);
            room -= 1;
        }
    }
}

fn settle_baking(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    if over_budget(state, now, notes) || (now < since.plus(state.plan.bake) && !state.gives_way) {
        return;
    }
    for host in state.hosts.values_mut().filter(|h| h.stage == Stage::Healthy) {
        enter(host, Stage::Confirming, now);
    }
    state.phase = Phase::Confirming { since: now };
}

fn settle_confirming(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hosts.values().any(|h| matches!(h.stage, Stage::Confirming | Stage::Abandoning)) {
        return;
    }
    if state.hosts.values().any(|h| h.stage == Stage::Confirmed) {
        end(state, Outcome::Done, now, notes);
    } else {
        // A confirmation that did not come does not say that the release does not serve.
        let summary = "no host confirmed the release, which may serve all the same";
        let hint = "see in `roadstead rollout show` what each host says, and in `roadstead env show` what it serves; then deploy again";
        state.failure.get_or_insert(Failure::new(FailureKind::Host, summary, hint));
        end(state, Outcome::Failed, now, notes);
    }
}

fn settle_reverting(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hosts.values().any(|h| matches!(h.stage, Stage::Reverting | Stage::Abandoning)) {
        return;
    }
    let back = state.hosts.values().any(|h| h.stage == Stage::Reverted);
    let unknown = state.hosts.values().any(|h| h.stage == Stage::Stuck);
    end(state, if back && !unknown { Outcome::RolledBack } else { Outcome::Failed }, now, notes);
}
