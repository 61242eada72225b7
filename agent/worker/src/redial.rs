//! How long an agent that has no session waits before it dials again: a fleet that lost its controller comes back soon, and not in step.

use std::time::Duration;

/// A session that lasted this long was a good one: the next dial is not held up by failures before it.
const GOOD_SESSION: Duration = Duration::from_secs(60);
/// A pause grows up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The dials of one agent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redial {
    failures: u32,
}

impl Redial {
    /// A session ended, or never was, so long after it was dialled: the pause before the next dial. `chance` is from 0 to 1.
    pub fn after(&mut self, lasted: Duration, chance: f64) -> Duration {
        self.failures = if lasted >= GOOD_SESSION { 0 } else { self.failures.saturating_add(1) };
        pause(self.failures, chance)
    }

    /// Sessions in a row that were no good ones.
    pub const fn failures(self) -> u32 {
        self.failures
    }
}

/// The pause after this many failures in a row: drawn from a span that doubles. `chance` is from 0 to 1.
pub fn pause(failures: u32, chance: f64) -> Duration {
    let ceiling = Duration::from_secs(1).saturating_mul(1 << failures.min(6)).min(PAUSE_MAX);
    PAUSE_MIN + ceiling.saturating_sub(PAUSE_MIN).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_vary_within_bounds() {
        for failures in 0..100 {
            assert_eq!(pause(failures, 0.0), PAUSE_MIN);
            let longest = pause(failures, 1.0);
            assert!(longest >= Duration::from_secs(1) && longest <= PAUSE_MAX, "{longest:?}");
        }
        assert!(pause(5, 0.5) > pause(2, 0.5));
    }

    #[test]
    fn a_good_session_makes_up_for_the_failures_before_it() {
        let mut redial = Redial::default();
        let pauses: Vec<_> = (0..8).map(|_| redial.after(Duration::ZERO, 1.0)).collect();
        assert!(pauses.is_sorted() && pauses.ends_with(&[PAUSE_MAX]), "{pauses:?}");
        assert_eq!(redial.after(GOOD_SESSION, 1.0), Duration::from_secs(1));
        assert_eq!(redial.failures(), 0);
    }
}
