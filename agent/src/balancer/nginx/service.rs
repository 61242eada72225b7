//! The nginx that runs on this host: asked through systemd, and its configuration tested by itself.

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, FailureKind};
use std::sync::Arc;
use std::time::Duration;

use crate::host::Host;
use crate::host::command::{self, Command};

/// The unit that Debian's packages, and nginx's own, install.
const UNIT: &str = "nginx.service";
/// Where they have the program.
pub(crate) const PROGRAM: &str = "/usr/sbin/nginx";
/// How long nginx may take to read its configuration: it looks up every name in it.
const TEST_AT_MOST: Duration = Duration::from_secs(60);
const RELOAD_AT_MOST: Duration = Duration::from_secs(60);

/// What the agent needs of a running nginx.
#[async_trait]
pub(super) trait Service: std::fmt::Debug + Send + Sync {
    /// The process that the others are children of; `None` when nginx does not run.
    async fn master(&self) -> Result<Option<u32>, Failure>;
    /// Whether nginx could run with the files as they are.
    async fn test(&self) -> Result<(), Failure>;
    /// Lets the master read the files. It may come back before they are in effect.
    async fn reload(&self) -> Result<(), Failure>;
}

/// The host's own.
#[derive(Debug)]
pub(super) struct OfHost {
    app: AppName,
    host: Arc<Host>,
}

impl OfHost {
    pub(super) const fn new(app: AppName, host: Arc<Host>) -> Self {
        Self { app, host }
    }
}

#[async_trait]
impl Service for OfHost {
    async fn master(&self) -> Result<Option<u32>, Failure> {
        let state = self.host.systemd.unit(UNIT).await.map_err(|error| error.failure())?;
        Ok((state.is_active() && state.main_pid > 0).then_some(state.main_pid))
    }

    /// In a unit of its own: nginx opens its logs for that, which the agent's sandbox does not let it.
    async fn test(&self) -> Result<(), Failure> {
        let command = Command::bare(
            format!("roadstead-traffic-{}-test.service", self.app),
            format!("nginx configuration with the traffic of {}", self.app),
            vec![PROGRAM.into(), "-t".into(), "-q".into()],
            TEST_AT_MOST,
        );
        let finished = command::run_anew(&self.host, &command, &tokio_util::sync::CancellationToken::new(), |_| {})
            .await
            .map_err(|error| error.failure())?;
        if finished.is_success() {
            return Ok(());
        }
        let last = finished.tail.lines().rfind(|line| line.contains("[emerg]")).unwrap_or_default();
        let summary = format!("nginx does not take the new shares: nginx -t {}: {last}", finished.words());
        Err(Failure::new(FailureKind::Check, summary, "the file of before is back; run nginx -t on the host").with_detail(&finished.tail))
    }

    async fn reload(&self) -> Result<(), Failure> {
        self.host.systemd.reload_only(UNIT, RELOAD_AT_MOST).await.map_err(|error| error.failure())
    }
}
