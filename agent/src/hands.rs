//! What the worker acts through: the host itself.

use async_trait::async_trait;
use roadstead_model::{AppName, AppState, Failure, HostFacts, ReleaseId, ServiceName, StepDone, StepName};
use roadstead_secrets::Providers;
use roadstead_worker::hands::{Hands, Task};
use roadstead_worker::leases::Leases;
use roadstead_worker::state::States;
use roadstead_worker::tasks::blocking;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Duration, Instant, timeout};

use crate::credentials::Credentials;
use crate::drift::Watch;
use crate::facts;
use crate::fetch::ReleaseSource;
use crate::host::Host;
use crate::layout::Layout;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::steps::{self, StepContext};

/// How long systemd may take to tell its version.
const VERSION_AT_MOST: Duration = Duration::from_secs(5);

/// Findings of all apps together that are told one by one: they have to fit a message.
const FINDINGS_MAX: usize = 400;

/// The host itself.
#[derive(Debug)]
pub(crate) struct RealHands {
    pub(crate) layout: Layout,
    pub(crate) host: Arc<Host>,
    pub(crate) releases: Arc<dyn ReleaseSource>,
    pub(crate) settings: Arc<Settings>,
    /// Where the host has secrets from.
    pub(crate) providers: Arc<Providers>,
    /// Who hands out credentials for migrations.
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) states: Arc<States>,
    /// What may run of what may run only once.
    pub(crate) leases: Arc<Leases>,
    /// Keeps fetches into the blob store, of several apps, and its sweep apart.
    pub(crate) blob_store: Arc<Mutex<()>>,
    /// What looks at apps found.
    pub(crate) drift: Arc<Watch>,
    /// The version of systemd, once it told.
    pub(crate) systemd: OnceCell<String>,
}

impl RealHands {
    async fn context(&self, task: Task) -> StepContext {
        StepContext {
            secrets: self.secrets(&task.order.app).await,
            order: task.order,
            layout: self.layout.clone(),
            host: Arc::clone(&self.host),
            releases: Arc::clone(&self.releases),
            output: task.output,
            settings: Arc::clone(&self.settings),
            providers: Arc::clone(&self.providers),
            credentials: Arc::clone(&self.credentials),
            progress: task.progress,
            states: Arc::clone(&self.states),
            leases: Arc::clone(&self.leases),
            blob_store: Arc::clone(&self.blob_store),
            cancelled: task.cancelled,
        }
    }
}

impl RealHands {
    /// What nothing that is said of an app may show.
    async fn secrets(&self, app: &AppName) -> Secrets {
        Secrets::of(&self.layout, app).await
    }

    /// What came of an act on an app, without its secrets.
    async fn told<T>(&self, app: &AppName, result: Result<T, Failure>) -> Result<T, Failure> {
        match result {
            Ok(done) => Ok(done),
            Err(failure) => Err(self.secrets(app).await.hide_in(&failure)),
        }
    }

    async fn systemd_version(&self) -> String {
        let ask = || async { timeout(VERSION_AT_MOST, self.host.systemd.version()).await.ok().and_then(Result::ok).ok_or(()) };
        self.systemd.get_or_try_init(|| async { ask().await.map(|version| version.to_string()) }).await.cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Hands for RealHands {
    async fn run(&self, step: StepName, task: Task) -> Result<StepDone, Failure> {
        self.drift.forget(&task.order.app);
        steps::run(step, &self.context(task).await).await
    }

    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure> {
        let app = task.order.app.clone();
        self.told(&app, steps::undo(step, &self.context(task).await).await).await
    }

    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure> {
        self.told(app, steps::reconcile(&self.host, &self.layout, &self.states, &self.leases, app).await).await
    }

    async fn look(&self, app: &AppName) -> Result<(), Failure> {
        self.told(app, steps::look(&self.host, &self.layout, &self.states, &self.leases, app).await).await
    }

    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure> {
        self.told(app, steps::stand_down(&self.host, &self.layout, &self.states, app).await).await
    }

    async fn hold(&self, app: &AppName, services: &BTreeSet<ServiceName>, until: Option<Instant>) -> Result<bool, Failure> {
        self.told(app, steps::hold(&self.host, &self.layout, &self.states, app, services, until).await).await
    }

    async fn current(&self, app: &AppName) -> Option<ReleaseId> {
        facts::current(&self.layout, app)
    }

    async fn facts(&self, apps: Vec<AppName>) -> HostFacts {
        let systemd = self.systemd_version().await;
        let (layout, states) = (self.layout.clone(), Arc::clone(&self.states));
        let mut facts = blocking(move || facts::gather(&PathBuf::from("/"), &layout, &states, &systemd, &apps)).await;
        let mut room = FINDINGS_MAX;
        for (app, state) in &mut facts.apps {
            state.drift = self.drift.of(app);
            room -= state.drift.as_mut().map_or(0, |drift| drift.cut(room)).min(room);
        }
        facts
    }

    async fn rest(&self) {
        self.host.systemd.rest().await;
        self.drift.rest();
        crate::memory::give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{Fetched, ReceivedRelease};
    use roadstead_model::{Digest, FailureKind};
    use roadstead_worker::clock::Monotonic;
    use roadstead_worker::output::{Outbox, OutputSink, ProgressSink};
    use roadstead_worker::samples::{of_app, order, prepare};
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio_util::sync::CancellationToken;

    /// A controller that has nothing, and counts who asks at once.
    #[derive(Debug, Default)]
    struct Counting {
        inside: AtomicUsize,
        most: AtomicUsize,
    }

    #[async_trait]
    impl ReleaseSource for Counting {
        async fn release(&self, _: Digest, _: &CancellationToken) -> Result<ReceivedRelease, Failure> {
            let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(inside, Ordering::SeqCst);
            // Whoever may come in comes in now: the test has one thread, and all others have their turn.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            Err(Failure::new(FailureKind::Transfer, "there is none", ""))
        }

        async fn fetch(&self, _: &[Digest], _: &[Digest], _: &Path, _: &ProgressSink, _: &CancellationToken) -> Result<Fetched, Failure> {
            Ok(Fetched::default())
        }
    }

    fn task(app: &str) -> Task {
        let (order, outbox) = (of_app(order(1, 1, prepare()), app), Arc::<Outbox>::default());
        Task {
            output: OutputSink::new(order.key(), Arc::clone(&outbox)),
            progress: ProgressSink::new(order.key(), StepName::Fetch, outbox),
            order,
            cancelled: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn one_app_at_a_time_fetches_into_the_store_that_is_everybodys() {
        let root = tempfile::tempdir().unwrap();
        let (layout, releases) = (Layout::new(root.path()), Arc::<Counting>::default());
        let hands = RealHands {
            providers: Arc::default(),
            credentials: Arc::new(Credentials::new(layout.clone(), Arc::default(), Arc::new(Host::new()))),
            host: Arc::new(Host::new()),
            releases: releases.clone(),
            settings: Arc::default(),
            states: Arc::new(crate::remembered::states(&layout)),
            leases: Arc::new(Leases::new(Monotonic::start())),
            blob_store: Arc::default(),
            drift: Arc::default(),
            systemd: OnceCell::new(),
            layout,
        };
        let (one, other) = tokio::join!(hands.run(StepName::Fetch, task("erp")), hands.run(StepName::Fetch, task("shop")));
        assert!(one.is_err() && other.is_err());
        assert_eq!(releases.most.load(Ordering::SeqCst), 1);
    }
}
