//! The confirm watch: after a cutover, silence of the controller undoes it. Times are monotonic, from any one start.

use roadstead_model::{Millis, OrderKey, OrderKind, OrderOutcome};

use crate::status::{Phase, Status};

/// A cutover that waits for its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The order that cut over.
    pub key: OrderKey,
    /// How long the controller may be silent.
    pub within: Millis,
}

/// What the watch says at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchState {
    /// All is well until this moment at least, if nothing is heard.
    Quiet {
        /// The moment.
        until: Millis,
    },
    /// The controller was silent too long: the cutover is undone.
    WentBack {
        /// For how long nothing was heard.
        silent: Millis,
    },
}

/// The silence that counts: no shorter than three heartbeats, so that a healthy session is never mistaken for a dead one.
#[must_use]
pub fn effective_silence(within: Millis, heartbeat: Millis) -> Millis {
    within.max(Millis(heartbeat.0.saturating_mul(3)))
}

impl Watch {
    /// The watch that the orders of an app, oldest first, leave: the newest of those that move traffic is an activation
    /// that ended well.
    pub(crate) fn of(orders: &[Status]) -> Option<Self> {
        let newest = orders.iter().rev().find(|status| moves_traffic(&status.order.kind))?;
        match (&newest.order.kind, &newest.phase) {
            (OrderKind::Activate { confirm_within, .. }, Phase::Ended { outcome: OrderOutcome::Done { .. } }) => {
                Some(Self { key: newest.order.key(), within: *confirm_within })
            }
            _ => None,
        }
    }

    /// What it says now, when the controller was heard last (or the agent started, or the cutover ended) at `heard`.
    #[must_use]
    pub fn at(&self, now: Millis, heard: Millis, heartbeat: Millis) -> WatchState {
        let until = Millis(heard.0.saturating_add(effective_silence(self.within, heartbeat).0));
        if now < until { WatchState::Quiet { until } } else { WatchState::WentBack { silent: Millis(now.0.saturating_sub(heard.0)) } }
    }
}

const fn moves_traffic(kind: &OrderKind) -> bool {
    match kind {
        OrderKind::Activate { .. } | OrderKind::Confirm { .. } | OrderKind::Revert { .. } | OrderKind::Halt { .. } => true,
        OrderKind::Prepare { .. }
        | OrderKind::Migrate { .. }
        | OrderKind::Abandon { .. }
        | OrderKind::Backup { .. }
        | OrderKind::Recheck { .. }
        | OrderKind::Job { .. }
        | OrderKind::Survey { .. }
        | OrderKind::Restore { .. }
        | OrderKind::Exchange { .. } => false,
    }
}
