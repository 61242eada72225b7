//! The only place that spawns. A task that ends by a bug stops the agent: systemd starts it again, and the journals tell where it stood.

use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of the agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: Arc<AtomicBool>,
}

impl Tasks {
    /// Runs a future to its end, whoever waits for it.
    pub(crate) fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let (stop, broken) = (self.stop.clone(), Arc::clone(&self.broken));
        self.tracker.spawn(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task of the agent ended by a bug; the agent stops and is started again");
                broken.store(true, Ordering::Relaxed);
                stop.cancel();
            }
        });
    }

    /// Asks every task to end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Cancelled when the agent stops.
    pub(crate) const fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits for the end of all tasks, at most so long. `true` when they ended, none of them by a bug.
    pub(crate) async fn finish(&self, at_most: Duration) -> bool {
        self.tracker.close();
        let ended = tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok();
        ended && !self.broken.load(Ordering::Relaxed)
    }
}

/// Runs something that waits for the disk, without holding up the other tasks.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
