//! The policy of an environment: which hosts, and how releases reach them. Written by admins in TOML, applied, stored, fixed into each plan.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{
    Analysis, AppName, DatabasePolicy, DriftPolicy, EnvironmentName, Gates, Layer, LeaseSpan, Millis, RelativePath, SecretRef, Selector,
    Strategy, Traffic, VariableName,
};

/// An environment of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Its name.
    pub name: EnvironmentName,
    /// The app that it runs.
    pub app: AppName,
    /// Its hosts: those that enrolled for it and match.
    #[serde(default)]
    pub hosts: Selector,
    /// What a rollout waits for before it begins.
    #[serde(default, skip_serializing_if = "Gates::is_empty")]
    pub gates: Gates,
    /// How a rollout moves over them.
    #[serde(default)]
    pub strategy: Strategy,
    /// Where its traffic comes from, where that is this product's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// By what a release is judged while it bakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// How long old instances stay warm after the last batch, ready to serve again at once.
    #[serde(default = "default_bake")]
    pub bake: Millis,
    /// Releases that stay on each host's disk beside current and previous.
    #[serde(default = "default_keep")]
    pub keep: u32,
    /// What is done for its database before it is migrated.
    #[serde(default, skip_serializing_if = "DatabasePolicy::is_default")]
    pub database: DatabasePolicy,
    /// What becomes of a host that was changed behind the product's back.
    #[serde(default, skip_serializing_if = "DriftPolicy::is_default")]
    pub drift: DriftPolicy,
    /// How long the host of what runs only once may be silent until another follows it; absent where it is waited for, however long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<LeaseSpan>,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Values of variables that releases declare. No secrets: those lie on the hosts.
    #[serde(default)]
    pub variables: BTreeMap<VariableName, String>,
    /// Secrets that releases declare, by where each host finds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<VariableName, SecretRef>,
    /// Files that releases declare, by their paths within the app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<RelativePath, String>,
    /// What hosts with certain labels are told instead, or beside that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Layer>,
}

const fn default_bake() -> Millis {
    Millis::from_secs(60)
}

const fn default_keep() -> u32 {
    3
}

/// Deadlines of a rollout's parts. Every one has a default; none is infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Preparation of one host.
    pub prepare: Millis,
    /// The migration.
    pub migrate: Millis,
    /// Candidate to health on one host.
    pub activate: Millis,
    /// Silence of the controller after which a host undoes an unconfirmed cutover.
    pub confirm: Millis,
    /// How long a host that is away is waited for where nothing can go on without it.
    pub away: Millis,
    /// How long a decision of an operator is waited for, where nothing can go on without one; then the rollout goes back.
    pub decide: Millis,
    /// How long a rollout waits at its gates; then it ends, and nothing was changed.
    pub gates: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            prepare: Millis::from_secs(15 * 60),
            migrate: Millis::from_secs(30 * 60),
            activate: Millis::from_secs(5 * 60),
            confirm: Millis::from_secs(10 * 60),
            away: Millis::from_secs(60),
            decide: Millis::from_secs(4 * 3600),
            gates: Millis::from_secs(7 * 24 * 3600),
        }
    }
}
