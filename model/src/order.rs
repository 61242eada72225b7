//! Orders: the closed set of verbs that a controller may give an agent. No variant can carry code, a path or a URL.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{
    AppName, BackupDemand, BackupName, Digest, EnvironmentName, JobName, Millis, RelativePath, ReleaseId, RolloutId, SecretRef,
    ServiceName, VariableName,
};

/// What keeps an old order from acting: the controller's term, then the rollout (generation), then the order's place in it.
///
/// An agent remembers the highest fence that it has obeyed for an app and refuses every lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Counted up whenever a controller takes over or its database is restored.
    pub term: u64,
    /// The rollout, whose number is the generation.
    pub rollout: RolloutId,
    /// The place of the order within the rollout, counted up for each host.
    pub sequence: u32,
}

/// What makes two orders the same order: a repeat is answered from the journal, not run again. The term is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderKey {
    /// The rollout.
    pub rollout: RolloutId,
    /// The order's place in it.
    pub sequence: u32,
}

/// A release as an order names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// Folder and instance name.
    pub id: ReleaseId,
    /// Digest of the signed manifest.
    pub manifest: Digest,
}

/// One order to one host about one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its protection against replay and delay.
    pub fence: Fence,
    /// The environment on whose behalf it is given.
    pub environment: EnvironmentName,
    /// The app that it is about.
    pub app: AppName,
    /// What to do.
    pub kind: OrderKind,
    /// How long all of it may take before the agent gives up and undoes.
    pub deadline: Millis,
}

impl Order {
    /// The identity of the order.
    #[must_use]
    pub const fn key(&self) -> OrderKey {
        OrderKey { rollout: self.fence.rollout, sequence: self.fence.sequence }
    }
}

impl OrderKind {
    /// What every controller and every agent says of it: a controller that was upgraded since it gave an order says more when it repeats that,
    /// and an agent from before wrote less of it down.
    #[must_use]
    pub fn as_ever(&self) -> Self {
        let mut plain = self.clone();
        match &mut plain {
            Self::Prepare { publish, .. } => *publish = false,
            Self::Revert { everywhere, .. } => *everywhere = false,
            _ => {}
        }
        plain
    }
}

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verb")]
pub enum OrderKind {
    /// Everything that can be done before the host changes: preflight to publish.
    Prepare {
        /// The release to prepare.
        release: ReleaseRef,
        /// Values for variables that the release's manifest declares; others are refused.
        variables: BTreeMap<VariableName, String>,
        /// Where variables that the release's manifest declares as secrets have their values from: each host finds them by itself.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        secrets: BTreeMap<VariableName, SecretRef>,
        /// Files that the release's manifest takes from the configuration, by their paths within the app; others are refused.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<RelativePath, String>,
        /// Services of which this host runs the environment's only instance (beat).
        singletons: Vec<ServiceName>,
        /// Releases to keep on disk beside current and previous.
        keep: u32,
        /// Publishing static files is a step of its own; not for controllers that knew of none, whose steps are those of then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        publish: bool,
    },
    /// Run the database migrations of a prepared release. Given to one host of the environment.
    Migrate {
        /// The prepared release.
        release: ReleaseRef,
        /// The backup that has to be there before; absent from controllers that knew of none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<BackupDemand>,
        /// No traffic goes to the host: what serves there is not what users see.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        idle: bool,
    },
    /// Candidate, cutover, proof, health.
    Activate {
        /// The prepared release.
        release: ReleaseRef,
        /// The release that must be current for the order to hold; `None` for a first deployment.
        expected: Option<ReleaseId>,
        /// Silence of the controller for this long after the cutover undoes it.
        confirm_within: Millis,
    },
    /// The rollout is good here: stop the old instances, mark the release good.
    Confirm {
        /// The release that must be current.
        release: ReleaseRef,
    },
    /// Make `to` serve again, from what is still on disk; `from` is marked bad when `condemn`.
    Revert {
        /// The release to leave.
        from: ReleaseRef,
        /// The release to go back to; `None` when there was none: then the services stop.
        to: Option<ReleaseRef>,
        /// Mark `from` as bad: it is never started or chosen again.
        condemn: bool,
        /// The whole environment goes back to it: what is everybody's, such as published files, goes back, too. Not for controllers that
        /// knew nothing of that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        everywhere: bool,
    },
    /// The rollout ended without this host's cutover: clear up what was prepared, mark it bad when `condemn`.
    Abandon {
        /// The release that was prepared.
        release: ReleaseRef,
        /// Mark it as bad.
        condemn: bool,
    },
    /// Back the database up, whether migrations wait or not. Given to one host of the environment, which serves the release.
    Backup {
        /// The release that serves: it knows the way to the database.
        release: ReleaseRef,
        /// How the backup is to be checked.
        demand: BackupDemand,
    },
    /// Look at a backup once more: restored elsewhere and compared, or read back where only that can be done. Given to the host that keeps it.
    Recheck {
        /// The release that serves.
        release: ReleaseRef,
        /// The backup.
        backup: BackupName,
        /// How it is to be looked at.
        demand: BackupDemand,
    },
    /// Run a command that the release declares, once. Given to one host of the environment, which serves the release.
    Job {
        /// The release that serves.
        release: ReleaseRef,
        /// Which of its jobs.
        job: JobName,
    },
    /// Look what a restore of a backup would lose. Given to the host that keeps it; it changes nothing.
    Survey {
        /// The prepared release that is to serve behind the restore: it knows the way to the database.
        release: ReleaseRef,
        /// The backup.
        backup: BackupName,
    },
    /// Stop everything of the app, so that nothing of it writes to its database; it stays so until a revert.
    Halt {
        /// The release that is to serve behind the restore.
        release: ReleaseRef,
    },
    /// Restore a backup beside the database. Given to one host of the environment.
    Restore {
        /// The prepared release that is to serve behind it.
        release: ReleaseRef,
        /// The backup.
        backup: BackupName,
    },
    /// Put what was restored in the place of the database, which is kept. Given to the host that restored it.
    Exchange {
        /// The prepared release that is to serve behind it.
        release: ReleaseRef,
        /// The backup.
        backup: BackupName,
    },
}

impl OrderKind {
    /// The verb as a word.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Prepare { .. } => "prepare",
            Self::Migrate { .. } => "migrate",
            Self::Activate { .. } => "activate",
            Self::Confirm { .. } => "confirm",
            Self::Revert { .. } => "revert",
            Self::Abandon { .. } => "abandon",
            Self::Backup { .. } => "backup",
            Self::Recheck { .. } => "recheck",
            Self::Job { .. } => "job",
            Self::Survey { .. } => "survey",
            Self::Halt { .. } => "halt",
            Self::Restore { .. } => "restore",
            Self::Exchange { .. } => "exchange",
        }
    }

    /// The release that the order is about.
    #[must_use]
    pub const fn release(&self) -> &ReleaseRef {
        match self {
            Self::Prepare { release, .. }
            | Self::Migrate { release, .. }
            | Self::Activate { release, .. }
            | Self::Confirm { release }
            | Self::Abandon { release, .. }
            | Self::Backup { release, .. }
            | Self::Recheck { release, .. }
            | Self::Job { release, .. }
            | Self::Survey { release, .. }
            | Self::Halt { release }
            | Self::Restore { release, .. }
            | Self::Exchange { release, .. }
            | Self::Revert { from: release, .. } => release,
        }
    }
}
