//! The time of day, in one place.

use roadstead_driver::Clock;
use roadstead_model::{Millis, Timestamp};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn steady(&self) -> Timestamp {
        steady()
    }
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now by a clock that never jumps: it began with the time of day when it was read first, and no correction of that reaches it.
pub(crate) fn steady() -> Timestamp {
    static BEGAN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (began, instant) = BEGAN.get_or_init(|| (now(), Instant::now()));
    began.plus(Millis(u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX)))
}
