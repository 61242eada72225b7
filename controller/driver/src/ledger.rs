//! What must not be forgotten, seen from the driver: everything is read from here, and nothing leaves before it is saved here.

use async_trait::async_trait;
use roadstead_model::{AppName, ConfigurationId, Digest, EnvironmentName, HostFacts, HostId, ReleaseId, RolloutId, ServiceName, Timestamp};
use std::sync::Arc;

use crate::gates::LockRecord;
use crate::records::{ConfigurationRecord, EnvironmentRecord, HostRecord, NewEvent, OutputRecord, ReleaseRecord, RolloutRecord, Runs};
use crate::removal::{NotRemoved, Removal};

/// Why the ledger does not do as told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It takes nothing any more: the controller stops.
    #[error("the controller is stopping")]
    Stopping,
    /// It could not be read or written.
    #[error("{0}")]
    Failed(String),
}

/// Durable memory. What [`save`](Ledger::save) has answered with success survives any crash, and all of it or nothing is there.
#[async_trait]
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Every environment, by name and app.
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, LedgerError>;
    /// One environment of one app.
    async fn environment(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<EnvironmentRecord>, LedgerError>;
    /// One release, by the digest of its manifest.
    async fn release(&self, digest: &Digest) -> Result<Option<ReleaseRecord>, LedgerError>;
    /// One release, by its id; whatever configuration the id names.
    async fn release_by_id(&self, app: &AppName, id: &ReleaseId) -> Result<Option<ReleaseRecord>, LedgerError>;
    /// The newest configuration of an environment; none where nothing was ever said.
    async fn newest_configuration(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<ConfigurationRecord>, LedgerError>;
    /// A version of an environment's configuration; as version 0, what was said before configurations had names, where anything was.
    async fn configuration(&self, name: &EnvironmentName, app: &AppName, version: u64) -> Result<Option<ConfigurationRecord>, LedgerError>;
    /// The newest version of an environment's configuration that says what this id is the name of.
    async fn configuration_named(
        &self,
        name: &EnvironmentName,
        app: &AppName,
        id: &ConfigurationId,
    ) -> Result<Option<ConfigurationRecord>, LedgerError>;
    /// Every host, also those that were cut off, by name; of one environment, or of all.
    async fn hosts(&self, environment: Option<&EnvironmentName>) -> Result<Vec<HostRecord>, LedgerError>;
    /// The lock of an environment of an app, also one that has expired.
    async fn lock(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<LockRecord>, LedgerError>;
    /// Where the only instances of an app's services run.
    async fn singletons(&self, environment: &EnvironmentName, app: &AppName) -> Result<Vec<(ServiceName, HostId)>, LedgerError>;
    /// Hosts that may go by a lease of what runs only once.
    async fn leases(&self) -> Result<Vec<LeaseRecord>, LedgerError>;
    /// The newest rollouts of an environment that somebody asked for, newest first. Those that bring hosts level are not among them: of
    /// them there may be any number.
    async fn asked_for(&self, environment: &EnvironmentName, limit: u32) -> Result<Vec<RolloutRecord>, LedgerError>;
    /// The last rollout of a removed environment of this name and app; 0 when there was none.
    async fn removed_up_to(&self, environment: &EnvironmentName, app: &AppName) -> Result<RolloutId, LedgerError>;
    /// Rollouts that have not ended, oldest first.
    async fn unfinished_rollouts(&self) -> Result<Vec<RolloutRecord>, LedgerError>;
    /// The rollout that a request with this key made; none for an empty key.
    async fn rollout_by_key(&self, key: &str) -> Result<Option<RolloutRecord>, LedgerError>;
    /// The highest number that a rollout ever had, or may have had before the database was restored.
    async fn last_rollout(&self) -> Result<u64, LedgerError>;
    /// Numbers up to this one may have been given before the database was restored, as somebody has said: nothing follows from them.
    async fn forgiven(&self) -> Result<u64, LedgerError>;
    /// The app that a rollout is of; none where there is no such rollout.
    async fn app_of(&self, rollout: RolloutId) -> Result<Option<AppName>, LedgerError>;
    /// The kept output of a rollout.
    async fn outputs(&self, rollout: RolloutId) -> Result<Vec<OutputRecord>, LedgerError>;
    /// Keeps the output of steps; what was kept of them before is replaced.
    async fn keep_outputs(&self, rollout: RolloutId, outputs: Vec<OutputRecord>) -> Result<(), LedgerError>;
    /// Saves what was decided: all of it or nothing.
    async fn save(&self, changes: Changes) -> Result<(), LedgerError>;
    /// Removes an environment of an app and says so in the history, in one transaction with looking whether a rollout has not ended in
    /// it, or hosts belong to it that were not cut off.
    async fn remove_environment(&self, removal: Removal) -> Result<(), NotRemoved>;
}

/// A host that may go by a lease of what runs only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Where.
    pub environment: EnvironmentName,
    /// Of which app.
    pub app: AppName,
    /// Which host.
    pub host: HostId,
    /// It keeps to it whatever becomes of its agent, as it has said.
    pub keeps: bool,
}

/// What an environment runs from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Where.
    pub environment: EnvironmentName,
    /// Of which app.
    pub app: AppName,
    /// It.
    pub current: Runs,
    /// The good one before it.
    pub previous: Option<Runs>,
    /// The set of hosts that has the traffic now, where it was switched.
    pub set: Option<String>,
}

/// What the driver saves in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Rollouts that begin.
    pub started: Vec<Arc<RolloutRecord>>,
    /// Rollouts that moved on.
    pub moved: Vec<Arc<RolloutRecord>>,
    /// What environments run now.
    pub serving: Vec<Serving>,
    /// Releases that must not be rolled out again, and why.
    pub bad: Vec<(Digest, String)>,
    /// Where the only instances of services run.
    pub singletons: Vec<(EnvironmentName, AppName, ServiceName, HostId)>,
    /// Hosts that may go by a lease, and whether they keep to it; `None`: they need none any more.
    pub leases: Vec<(EnvironmentName, AppName, HostId, Option<bool>)>,
    /// What hosts say of themselves.
    pub facts: Vec<(HostId, HostFacts)>,
    /// When hosts were last heard.
    pub seen: Vec<(HostId, Timestamp)>,
    /// The history.
    pub events: Vec<NewEvent>,
}

impl Changes {
    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        let Self { started, moved, serving, bad, singletons, leases, facts, seen, events } = self;
        started.is_empty()
            && moved.is_empty()
            && serving.is_empty()
            && bad.is_empty()
            && singletons.is_empty()
            && leases.is_empty()
            && facts.is_empty()
            && seen.is_empty()
            && events.is_empty()
    }
}
