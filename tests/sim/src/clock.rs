//! The clocks of the simulated controller: one that never jumps, and a time of day that somebody sets.

use roadstead_driver::Clock;
use roadstead_model::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// Any moment will do.
const BEGINNING: u64 = 1_800_000_000_000;

/// The clocks of one machine.
#[derive(Debug)]
pub(crate) struct SimClock {
    began: Instant,
    /// By how many milliseconds the time of day is wrong.
    wrong: AtomicI64,
    /// The monotonic clock of a start begins with the time of day at that start.
    first: u64,
}

impl SimClock {
    /// The clocks of a process that starts now, on a machine whose time of day is wrong by so many milliseconds.
    pub(crate) fn new(world_began: Instant, wrong: i64) -> Self {
        let now = BEGINNING + millis(world_began.elapsed());
        Self { began: Instant::now(), wrong: AtomicI64::new(wrong), first: now.saturating_add_signed(wrong) }
    }

    /// Somebody sets the time of day.
    pub(crate) fn set_wrong(&self, wrong: i64) {
        self.wrong.store(wrong, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp((BEGINNING + millis(self.began.elapsed())).saturating_add_signed(self.wrong.load(Ordering::Relaxed)))
    }

    fn steady(&self) -> Timestamp {
        Timestamp(self.first + millis(self.began.elapsed()))
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
