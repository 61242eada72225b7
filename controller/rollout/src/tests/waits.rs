//! What an operator is told while a rollout runs: until when it waits, and what comes then.

use crate::*;

/// Every state but the last says so, and is looked at again by then.
pub(super) fn check_wait(state: &State) {
    let waiting = waiting(state).expect("a rollout that runs waits for something");
    let on_hold = state.hold.is_some() && !matches!(state.phase, Phase::Migrating { .. });
    // A bake may be of no time: it is over when it begins.
    let of_no_time = matches!(state.phase, Phase::Baking { .. }) && !on_hold && waiting.until == waiting.since;
    assert!(waiting.until > waiting.since || of_no_time, "{:?}: {waiting:?}", state.phase);
    let comes_then = if on_hold { &["it goes back"][..] } else { comes_then(&state.phase) };
    assert!(comes_then.contains(&waiting.then), "{:?}: {waiting:?}", state.phase);
    assert!(wake(state).is_some_and(|wake| wake <= waiting.until), "{:?}: nobody looks at it then: {waiting:?}", state.phase);
}

/// What may come when a phase has lasted as long as it can.
const fn comes_then(phase: &Phase) -> &'static [&'static str] {
    match phase {
        Phase::Gated { .. } | Phase::Surveying { .. } | Phase::Deciding { .. } => &["it ends, and nothing was changed"],
        Phase::Preparing { .. } => &["late hosts are left out and come level later"],
        Phase::Migrating { .. } => &["the rollout ends; the outcome is unknown", "it goes back; the outcome is unknown"],
        Phase::Moving { .. } => &["late hosts count as lost", "the host counts as lost", "it moves all the same"],
        Phase::Switching { .. } | Phase::Baked { .. } => &["it goes back"],
        Phase::Baking { .. } => &["an operator is asked to promote it", "the next batch moves", "the release is confirmed", "it goes back"],
        Phase::Confirming { .. } => &["late hosts are left"],
        Phase::Tending { .. } => &["it ends"],
        Phase::Halting { .. } | Phase::Restoring { .. } => &["it goes back: what served is started again"],
        Phase::Exchanging { .. } => &["it ends; a person has to look"],
        Phase::Starting { .. } => &["late hosts count as lost"],
        Phase::Reverting { .. } => &["late hosts are named as unknown"],
        Phase::Ended { .. } => &[],
    }
}
