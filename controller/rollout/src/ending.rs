//! How a rollout ends, and how its hosts leave it.

use roadstead_model::{Failure, FailureKind, HostId, Timestamp};

use crate::decide::enter;
use crate::{Host, Note, Outcome, Phase, Plan, RolloutKind, Stage, State};

/// Begins the way back: hosts on which the release may serve revert, the others clear up.
pub(crate) fn go_back(state: &mut State, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) {
    notes.push(Note { host: None, kind: "going-back", text: failure.summary.clone() });
    // Only the release's own fault marks it bad: what a host, the network or the clock did may go well the next time.
    state.condemn &= matches!(failure.kind, FailureKind::Command | FailureKind::Unit | FailureKind::Check);
    state.failure.get_or_insert(failure);
    if state.plan.kind == RolloutKind::Rollback {
        // There is nothing to go back to from a rollback: each host keeps what it serves.
        end(state, Outcome::Failed, now, notes);
        return;
    }
    state.hold = None;
    leave(state, now);
}

/// Every host leaves on its way out.
pub(crate) fn leave(state: &mut State, now: Timestamp) {
    state.phase = Phase::Reverting { since: now };
    for (id, host) in &mut state.hosts {
        let stage = way_out(&state.plan, id, host);
        if stage != host.stage {
            enter(host, stage, now);
        }
    }
}

/// How a host leaves a rollout that does not go through.
pub(crate) fn way_out(plan: &Plan, id: &HostId, host: &Host) -> Stage {
    let served_before = plan.hosts.get(id).is_some_and(|planned| planned.current.as_ref() == Some(&plan.release));
    // Of a host that is away, or has said nothing in this rollout yet, nothing is known: it is asked.
    let heard = host.away_since.is_none() && !matches!(host.stage, Stage::Waiting | Stage::Preparing);
    let serves = heard && host.current.as_ref() == Some(&plan.release.id);
    match host.stage {
        // What served before the rollout goes on serving.
        stage if served_before && serves && !stage.is_final() && !stage.is_halting() && stage != Stage::Tending => Stage::Reverted,
        // It may have stopped what served before, whatever it says.
        Stage::Halting | Stage::Halted | Stage::Restoring | Stage::Exchanging => Stage::Reverting,
        Stage::Moving | Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed => Stage::Reverting,
        // It may have stopped something before it failed.
        Stage::Failed if plan.kind == RolloutKind::Restore => Stage::Reverting,
        // It failed at something else than the release, such as to write down that this is confirmed.
        Stage::Failed if host.current.as_ref() == Some(&plan.release.id) => Stage::Reverting,
        // It has not heard of it.
        Stage::Waiting => Stage::Abandoned,
        // It was given up while it moved, came back with the release, and was tried again.
        Stage::Preparing | Stage::Prepared | Stage::Draining if host.attempt > 0 && host.current.as_ref() == Some(&plan.release.id) => {
            Stage::Reverting
        }
        Stage::Preparing | Stage::Prepared | Stage::Draining | Stage::Migrating | Stage::Tending | Stage::Surveying | Stage::Failed => {
            Stage::Abandoning
        }
        Stage::Left | Stage::Reverting | Stage::Reverted | Stage::Abandoning | Stage::Abandoned | Stage::Stuck => host.stage,
    }
}

pub(crate) fn end(state: &mut State, outcome: Outcome, now: Timestamp, notes: &mut Vec<Note>) {
    state.hold = None;
    state.phase = Phase::Ended { outcome, at: now };
    notes.push(Note { host: None, kind: "ended", text: state.phase.word().to_owned() });
}
