//! Where sessions lay down tables: the newest of each app.

use roadstead_model::{AppName, TrafficTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Apps that one host shares out traffic for.
const APPS_MAX: usize = 256;

/// The newest tables.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    wanted: watch::Sender<Wanted>,
}

/// What lies there.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    tables: BTreeMap<AppName, Arc<TrafficTable>>,
    sessions: u64,
}

impl Desk {
    /// A table has come.
    pub(crate) fn take(&self, table: TrafficTable) {
        self.wanted.send_modify(|wanted| {
            if wanted.tables.len() >= APPS_MAX && !wanted.tables.contains_key(&table.app) {
                tracing::error!(app = %table.app, "this host already shares out the traffic of {APPS_MAX} apps: no more");
                return;
            }
            wanted.tables.insert(table.app.clone(), Arc::new(table));
        });
    }

    /// A session has begun: its other end knows nothing of what was told before.
    pub(crate) fn session_opened(&self) {
        self.wanted.send_modify(|wanted| wanted.sessions += 1);
    }

    /// Whoever wants to hear of what changes.
    pub(super) fn news(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }
}

impl Wanted {
    /// The apps that a table lies there for.
    pub(super) fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.tables.keys()
    }

    /// The newest table of an app.
    pub(super) fn table(&self, app: &AppName) -> Option<Arc<TrafficTable>> {
        self.tables.get(app).cloned()
    }

    /// How many sessions there were.
    pub(super) const fn sessions(&self) -> u64 {
        self.sessions
    }
}
