//! What systemd is told: ready, alive, stopping.

use sd_notify::NotifyState;
use tokio::time::{Duration, Instant, sleep_until};

/// The agent is up.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// What the agent does, for `systemctl status`.
pub(crate) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The agent goes down.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// systemd's watchdog, fed by the worker's loop itself: a loop that hangs is not fed for.
#[derive(Debug)]
pub(crate) struct Watchdog {
    every: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// The watchdog that systemd asked for, if it did.
    pub(crate) fn of_systemd() -> Self {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero());
        Self { every, next: Instant::now() }
    }

    /// No watchdog.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { every: None, next: Instant::now() }
    }

    /// Waits until it wants to be fed; for ever when there is none. Safe to drop.
    pub(crate) async fn due(&self) {
        match self.every {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Feeds it.
    pub(crate) fn feed(&mut self) {
        tell(&[NotifyState::Watchdog]);
        self.next = Instant::now() + self.every.unwrap_or_default();
    }
}
