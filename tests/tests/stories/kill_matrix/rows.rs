//! The rows of the kill matrix: one for each step that the agent knows, and one for each that can be undone. A step without a row does
//! not compile here.

use roadstead_deployment::{Reversibility, reversibility, steps_of};
use roadstead_model::{BackupDemand, BackupName, Digest, JobName, Millis, OrderKind, ReleaseId, ReleaseRef, StepName};
use std::collections::BTreeMap;

/// What an operator does so that a step comes by. Each begins with the old release on every host, and nothing of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// Deploys a good release.
    Deploy,
    /// Deploys it, and goes back.
    Rollback,
    /// Deploys a release that fails its checks before it has any traffic.
    Broken,
    /// Deploys a good release, and ends the rollout after the cutover.
    Abort,
    /// Deploys it, and restores the backup of before.
    Restore,
    /// Deploys it, and has the backup of before looked at again.
    Recheck,
    /// Deploys it, and has a job of it run.
    Job,
}

/// The process that works for a step, beside the agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Helper {
    /// None: the agent does it all.
    None,
    /// A command of the release, in a unit of its own.
    Command(&'static str),
    /// A service of the release that is deployed.
    New(&'static str),
    /// A service of the release that served before.
    Old(&'static str),
}

/// A row: where a step comes by, and who works for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) helper: Helper,
}

const fn row(scenario: Scenario, helper: Helper) -> Row {
    Row { scenario, helper }
}

/// The row of a step that runs.
pub(super) const fn running(step: StepName) -> Row {
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
        | StepName::Compatible => row(Scenario::Deploy, Helper::None),
        StepName::Backup => row(Scenario::Deploy, Helper::Command("backup")),
        StepName::Migrate => row(Scenario::Deploy, Helper::Command("migrate")),
        StepName::Candidate | StepName::Cutover | StepName::Proof => row(Scenario::Deploy, Helper::New("web")),
        StepName::Health => row(Scenario::Deploy, Helper::New("worker")),
        StepName::Confirm => row(Scenario::Deploy, Helper::Old("web")),
        StepName::Recheck => row(Scenario::Recheck, Helper::Command("backup-check")),
        StepName::Job => row(Scenario::Job, Helper::Command(".job.recount")),
        StepName::Survey => row(Scenario::Restore, Helper::Command("backup")),
        StepName::Halt => row(Scenario::Restore, Helper::New("web")),
        StepName::Restore | StepName::Exchange => row(Scenario::Restore, Helper::Command("backup")),
        StepName::Revert => row(Scenario::Rollback, Helper::Old("web")),
        StepName::Settle => row(Scenario::Rollback, Helper::Old("worker")),
    }
}

/// The row of a step that is undone.
pub(super) const fn undoing(step: StepName) -> Option<Row> {
    match reversibility(step) {
        Reversibility::Inert | Reversibility::Irreversible => None,
        Reversibility::Undoable => Some(match step {
            StepName::Candidate => row(Scenario::Broken, Helper::New("web")),
            StepName::Cutover => row(Scenario::Abort, Helper::Old("web")),
            _ => panic!("a step that can be undone has no row in the kill matrix"),
        }),
    }
}

/// Asks for every row of `undoing` while this is compiled.
const _: () = {
    let mut all: &[StepName] = &StepName::ALL;
    while let [step, rest @ ..] = all {
        let _row = undoing(*step);
        all = rest;
    }
};

/// What fails in a scenario, so that something is undone.
pub(super) const fn failing(scenario: Scenario) -> Option<StepName> {
    match scenario {
        Scenario::Deploy | Scenario::Rollback | Scenario::Restore | Scenario::Recheck | Scenario::Job => None,
        Scenario::Broken => Some(StepName::Candidate),
        Scenario::Abort => Some(StepName::Health),
    }
}

/// The record that announces a step: the end of the one before it in its order, or the order's first.
pub(super) fn before(step: StepName) -> (&'static str, String) {
    for order in orders() {
        let steps = steps_of(&order);
        if let Some(index) = steps.iter().position(|one| *one == step) {
            let earlier = index.checked_sub(1).and_then(|index| steps.get(index));
            return earlier.map_or(("header", order.verb().to_owned()), |earlier| ("succeeded", earlier.to_string()));
        }
    }
    panic!("{step} is a step of no order")
}

/// One order of each verb, for their steps.
fn orders() -> [OrderKind; 12] {
    let release = ReleaseRef { id: ReleaseId::parse("1.0.0-0123456789ab").unwrap(), manifest: Digest::of(b"any") };
    let backup = BackupName::parse("erp-r-1-1").unwrap();
    [
        OrderKind::Prepare {
            release: release.clone(),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            singletons: Vec::new(),
            keep: 0,
            publish: true,
        },
        OrderKind::Migrate { release: release.clone(), backup: Some(BackupDemand::default()), idle: false },
        OrderKind::Activate { release: release.clone(), expected: None, confirm_within: Millis(1) },
        OrderKind::Confirm { release: release.clone() },
        OrderKind::Backup { release: release.clone(), demand: BackupDemand::default() },
        OrderKind::Recheck { release: release.clone(), backup: backup.clone(), demand: BackupDemand::default() },
        OrderKind::Job { release: release.clone(), job: JobName::parse("recount").unwrap() },
        OrderKind::Survey { release: release.clone(), backup: backup.clone() },
        OrderKind::Halt { release: release.clone() },
        OrderKind::Restore { release: release.clone(), backup: backup.clone() },
        OrderKind::Exchange { release: release.clone(), backup },
        OrderKind::Revert { from: release, to: None, condemn: false, everywhere: false },
    ]
}
