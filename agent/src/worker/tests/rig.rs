//! A host made of a set of effects, whose steps end, fail or wait as a test says.

use async_trait::async_trait;
use roadstead_model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

use crate::clock::Monotonic;
use crate::contact::Contact;
use crate::hands::{Hands, Task};
use crate::journal::Journals;
use crate::layout::Layout;
use crate::notify::Watchdog;
use crate::output::{Outbox, Outgoing};
use crate::state::States;
use crate::tasks::Tasks;
use crate::worker::{Event, Hello, Means, Worker};

/// What was done to the made-up host.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) effects: BTreeSet<(AppName, StepName)>,
    pub(crate) fails: BTreeSet<StepName>,
    pub(crate) undo_fails: BTreeSet<StepName>,
    pub(crate) waits: BTreeSet<StepName>,
    pub(crate) ignores_cancel: bool,
    pub(crate) log: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct FakeHands {
    pub(crate) world: Mutex<World>,
    /// Counted up with each entry of the log.
    changed: watch::Sender<usize>,
}

impl FakeHands {
    pub(crate) fn new(world: World) -> Arc<Self> {
        Arc::new(Self { world: Mutex::new(world), changed: watch::Sender::new(0) })
    }

    fn note(&self, text: String) {
        self.world.lock().unwrap().log.push(text);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.world.lock().unwrap().log.clone()
    }

    /// Waits until the host's log holds a line.
    pub(crate) async fn saw(&self, line: &str) {
        let mut changed = self.changed.subscribe();
        changed.wait_for(|_| self.log().iter().any(|l| l == line)).await.unwrap();
    }

    /// Lets waiting steps go on.
    pub(crate) fn release(&self) {
        self.world.lock().unwrap().waits.clear();
        self.changed.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl Hands for FakeHands {
    async fn run(&self, step: StepName, task: Task) -> Result<String, Failure> {
        let app = task.order.app.clone();
        self.note(format!("run {app} {step}"));
        self.world.lock().unwrap().effects.insert((app.clone(), step));
        task.output.line(step, "some output");
        let mut changed = self.changed.subscribe();
        let ignores = self.world.lock().unwrap().ignores_cancel;
        tokio::select! {
            _ = changed.wait_for(|_| !self.world.lock().unwrap().waits.contains(&step)) => {}
            () = task.cancelled.cancelled(), if !ignores => {
                self.note(format!("stop {app} {step}"));
                return Err(Failure::new(FailureKind::Cancelled, "stopped", "none"));
            }
        }
        if self.world.lock().unwrap().fails.contains(&step) {
            Err(Failure::new(FailureKind::Check, format!("{step} failed"), "look"))
        } else {
            Ok("done".into())
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
        Ok(AppState::default())
    }

    async fn stand_down(&self, app: &AppName) -> Result<usize, Failure> {
        self.note(format!("stand down {app}"));
        Ok(0)
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
            apps: apps.into_iter().map(|app| (app, AppState::default())).collect::<BTreeMap<_, _>>(),
            release_keys: None,
        }
    }

    async fn rest(&self) {}
}

pub(crate) fn release() -> ReleaseRef {
    let manifest = Digest::of(b"manifest");
    ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest }
}

pub(crate) fn prepare() -> OrderKind {
    OrderKind::Prepare { release: release(), variables: [].into(), singletons: vec![], keep: 3 }
}

pub(crate) fn activate() -> OrderKind {
    OrderKind::Activate { release: release(), expected: None, confirm_within: Millis(60_000) }
}

pub(crate) fn confirm() -> OrderKind {
    OrderKind::Confirm { release: release() }
}

pub(crate) fn order(rollout: u64, sequence: u32, kind: OrderKind) -> Order {
    Order {
        fence: Fence { term: 1, rollout: RolloutId(rollout), sequence },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind,
        deadline: Millis(600_000),
    }
}

/// An order, for tests of other parts.
pub(crate) fn some_order() -> Order {
    order(1, 1, activate())
}

pub(crate) fn of_app(mut order: Order, app: &str) -> Order {
    order.app = AppName::parse(app).unwrap();
    order
}

/// A running worker on a made-up host.
pub(crate) struct Rig {
    pub(crate) hands: Arc<FakeHands>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) contact: Arc<Contact>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) tasks: Tasks,
}

impl Rig {
    /// Starts a worker on the disk below `root`.
    pub(crate) async fn start(root: &Path, hands: Arc<FakeHands>) -> Self {
        let layout = Layout::new(root);
        let contact = Arc::new(Contact::new(Monotonic::start()));
        let (outbox, tasks) = (Arc::<Outbox>::default(), Tasks::default());
        let means = Means {
            hands: Arc::clone(&hands) as Arc<dyn Hands>,
            journals: Journals::of_agent(&layout),
            states: Arc::new(States::new(layout)),
            outbox: Arc::clone(&outbox),
            contact: Arc::clone(&contact),
            tasks: tasks.clone(),
        };
        let (mut worker, events) = Worker::new(means);
        worker.start(vec![]).await;
        tasks.spawn("worker", worker.run(Watchdog::none()));
        Self { hands, outbox, contact, events, tasks }
    }

    pub(crate) async fn order(&self, order: Order) {
        self.events.send(Event::Order(Box::new(order))).await.unwrap();
    }

    /// The next outcome or refusal.
    pub(crate) async fn outcome(&self) -> Report {
        loop {
            if let Outgoing::Report(report @ (Report::Order { .. } | Report::Refused { .. } | Report::WentBack { .. })) =
                self.outbox.next().await
            {
                return report;
            }
        }
    }

    pub(crate) async fn hello(&self) -> Hello {
        let (reply, hello) = tokio::sync::oneshot::channel();
        self.events.send(Event::Hello(reply)).await.unwrap();
        hello.await.unwrap()
    }

    /// Stops the worker as a graceful stop does.
    pub(crate) async fn stop(self) -> Arc<FakeHands> {
        self.tasks.stop();
        assert!(self.tasks.finish(std::time::Duration::from_secs(60)).await);
        self.hands
    }
}
