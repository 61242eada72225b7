//! The open sessions of hosts: at most one each, the newest wins; every queue is bounded.

use roadstead_model::{HostId, LeaseTable, Order, Timestamp, TrafficTable};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// Messages to one host that its connection has not taken yet.
const QUEUE: usize = 64;

/// What goes down to a host.
#[derive(Debug, Clone)]
pub enum Downward {
    /// Something to do.
    Order(Box<Order>),
    /// What a balancer is to do with the hosts of an app.
    Traffic(Box<TrafficTable>),
    /// What the host may run of what runs only once.
    Lease(Box<LeaseTable>),
    /// The report with this number is durable.
    Acknowledge(u64),
    /// The answer to a heartbeat.
    Heartbeat(u64),
}

/// Which of a host's sessions: a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

#[derive(Debug)]
struct Open {
    epoch: Epoch,
    queue: mpsc::Sender<Downward>,
    cut: CancellationToken,
    heard: Timestamp,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<HostId, Open>,
    last: u64,
}

/// All open sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    clock: Arc<dyn Clock>,
    table: Arc<Mutex<Table>>,
}

/// A session that was just opened.
#[derive(Debug)]
pub struct Opened {
    /// Which.
    pub epoch: Epoch,
    /// What is to go down.
    pub messages: mpsc::Receiver<Downward>,
    /// Fires when the session must end.
    pub cut: CancellationToken,
}

impl Sessions {
    /// None is open yet. The clock says when a host was heard.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock; the table is whole all the same.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; an older one of the same host is cut.
    pub fn open(&self, host: &HostId) -> Opened {
        let (queue, messages) = mpsc::channel(QUEUE);
        let cut = CancellationToken::new();
        let mut table = self.table();
        table.last += 1;
        let epoch = Epoch(table.last);
        let older = table.open.insert(host.clone(), Open { epoch, queue, cut: cut.clone(), heard: self.clock.now() });
        if let Some(older) = older {
            older.cut.cancel();
        }
        Opened { epoch, messages, cut }
    }

    /// Ends a session; says whether it was still the host's newest.
    pub fn close(&self, host: &HostId, epoch: Epoch) -> bool {
        let mut table = self.table();
        let newest = table.open.get(host).is_some_and(|open| open.epoch == epoch);
        if newest {
            table.open.remove(host);
        }
        newest
    }

    /// Notes that the host was heard.
    pub fn heard(&self, host: &HostId) {
        if let Some(open) = self.table().open.get_mut(host) {
            open.heard = self.clock.now();
        }
    }

    /// Sends something to a host, when its session is open. A host that takes nothing any more is cut: it gets what is
    /// outstanding when it comes back.
    pub fn send(&self, host: &HostId, message: Downward) -> bool {
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
    pub fn cut(&self, host: &HostId) {
        if let Some(open) = self.table().open.get(host) {
            open.cut.cancel();
        }
    }

    /// Cuts every session.
    pub fn cut_all(&self) {
        for open in self.table().open.values() {
            open.cut.cancel();
        }
    }

    /// The host's newest session.
    pub fn epoch(&self, host: &HostId) -> Option<Epoch> {
        self.table().open.get(host).map(|open| open.epoch)
    }

    /// Whether a session of the host is open.
    pub fn is_open(&self, host: &HostId) -> bool {
        self.table().open.contains_key(host)
    }

    /// When the host was last heard in its open session.
    pub fn last_heard(&self, host: &HostId) -> Option<Timestamp> {
        self.table().open.get(host).map(|open| open.heard)
    }
}
