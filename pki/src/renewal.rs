//! When to renew a certificate, and how long to wait before trying again. Pure: time and chance are arguments.

use crate::Identity;
use roadstead_model::{Millis, Timestamp};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const RETRY_FLOOR: Duration = Duration::from_millis(250);
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CEILING: Duration = Duration::from_secs(60);

/// A number that differs between identities and stays the same for one, to spread a fleet over time.
#[must_use]
pub fn jitter_seed(identity: &Identity) -> u64 {
    let digest: [u8; 32] = Sha256::digest(identity.uri()).into();
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// When to renew a certificate that is valid between two points in time: at two thirds of its life, give or take a tenth
/// of its life, so that hosts that enrolled together do not renew together and a third of the life is left for retries.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, seed: u64) -> Timestamp {
    let life = u128::from(not_after.since(not_before).0);
    let earliest = life * 17 / 30;
    let spread = life / 5;
    let offset = earliest + spread * u128::from(mix(seed) >> 32) / u128::from(u32::MAX);
    not_before.plus(Millis(u64::try_from(offset).unwrap_or(u64::MAX)))
}

/// How long to wait before attempt number `attempt` (the first retry is 1) of a renewal or a connection: drawn evenly
/// between a short floor and a ceiling that doubles up to one minute, so that a fleet does not return in step.
#[must_use]
pub fn retry_after(attempt: u32, seed: u64) -> Duration {
    let ceiling = RETRY_BASE.saturating_mul(1 << attempt.min(6)).min(RETRY_CEILING);
    let draw = mix(seed ^ (u64::from(attempt) << 32)) >> 32;
    let span = ceiling.saturating_sub(RETRY_FLOOR).as_millis() * u128::from(draw) / u128::from(u32::MAX);
    RETRY_FLOOR + Duration::from_millis(u64::try_from(span).unwrap_or(0))
}

/// Spreads the bits of a number (the finalizer of SplitMix64).
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn renewal_falls_between_half_and_four_fifths_of_life(start in 0..u64::MAX, life in 0..u64::MAX, seed: u64) {
            let (from, to) = (Timestamp(start), Timestamp(start).plus(Millis(life)));
            let at = renew_at(from, to, seed);
            let life = u128::from(to.since(from).0);
            let used = u128::from(at.since(from).0);
            prop_assert!(used * 30 + 30 >= life * 17 && used * 30 <= life * 23, "{used} of {life}");
        }

        #[test]
        fn retries_stay_within_bounds(attempt: u32, seed: u64) {
            let wait = retry_after(attempt, seed);
            prop_assert!(wait >= RETRY_FLOOR && wait <= RETRY_CEILING);
        }
    }

    #[test]
    fn a_fleet_that_enrolled_together_renews_spread_out() {
        let day = Timestamp(24 * 3600 * 1000);
        let mut at: Vec<u64> = (0..1000).map(|host| renew_at(Timestamp(0), day, host).0).collect();
        at.sort_unstable();
        let busiest_minute = at.iter().map(|t| at.iter().filter(|u| (*t..t + 60_000).contains(u)).count()).max();
        assert!(busiest_minute.unwrap() < 20, "{busiest_minute:?} of 1000 hosts in one minute");
        assert!(at[999] - at[0] > 4 * 3600 * 1000, "the spread is a fifth of the life");
    }

    #[test]
    fn waits_grow_with_the_attempts() {
        let mean = |attempt| (0..500).map(|seed| retry_after(attempt, seed).as_millis()).sum::<u128>() / 500;
        assert!(mean(1) < mean(3) && mean(3) < mean(6), "{} {} {}", mean(1), mean(3), mean(6));
    }

    #[test]
    fn seeds_differ_between_identities() {
        let admin = |name| Identity::Admin(roadstead_model::AdminName::parse(name).unwrap());
        assert_ne!(jitter_seed(&admin("a")), jitter_seed(&admin("b")));
        assert_eq!(jitter_seed(&admin("a")), jitter_seed(&admin("a")));
    }
}
