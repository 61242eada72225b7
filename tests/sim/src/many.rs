//! Many runs beside each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::run::{Verdict, run};

/// Runs so many seeds on all processors; the verdicts are in the order of the seeds. After one that broke a promise no further ones begin.
#[must_use]
pub fn run_all(from: u64, seeds: u64) -> Vec<Verdict> {
    let (next, verdicts) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(seeds) {
                        return;
                    }
                    let mut verdict = run(seed);
                    if verdict.broken.is_empty() {
                        // Only what went wrong is read by anybody, unless it is the only one.
                        if seeds > 1 {
                            verdict.story = String::new();
                        }
                    } else {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdicts.sort_by_key(|verdict| verdict.seed);
    verdicts
}
