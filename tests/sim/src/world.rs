//! The world: releases with their flaws, machines that run them, and the one database that they share. What happens here is what
//! users would see, whatever anybody believes.

use roadstead_model::{Fence, HostId, HostName, Order, OrderKey, OrderKind, ReleaseId, RolloutId, StepName, Weight};
use roadstead_rollout::{RolloutKind, Stage, Standing, State, Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::SimLedger;
use crate::once::{Once, Ticks};
use crate::witness::Witness;

/// What is wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// Its migration fails.
    Migration,
    /// It does not start.
    Start,
    /// It starts, and fails its checks once it has the traffic.
    Health,
    /// It does well until its hosts are done with the cutover, and not any longer.
    Later,
}

/// One machine, apart from its agent's own files.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Releases that are complete on its disk.
    pub(crate) trees: BTreeSet<ReleaseId>,
    /// Releases whose static files this host has seen where everybody has them from.
    pub(crate) published: BTreeSet<ReleaseId>,
    /// What the link says.
    pub(crate) current: Option<ReleaseId>,
    /// Releases that are never started again here.
    pub(crate) bad: BTreeSet<ReleaseId>,
    /// Releases whose instances run.
    pub(crate) running: BTreeSet<ReleaseId>,
    /// The rollout that has it out of its usual state.
    pub(crate) out: Option<RolloutId>,
    /// The highest fence of a step that ran.
    pub(crate) highest: Option<Fence>,
    /// The steps of each order that ran, in their order.
    pub(crate) ran: BTreeMap<OrderKey, Vec<StepName>>,
    /// What served before each order gave its release the traffic.
    pub(crate) served: BTreeMap<OrderKey, Option<ReleaseId>>,
    /// What runs only once.
    pub(crate) once: Once,
}

impl Machine {
    /// The power was away: nothing runs, and what is on the disk is there.
    pub(crate) fn reboot(&mut self) {
        self.running.clear();
        self.boot_once();
    }
}

/// The database that all machines share.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Who migrates now.
    running: Option<(RolloutId, HostId)>,
    /// Who was told to, in each rollout.
    runners: BTreeMap<RolloutId, HostId>,
    /// Rollouts for which a backup was made.
    pub(crate) kept: BTreeSet<RolloutId>,
    /// Rollouts whose migrations are through.
    pub(crate) migrated: BTreeSet<RolloutId>,
    /// Who restores, in each restore.
    restorers: BTreeMap<RolloutId, HostId>,
    /// Restores whose backup is in the place of the database.
    pub(crate) exchanged: BTreeSet<RolloutId>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) witness: Witness,
    pub(crate) ledger: Arc<SimLedger>,
    /// Every release, and what is wrong with it.
    pub(crate) releases: BTreeMap<ReleaseId, Flaw>,
    pub(crate) machines: BTreeMap<HostId, Mutex<Machine>>,
    /// What each balancer really gives each host.
    pub(crate) balancers: BTreeMap<HostId, Mutex<BTreeMap<HostName, Weight>>>,
    database: Mutex<Database>,
    /// What came of all ticks of the beat.
    pub(crate) ticks: Mutex<Ticks>,
    /// Whether machines misbehave.
    pub(crate) trouble: std::sync::atomic::AtomicBool,
}

/// A migration that runs; one that is dropped was rolled back.
#[derive(Debug)]
pub(crate) struct Transaction<'a>(&'a World, RolloutId);

impl World {
    pub(crate) fn new(
        witness: Witness,
        ledger: Arc<SimLedger>,
        releases: BTreeMap<ReleaseId, Flaw>,
        hosts: Vec<HostId>,
        balancers: Vec<HostId>,
    ) -> Self {
        Self {
            witness,
            ledger,
            releases,
            machines: hosts.into_iter().map(|host| (host, Mutex::default())).collect(),
            balancers: balancers.into_iter().map(|host| (host, Mutex::default())).collect(),
            database: Mutex::default(),
            ticks: Mutex::default(),
            trouble: std::sync::atomic::AtomicBool::new(true),
        }
    }

    pub(crate) fn machine(&self, host: &HostId) -> MutexGuard<'_, Machine> {
        // Every agent is one of a machine of the world.
        self.machines[host].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with a release as it is configured.
    pub(crate) fn flaw(&self, release: &ReleaseId) -> Flaw {
        if self.ledger.is_misconfigured(release) {
            return Flaw::Health;
        }
        let release = &release.bare();
        self.releases.get(release).copied().unwrap_or(Flaw::None)
    }

    pub(crate) fn is_troubled(&self) -> bool {
        self.trouble.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A host begins to migrate the database.
    pub(crate) fn begin_migration(&self, order: &Order, host: &HostId) -> Transaction<'_> {
        let rollout = order.fence.rollout;
        let mut database = self.database();
        let wanted = matches!(&order.kind, OrderKind::Migrate { backup: Some(demand), .. } if demand.wants_one());
        if wanted && !database.kept.contains(&rollout) {
            self.witness.broken("no migration without its backup", format!("{host} begins for {rollout}"));
        }
        if let Some((other, by)) = &database.running {
            self.witness.broken("one migration at a time", format!("{host} begins for {rollout} while {by} migrates for {other}"));
        }
        let first = database.runners.entry(rollout).or_insert_with(|| host.clone());
        if first != host {
            self.witness.broken("one host migrates in a rollout", format!("{host} was told to, after {first}, in {rollout}"));
        }
        database.running = Some((rollout, host.clone()));
        Transaction(self, rollout)
    }

    /// A host has made a backup for a rollout.
    pub(crate) fn keeps(&self, rollout: RolloutId) {
        self.database().kept.insert(rollout);
    }

    /// A host restores a backup, or puts it in the place of the database.
    pub(crate) fn restores(&self, rollout: RolloutId, host: &HostId) {
        let mut database = self.database();
        let first = database.restorers.entry(rollout).or_insert_with(|| host.clone());
        if first != host {
            self.witness.broken("one host restores", format!("{host} does, after {first}, in {rollout}"));
        }
        // What was exchanged once is only looked at again, and others serve by then.
        if database.exchanged.contains(&rollout) {
            return;
        }
        let tables = self.ledger.tables();
        let Some(record) = tables.rollouts.get(&rollout).filter(|record| record.state.outcome().is_none()) else { return };
        let counts = |id: &&HostId| record.state.hosts.get(*id).is_some_and(|known| known.stage != Stage::Left);
        let serves = |id: &&HostId| self.machine(id).current.is_some() || !self.machine(id).running.is_empty();
        if let Some(other) = record.state.hosts.keys().filter(counts).find(serves) {
            self.witness.broken("nobody serves while a database is restored", format!("{other} does, while {host} restores for {rollout}"));
        }
    }

    /// What was restored is in the place of the database.
    pub(crate) fn exchanges(&self, rollout: RolloutId) {
        self.database().exchanged.insert(rollout);
    }

    /// Something of a restore is started: it fits the database that is in its place.
    fn fits_its_database(&self, host: &HostId, order: &Order) {
        let rollout = order.fence.rollout;
        let restores = self.ledger.tables().rollouts.get(&rollout).is_some_and(|record| record.state.plan.kind == RolloutKind::Restore);
        let exchanged = self.database().exchanged.contains(&rollout);
        match Verb::of(order.key()) {
            Some(Verb::Start) if !exchanged => {
                self.witness.broken("nothing starts before its database", format!("{host} starts for {rollout}"));
            }
            Some(Verb::Revert) if restores && exchanged => {
                self.witness.broken("nothing of before starts with a restored database", format!("{host} goes back in {rollout}"));
            }
            _ => {}
        }
    }

    /// A host runs a step of an order.
    pub(crate) fn runs(&self, host: &HostId, step: StepName, order: &Order) {
        if step == StepName::Revert {
            self.fits_its_database(host, order);
        }
        let mut machine = self.machine(host);
        if machine.highest > Some(order.fence) {
            let text = format!("{host} runs {step} of {:?} after {:?}", order.fence, machine.highest);
            self.witness.broken("fences never go down", text);
        }
        machine.highest = machine.highest.max(Some(order.fence));
        let ran = machine.ran.entry(order.key()).or_default();
        match ran.iter().position(|known| *known == step) {
            // One that was cut off is run again; one after which another began was done.
            Some(place) if place + 1 < ran.len() => {
                let text = format!("{host} runs {step} of {} again, after {:?}", order.fence.rollout, ran);
                self.witness.broken("what is done is not done again", text);
            }
            Some(_) => {}
            None => ran.push(step),
        }
    }

    /// Whether a host has given a release the traffic in a rollout.
    pub(crate) fn moved_in(&self, host: &HostId, rollout: RolloutId) -> bool {
        self.machine(host).ran.iter().any(|(key, steps)| key.rollout == rollout && steps.contains(&StepName::Cutover))
    }

    /// A host gives a release of a rollout the traffic.
    pub(crate) fn moves(&self, rollout: RolloutId, host: &HostId) {
        let tables = self.ledger.tables();
        let Some(record) = tables.rollouts.get(&rollout) else {
            self.witness.broken("what is sent was saved", format!("{host} moves for {rollout}, which nobody saved"));
            return;
        };
        let plan = &record.state.plan;
        if plan.migrate && !self.database().migrated.contains(&rollout) {
            self.witness.broken("nobody moves before the migration", format!("{host} moves in {rollout}"));
        }
        if !self.machine(host).published.contains(&plan.release.id) {
            self.witness.broken("nobody moves before its static files are published", format!("{host} moves in {rollout}"));
        }
        self.is_drained(&record.state, host);
        // Whoever was excluded while it moved is out by an operator's will.
        let counts = |host: &HostId| record.state.hosts.get(host).is_some_and(|known| known.standing != Standing::Excluded);
        let out = self.machines.keys().filter(|host| counts(host) && self.machine(host).out == Some(rollout)).count();
        if out > plan.max_unavailable {
            self.witness.broken("no more hosts are out than may be", format!("{out} are, in {rollout}, {} may be", plan.max_unavailable));
        }
    }
}

impl World {
    /// Whether a balancer that was ever told of a host gives it less than its share.
    pub(crate) fn is_drained_at(&self, host: &HostName) -> bool {
        let gives =
            |balancer: &Mutex<BTreeMap<HostName, Weight>>| balancer.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        self.balancers.values().filter_map(gives).any(|weight| weight != Weight::FULL)
    }

    /// Nobody moves to whom a balancer sends requests, where others were to take them meanwhile.
    fn is_drained(&self, state: &State, host: &HostId) {
        let (Some(traffic), Some(planned), Some(known)) = (&state.plan.traffic, state.plan.hosts.get(host), state.hosts.get(host)) else {
            return;
        };
        if known.stage != Stage::Moving || !known.traffic.drained {
            return;
        }
        for balancer in traffic.balancers.keys().filter_map(|id| self.balancers.get(id)) {
            let gives = balancer.lock().unwrap_or_else(PoisonError::into_inner).get(&planned.name).copied();
            if gives.is_none_or(Weight::takes) {
                let text = format!("{} moves in {} and gets {gives:?} of the traffic", planned.name, state.plan.rollout);
                self.witness.broken("a host is drained before it moves", text);
            }
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn commit(self) {
        self.0.database().migrated.insert(self.1);
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.0.database().running = None;
    }
}
