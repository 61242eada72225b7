//! When a host is brought level once more: at once when it never failed at it, later and later when it did.

use roadstead_model::{AppName, HostId, Millis, ReleaseId, Timestamp};
use std::collections::BTreeMap;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Millis = Millis::from_secs(120);
const LONGEST_PAUSE: Millis = Millis::from_secs(3600);

/// A host and what it should come level with.
pub(super) type Goal = (HostId, AppName, ReleaseId);

/// The attempts that did not bring a host level.
#[derive(Debug, Default)]
pub(super) struct Tries(BTreeMap<Goal, Try>);

#[derive(Debug)]
struct Try {
    count: u32,
    again: Timestamp,
    /// Whether the moment to try again was used.
    used: bool,
}

impl Tries {
    /// An attempt begins: until something comes of it there is no other.
    pub(super) fn begin(&mut self, goal: Goal, now: Timestamp) {
        let again = now.plus(FIRST_PAUSE);
        let attempt = self.0.entry(goal).or_insert(Try { count: 0, again, used: false });
        (attempt.again, attempt.used) = (again, false);
    }

    /// It did not work: the next attempt is after a pause.
    pub(super) fn failed(&mut self, goal: Goal, now: Timestamp) {
        let attempt = self.0.entry(goal).or_insert(Try { count: 0, again: now, used: false });
        let pause = FIRST_PAUSE.0.saturating_mul(1 << attempt.count.min(16)).min(LONGEST_PAUSE.0);
        *attempt = Try { count: attempt.count.saturating_add(1), again: now.plus(Millis(pause)), used: false };
    }

    /// It is level, or nothing came in its way.
    pub(super) fn forget(&mut self, goal: &Goal) {
        self.0.remove(goal);
    }

    /// The app of a host is well, whatever release it was that failed.
    pub(super) fn forget_app(&mut self, host: &HostId, app: &AppName) {
        self.0.retain(|(known, of, _), _| known != host || of != app);
    }

    /// How many attempts did not work.
    pub(super) fn count(&self, goal: &Goal) -> u32 {
        self.0.get(goal).map_or(0, |attempt| attempt.count)
    }

    /// The host is another one than the one that failed: it started anew, or has another agent.
    pub(super) fn forget_host(&mut self, host: &HostId) {
        self.0.retain(|(known, _, _), _| known != host);
    }

    /// Whether it is too early for an attempt.
    pub(super) fn pauses(&self, goal: &Goal, now: Timestamp) -> bool {
        self.0.get(goal).is_some_and(|attempt| now < attempt.again)
    }

    /// When the next pause is over.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.values().filter(|attempt| !attempt.used).map(|attempt| attempt.again).min()
    }

    /// Whether a pause is over that was not over when this was asked last.
    pub(super) fn are_due(&mut self, now: Timestamp) -> bool {
        let due = self.0.values_mut().filter(|attempt| !attempt.used && attempt.again <= now);
        due.fold(false, |_, attempt| {
            attempt.used = true;
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn pauses_grow_and_each_is_over_once() {
        let goal = (samples::host_id(1), samples::app(), samples::release("1.0").id());
        let (mut tries, mut now) = (Tries::default(), Timestamp(1_000));
        assert!(!tries.pauses(&goal, now) && tries.next().is_none());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            tries.failed(goal.clone(), now);
            let again = tries.next().unwrap();
            assert!(tries.pauses(&goal, now) && !tries.are_due(now));
            pauses.push(again.since(now).0 / 60_000);
            now = again;
            assert!(tries.are_due(now) && !tries.are_due(now) && !tries.pauses(&goal, now));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        tries.forget_host(&samples::host_id(1));
        assert!(tries.next().is_none());
    }
}
