//! What the worker acts through: the host itself.

use async_trait::async_trait;
use roadstead_model::{AppName, AppState, Failure, HostFacts, ReleaseId, StepName};
use roadstead_worker::hands::{Hands, Task};
use roadstead_worker::state::States;
use roadstead_worker::tasks::blocking;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OnceCell, RwLock};
use tokio::time::{Duration, timeout};

use crate::facts;
use crate::fetch::ReleaseSource;
use crate::host::Host;
use crate::layout::Layout;
use crate::settings::Settings;
use crate::steps::{self, StepContext};

/// How long systemd may take to tell its version.
const VERSION_AT_MOST: Duration = Duration::from_secs(5);

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
