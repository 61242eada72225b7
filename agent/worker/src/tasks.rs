//! The only place that spawns tasks, and threads for work that waits for the disk. A task that ends by a bug stops the agent: systemd
//! starts it again, and the journals tell where it stood.

use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of the agent.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    killed: CancellationToken,
    broken: Arc<AtomicBool>,
    inline: bool,
}

impl Tasks {
    /// Tasks whose work on the disk is done at once, on the thread that asks: for a disk that is only memory, where the same tasks
    /// then take the same turns each time.
    pub fn inline() -> Self {
        Self { inline: true, ..Self::default() }
    }

    /// Runs a future to its end, whoever waits for it.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let (stop, killed, broken) = (self.stop.clone(), self.killed.clone(), Arc::clone(&self.broken));
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                biased;
                () = killed.cancelled() => return,
                ended = AssertUnwindSafe(future).catch_unwind() => ended,
            };
            if ended.is_err() {
                tracing::error!(task = name, "a task of the agent ended by a bug; the agent stops and is started again");
                broken.store(true, Ordering::Relaxed);
                stop.cancel();
            }
        });
    }

    /// Asks every task to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Drops every task where it waits, as the death of the process does: none is asked, and none learns how its work on the disk ended.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// Cancelled when the agent stops.
    pub const fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits for the end of all tasks, at most so long. `true` when they ended, none of them by a bug.
    pub async fn finish(&self, at_most: Duration) -> bool {
        self.tracker.close();
        let ended = tokio::time::timeout(at_most, self.tracker.wait()).await.is_ok();
        ended && !self.broken.load(Ordering::Relaxed)
    }

    /// Runs something that waits for the disk, without holding up the other tasks.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let done = if self.inline { work() } else { blocking(work).await };
        if self.killed.is_cancelled() {
            return std::future::pending().await;
        }
        done
    }
}

/// Runs something that waits for the disk on a thread of its own, without holding up the tasks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
