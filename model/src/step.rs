//! The steps of a deployment: what an agent does for a release, in this order.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One idempotent, journalled action of an agent. The order of the variants is the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// The host can take the release: disk, inodes, Python, ports, user.
    Preflight,
    /// Old releases, environments and blobs make room.
    Prune,
    /// The blobs that the host lacks arrive.
    Fetch,
    /// Signatures and every digest are checked.
    Verify,
    /// The read-only release tree is laid out.
    Unpack,
    /// The virtual environment of the lock is there.
    Venv,
    /// Environment files and units of the release are written.
    Configure,
    /// Static files join those of the previous release.
    Collectstatic,
    /// Static files are where everybody has them from: in a bucket, or in a CDN's directory.
    Publish,
    /// What a migration could lose is kept: the database is backed up, and the backup is checked.
    Backup,
    /// The database schema moves, on one host of the environment.
    Migrate,
    /// The release that serves still passes its checks with the schema as it is now.
    Compatible,
    /// The new instances run beside the old ones and answer on their private sockets.
    Candidate,
    /// The new instances get the traffic; `current` names the release.
    Cutover,
    /// The serving processes are shown to belong to the release.
    Proof,
    /// The health checks pass on the public address.
    Health,
    /// The old instances stop; the release is good.
    Confirm,
    /// A backup that was made before is looked at once more, as a new one would be.
    Recheck,
    /// A command that the release declares runs to its end.
    Job,
    /// What a backup is, and what a restore of it would lose: nothing is changed.
    Survey,
    /// Everything of the app stops on the host, and starts no more: no process is left that could write to its database.
    Halt,
    /// The backup is restored beside the database, into one of its own, and compared with what it was made of.
    Restore,
    /// The restored database takes the place of the present one, which is kept under another name.
    Exchange,
    /// The previous release has the traffic again, shown by what the kernel says.
    Revert,
    /// The rest follows it: workers, what runs once, what starts at boot. What was left drains and goes.
    Settle,
}

/// A text that names no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a step")]
pub struct InvalidStep(String);

impl StepName {
    /// Every step, in order.
    pub const ALL: [Self; 25] = [
        Self::Preflight,
        Self::Prune,
        Self::Fetch,
        Self::Verify,
        Self::Unpack,
        Self::Venv,
        Self::Configure,
        Self::Collectstatic,
        Self::Publish,
        Self::Backup,
        Self::Migrate,
        Self::Compatible,
        Self::Candidate,
        Self::Cutover,
        Self::Proof,
        Self::Health,
        Self::Confirm,
        Self::Recheck,
        Self::Job,
        Self::Survey,
        Self::Halt,
        Self::Restore,
        Self::Exchange,
        Self::Revert,
        Self::Settle,
    ];

    /// What an order to prepare makes a host do.
    pub const PREPARE: &[Self] = &[
        Self::Preflight,
        Self::Prune,
        Self::Fetch,
        Self::Verify,
        Self::Unpack,
        Self::Venv,
        Self::Configure,
        Self::Collectstatic,
        Self::Publish,
    ];
    /// What it made a host do before orders said that static files are to be published; journals tell of such.
    pub const PREPARE_ALONE: &[Self] =
        &[Self::Preflight, Self::Prune, Self::Fetch, Self::Verify, Self::Unpack, Self::Venv, Self::Configure, Self::Collectstatic];
    /// What an order to migrate makes a host do.
    pub const MIGRATE: &[Self] = &[Self::Backup, Self::Migrate, Self::Compatible];
    /// What it made a host do before orders said what is to be kept; journals tell of such.
    pub const MIGRATE_ALONE: &[Self] = &[Self::Migrate];
    /// What an order to activate makes a host do.
    pub const ACTIVATE: &[Self] = &[Self::Candidate, Self::Cutover, Self::Proof, Self::Health];
    /// What an order to confirm makes a host do.
    pub const CONFIRM: &[Self] = &[Self::Confirm];
    /// What an order to back the database up makes a host do.
    pub const BACKUP: &[Self] = &[Self::Backup];
    /// What an order to look at a backup again makes a host do.
    pub const RECHECK: &[Self] = &[Self::Recheck];
    /// What an order to run a job makes a host do.
    pub const JOB: &[Self] = &[Self::Job];
    /// What an order to survey makes a host do.
    pub const SURVEY: &[Self] = &[Self::Survey];
    /// What an order to halt makes a host do.
    pub const HALT: &[Self] = &[Self::Halt];
    /// What an order to restore makes a host do.
    pub const RESTORE: &[Self] = &[Self::Restore];
    /// What an order to exchange makes a host do.
    pub const EXCHANGE: &[Self] = &[Self::Exchange];
    /// What an order to revert makes a host do.
    pub const REVERT: &[Self] = &[Self::Revert, Self::Settle];

    /// The word for it in output, configuration and journals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Prune => "prune",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Unpack => "unpack",
            Self::Venv => "venv",
            Self::Configure => "configure",
            Self::Collectstatic => "collectstatic",
            Self::Publish => "publish",
            Self::Backup => "backup",
            Self::Migrate => "migrate",
            Self::Compatible => "compatible",
            Self::Candidate => "candidate",
            Self::Cutover => "cutover",
            Self::Proof => "proof",
            Self::Health => "health",
            Self::Confirm => "confirm",
            Self::Recheck => "recheck",
            Self::Job => "job",
            Self::Survey => "survey",
            Self::Halt => "halt",
            Self::Restore => "restore",
            Self::Exchange => "exchange",
            Self::Revert => "revert",
            Self::Settle => "settle",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StepName {
    type Err = InvalidStep;
    fn from_str(text: &str) -> Result<Self, InvalidStep> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| InvalidStep(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_reads_back() {
        for step in StepName::ALL {
            assert_eq!(step.as_str().parse::<StepName>().unwrap(), step);
            assert_eq!(serde_json_free_name(step), step.as_str());
        }
        assert!(StepName::ALL.is_sorted());
    }

    // The serde name and the display name are one word; checked through Debug since this crate has no JSON.
    fn serde_json_free_name(step: StepName) -> String {
        format!("{step:?}").to_lowercase()
    }
}
