//! A host made of a set of steps in effect, and orders to try on it.

use proptest::prelude::*;
use roadstead_model::{
    AppName, Digest, EnvironmentName, Failure, FailureKind, Fence, Millis, Order, OrderKind, ReleaseId, ReleaseRef, RolloutId, StepName,
    Version,
};
use std::collections::BTreeSet;

use crate::{JOURNAL_FORMAT, Next, Record, Status, fold, next};

/// What is in effect on the host, and which steps and undos fail there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) effects: BTreeSet<StepName>,
    pub(crate) fails: BTreeSet<StepName>,
    pub(crate) undo_fails: BTreeSet<StepName>,
    pub(crate) undone: Vec<StepName>,
}

pub(crate) fn release() -> ReleaseRef {
    let manifest = Digest::of(b"manifest");
    ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest }
}

pub(crate) fn kinds() -> Vec<OrderKind> {
    let release = release();
    vec![
        OrderKind::Prepare {
            release: release.clone(),
            variables: [].into(),
            secrets: [].into(),
            files: [].into(),
            singletons: vec![],
            keep: 3,
            publish: true,
        },
        OrderKind::Migrate { release: release.clone(), backup: None, idle: false },
        OrderKind::Activate { release: release.clone(), expected: None, confirm_within: Millis(1000) },
        OrderKind::Confirm { release: release.clone() },
        OrderKind::Revert { from: release.clone(), to: None, condemn: true, everywhere: false },
        OrderKind::Abandon { release, condemn: false },
    ]
}

pub(crate) fn order(term: u64, rollout: u64, sequence: u32, kind: OrderKind) -> Order {
    Order {
        fence: Fence { term, rollout: RolloutId(rollout), sequence },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind,
        deadline: Millis(60_000),
    }
}

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "it failed", "try again")
}

pub(crate) fn some_steps() -> impl Strategy<Value = BTreeSet<StepName>> {
    proptest::collection::btree_set(proptest::sample::select(&StepName::ALL[..]), 0..3)
}

impl World {
    /// The records that doing the next thing gives: one before acting, one after.
    pub(crate) fn announce(todo: &Next) -> Option<Record> {
        match todo {
            Next::Run(step) => Some(Record::Started { step: *step }),
            Next::Undo(step) => Some(Record::UndoStarted { step: *step }),
            Next::Finish(_) | Next::Idle => None,
        }
    }

    pub(crate) fn act(&mut self, todo: Next) -> Option<Record> {
        match todo {
            Next::Run(step) => {
                self.effects.insert(step);
                Some(if self.fails.contains(&step) {
                    Record::Failed { step, failure: failure(FailureKind::Check), took: Millis(1) }
                } else {
                    Record::Succeeded { step, note: "done".into(), took: Millis(1), safeguard: None }
                })
            }
            Next::Undo(step) => {
                self.undone.push(step);
                Some(if self.undo_fails.contains(&step) {
                    Record::UndoFailed { step, failure: failure(FailureKind::Host) }
                } else {
                    self.effects.remove(&step);
                    Record::UndoFinished { step }
                })
            }
            Next::Finish(ending) => Some(Record::Ended { outcome: ending.outcome(None) }),
            Next::Idle => None,
        }
    }

    /// Carries a journal to its end; every record must be one that the status takes.
    pub(crate) fn carry_on(&mut self, journal: &mut Vec<Record>) -> Status {
        let mut status = fold(journal.iter()).unwrap();
        for _ in 0..100 {
            let todo = next(&status);
            for record in Self::announce(&todo).into_iter().chain(self.act(todo.clone())) {
                status.apply(&record).unwrap();
                journal.push(record);
            }
            if todo == Next::Idle {
                return status;
            }
        }
        panic!("no end after 100 turns: {status:?}");
    }
}

pub(crate) fn header(kind: OrderKind) -> Vec<Record> {
    vec![Record::Header { format: JOURNAL_FORMAT, order: order(1, 1, 1, kind) }]
}
