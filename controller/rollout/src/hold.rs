//! A rollout on hold: nothing further begins until an operator says so. What has begun goes on, hosts that are lost count as before, and
//! a hold that nobody ends is ended by going back.

use roadstead_model::{Failure, FailureKind, Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::analysis;
use crate::ending::go_back;
use crate::{Host, Note, Phase, Stage, State};

/// Why nothing further begins, and until when an operator is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub cause: HoldCause,
    /// Since when.
    pub since: Timestamp,
    /// For how long; then it goes back.
    pub within: Millis,
}

/// Why a rollout is on hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum HoldCause {
    /// An operator paused it.
    Paused {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// More hosts are lost than may be, and the environment's policy is to ask.
    Losses {
        /// What went wrong, with the numbers.
        failure: Failure,
    },
    /// Nothing tells whether the release does well.
    Unknown {
        /// What was looked at, and why it tells nothing.
        what: String,
    },
}

impl Hold {
    /// When it goes back.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.since.plus(self.within)
    }
}

/// More hosts are lost than may be: an operator is asked.
pub(crate) fn ask(state: &mut State, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) {
    // Somebody's pause is theirs: they are asked when they have ended it.
    if state.hold.is_some() {
        return;
    }
    notes.push(Note { host: None, kind: "asking", text: format!("it is paused: {}", failure.summary) });
    state.hold = Some(Hold { cause: HoldCause::Losses { failure }, since: now, within: state.plan.timeouts.decide });
}

/// Nothing says whether the release does well: an operator is asked.
pub(crate) fn ask_about_analysis(state: &mut State, what: String, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hold.is_some() {
        return;
    }
    notes.push(Note { host: None, kind: "asking", text: format!("it is paused: {what}") });
    state.hold = Some(Hold { cause: HoldCause::Unknown { what }, since: now, within: state.plan.timeouts.decide });
}

/// Ends a hold whose cause is gone, and one that nobody has ended in time.
pub(crate) fn look(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(hold) = &state.hold else { return };
    let losses = matches!(hold.cause, HoldCause::Losses { .. });
    if losses && state.lost() + unproven(state) <= state.plan.failure_budget {
        notes.push(Note { host: None, kind: "resumed", text: "it goes on: no more hosts are lost than may be".to_owned() });
        return resume(state, now);
    }
    let unknown = matches!(hold.cause, HoldCause::Unknown { .. });
    // A batch that moves once more is looked at anew.
    if unknown && (analysis::is_known(state) || !analysis::is_judged(state)) {
        notes.push(Note { host: None, kind: "resumed", text: "it goes on: all can be judged again".to_owned() });
        return resume(state, now);
    }
    // A migration is never cut off; what comes after it is on hold still, and ends then.
    let can_end = matches!(
        state.phase,
        Phase::Preparing { .. } | Phase::Moving { .. } | Phase::Switching { .. } | Phase::Baking { .. } | Phase::Baked { .. }
    );
    if !can_end || now < hold.until() {
        return;
    }
    let within = hold.within;
    let failure = match hold.cause.clone() {
        HoldCause::Losses { mut failure } => {
            failure.summary = format!("{}; nobody decided within {within}", failure.summary);
            failure
        }
        HoldCause::Unknown { what } => {
            let summary = format!("{what}; nobody decided within {within}");
            Failure::new(FailureKind::Deadline, summary, "deploy the release again when it can be judged")
        }
        HoldCause::Paused { by, reason } => {
            state.condemn = false;
            let summary = format!("nobody resumed it within {within} after {by} paused it: {reason}");
            Failure::new(FailureKind::Deadline, summary, "deploy it again when you are ready")
        }
    };
    go_back(state, failure, now, notes);
}

/// Hosts that are tried again and have not shown yet that it works now.
fn unproven(state: &State) -> usize {
    let prepares = matches!(state.phase, Phase::Preparing { .. });
    let has_to_show = |host: &&Host| match host.stage {
        Stage::Preparing | Stage::Draining | Stage::Moving | Stage::Returning => true,
        Stage::Prepared => !prepares,
        _ => false,
    };
    state.hosts.values().filter(|host| host.attempt > 0).filter(has_to_show).count()
}

/// It goes on. What could not begin meanwhile is waited for from now on.
pub(crate) fn resume(state: &mut State, now: Timestamp) {
    state.hold = None;
    if let Phase::Moving { since, .. } | Phase::Baked { since, .. } = &mut state.phase {
        *since = now;
    }
    analysis::begin_anew(state, now);
}
