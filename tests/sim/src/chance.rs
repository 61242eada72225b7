//! Chance from a seed: the only source of it. Every actor draws from a stream of its own, so that what one of them does does not move
//! the dice of the others.

use std::time::Duration;

/// A stream of chance.
#[derive(Debug, Clone)]
pub(crate) struct Chance(fastrand::Rng);

impl Chance {
    /// The stream of an actor in the run of a seed.
    pub(crate) fn of(seed: u64, actor: &str) -> Self {
        let name = actor.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high)
    }

    /// An index below `count`, which is not 0.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.0.usize(..count)
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.0.u64(..100) < percent
    }

    /// A span of so many milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.number(low, high))
    }
}
