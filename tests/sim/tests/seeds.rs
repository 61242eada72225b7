//! Thousands of hours of trouble: no seed breaks a promise, and each can be lived through again.

#![allow(clippy::panic, reason = "a test stops at its first surprise")]

use roadstead_sim::{run, run_all};

/// What `make test` lives through. `make sim SEEDS=N FROM=K` goes further.
const SEEDS: u64 = 2_000;

#[test]
fn no_seed_breaks_a_promise() {
    let verdicts = run_all(0, SEEDS);
    assert_eq!(verdicts.len(), 2_000);
    let rollouts: usize = verdicts.iter().map(|verdict| verdict.rollouts).sum();
    assert!(rollouts > 10_000, "most runs are about nothing: {rollouts} rollouts");
    if let Some(verdict) = verdicts.iter().find(|verdict| !verdict.broken.is_empty()) {
        let story: Vec<&str> = verdict.story.lines().rev().take(200).collect();
        let story: Vec<&str> = story.into_iter().rev().collect();
        panic!("seed {}: {:?}\n{}", verdict.seed, verdict.broken, story.join("\n"));
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [0, 7, 12, 97] {
        let (first, second) = (run(seed), run(seed));
        let differs = first.story.lines().zip(second.story.lines()).find(|(a, b)| a != b);
        assert_eq!((differs, first.story.len()), (None, second.story.len()), "seed {seed}");
        assert!(first.story.lines().count() > 100, "seed {seed} has hardly a story");
    }
}
