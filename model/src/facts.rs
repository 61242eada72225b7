//! What a host says of itself when its session opens, and when it changes.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::{AppName, Drift, Fence, HostName, ReleaseId, ServiceName, VariableName};

/// What a host says of itself. Never trusted for identity or labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The host name.
    pub host_name: HostName,
    /// The agent's version.
    pub agent_version: String,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub operating_system: String,
    /// Such as `x86_64`.
    pub architecture: String,
    /// The version of systemd, such as `252`.
    pub systemd: String,
    /// The kernel's random id of this boot.
    pub boot_id: String,
    /// Python interpreters that were found.
    pub pythons: Vec<PythonFact>,
    /// Free space where releases lie.
    pub disk: DiskSpace,
    /// Apps on the host.
    pub apps: BTreeMap<AppName, AppState>,
    /// The keys that the host believes; absent when its agent does not say.
    #[serde(default)]
    pub release_keys: Option<ReleaseKeys>,
}

/// Whom a host believes, without the keys themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ReleaseKeys {
    /// Signatures by different keys that a release needs.
    pub threshold: u32,
    /// The ids of the keys, 16 bytes each.
    pub ids: Vec<[u8; 16]>,
    /// Why the host believes nobody; empty while it believes someone.
    pub problem: String,
}

/// A Python interpreter on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonFact {
    /// Such as `3.11`.
    pub version: String,
    /// Where it is.
    pub path: String,
}

/// Free space and inodes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct DiskSpace {
    /// Free bytes.
    pub free_bytes: u64,
    /// Free inodes; `u64::MAX` where the file system does not count them.
    pub free_inodes: u64,
}

/// Where one app stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct AppState {
    /// The release that serves.
    pub current: Option<ReleaseId>,
    /// The release before it, still able to serve.
    pub previous: Option<ReleaseId>,
    /// Releases that are complete on disk.
    pub releases: Vec<ReleaseId>,
    /// Releases that were marked bad.
    pub bad: Vec<ReleaseId>,
    /// The highest fence that the host has obeyed for the app.
    pub highest: Option<Fence>,
    /// The serving release waits for its confirmation: silence of the controller would undo it.
    #[serde(default)]
    pub unconfirmed: bool,
    /// Services that run on chosen hosts alone, and that the serving release was prepared to run on this one; absent where that is not
    /// known, and from agents that do not tell.
    #[serde(default)]
    pub listed: Option<BTreeSet<ServiceName>>,
    /// Variables that the host's own file sets for it, by their names; absent from agents that do not tell.
    #[serde(default)]
    pub set: Option<BTreeSet<VariableName>>,
    /// Where it differs from what was deployed; absent while nobody has looked since its last order, and from agents that do not look.
    #[serde(default)]
    pub drift: Option<Drift>,
}
