//! Telling watchers how rollouts stand.

use roadstead_model::RolloutId;

use crate::records::RolloutRecord;

/// Whoever shows rollouts to people. Nothing is told before it is saved.
pub trait Announce: Send + Sync + std::fmt::Debug {
    /// How a rollout stands now.
    fn tell(&self, rollout: &RolloutRecord);
    /// A rollout has ended; what was told last is its end.
    fn end(&self, rollout: RolloutId);
}
