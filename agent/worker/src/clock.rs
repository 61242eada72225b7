//! Time: of the day, which is passed in and only ever written down, and monotonic, which is tokio's. The real clock is read here alone.

use roadstead_model::{Millis, Timestamp};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The time of day; 0 when the clock is before 1970.
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| whole_millis(span).0))
}

/// A clock on the wall: the host's own, or one that a simulator sets.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl WallClock {
    /// The clock of the host.
    pub fn of_host() -> Self {
        Self::new(now)
    }

    /// A clock that says what a function says.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it says.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WallClock").finish_non_exhaustive()
    }
}

/// Monotonic time since the agent started.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// Starts to count.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Millis {
        whole_millis(self.0.elapsed())
    }

    /// The moment at this time since the start.
    pub fn at(self, since_start: Millis) -> Instant {
        self.0.checked_add(since_start.to_duration()).unwrap_or(self.0)
    }
}

/// A span in whole milliseconds.
pub fn whole_millis(span: std::time::Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
