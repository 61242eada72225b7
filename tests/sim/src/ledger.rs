//! The simulated database: what was saved survives every crash, all of a change or nothing of it. Saving takes time, so that a
//! controller can die before it is durable and after, and fails for a while when the disk is full.

use async_trait::async_trait;
use roadstead_driver::{
    Changes, ConfigurationRecord, EnvironmentRecord, HostRecord, LeaseRecord, Ledger, LedgerError, LockRecord, NotRemoved, OutputRecord,
    ReleaseRecord, Removal, RolloutRecord,
};
use roadstead_model::{
    AppName, ConfigurationId, Digest, EnvironmentName, EnvironmentSpec, HostId, Key, ReleaseId, RolloutId, Selector, ServiceName,
    VariableName,
};
use roadstead_rollout::RolloutKind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::lookout::Sightings;
use crate::promises;
use crate::witness::Witness;

/// What is durable.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) environments: BTreeMap<(EnvironmentName, AppName), EnvironmentRecord>,
    pub(crate) releases: BTreeMap<Digest, ReleaseRecord>,
    pub(crate) hosts: BTreeMap<HostId, HostRecord>,
    pub(crate) rollouts: BTreeMap<RolloutId, Arc<RolloutRecord>>,
    pub(crate) locks: BTreeMap<(EnvironmentName, AppName), LockRecord>,
    /// Versions of the one environment's configuration, oldest first.
    pub(crate) configurations: Vec<ConfigurationRecord>,
    singletons: BTreeMap<(EnvironmentName, AppName, ServiceName), HostId>,
    leases: BTreeMap<(EnvironmentName, AppName, HostId), bool>,
    term: u64,
}

/// What no release runs with.
pub(crate) const BAD: &str = "bad";

/// The variable that every release declares.
pub(crate) fn setting() -> VariableName {
    VariableName::parse("SETTING").unwrap_or_else(|error| panic!("a good name: {error}"))
}

/// The database of the simulated controller.
#[derive(Debug)]
pub(crate) struct SimLedger {
    tables: Mutex<Tables>,
    chance: Mutex<Chance>,
    full: Mutex<bool>,
    /// What was seen of hosts from outside, whatever was made of it.
    pub(crate) sightings: Mutex<Sightings>,
    witness: Witness,
}

impl SimLedger {
    pub(crate) fn new(seed: u64, witness: Witness) -> Self {
        let chance = Mutex::new(Chance::of(seed, "ledger"));
        Self { tables: Mutex::default(), chance, full: Mutex::new(false), sightings: Mutex::default(), witness }
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk is full, or has room again.
    pub(crate) fn set_full(&self, full: bool) {
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) = full;
    }

    /// Counts the term up, as each start does before anybody is served.
    pub(crate) fn begin_term(&self) -> u64 {
        let mut tables = self.tables();
        tables.term += 1;
        tables.term
    }

    /// Says something to the app from the next rollout on: to all hosts, or to those with a label.
    pub(crate) fn configure(&self, hosts: &Selector, value: Option<String>) {
        let mut tables = self.tables();
        let before = tables.configurations.last().cloned().unwrap_or_else(ConfigurationRecord::none);
        let Ok(content) = before.content.with(hosts, &Key::Variable(setting()), value) else { return };
        let version = before.version + 1;
        tables.configurations.push(ConfigurationRecord { version, content, ..ConfigurationRecord::none() });
    }

    /// Whether a release is told what it cannot run with.
    pub(crate) fn is_misconfigured(&self, release: &ReleaseId) -> bool {
        let Some(id) = release.configuration() else { return false };
        let tables = self.tables();
        let known = tables.configurations.iter().find(|known| known.content.id() == id);
        known.is_some_and(|known| known.content.layers().any(|(layer, _)| layer.values.variables.values().any(|value| value == BAD)))
    }

    /// Sets the policy of an environment.
    pub(crate) fn apply(&self, spec: EnvironmentSpec) {
        let mut tables = self.tables();
        let key = (spec.name.clone(), spec.app.clone());
        match tables.environments.get_mut(&key) {
            Some(known) => known.spec = spec,
            None => {
                let applied_by = "admin:ada".to_owned();
                let applied_at = roadstead_model::Timestamp(0);
                tables
                    .environments
                    .insert(key, EnvironmentRecord { spec, applied_at, applied_by, current: None, previous: None, live_set: None });
            }
        }
    }

    async fn wait(&self) {
        let span = self.chance.lock().unwrap_or_else(PoisonError::into_inner).millis(0, 4);
        sleep(span).await;
    }
}

#[async_trait]
impl Ledger for SimLedger {
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, LedgerError> {
        Ok(self.tables().environments.values().cloned().collect())
    }

    async fn environment(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<EnvironmentRecord>, LedgerError> {
        Ok(self.tables().environments.get(&(name.clone(), app.clone())).cloned())
    }

    async fn release(&self, digest: &Digest) -> Result<Option<ReleaseRecord>, LedgerError> {
        Ok(self.tables().releases.get(digest).cloned())
    }

    async fn release_by_id(&self, app: &AppName, id: &ReleaseId) -> Result<Option<ReleaseRecord>, LedgerError> {
        let tables = self.tables();
        Ok(tables.releases.values().find(|release| release.manifest.app == *app && release.id() == id.bare()).cloned())
    }

    async fn newest_configuration(&self, _name: &EnvironmentName, _app: &AppName) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(self.tables().configurations.last().cloned())
    }

    async fn configuration(
        &self,
        _name: &EnvironmentName,
        _app: &AppName,
        version: u64,
    ) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(self.tables().configurations.iter().find(|known| known.version == version).cloned())
    }

    async fn configuration_named(
        &self,
        _name: &EnvironmentName,
        _app: &AppName,
        id: &ConfigurationId,
    ) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(self.tables().configurations.iter().rev().find(|known| known.content.id() == *id).cloned())
    }

    async fn hosts(&self, environment: Option<&EnvironmentName>) -> Result<Vec<HostRecord>, LedgerError> {
        let tables = self.tables();
        Ok(tables.hosts.values().filter(|host| environment.is_none_or(|name| host.environment == *name)).cloned().collect())
    }

    async fn lock(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<LockRecord>, LedgerError> {
        Ok(self.tables().locks.get(&(name.clone(), app.clone())).cloned())
    }

    async fn singletons(&self, environment: &EnvironmentName, app: &AppName) -> Result<Vec<(ServiceName, HostId)>, LedgerError> {
        let tables = self.tables();
        let of_app = tables.singletons.iter().filter(|((e, a, _), _)| e == environment && a == app);
        Ok(of_app.map(|((_, _, service), host)| (service.clone(), host.clone())).collect())
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>, LedgerError> {
        let record = |((environment, app, host), keeps): (&(EnvironmentName, AppName, HostId), &bool)| LeaseRecord {
            environment: environment.clone(),
            app: app.clone(),
            host: host.clone(),
            keeps: *keeps,
        };
        Ok(self.tables().leases.iter().map(record).collect())
    }

    async fn asked_for(&self, environment: &EnvironmentName, limit: u32) -> Result<Vec<RolloutRecord>, LedgerError> {
        let tables = self.tables();
        let asked_for =
            |record: &&Arc<RolloutRecord>| record.state.plan.environment == *environment && record.state.plan.kind != RolloutKind::Level;
        let of_environment = tables.rollouts.values().rev().filter(asked_for);
        Ok(of_environment.take(limit as usize).map(|record| record.as_ref().clone()).collect())
    }

    async fn removed_up_to(&self, _environment: &EnvironmentName, _app: &AppName) -> Result<RolloutId, LedgerError> {
        Ok(RolloutId(0))
    }

    async fn unfinished_rollouts(&self) -> Result<Vec<RolloutRecord>, LedgerError> {
        let tables = self.tables();
        Ok(tables.rollouts.values().filter(|record| record.state.outcome().is_none()).map(|record| record.as_ref().clone()).collect())
    }

    async fn rollout_by_key(&self, key: &str) -> Result<Option<RolloutRecord>, LedgerError> {
        let tables = self.tables();
        let found = tables.rollouts.values().find(|record| !key.is_empty() && record.idempotency_key == key);
        Ok(found.map(|record| record.as_ref().clone()))
    }

    async fn last_rollout(&self) -> Result<u64, LedgerError> {
        Ok(self.tables().rollouts.keys().next_back().map_or(0, |id| id.0))
    }

    async fn forgiven(&self) -> Result<u64, LedgerError> {
        Ok(0)
    }

    async fn app_of(&self, rollout: RolloutId) -> Result<Option<AppName>, LedgerError> {
        Ok(self.tables().rollouts.get(&rollout).map(|record| record.state.plan.app.clone()))
    }

    async fn outputs(&self, _rollout: RolloutId) -> Result<Vec<OutputRecord>, LedgerError> {
        Ok(Vec::new())
    }

    async fn keep_outputs(&self, _rollout: RolloutId, _outputs: Vec<OutputRecord>) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn save(&self, changes: Changes) -> Result<(), LedgerError> {
        self.wait().await;
        if *self.full.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(LedgerError::Failed("no space left on device".to_owned()));
        }
        self.commit(&changes);
        // It is durable now, and whoever asked does not know it yet.
        self.wait().await;
        Ok(())
    }

    /// No operator of a simulated fleet asks for it.
    async fn remove_environment(&self, _removal: Removal) -> Result<(), NotRemoved> {
        Err(NotRemoved::Ledger(LedgerError::Failed("simulated environments stay".to_owned())))
    }
}

impl SimLedger {
    /// A batch begins to bake, or does no longer.
    fn look_at_bakes(&self, before: Option<&RolloutRecord>, record: &RolloutRecord, changes: &Changes) {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let id = record.state.plan.rollout;
        let promoted = changes.events.iter().any(|event| event.rollout == id.0 && event.kind == "rollout-promoted");
        if let Some(before) = before.filter(|_| !promoted) {
            promises::of_bakes(&self.witness, &sightings, &before.state, &record.state);
        }
        sightings.saved(&record.state);
    }

    fn commit(&self, changes: &Changes) {
        let mut tables = self.tables();
        for record in changes.started.iter().chain(&changes.moved) {
            let id = record.state.plan.rollout;
            promises::of_history(&self.witness, tables.rollouts.get(&id).map(AsRef::as_ref), record);
            self.look_at_bakes(tables.rollouts.get(&id).map(AsRef::as_ref), record, changes);
            promises::of_level(&self.witness, &tables, record);
            tables.rollouts.insert(id, Arc::clone(record));
        }
        promises::of_tables(&self.witness, &tables);
        for serving in &changes.serving {
            if let Some(environment) = tables.environments.get_mut(&(serving.environment.clone(), serving.app.clone())) {
                environment.current = serving.current.clone();
                environment.previous.clone_from(&serving.previous);
                environment.live_set = serving.set.clone().or_else(|| environment.live_set.take());
            }
        }
        for (digest, why) in &changes.bad {
            promises::of_verdicts(&self.witness, &tables, digest);
            if let Some(release) = tables.releases.get_mut(digest) {
                release.bad.clone_from(why);
            }
        }
        for (name, app, service, host) in &changes.singletons {
            tables.singletons.insert((name.clone(), app.clone(), service.clone()), host.clone());
        }
        for (name, app, host, keeps) in &changes.leases {
            let place = (name.clone(), app.clone(), host.clone());
            match keeps {
                Some(keeps) => tables.leases.insert(place, *keeps),
                None => tables.leases.remove(&place),
            };
        }
        for (host, facts) in &changes.facts {
            if let Some(known) = tables.hosts.get_mut(host) {
                known.facts = facts.clone();
            }
        }
        for event in &changes.events {
            self.witness.saw(format!("history  {} {}: {}", event.subject, event.kind, event.text));
        }
    }
}
