//! Tending a database: its backup is made, one is looked at again, or a job of the release runs, on one host, while the release goes on serving.
//! No host moves, so it ends as soon as it is done, fails or is called off, and gives way to whatever else is asked for: nothing else works on
//! the database while a deployment or a restore does.

use roadstead_model::{Failure, FailureKind, HostId, Millis, OrderKind, Safeguard, Timestamp};

use crate::decide::{enter, lose};
use crate::ending::{end, go_back};
use crate::orders::Verb;
use crate::waiting::Waiting;
use crate::{Host, Note, Outcome, Phase, Plan, Rejected, Stage, State, Steer, Tending};

/// The order of the host that does it.
pub(crate) fn order(plan: &Plan) -> Option<(Verb, OrderKind, Millis)> {
    let release = plan.release.clone();
    let kind = match plan.tending.clone()? {
        Tending::Backup(demand) => OrderKind::Backup { release, demand },
        Tending::Recheck { backup, demand } => OrderKind::Recheck { release, backup, demand },
        Tending::Job { job, .. } => OrderKind::Job { release, job },
    };
    Some((Verb::Tend, kind, within(plan)))
}

/// How long its host may take.
fn within(plan: &Plan) -> Millis {
    match &plan.tending {
        Some(Tending::Job { within, .. }) => *within,
        _ => plan.timeouts.migrate,
    }
}

/// The host has done it, as far as it says what it saw.
pub(crate) fn done(state: &mut State, id: &HostId, now: Timestamp, notes: &mut Vec<Note>) -> Result<(), Rejected> {
    match without_evidence(state) {
        None => end(state, Outcome::Done, now, notes),
        Some(failure) => lose(state, id, Stage::Failed, failure, now, notes)?,
    }
    Ok(())
}

/// Why what the host says is not enough.
fn without_evidence(state: &State) -> Option<Failure> {
    let what = match (&state.plan.tending, &state.safeguard) {
        (Some(Tending::Backup(_)), Some(Safeguard::NotNeeded { why })) => format!("no backup was made: {why}"),
        (Some(Tending::Backup(demand)), Some(Safeguard::Made(backup))) if demand.is_met_by(backup) => return None,
        (Some(Tending::Backup(demand)), Some(Safeguard::Made(backup))) => {
            format!("the backup was only {}, and one that was {demand} is wanted", backup.check.words())
        }
        (Some(Tending::Job { .. }), _) => return None,
        (Some(Tending::Recheck { backup: name, .. }), Some(Safeguard::Made(backup))) if backup.name == name.as_str() => return None,
        _ => "the host said nothing of a backup".to_owned(),
    };
    Some(Failure::new(FailureKind::Host, what, "upgrade its agent, then ask again"))
}

/// The only host, which is never replaced.
fn only(state: &State) -> Option<(&HostId, &Host)> {
    state.hosts.iter().next()
}

/// Ends it when its host cannot do it, or when something else is asked for.
pub(crate) fn settle(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    if state.gives_way {
        let failure = Failure::new(FailureKind::Cancelled, "it gave way to another", "ask for it again after that");
        if only(state).is_none_or(|(_, host)| host.away_since.is_some()) {
            // Whatever it is told next calls it off.
            state.failure.get_or_insert(failure);
            return end(state, Outcome::Failed, now, notes);
        }
        return go_back(state, failure, now, notes);
    }
    let Some((id, host)) = only(state) else { return end(state, Outcome::Failed, now, notes) };
    match host.stage {
        Stage::Tending if now < until(state, since) => {}
        Stage::Tending => {
            let hint = "give the environment a longer timeouts.migrate, or the job a longer timeout, or look at the host";
            let failure = Failure::new(FailureKind::Deadline, "it was not done in time", hint);
            if let Some(host) = state.hosts.get_mut(&id.clone()) {
                enter(host, Stage::Left, now);
                host.failure = Some(failure.clone());
            }
            state.failure.get_or_insert(failure);
            end(state, Outcome::Failed, now, notes);
        }
        _ => {
            let failure = host.failure.clone();
            state.failure = state.failure.take().or(failure);
            end(state, Outcome::Failed, now, notes);
        }
    }
}

/// When its host is given up. It gives up by itself at its order's deadline, and has all of that again when it was off meanwhile.
fn until(state: &State, since: Timestamp) -> Timestamp {
    since.plus(within(&state.plan)).plus(state.plan.timeouts.away)
}

/// Why something cannot be done with it now.
pub(crate) fn fits(steer: &Steer) -> Result<(), String> {
    match steer {
        Steer::Abort => Ok(()),
        _ => Err("it only tends the database: it goes on to its end, or is aborted".to_owned()),
    }
}

/// What it waits for.
pub(crate) fn waiting(state: &State) -> Option<Waiting> {
    let Phase::Tending { since } = state.phase else { return None };
    let name = only(state).and_then(|(id, _)| state.plan.hosts.get(id)).map_or("a host", |planned| planned.name.as_str());
    let what = match state.plan.tending.as_ref()? {
        Tending::Backup(_) => format!("{name} to back the database up"),
        Tending::Recheck { backup, .. } => format!("{name} to look at {backup} again"),
        Tending::Job { job, .. } => format!("{name} to run the job {job}"),
    };
    Some(Waiting { what, since, until: until(state, since), then: "it ends" })
}
