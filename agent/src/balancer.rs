//! This host as a balancer: it brings the shares of an app's hosts into effect at what shares out the traffic here, and tells what it sees.
//!
//! A table is a level, not an order: the newest counts, it lies in no journal, and after a restart nothing is touched until one comes.

mod absent;
mod command;
mod desk;
pub(crate) mod haproxy;
mod keeper;
pub(crate) mod nginx;
mod pace;
mod problems;
mod telling;

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, HostName, ServerSeen, Weight};
use roadstead_worker::output::Outbox;
use roadstead_worker::tasks::Tasks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::host::Host;
use crate::layout::Layout;
use crate::settings::{Settings, TrafficSettings};
use absent::Absent;
pub(crate) use desk::Desk;
use keeper::Keeper;

/// The share that each host is to have.
pub(crate) type Weights = BTreeMap<HostName, Weight>;

/// What shares out the traffic of one app.
#[async_trait]
pub(crate) trait Balancer: std::fmt::Debug + Send + Sync {
    /// Brings the servers to the shares that are wanted, as far as they are not there, and tells what is in effect.
    ///
    /// It ends by itself in bounded time, may be dropped at any moment and may be called again and again.
    async fn bring(&self, wanted: &Weights) -> Sight;
}

/// What a balancer sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The hosts that it knows.
    pub(crate) servers: BTreeMap<HostName, ServerSeen>,
    /// Why not everything is as wanted.
    pub(crate) problem: Option<Failure>,
}

impl Sight {
    /// Nothing is seen.
    fn failed(problem: Failure) -> Self {
        Self { servers: BTreeMap::new(), problem: Some(problem) }
    }
}

/// What shares out the traffic of each app on this host.
#[derive(Debug)]
pub(crate) struct Providers {
    settings: Arc<Settings>,
    host: Arc<Host>,
    layout: Layout,
}

impl Providers {
    /// Those that the host's operator names.
    pub(crate) const fn new(settings: Arc<Settings>, host: Arc<Host>, layout: Layout) -> Self {
        Self { settings, host, layout }
    }

    fn of(&self, app: &AppName) -> Arc<dyn Balancer> {
        match self.settings.traffic.get(app) {
            None => Arc::new(Absent::new(app)),
            Some(TrafficSettings::HaProxy(settings)) => Arc::new(haproxy::HaProxy::new(settings.clone())),
            Some(TrafficSettings::Nginx(settings)) => Arc::new(nginx::Nginx::of(app, settings.clone(), Arc::clone(&self.host))),
            Some(TrafficSettings::Command(settings)) => {
                Arc::new(command::Custom::of(app, settings.clone(), Arc::clone(&self.host), &self.layout))
            }
        }
    }
}

/// Gives each app for which a table comes a keeper of its own: one that hangs holds up no other.
pub(crate) async fn run(desk: Arc<Desk>, providers: Providers, outbox: Arc<Outbox>, tasks: Tasks) {
    let mut news = desk.news();
    let mut kept = BTreeSet::new();
    loop {
        let apps: Vec<AppName> = news.borrow_and_update().apps().cloned().collect();
        for app in apps {
            if kept.insert(app.clone()) {
                let keeper = Keeper { balancer: providers.of(&app), app, news: desk.news(), outbox: Arc::clone(&outbox) };
                tasks.spawn("traffic of an app", keeper.run(tasks.stopping().clone()));
            }
        }
        tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}
