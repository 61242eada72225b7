//! The open sessions of hosts: at most one each, the newest wins; every queue is bounded.

use roadstead_model::{HostId, Order, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Messages to one host that its connection has not taken yet.
const QUEUE: usize = 64;

/// What goes down to a host.
#[derive(Debug, Clone)]
pub(crate) enum Downward {
    /// Something to do.
    Order(Box<Order>),
    /// The report with this number is durable.
    Acknowledge(u64),
    /// The answer to a heartbeat.
    Heartbeat(u64),
}

/// Which of a host's sessions: a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(u64);

#[derive(Debug)]
struct Open {
    epoch: Epoch,
    queue: mpsc::Sender<Downward>,
    cut: CancellationToken,
    heard: Timestamp,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<HostId, Open>,
    last: u64,
}

/// All open sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Table>>);

/// A session that was just opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Which.
    pub(crate) epoch: Epoch,
    /// What is to go down.
    pub(crate) messages: mpsc::Receiver<Downward>,
    /// Fires when the session must end.
    pub(crate) cut: CancellationToken,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock; the table is whole all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; an older one of the same host is cut.
    pub(crate) fn open(&self, host: &HostId) -> Opened {
        let (queue, messages) = mpsc::channel(QUEUE);
        let cut = CancellationToken::new();
        let mut table = self.table();
        table.last += 1;
        let epoch = Epoch(table.last);
        let older = table.open.insert(host.clone(), Open { epoch, queue, cut: cut.clone(), heard: clock::now() });
        if let Some(older) = older {
            older.cut.cancel();
        }
        Opened { epoch, messages, cut }
    }

    /// Ends a session; says whether it was still the host's newest.
    pub(crate) fn close(&self, host: &HostId, epoch: Epoch) -> bool {
        let mut table = self.table();
        let newest = table.open.get(host).is_some_and(|open| open.epoch == epoch);
        if newest {
            table.open.remove(host);
        }
        newest
    }

    /// Notes that the host was heard.
    pub(crate) fn heard(&self, host: &HostId) {
        if let Some(open) = self.table().open.get_mut(host) {
            open.heard = clock::now();
        }
    }

    /// Sends something to a host, when its session is open. A host that takes nothing any more is cut: it gets what is
    /// outstanding when it comes back.
    pub(crate) fn send(&self, host: &HostId, message: Downward) -> bool {
        let table = self.table();
        let Some(open) = table.open.get(host) else { return false };
        let sent = open.queue.try_send(message).is_ok();
        if !sent {
            tracing::warn!(%host, "the host takes no messages; its session is cut");
            open.cut.cancel();
        }
        sent
    }

    /// Cuts a host's session.
    pub(crate) fn cut(&self, host: &HostId) {
        if let Some(open) = self.table().open.get(host) {
            open.cut.cancel();
        }
    }

    /// Cuts every session.
    pub(crate) fn cut_all(&self) {
        for open in self.table().open.values() {
            open.cut.cancel();
        }
    }

    /// The host's newest session.
    pub(crate) fn epoch(&self, host: &HostId) -> Option<Epoch> {
        self.table().open.get(host).map(|open| open.epoch)
    }

    /// Whether a session of the host is open.
    pub(crate) fn is_open(&self, host: &HostId) -> bool {
        self.table().open.contains_key(host)
    }

    /// When the host was last heard in its open session.
    pub(crate) fn last_heard(&self, host: &HostId) -> Option<Timestamp> {
        self.table().open.get(host).map(|open| open.heard)
    }
}
