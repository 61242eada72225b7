//! For tests of this crate and of the agent: a host made of a set of effects, whose steps end, fail or wait as a test says, and a
//! worker that runs on it.

#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use async_trait::async_trait;
use roadstead_model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock::{Monotonic, WallClock};
use crate::contact::Contact;
use crate::disk::{Disk, RealDisk};
use crate::hands::{Hands, Task};
use crate::journal::Journals;
use crate::leases::Leases;
use crate::output::{Outbox, Outgoing};
use crate::state::States;
use crate::tasks::Tasks;
use crate::watchdog::NoWatchdog;
use crate::worker::{Event, Hello, Means, Worker};

/// What was done to the made-up host, and how its steps go.
#[derive(Debug, Default)]
pub struct World {
    /// Steps that were run and not undone.
    pub effects: BTreeSet<(AppName, StepName)>,
    /// Steps that fail.
    pub fails: BTreeSet<StepName>,
    /// Steps that cannot be undone.
    pub undo_fails: BTreeSet<StepName>,
    /// Steps that do not end before the test releases them.
    pub waits: BTreeSet<StepName>,
    /// Whether steps that wait do not heed their cancellation.
    pub ignores_cancel: bool,
    /// What is wrong with the app since its cutover, or why that cannot be seen.
    pub ails: Option<Failure>,
    /// How many times it is not brought up as its `current` says.
    pub stays_down: usize,
    /// What runs only once is stopped, until it is brought up.
    pub is_stopped: bool,
    /// What was done, a line each.
    pub log: Vec<String>,
}

/// The made-up host.
#[derive(Debug)]
pub struct FakeHands {
    /// What was done to it.
    pub world: Mutex<World>,
    /// Counted up with each entry of the log.
    changed: watch::Sender<usize>,
}

impl FakeHands {
    /// A host in a world.
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), changed: watch::Sender::new(0) })
    }

    fn note(&self, text: String) {
        self.world.lock().unwrap().log.push(text);
        self.changed.send_modify(|n| *n += 1);
    }

    /// What was done to it so far.
    pub fn log(&self) -> Vec<String> {
        self.world.lock().unwrap().log.clone()
    }

    /// Waits until the host's log holds a line.
    pub async fn saw(&self, line: &str) {
        let mut changed = self.changed.subscribe();
        changed.wait_for(|_| self.log().iter().any(|l| l == line)).await.unwrap();
    }

    /// Lets waiting steps go on.
    pub fn release(&self) {
        self.world.lock().unwrap().waits.clear();
        self.changed.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl Hands for FakeHands {
    async fn run(&self, step: StepName, task: Task) -> Result<StepDone, Failure> {
        let app = task.order.app.clone();
        self.note(format!("run {app} {step}"));
        self.world.lock().unwrap().effects.insert((app.clone(), step));
        task.output.line(step, "some output");
        let mut changed = self.changed.subscribe();
        let ignores = self.world.lock().unwrap().ignores_cancel;
        tokio::select! {
            biased;
            _ = changed.wait_for(|_| !self.world.lock().unwrap().waits.contains(&step)) => {}
            () = task.cancelled.cancelled(), if !ignores => {
                self.note(format!("stop {app} {step}"));
                return Err(Failure::new(FailureKind::Cancelled, "stopped", "none"));
            }
        }
        if self.world.lock().unwrap().fails.contains(&step) {
            Err(Failure::new(FailureKind::Check, format!("{step} failed"), "look"))
        } else {
            Ok("done".to_owned().into())
        }
    }

    async fn undo(&self, step: StepName, task: Task) -> Result<(), Failure> {
        let app = task.order.app.clone();
        self.note(format!("undo {app} {step}"));
        if self.world.lock().unwrap().undo_fails.contains(&step) {
            return Err(Failure::new(FailureKind::Unit, format!("{step} stays"), "look"));
        }
        self.world.lock().unwrap().effects.remove(&(app, step));
        Ok(())
    }

    async fn reconcile(&self, app: &AppName) -> Result<AppState, Failure> {
        self.note(format!("reconcile {app}"));
        let mut world = self.world.lock().unwrap();
        if let Some(left) = world.stays_down.checked_sub(1) {
            world.stays_down = left;
            return Err(Failure::new(FailureKind::Deadline, "it was not up in time", "look"));
        }
        world.is_stopped = false;
        Ok(AppState::default())
    }

    async fn look(&self, _: &AppName) -> Result<(), Failure> {
        self.world.lock().unwrap().ails.clone().map_or(Ok(()), Err)
    }

    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure> {
        self.note(format!("stand down {app}"));
        Ok(0)
    }

    async fn hold(&self, app: &AppName, services: &BTreeSet<ServiceName>, until: Option<Instant>) -> Result<bool, Failure> {
        let services: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
        self.note(format!("hold {app} {services:?} {}", if until.is_some() { "for a while" } else { "freely" }));
        Ok(self.world.lock().unwrap().is_stopped)
    }

    async fn current(&self, app: &AppName) -> Option<ReleaseId> {
        let cut_over = self.world.lock().unwrap().effects.contains(&(app.clone(), StepName::Cutover));
        cut_over.then(|| release().id)
    }

    async fn facts(&self, apps: Vec<AppName>) -> HostFacts {
        HostFacts {
            host_name: HostName::parse("web-1").unwrap(),
            agent_version: "0".into(),
            operating_system: "Debian".into(),
            architecture: "x86_64".into(),
            systemd: "252".into(),
            boot_id: "b".into(),
            pythons: vec![],
            disk: DiskSpace::default(),
            apps: apps
                .into_iter()
                .map(|app| (app, AppState { listed: Some(BTreeSet::new()), ..AppState::default() }))
                .collect::<BTreeMap<_, _>>(),
            release_keys: None,
        }
    }

    async fn rest(&self) {}
}

/// The one release.
pub fn release() -> ReleaseRef {
    let manifest = Digest::of(b"manifest");
    ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest }
}

/// To prepare it.
pub fn prepare() -> OrderKind {
    OrderKind::Prepare {
        release: release(),
        variables: [].into(),
        secrets: [].into(),
        files: [].into(),
        singletons: vec![],
        keep: 3,
        publish: true,
    }
}

/// To activate it; a minute of silence undoes that.
pub fn activate() -> OrderKind {
    OrderKind::Activate { release: release(), expected: None, confirm_within: Millis(60_000) }
}

/// To confirm it.
pub fn confirm() -> OrderKind {
    OrderKind::Confirm { release: release() }
}

/// An order about the app `erp`.
pub fn order(rollout: u64, sequence: u32, kind: OrderKind) -> Order {
    Order {
        fence: Fence { term: 1, rollout: RolloutId(rollout), sequence },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind,
        deadline: Millis(600_000),
    }
}

/// Some order, for tests of other parts.
pub fn some_order() -> Order {
    order(1, 1, activate())
}

/// The same order about another app.
pub fn of_app(mut order: Order, app: &str) -> Order {
    order.app = AppName::parse(app).unwrap();
    order
}

/// A running worker on a made-up host.
#[derive(Debug)]
pub struct Rig {
    /// Its host.
    pub hands: Arc<FakeHands>,
    /// What it tells the controller.
    pub outbox: Arc<Outbox>,
    /// When the controller was heard.
    pub contact: Arc<Contact>,
    /// Where its events go.
    pub events: mpsc::Sender<Event>,
    /// Its tasks.
    pub tasks: Tasks,
}

impl Rig {
    /// Starts a worker on the real disk, below `root`.
    pub async fn start(root: &Path, hands: Arc<FakeHands>) -> Self {
        Self::start_on(Arc::new(RealDisk), WallClock::of_host(), Tasks::default(), root, hands).await
    }

    /// Starts a worker on a disk, below `root`.
    pub async fn start_on(disk: Arc<dyn Disk>, clock: WallClock, tasks: Tasks, root: &Path, hands: Arc<FakeHands>) -> Self {
        let kept = root.join("var/lib/roadstead-agent");
        let (outbox, contact) = (Arc::<Outbox>::default(), Arc::new(Contact::new(Monotonic::start())));
        let clock_of_leases = contact.clock();
        let means = Means {
            hands: Arc::clone(&hands) as Arc<dyn Hands>,
            journals: Journals::new(Arc::clone(&disk), clock, kept.join("journal")),
            states: Arc::new(States::new(disk, kept.join("apps"))),
            leases: Arc::new(Leases::new(clock_of_leases)),
            outbox: Arc::clone(&outbox),
            contact: Arc::clone(&contact),
            tasks: tasks.clone(),
        };
        let (mut worker, events) = Worker::new(means);
        worker.start(vec![]).await;
        tasks.spawn("worker", worker.run(NoWatchdog));
        Self { hands, outbox, contact, events, tasks }
    }

    /// Gives an order.
    pub async fn order(&self, order: Order) {
        self.events.send(Event::Order(Box::new(order))).await.unwrap();
    }

    /// The next outcome or refusal.
    pub async fn outcome(&self) -> Report {
        loop {
            if let Outgoing::Report(report @ (Report::Order { .. } | Report::Refused { .. } | Report::WentBack { .. })) =
                self.outbox.next().await
            {
                return report;
            }
        }
    }

    /// What a session would say first.
    pub async fn hello(&self) -> Hello {
        let (reply, hello) = tokio::sync::oneshot::channel();
        self.events.send(Event::Hello(reply)).await.unwrap();
        hello.await.unwrap()
    }

    /// Kills the worker, as the death of its process does.
    pub async fn kill(self) -> Arc<FakeHands> {
        self.tasks.kill();
        assert!(self.tasks.finish(std::time::Duration::from_secs(60)).await);
        self.hands
    }

    /// Stops the worker as a graceful stop does.
    pub async fn stop(self) -> Arc<FakeHands> {
        self.tasks.stop();
        assert!(self.tasks.finish(std::time::Duration::from_secs(60)).await);
        self.hands
    }
}
