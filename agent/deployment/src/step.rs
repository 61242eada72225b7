//! The steps of each order, and what undoing them means.

use roadstead_model::{OrderKind, StepName};

/// What undoing a step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reversibility {
    /// It leaves nothing behind that serves: what it made lies on disk until it is pruned, and helps a second attempt.
    Inert,
    /// It can be undone.
    Undoable,
    /// It cannot be undone, nor can anything before it once it has begun.
    Irreversible,
}

/// The steps of an order, in the order in which they run. `Abandon` clears up by way of `prune`.
#[must_use]
pub const fn steps_of(kind: &OrderKind) -> &'static [StepName] {
    match kind {
        OrderKind::Prepare { publish: true, .. } => StepName::PREPARE,
        OrderKind::Prepare { publish: false, .. } => StepName::PREPARE_ALONE,
        OrderKind::Migrate { backup: Some(_), .. } => StepName::MIGRATE,
        OrderKind::Migrate { backup: None, .. } => StepName::MIGRATE_ALONE,
        OrderKind::Activate { .. } => StepName::ACTIVATE,
        OrderKind::Confirm { .. } => StepName::CONFIRM,
        OrderKind::Revert { .. } => StepName::REVERT,
        OrderKind::Abandon { .. } => &[StepName::Prune],
        OrderKind::Backup { .. } => StepName::BACKUP,
        OrderKind::Recheck { .. } => StepName::RECHECK,
        OrderKind::Job { .. } => StepName::JOB,
        OrderKind::Survey { .. } => StepName::SURVEY,
        OrderKind::Halt { .. } => StepName::HALT,
        OrderKind::Restore { .. } => StepName::RESTORE,
        OrderKind::Exchange { .. } => StepName::EXCHANGE,
    }
}

/// What undoing a step means.
#[must_use]
pub const fn reversibility(step: StepName) -> Reversibility {
    match step {
        StepName::Preflight
        | StepName::Prune
        | StepName::Fetch
        | StepName::Verify
        | StepName::Unpack
        | StepName::Venv
        | StepName::Configure
        | StepName::Collectstatic
        | StepName::Publish
        | StepName::Backup
        | StepName::Compatible
        | StepName::Proof
        | StepName::Health
        | StepName::Recheck
        | StepName::Job
        | StepName::Survey
        | StepName::Restore => Reversibility::Inert,
        StepName::Candidate | StepName::Cutover => Reversibility::Undoable,
        // What was halted is started again by an order of its own, a revert.
        StepName::Migrate | StepName::Confirm | StepName::Halt | StepName::Exchange | StepName::Revert | StepName::Settle => {
            Reversibility::Irreversible
        }
    }
}

/// The last of the first `count` steps that is to be undone; none beyond an irreversible one.
pub(crate) fn last_to_undo(steps: &[StepName], count: usize) -> Option<usize> {
    let reach = steps.iter().take(count).enumerate().rev();
    reach
        .take_while(|(_, step)| reversibility(**step) != Reversibility::Irreversible)
        .find(|(_, step)| reversibility(**step) == Reversibility::Undoable)
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_undone_past_an_irreversible_step(
            steps in proptest::collection::vec(proptest::sample::select(&StepName::ALL[..]), 0..12),
            count in 0..12usize,
        ) {
            if let Some(index) = last_to_undo(&steps, count) {
                prop_assert!(index < count);
                prop_assert_eq!(reversibility(steps[index]), Reversibility::Undoable);
                let after = &steps[index + 1..count.min(steps.len())];
                prop_assert!(after.iter().all(|step| reversibility(*step) == Reversibility::Inert));
            }
        }
    }
}
