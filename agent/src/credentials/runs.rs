//! Whether anything runs with credentials: what a step began outlives its agent, and a step that has lost sight of it.

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, OrderKey};

use crate::host::Host;

/// How the commands of an order stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// None is there.
    Gone,
    /// One has ended, and nobody has read how.
    Ended,
    /// One runs.
    Runs,
}

/// Who knows what runs.
#[async_trait]
pub(crate) trait Runs: std::fmt::Debug + Send + Sync {
    /// How the commands of the order stand.
    async fn standing(&self, app: &AppName, order: OrderKey) -> Result<Standing, Failure>;
}

#[async_trait]
impl Runs for Host {
    async fn standing(&self, app: &AppName, order: OrderKey) -> Result<Standing, Failure> {
        // An app whose name goes on where this one's ends has no order of this number.
        let pattern = format!("roadstead-{app}*-{}-{}.service", order.rollout, order.sequence);
        let mut standing = Standing::Gone;
        for unit in self.systemd.units(&pattern).await.map_err(|error| error.failure())? {
            let state = self.systemd.unit(&unit).await.map_err(|error| error.failure())?;
            // A command's unit stays up when it has ended, until that was read.
            standing = standing.max(match state.was_cleared() {
                true => Standing::Gone,
                false if state.is_active() || state.is_down() => Standing::Ended,
                false => Standing::Runs,
            });
        }
        Ok(standing)
    }
}
