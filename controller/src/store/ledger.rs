//! The database as the driver's ledger.

use async_trait::async_trait;
use roadstead_driver::{LeaseRecord, Ledger, LedgerError, LockRecord, NotRemoved, Removal};
use roadstead_model::{AppName, ConfigurationId, Digest, EnvironmentName, HostId, ReleaseId, RolloutId, ServiceName};

use super::{Changes, ConfigurationRecord, EnvironmentRecord, HostRecord, OutputRecord, ReleaseRecord, RolloutRecord, Store, StoreError};

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stopping => Self::Stopping,
            other => Self::Failed(other.to_string()),
        }
    }
}

#[async_trait]
impl Ledger for Store {
    async fn environments(&self) -> Result<Vec<EnvironmentRecord>, LedgerError> {
        Ok(Self::environments(self, "").await?)
    }

    async fn environment(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<EnvironmentRecord>, LedgerError> {
        Ok(Self::environment(self, name, app).await?)
    }

    async fn release(&self, digest: &Digest) -> Result<Option<ReleaseRecord>, LedgerError> {
        Ok(Self::release(self, digest).await?)
    }

    async fn release_by_id(&self, app: &AppName, id: &ReleaseId) -> Result<Option<ReleaseRecord>, LedgerError> {
        Ok(Self::release_by_id(self, app, id).await?)
    }

    async fn newest_configuration(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(Self::newest_configuration(self, name, app).await?)
    }

    async fn configuration(&self, name: &EnvironmentName, app: &AppName, version: u64) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(Self::configuration(self, name, app, version).await?)
    }

    async fn configuration_named(
        &self,
        name: &EnvironmentName,
        app: &AppName,
        id: &ConfigurationId,
    ) -> Result<Option<ConfigurationRecord>, LedgerError> {
        Ok(Self::configuration_named(self, name, app, id).await?)
    }

    async fn hosts(&self, environment: Option<&EnvironmentName>) -> Result<Vec<HostRecord>, LedgerError> {
        Ok(Self::hosts(self, environment).await?)
    }

    async fn lock(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<LockRecord>, LedgerError> {
        Ok(Self::lock(self, name, app).await?)
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>, LedgerError> {
        Ok(Self::leases(self).await?)
    }

    async fn singletons(&self, environment: &EnvironmentName, app: &AppName) -> Result<Vec<(ServiceName, HostId)>, LedgerError> {
        Ok(Self::singletons(self, environment, app).await?)
    }

    async fn asked_for(&self, environment: &EnvironmentName, limit: u32) -> Result<Vec<RolloutRecord>, LedgerError> {
        Ok(Self::asked_for(self, environment, limit).await?)
    }

    async fn removed_up_to(&self, environment: &EnvironmentName, app: &AppName) -> Result<RolloutId, LedgerError> {
        Ok(Self::removed_up_to(self, environment, app).await?)
    }

    async fn unfinished_rollouts(&self) -> Result<Vec<RolloutRecord>, LedgerError> {
        Ok(Self::unfinished_rollouts(self).await?)
    }

    async fn rollout_by_key(&self, key: &str) -> Result<Option<RolloutRecord>, LedgerError> {
        Ok(Self::rollout_by_key(self, key).await?)
    }

    async fn last_rollout(&self) -> Result<u64, LedgerError> {
        Ok(Self::last_rollout(self).await?)
    }

    async fn forgiven(&self) -> Result<u64, LedgerError> {
        Ok(Self::forgiven(self).await?)
    }

    async fn app_of(&self, rollout: RolloutId) -> Result<Option<AppName>, LedgerError> {
        Ok(Self::app_of(self, rollout).await?)
    }

    async fn outputs(&self, rollout: RolloutId) -> Result<Vec<OutputRecord>, LedgerError> {
        Ok(Self::outputs(self, rollout).await?)
    }

    async fn keep_outputs(&self, rollout: RolloutId, outputs: Vec<OutputRecord>) -> Result<(), LedgerError> {
        Ok(Self::keep_outputs(self, rollout, outputs).await?)
    }

    async fn save(&self, changes: Changes) -> Result<(), LedgerError> {
        Ok(Self::save(self, changes).await?)
    }

    async fn remove_environment(&self, removal: Removal) -> Result<(), NotRemoved> {
        Self::remove_environment(self, removal).await.map_err(LedgerError::from)?
    }
}
