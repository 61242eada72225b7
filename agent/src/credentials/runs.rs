//! Whether anything runs with credentials: what a step began outlives its agent, and a step that has lost sight of it.

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, OrderKey};

use crate::host::Host;

/// Who knows what runs.
#[async_trait]
pub(crate) trait Runs: std::fmt::Debug + Send + Sync {
    /// Whether a command of the order runs, or has run and nobody has read how it ended.
    async fn has(&self, app: &AppName, order: OrderKey) -> Result<bool, Failure>;
}

#[async_trait]
impl Runs for Host {
    async fn has(&self, app: &AppName, order: OrderKey) -> Result<bool, Failure> {
        // An app whose name goes on where this one's ends has no order of this number.
        let pattern = format!("roadstead-{app}*-{}-{}.service", order.rollout, order.sequence);
        for unit in self.systemd.units(&pattern).await.map_err(|error| error.failure())? {
            let state = self.systemd.unit(&unit).await.map_err(|error| error.failure())?;
            if !state.was_cleared() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
