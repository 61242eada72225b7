//! The only place that reads a clock.

use roadstead_model::{Millis, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The time of day; 0 when the clock is before 1970.
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| whole_millis(span).0))
}

/// Monotonic time since the agent started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Monotonic(Instant);

impl Monotonic {
    /// Starts to count.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Millis {
        whole_millis(self.0.elapsed())
    }

    /// The moment at this time since the start.
    pub(crate) fn at(self, since_start: Millis) -> Instant {
        self.0.checked_add(since_start.to_duration()).unwrap_or(self.0)
    }
}

/// A span in whole milliseconds.
pub(crate) fn whole_millis(span: std::time::Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
