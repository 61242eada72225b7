//! What systemd is told: ready, alive, stopping.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The controller serves.
pub(crate) fn ready(text: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(text)]);
}

/// The controller goes down.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Feeds systemd's watchdog, when it asked for that, as long as the runtime turns.
pub(crate) async fn feed_watchdog(stopping: CancellationToken) {
    let Some(every) = sd_notify::watchdog_enabled().map(|limit| limit / 3).filter(|every| *every > Duration::ZERO) else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => tell(&[NotifyState::Watchdog]),
            () = stopping.cancelled() => return,
        }
    }
}
