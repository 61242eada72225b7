//! What the worker acts through: the real host, or one made up by a test.

use async_trait::async_trait;
use roadstead_model::{AppName, AppState, Failure, HostFacts, Order, ReleaseId, StepName};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OnceCell, RwLock};
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use crate::facts;
use crate::fetch::ReleaseSource;
use crate::host::Host;
use crate::layout::Layout;
use crate::output::{OutputSink, ProgressSink};
use crate::settings::Settings;
use crate::state::States;
use crate::steps::{self, StepContext};
use crate::tasks::blocking;

/// How long systemd may take to tell its version.
const VERSION_AT_MOST: Duration = Duration::from_secs(5);

/// One step's share of an order.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The order.
    pub(crate) order: Order,
    /// Where its output goes.
    pub(crate) output: OutputSink,
    /// Where its progress goes.
    pub(crate) progress: ProgressSink,
    /// Cancelled when it is to stop.
    pub(crate) cancelled: CancellationToken,
}

/// What can be done to a host.
#[async_trait]
pub(crate) trait Hands: Send + Sync + std::fmt::Debug {
    /// Runs a step. Repeatable.
    async fn run(&self, step: StepName, task: Task) -> Result<String, Failure>;
    /// Undoes a step. Repeatable.
    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure>;
    /// Brings an app to what `current` says.
    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure>;
    /// Stops what of an app may run only once in its environment; how many services that were. Repeatable.
    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure>;
    /// The release that serves.
    async fn current(&self, app: &AppName) -> Option<ReleaseId>;
    /// What the host says of itself and these apps.
    async fn facts(&self, apps: Vec<AppName>) -> HostFacts;
    /// Nothing is done for any app: lets go of what is only needed then.
    async fn rest(&self);
}

/// The host itself.
#[derive(Debug)]
pub(crate) struct RealHands {
    pub(crate) layout: Layout,
    pub(crate) host: Arc<Host>,
    pub(crate) releases: Arc<dyn ReleaseSource>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) states: Arc<States>,
    /// Keeps the sweep of the blob store and fetches into it apart.
    pub(crate) sweeping: Arc<RwLock<()>>,
    /// The version of systemd, once it told.
    pub(crate) systemd: OnceCell<String>,
}

impl RealHands {
    fn context(&self, task: Task) -> StepContext {
        StepContext {
            order: task.order,
            layout: self.layout.clone(),
            host: Arc::clone(&self.host),
            releases: Arc::clone(&self.releases),
            output: task.output,
            settings: Arc::clone(&self.settings),
            progress: task.progress,
            states: Arc::clone(&self.states),
            sweeping: Arc::clone(&self.sweeping),
            cancelled: task.cancelled,
        }
    }
}

impl RealHands {
    async fn systemd_version(&self) -> String {
        let ask = || async { timeout(VERSION_AT_MOST, self.host.systemd.version()).await.ok().and_then(Result::ok).ok_or(()) };
        self.systemd.get_or_try_init(|| async { ask().await.map(|version| version.to_string()) }).await.cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Hands for RealHands {
    async fn run(&self, step: StepName, task: Task) -> Result<String, Failure> {
        steps::run(step, &self.context(task)).await
    }

    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure> {
        steps::undo(step, &self.context(task)).await
    }

    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure> {
        steps::reconcile(&self.host, &self.layout, app).await
    }

    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure> {
        steps::stand_down(&self.host, &self.layout, &self.states, app).await
    }

    async fn current(&self, app: &AppName) -> Option<ReleaseId> {
        facts::current(&self.layout, app)
    }

    async fn facts(&self, apps: Vec<AppName>) -> HostFacts {
        let systemd = self.systemd_version().await;
        let (layout, states) = (self.layout.clone(), Arc::clone(&self.states));
        blocking(move || facts::gather(&PathBuf::from("/"), &layout, &states, &systemd, &apps)).await
    }

    async fn rest(&self) {
        self.host.systemd.rest().await;
        crate::memory::give_back();
    }
}
