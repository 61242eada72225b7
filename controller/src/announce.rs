//! Telling watchers how rollouts stand: each sees the newest state, whatever it missed.

use roadstead_driver::{Announce, RolloutRecord};
use roadstead_model::RolloutId;
use roadstead_proto::v1;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use crate::view::view_of;

/// A rollout as it is shown.
pub(crate) type Snapshot = v1::Rollout;

/// The newest state of every rollout that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Announcements(Arc<Mutex<HashMap<RolloutId, watch::Sender<Arc<Snapshot>>>>>);

impl Announcements {
    fn table(&self) -> MutexGuard<'_, HashMap<RolloutId, watch::Sender<Arc<Snapshot>>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a rollout that runs.
    pub(crate) fn follow(&self, rollout: RolloutId) -> Option<watch::Receiver<Arc<Snapshot>>> {
        self.table().get(&rollout).map(watch::Sender::subscribe)
    }
}

impl Announce for Announcements {
    fn tell(&self, record: &RolloutRecord) {
        let rollout = record.state.plan.rollout;
        let snapshot = Arc::new(view_of(record));
        let mut table = self.table();
        match table.get(&rollout) {
            Some(sender) => {
                sender.send_replace(snapshot);
            }
            None => {
                table.insert(rollout, watch::channel(snapshot).0);
            }
        }
    }

    /// Watchers see its last state, then the end.
    fn end(&self, rollout: RolloutId) {
        self.table().remove(&rollout);
    }
}
