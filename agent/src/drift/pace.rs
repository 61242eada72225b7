//! How a look keeps out of everybody's way: it works for a moment, then rests for longer.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it works without a rest.
const WORK: Duration = Duration::from_millis(20);
/// How many times as long it rests.
const REST: u32 = 4;
/// However long the disk let it wait.
const REST_AT_MOST: Duration = Duration::from_secs(1);

/// The pace of a look. It is slower than its work by a fixed part, however busy the host is.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    rests: bool,
    stop: Option<tokio_util::sync::CancellationToken>,
}

impl Pace {
    /// The pace of what nobody waits for. It no longer rests when the agent stops.
    pub(crate) fn gentle(stop: tokio_util::sync::CancellationToken) -> Self {
        Self { since: Instant::now(), rests: true, stop: Some(stop) }
    }

    /// Full speed: somebody waits for it.
    pub(crate) fn full() -> Self {
        Self { since: Instant::now(), rests: false, stop: None }
    }

    /// Whether the agent stops, so that nobody wants to know any more.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.as_ref().is_some_and(tokio_util::sync::CancellationToken::is_cancelled)
    }

    /// A piece of work is done.
    pub(crate) fn step(&mut self) {
        if !self.rests || self.is_over() {
            return;
        }
        let worked = self.since.elapsed();
        if worked >= WORK {
            sleep((worked * REST).min(REST_AT_MOST));
            self.since = Instant::now();
        }
    }
}
