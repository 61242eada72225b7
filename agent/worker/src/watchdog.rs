//! Whoever wants to know that the worker's loop still turns.

use std::fmt::Debug;

/// Fed by the worker's loop itself: a loop that hangs is not fed for.
pub trait Watchdog: Send + Sync + Debug {
    /// Waits until it wants to be fed; for ever when there is none. Safe to drop.
    fn due(&self) -> impl Future<Output = ()> + Send;

    /// Feeds it.
    fn feed(&mut self);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatchdog;

impl Watchdog for NoWatchdog {
    fn due(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    fn feed(&mut self) {}
}
