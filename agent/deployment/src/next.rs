//! What to do next for an order.

use roadstead_model::{Failure, OrderOutcome, ReleaseId, StepName};

use crate::status::{Phase, Status};
use crate::step::last_to_undo;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run this step (again, when it had been started).
    Run(StepName),
    /// Undo this step (again, when that had been started).
    Undo(StepName),
    /// Write down the end and report it.
    Finish(Ending),
    /// Nothing: it ended.
    Idle,
}

/// How an order ends, but for what serves then: whoever finishes it looks and adds that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All of it is done.
    Done,
    /// It failed, and what had been changed is undone.
    Failed {
        /// The step at which.
        step: StepName,
        /// Why.
        failure: Failure,
    },
    /// It failed, and undoing failed or is impossible.
    Stuck {
        /// The step at which.
        step: StepName,
        /// Why.
        failure: Failure,
    },
}

impl Ending {
    /// The outcome, with what serves now.
    #[must_use]
    pub fn outcome(self, current: Option<ReleaseId>) -> OrderOutcome {
        match self {
            Self::Done => OrderOutcome::Done { current },
            Self::Failed { step, failure } => OrderOutcome::Failed { step, failure, current },
            Self::Stuck { step, failure } => OrderOutcome::Stuck { step, failure, current },
        }
    }
}

/// What to do next for an order.
#[must_use]
pub fn next(status: &Status) -> Next {
    let steps = status.steps();
    match &status.phase {
        Phase::Ready { done } => steps.get(*done).map_or(Next::Finish(Ending::Done), |step| Next::Run(*step)),
        Phase::Running { position } => Next::Run(steps[*position]),
        Phase::Undoing { failed, failure, remaining, .. } => match last_to_undo(steps, *remaining) {
            Some(index) => Next::Undo(steps[index]),
            None => Next::Finish(end_of_failure(*failed, failure)),
        },
        Phase::Stuck { step, failure } => Next::Finish(Ending::Stuck { step: *step, failure: failure.clone() }),
        Phase::Ended { .. } => Next::Idle,
    }
}

/// Going back is itself the undoing: when that fails, nothing is left to try, and a person must look.
fn end_of_failure(failed: Option<StepName>, failure: &Failure) -> Ending {
    let failure = failure.clone();
    match failed {
        Some(step @ (StepName::Revert | StepName::Settle)) => Ending::Stuck { step, failure },
        Some(step) => Ending::Failed { step, failure },
        // It lapsed: what was missing is the confirmation.
        None => Ending::Failed { step: StepName::Confirm, failure },
    }
}
