//! What steps do to a simulated machine, and how they go wrong.

use async_trait::async_trait;
use roadstead_model::{
    AppName, AppState, Backup, DiskSpace, Failure, FailureKind, HostFacts, HostId, HostName, Loss, Order, OrderKind, ReleaseId, Safeguard,
    ServiceName, StepDone, StepName, samples,
};
use roadstead_worker::hands::{Hands, Task};
use roadstead_worker::leases::Leases;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::promises;
use crate::world::{Flaw, World};

/// The hands of one host's agent, for one life of it.
#[derive(Debug)]
pub(crate) struct SimHands {
    pub(crate) host: HostId,
    pub(crate) name: HostName,
    pub(crate) boot: String,
    pub(crate) world: Arc<World>,
    pub(crate) chance: Mutex<Chance>,
    pub(crate) leases: Arc<Leases>,
}

fn failed(kind: FailureKind, text: impl Into<String>) -> Failure {
    Failure::new(kind, text, "look")
}

impl SimHands {
    fn roll<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long a step takes: most often not long, now and then longer than anybody waits.
    fn span(&self, step: StepName) -> Duration {
        let troubled = self.world.is_troubled();
        self.roll(|chance| match step {
            _ if troubled && chance.percent(1) => chance.millis(60_000, 3_600_000),
            StepName::Fetch
            | StepName::Venv
            | StepName::Publish
            | StepName::Backup
            | StepName::Recheck
            | StepName::Job
            | StepName::Migrate
            | StepName::Restore => chance.millis(100, 20_000),
            StepName::Candidate | StepName::Health => chance.millis(500, 5_000),
            _ => chance.millis(1, 500),
        })
    }

    /// The work itself, once its time has passed.
    fn act(&self, step: StepName, order: &Order) -> Result<(), Failure> {
        let release = &order.kind.release().id;
        match (step, &order.kind) {
            (StepName::Verify, OrderKind::Prepare { singletons, variables, .. }) => {
                promises::of_configuration(&self.world, &self.host, release, variables);
                self.world.machine(&self.host).once.listed.insert(release.clone(), singletons.iter().cloned().collect());
                Ok(())
            }
            (StepName::Unpack, OrderKind::Prepare { .. }) => {
                self.world.machine(&self.host).trees.insert(release.clone());
                Ok(())
            }
            (StepName::Publish, OrderKind::Prepare { .. }) => {
                self.world.machine(&self.host).published.insert(release.clone());
                Ok(())
            }
            (StepName::Candidate, OrderKind::Activate { expected, .. }) => self.candidate(order, release, expected.as_ref()),
            (StepName::Cutover, OrderKind::Activate { expected, .. }) => self.cutover(order, release, expected.as_ref()),
            (StepName::Health, _) if self.world.flaw(release) == Flaw::Health => Err(failed(FailureKind::Check, "it answers nonsense")),
            (StepName::Health, OrderKind::Activate { .. }) => {
                self.world.machine(&self.host).out = None;
                Ok(())
            }
            (StepName::Confirm, _) => {
                let mut machine = self.world.machine(&self.host);
                if machine.current.as_ref() != Some(release) {
                    return Err(failed(FailureKind::Host, "another release serves"));
                }
                machine.running.retain(|running| running == release);
                Ok(())
            }
            (StepName::Halt, _) => {
                {
                    let mut machine = self.world.machine(&self.host);
                    machine.current = None;
                    machine.running.clear();
                }
                self.follow(&order.app, None);
                Ok(())
            }
            (StepName::Restore, _) => {
                self.world.restores(order.fence.rollout, &self.host);
                Ok(())
            }
            (StepName::Exchange, _) => {
                self.world.restores(order.fence.rollout, &self.host);
                self.world.exchanges(order.fence.rollout);
                Ok(())
            }
            (StepName::Settle, OrderKind::Revert { to, .. }) => {
                self.follow(&order.app, to.as_ref().map(|to| &to.id));
                Ok(())
            }
            (StepName::Revert, OrderKind::Revert { to, condemn, .. }) => self.revert(release, to.as_ref().map(|to| &to.id), *condemn),
            (StepName::Prune, OrderKind::Abandon { condemn: true, .. }) => {
                self.world.machine(&self.host).bad.insert(release.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expects(&self, release: &ReleaseId, expected: Option<&ReleaseId>) -> Result<(), Failure> {
        let machine = self.world.machine(&self.host);
        if machine.current.as_ref() == expected || machine.current.as_ref() == Some(release) {
            return Ok(());
        }
        Err(failed(FailureKind::Host, format!("{:?} serves here, not {expected:?}", machine.current)))
    }

    fn candidate(&self, order: &Order, release: &ReleaseId, expected: Option<&ReleaseId>) -> Result<(), Failure> {
        self.expects(release, expected)?;
        let mut machine = self.world.machine(&self.host);
        if machine.bad.contains(release) {
            return Err(failed(FailureKind::Unfit, "it was marked bad here"));
        }
        if self.world.flaw(release) == Flaw::Start {
            return Err(failed(FailureKind::Unit, "it does not start"));
        }
        machine.running.insert(release.clone());
        machine.out = Some(order.fence.rollout);
        Ok(())
    }

    fn cutover(&self, order: &Order, release: &ReleaseId, expected: Option<&ReleaseId>) -> Result<(), Failure> {
        self.expects(release, expected)?;
        self.world.moves(order.fence.rollout, &self.host);
        {
            let mut machine = self.world.machine(&self.host);
            // One that was cut off behind its work runs again.
            let before = machine.current.clone();
            machine.served.entry(order.key()).or_insert(before);
        }
        self.point(release)?;
        self.follow(&order.app, Some(release));
        Ok(())
    }

    /// What runs only once is of the release that serves, as far as this host may run it.
    fn follow(&self, app: &AppName, release: Option<&ReleaseId>) {
        self.world.follow(&self.host, release, self.leases.of(app).as_ref());
    }

    /// The link moves.
    fn point(&self, release: &ReleaseId) -> Result<(), Failure> {
        let mut machine = self.world.machine(&self.host);
        if !machine.trees.contains(release) {
            return Err(failed(FailureKind::Host, format!("{release} is not on this host")));
        }
        machine.current = Some(release.clone());
        machine.running.insert(release.clone());
        drop(machine);
        self.world.witness.saw(format!("{}  serves {release}", self.name));
        Ok(())
    }

    fn revert(&self, from: &ReleaseId, to: Option<&ReleaseId>, condemn: bool) -> Result<(), Failure> {
        if condemn {
            self.world.machine(&self.host).bad.insert(from.clone());
        }
        self.world.machine(&self.host).out = None;
        match to {
            Some(to) => self.point(to),
            None => {
                self.world.machine(&self.host).current = None;
                self.world.witness.saw(format!("{}  serves nothing", self.name));
                Ok(())
            }
        }
    }

    /// What a step tells of the database's contents.
    fn safeguard(&self, step: StepName, order: &Order) -> Option<Safeguard> {
        if matches!(step, StepName::Survey | StepName::Exchange) {
            return Some(Safeguard::Loss(Box::new(loss(order))));
        }
        let demand = match &order.kind {
            OrderKind::Recheck { backup, .. } => return Some(Safeguard::Made(Box::new(samples::backup(backup.as_str())))),
            OrderKind::Migrate { backup: Some(demand), .. } | OrderKind::Backup { demand, .. } if step == StepName::Backup => demand,
            _ => return None,
        };
        if !demand.wants_one() {
            return Some(Safeguard::NotNeeded { why: "none is wanted".to_owned() });
        }
        self.world.keeps(order.fence.rollout);
        Some(Safeguard::Made(Box::new(backup(order))))
    }

    async fn migrate(&self, order: &Order, span: Duration) -> Result<(), Failure> {
        let transaction = self.world.begin_migration(order, &self.host);
        self.world.witness.saw(format!("{}  migrates for {}", self.name, order.fence.rollout));
        sleep(span).await;
        if self.world.flaw(&order.kind.release().id) == Flaw::Migration {
            return Err(failed(FailureKind::Command, "no such column"));
        }
        transaction.commit();
        Ok(())
    }
}

#[async_trait]
impl Hands for SimHands {
    async fn run(&self, step: StepName, task: Task) -> Result<StepDone, Failure> {
        let order = &task.order;
        self.world.witness.saw(format!("{}  {step} of {} {}", self.name, order.fence.rollout, order.kind.verb()));
        self.world.runs(&self.host, step, order);
        let span = self.span(step);
        let work = async {
            if step == StepName::Migrate {
                return self.migrate(order, span).await;
            }
            sleep(span).await;
            // Some trouble comes before the work was done, some after it.
            // What is seldom asked for is to go wrong often enough.
            let often = if step == StepName::Exchange { 20 } else { 1 };
            let (before, after) = self.roll(|chance| (chance.percent(1), chance.percent(often)));
            if before && self.world.is_troubled() {
                return Err(failed(FailureKind::Host, "no space left on device"));
            }
            self.act(step, order)?;
            if after && self.world.is_troubled() { Err(failed(FailureKind::Host, "input/output error")) } else { Ok(()) }
        };
        tokio::select! {
            biased;
            () = task.cancelled.cancelled() => Err(failed(FailureKind::Cancelled, "the step was called off")),
            done = work => done.map(|()| StepDone { note: "done".to_owned(), safeguard: self.safeguard(step, order) }),
        }
    }

    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure> {
        self.world.witness.saw(format!("{}  undoes {step} of {}", self.name, task.order.fence.rollout));
        sleep(self.span(StepName::Cutover)).await;
        if self.world.is_troubled() && self.roll(|chance| chance.percent(1)) {
            return Err(failed(FailureKind::Host, "input/output error"));
        }
        let OrderKind::Activate { release, expected, .. } = &task.order.kind else { return Ok(()) };
        let serves = self.world.machine(&self.host).current.clone();
        match step {
            StepName::Cutover if serves.as_ref() == Some(&release.id) && expected.as_ref() != Some(&release.id) => {
                self.revert(&release.id, expected.as_ref(), false)?;
                self.follow(&task.order.app, expected.as_ref());
                Ok(())
            }
            StepName::Candidate => {
                let mut machine = self.world.machine(&self.host);
                machine.out = None;
                if serves.as_ref() != Some(&release.id) {
                    machine.running.remove(&release.id);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure> {
        sleep(self.span(StepName::Configure)).await;
        let mut machine = self.world.machine(&self.host);
        if let Some(current) = machine.current.clone() {
            machine.running.insert(current.clone());
            drop(machine);
            self.follow(app, Some(&current));
        }
        Ok(AppState::default())
    }

    async fn look(&self, _app: &AppName) -> Result<(), Failure> {
        sleep(self.span(StepName::Proof)).await;
        if self.world.is_troubled() && self.roll(|chance| chance.percent(1)) {
            return Err(failed(FailureKind::Host, "input/output error"));
        }
        let serves = self.world.machine(&self.host).current.clone();
        match serves.map(|release| self.world.flaw(&release)) {
            Some(Flaw::Later) => Err(failed(FailureKind::Check, "it answers nothing any more")),
            _ => Ok(()),
        }
    }

    async fn stand_down(&self, _app: &AppName) -> Result<usize, Failure> {
        Ok(0)
    }

    async fn hold(&self, _app: &AppName, services: &BTreeSet<ServiceName>, until: Option<Instant>) -> Result<bool, Failure> {
        sleep(self.span(StepName::Configure)).await;
        if self.world.is_troubled() && self.roll(|chance| chance.percent(1)) {
            return Err(failed(FailureKind::Host, "input/output error"));
        }
        Ok(self.world.hold(&self.host, services, until))
    }

    async fn current(&self, _app: &AppName) -> Option<ReleaseId> {
        self.world.machine(&self.host).current.clone()
    }

    async fn facts(&self, apps: Vec<AppName>) -> HostFacts {
        let machine = self.world.machine(&self.host);
        let state = || AppState {
            current: machine.current.clone(),
            releases: machine.trees.iter().cloned().collect(),
            bad: machine.bad.iter().cloned().collect(),
            listed: Some(machine.once.listed_for(machine.current.as_ref())),
            ..AppState::default()
        };
        HostFacts {
            host_name: self.name.clone(),
            agent_version: "0.1.0".to_owned(),
            operating_system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            architecture: "x86_64".to_owned(),
            systemd: "252".to_owned(),
            boot_id: self.boot.clone(),
            pythons: Vec::new(),
            disk: DiskSpace::default(),
            apps: apps.into_iter().map(|app| (app, state())).collect::<BTreeMap<_, _>>(),
            release_keys: None,
        }
    }

    async fn rest(&self) {}
}

/// What a restore loses.
fn loss(order: &Order) -> Loss {
    samples::loss(backup(order))
}

/// The evidence of a backup that a rollout made.
fn backup(order: &Order) -> Backup {
    samples::backup(&format!("{}-{}-1", order.app, order.fence.rollout))
}
