//! What runs only once: a beat that ticks, on whichever machines it really runs. Every tick of it is looked at.

use roadstead_model::{HostId, ReleaseId, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::world::{Machine, World};

/// How often a beat ticks.
const TICKS_EVERY: Duration = Duration::from_secs(10);

/// What a machine knows of the beat and does with it.
#[derive(Debug, Default)]
pub(crate) struct Once {
    /// The services that it was prepared to run, by release; on its disk.
    pub(crate) listed: BTreeMap<ReleaseId, BTreeSet<ServiceName>>,
    /// The release whose beat it started.
    running: Option<ReleaseId>,
    /// When systemd ends it by itself.
    ends: Option<Instant>,
    /// The release whose beat is started with the machine.
    at_boot: Option<ReleaseId>,
}

/// What came of all ticks of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticks {
    /// Ticks for which a beat was there, once one had been started.
    pub ran: u64,
    /// Ticks for which there was none.
    pub missed: u64,
    /// The most of these in a row.
    pub in_a_row: u64,
    row: u64,
}

impl Ticks {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ran: self.ran + other.ran, missed: self.missed + other.missed, in_a_row: self.in_a_row.max(other.in_a_row), row: 0 }
    }
}

impl Once {
    /// The release whose beat runs now.
    pub(crate) fn runs(&self) -> Option<&ReleaseId> {
        self.running.as_ref().filter(|_| self.ends.is_none_or(|ends| Instant::now() < ends))
    }

    /// The services that a release was prepared for here.
    pub(crate) fn listed_for(&self, release: Option<&ReleaseId>) -> BTreeSet<ServiceName> {
        release.and_then(|release| self.listed.get(release)).cloned().unwrap_or_default()
    }
}

impl Machine {
    /// The power is back: what is to start with the machine starts, whatever is known of it by now.
    pub(crate) fn boot_once(&mut self) {
        self.once.ends = None;
        self.once.running.clone_from(&self.once.at_boot);
    }
}

impl World {
    /// A host makes what runs only once follow the release that serves: what it may run of it.
    pub(crate) fn follow(&self, host: &HostId, release: Option<&ReleaseId>, allowed: Option<&BTreeSet<ServiceName>>) {
        let mut machine = self.machine(host);
        if machine.once.runs() != release {
            machine.once.running = None;
        }
        let listed = machine.once.listed_for(release);
        let may_run = listed.iter().any(|service| allowed.is_none_or(|allowed| allowed.contains(service)));
        machine.once.at_boot = release.filter(|_| allowed.is_none() && !listed.is_empty()).cloned();
        if !may_run {
            machine.once.running = None;
            return;
        }
        if machine.once.runs().is_some() {
            return;
        }
        machine.once.running = release.cloned();
        drop(machine);
        self.witness.saw(format!("{host}  starts the beat of {release:?}"));
        self.runs_once();
    }

    /// Nothing but these services runs on a host from now on, and they end at that moment; whether one that may run was stopped.
    pub(crate) fn hold(&self, host: &HostId, services: &BTreeSet<ServiceName>, until: Option<Instant>) -> bool {
        self.witness.saw(format!("{host}  may run {services:?}{}", if until.is_some() { " for a while" } else { "" }));
        let mut machine = self.machine(host);
        machine.once.listed.values_mut().for_each(|listed| listed.retain(|service| services.contains(service)));
        if services.is_empty() {
            machine.once.running = None;
        }
        if machine.once.runs().is_none() {
            machine.once.running = None;
        }
        machine.once.ends = until;
        let listed = machine.once.listed_for(machine.current.as_ref());
        if until.is_some() {
            machine.once.at_boot = None;
        } else if !listed.is_empty() {
            machine.once.at_boot = machine.current.clone();
        }
        !listed.is_empty() && machine.once.runs().is_none()
    }

    /// What runs only once runs on one machine at most.
    fn runs_once(&self) -> usize {
        let runs = |host: &&HostId| self.machine(host).once.runs().is_some();
        let homes: Vec<&HostId> = self.machines.keys().filter(runs).collect();
        if homes.len() > 1 {
            self.witness.broken("what runs only once runs once", format!("the beat runs on {homes:?}"));
        }
        homes.len()
    }

    /// Whether the beat runs somewhere.
    pub(crate) fn has_a_beat(&self) -> bool {
        self.runs_once() > 0
    }

    /// What came of all ticks so far.
    pub(crate) fn ticks(&self) -> Ticks {
        *self.ticks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn tick(&self) {
        let runs = self.runs_once() > 0;
        let mut ticks = self.ticks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if runs {
            (ticks.ran, ticks.row) = (ticks.ran + 1, 0);
        } else if ticks.ran > 0 {
            (ticks.missed, ticks.row) = (ticks.missed + 1, ticks.row + 1);
            ticks.in_a_row = ticks.in_a_row.max(ticks.row);
        }
    }
}

/// Ticks, for as long as the world stands.
pub(crate) async fn tick(world: std::sync::Arc<World>) {
    loop {
        sleep(TICKS_EVERY).await;
        world.tick();
    }
}
