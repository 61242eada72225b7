//! What systemd is told: ready, alive, stopping.

use roadstead_worker::watchdog::Watchdog;
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

/// systemd's watchdog.
#[derive(Debug)]
pub(crate) struct SystemdWatchdog {
    every: Option<Duration>,
    next: Instant,
}

impl SystemdWatchdog {
    /// The watchdog that systemd asked for, if it did.
    pub(crate) fn new() -> Self {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero());
        Self { every, next: Instant::now() }
    }
}

impl Watchdog for SystemdWatchdog {
    async fn due(&self) {
        match self.every {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    fn feed(&mut self) {
        tell(&[NotifyState::Watchdog]);
        self.next = Instant::now() + self.every.unwrap_or_default();
    }
}
