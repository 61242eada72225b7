//! What the worker acts through: the real host, or one made up by a test.

use async_trait::async_trait;
use roadstead_model::{AppName, AppState, Failure, HostFacts, Order, ReleaseId, ServiceName, StepDone, StepName};
use std::collections::BTreeSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::output::{OutputSink, ProgressSink};

/// One step's share of an order.
#[derive(Debug, Clone)]
pub struct Task {
    /// The order.
    pub order: Order,
    /// Where its output goes.
    pub output: OutputSink,
    /// Where its progress goes.
    pub progress: ProgressSink,
    /// Cancelled when it is to stop.
    pub cancelled: CancellationToken,
}

/// What can be done to a host.
#[async_trait]
pub trait Hands: Send + Sync + std::fmt::Debug {
    /// Runs a step. Repeatable.
    async fn run(&self, step: StepName, task: Task) -> Result<StepDone, Failure>;
    /// Undoes a step. Repeatable.
    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure>;
    /// Brings an app to what `current` says.
    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure>;
    /// Whether an app does well since a cutover: a failure of a unit or a check says that it does not, any other that it could not be seen.
    async fn look(&self, app: &AppName) -> Result<(), Failure>;
    /// Stops what of an app may run only once in its environment; how many services that were. Repeatable.
    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure>;
    /// Of what may run only once, only these services run from now on, and they end at that moment whatever becomes of the agent; without
    /// one they need no lease. Whether one of them that the serving release was prepared for was stopped, and waits to be started. Repeatable.
    async fn hold(&self, app: &AppName, services: &BTreeSet<ServiceName>, until: Option<Instant>) -> Result<bool, Failure>;
    /// The release that serves.
    async fn current(&self, app: &AppName) -> Option<ReleaseId>;
    /// What the host says of itself and these apps.
    async fn facts(&self, apps: Vec<AppName>) -> HostFacts;
    /// Nothing is done for any app: lets go of what is only needed then.
    async fn rest(&self);
}
