//! The driver with fake hosts: a rollout to its end, one that goes back, a restart in the middle, a rollback, one that comes level.

mod configuration;
mod drift;
mod gates;
mod homes;
mod planning;
mod removal;
mod restores;
mod steering;
mod tending;
mod traffic;

use roadstead_model::{
    Failure, FailureKind, HostFacts, HostId, Order, OrderKey, OrderKind, OrderOutcome, ReleaseId, Report, RolloutId, StepName,
};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use roadstead_driver::samples::{app, environment, facts, host_id, host_record, release};
use roadstead_driver::*;
use roadstead_rollout::{State, Steer};

use crate::announce::Announcements;
use crate::clock::{self, RealClock};
use crate::store::Store;

/// Nothing here takes so long unless it hangs.
const LONG: Duration = Duration::from_secs(30);

/// What a fake host knows across its sessions.
#[derive(Debug, Default)]
struct Disk {
    current: Option<ReleaseId>,
    releases: Vec<ReleaseId>,
    unconfirmed: bool,
    highest: Option<roadstead_model::Fence>,
    heard: Option<roadstead_model::Fence>,
    outcomes: BTreeMap<OrderKey, OrderOutcome>,
    obeyed: Vec<(String, ReleaseId)>,
}

type Disks = Arc<Mutex<HashMap<HostId, Disk>>>;

/// How fake hosts behave.
#[derive(Debug, Clone, Default)]
struct Behaviour {
    /// Releases whose candidate never answers.
    broken: Vec<ReleaseId>,
    /// Verbs that are taken but never done.
    deaf: Vec<&'static str>,
    /// Verbs that can neither be done nor undone.
    stuck: Vec<&'static str>,
}

struct Rig {
    store: Store,
    driver: Driver,
    sessions: Sessions,
    announcements: Announcements,
    stopping: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    term: u64,
}

impl Rig {
    async fn start(folder: &Path) -> Self {
        let store = Store::open(&folder.join("roadstead.db")).await.unwrap();
        let term = store.begin_term(clock::now()).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let (sessions, announcements, stopping) = (Sessions::new(Arc::clone(&clock)), Announcements::default(), CancellationToken::new());
        let parts = Parts {
            ledger: Arc::new(store.clone()),
            sessions: sessions.clone(),
            outputs: Outputs::default(),
            announcer: Arc::new(announcements.clone()),
            measure: Arc::new(crate::evidence::Evidence::new()),
            clock,
            term,
        };
        let (driver, task) = start(parts, stopping.clone()).await.unwrap();
        Self { store, driver, sessions, announcements, stopping, task, term }
    }

    /// One host serves the first of these releases; also the rollout that brought it.
    async fn serving(folder: &Path, disks: &Disks, releases: &[&str]) -> (Self, RolloutId) {
        let rig = Self::start(folder).await;
        rig.prepare(1, releases).await;
        rig.connect(0, disks, &Behaviour::default()).await;
        let rollout = rig.deploy(releases[0]).await.unwrap();
        assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
        (rig, rollout)
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.sessions.cut_all();
        self.task.await.unwrap();
        self.store.close().await;
    }

    async fn prepare(&self, hosts: usize, releases: &[&str]) {
        self.store.apply(environment(), "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
        for version in releases {
            self.store.publish(release(version), clock::now()).await.unwrap();
        }
        for number in 0..hosts {
            self.store.add_host(host_record(number)).await;
        }
    }

    /// Opens a session of a fake host; it obeys in a task of its own.
    async fn connect(&self, number: usize, disks: &Disks, behaviour: &Behaviour) {
        let host = host_id(number);
        let mut opened = self.sessions.open(&host);
        let said = facts_of(number, disks);
        let outcomes = disks.lock().unwrap()[&host].outcomes.clone().into_iter().collect();
        let epoch = opened.epoch;
        self.driver.tell(Event::Hello { host: host.clone(), epoch, facts: Box::new(said), outcomes, steps: Vec::new() }).await;
        let (driver, disks, behaviour, term) = (self.driver.clone(), Arc::clone(disks), behaviour.clone(), self.term);
        tokio::spawn(async move {
            let mut sequence = 0;
            loop {
                let message = tokio::select! {
                    () = opened.cut.cancelled() => return,
                    message = opened.messages.recv() => message,
                };
                let Some(Downward::Order(order)) = message else { continue };
                assert_eq!(order.fence.term, term, "orders carry the term of the start that sends them");
                let Some(outcome) = obey(disks.lock().unwrap().get_mut(&host).unwrap(), &order, &behaviour) else { continue };
                if let Some(report) = restores::told(&order).or_else(|| tending::told(&order)) {
                    sequence += 1;
                    driver.tell(Event::Report { host: host.clone(), epoch, sequence, report: Box::new(report) }).await;
                }
                sequence += 1;
                let report = Box::new(Report::Order { key: order.key(), outcome });
                driver.tell(Event::Report { host: host.clone(), epoch, sequence, report }).await;
            }
        });
    }

    async fn deploy(&self, version: &str) -> Result<RolloutId, Refused> {
        let environment = environment();
        let request = StartRequest {
            environment: environment.name,
            app: app(),
            release: release(version).id(),
            reason: "test".to_owned(),
            by: "admin:ada".to_owned(),
            idempotency_key: format!("deploy {version}"),
            plan: None,
            contracts: vec![],
        };
        Ok(self.driver.ask(Verb::Start(request)).await?.state.plan.rollout)
    }

    async fn roll_back(&self, to: Option<&str>) -> Result<Arc<RolloutRecord>, Refused> {
        let to = to.map(|version| release(version).id());
        let (environment, reason, by) = (environment().name, "test".to_owned(), "admin:ada".to_owned());
        self.driver.ask(Verb::Rollback { environment, app: app(), to, reason, by }).await
    }

    async fn steer(&self, rollout: RolloutId, steer: Steer) -> Result<Arc<RolloutRecord>, Refused> {
        self.driver.ask(Verb::Steer { rollout, steer, reason: "test".to_owned(), by: "admin:ada".to_owned() }).await
    }

    /// The rollout, as soon as something holds of it.
    async fn until(&self, rollout: RolloutId, holds: impl Fn(&State) -> bool) -> RolloutRecord {
        let mut newest = self.store.newest_event();
        let found = timeout(LONG, async {
            loop {
                newest.mark_unchanged();
                let record = self.store.rollout(rollout).await.unwrap().unwrap();
                if holds(&record.state) {
                    return record;
                }
                newest.changed().await.unwrap();
            }
        });
        found.await.expect("it comes to that")
    }

    async fn end(&self, rollout: RolloutId) -> crate::store::RolloutRecord {
        let mut newest = self.store.newest_event();
        let ended = timeout(LONG, async {
            loop {
                newest.mark_unchanged();
                while let Some(mut changes) = self.announcements.follow(rollout) {
                    while changes.changed().await.is_ok() {}
                }
                // One that was only just saved is not announced yet.
                let record = self.store.rollout(rollout).await.unwrap().unwrap();
                if record.state.outcome().is_some() {
                    return record;
                }
                newest.changed().await.unwrap();
            }
        });
        ended.await.expect("the rollout ends")
    }

    /// The rollout behind this one, which brings hosts level.
    async fn level(&self, after: RolloutId) -> RolloutId {
        let mut newest = self.store.newest_event();
        let level = timeout(LONG, async {
            loop {
                newest.mark_unchanged();
                let records = self.store.rollouts("staging", 1).await.unwrap();
                let newest_plan = records.first().map(|record| &record.state.plan);
                let level = |plan: &&roadstead_rollout::Plan| plan.rollout > after && plan.kind == roadstead_rollout::RolloutKind::Level;
                if let Some(plan) = newest_plan.filter(level) {
                    return plan.rollout;
                }
                newest.changed().await.unwrap();
            }
        });
        level.await.expect("the host is brought level")
    }

    async fn current(&self) -> Option<roadstead_model::Digest> {
        self.store.environment(&environment().name, &app()).await.unwrap().unwrap().current.map(|current| current.release.manifest)
    }
}

/// What a fake host says of itself.
fn facts_of(number: usize, disks: &Disks) -> HostFacts {
    let mut disks = disks.lock().unwrap();
    let disk = disks.entry(host_id(number)).or_default();
    let (current, releases) = (disk.current.clone(), disk.releases.clone());
    let (unconfirmed, highest) = (disk.unconfirmed, disk.highest);
    let state = roadstead_model::AppState { current, releases, unconfirmed, highest, ..Default::default() };
    let mut said = facts(number);
    said.apps.insert(app(), state);
    said
}

fn obey(disk: &mut Disk, order: &Order, behaviour: &Behaviour) -> Option<OrderOutcome> {
    if let Some(known) = disk.outcomes.get(&order.key()) {
        return Some(known.clone());
    }
    assert!(disk.heard < Some(order.fence), "no host obeys what is older than what it heard: {:?}, {order:?}", disk.heard);
    disk.heard = Some(order.fence);
    if behaviour.deaf.contains(&order.kind.verb()) {
        return None;
    }
    if behaviour.stuck.contains(&order.kind.verb()) {
        let failure = Failure::new(FailureKind::Host, "it is not here any more", "deploy it again");
        return Some(OrderOutcome::Stuck { step: StepName::Revert, failure, current: disk.current.clone() });
    }
    let release = order.kind.release().id.clone();
    disk.obeyed.push((order.kind.verb().to_owned(), release.clone()));
    let outcome = match &order.kind {
        OrderKind::Activate { .. } if behaviour.broken.contains(&release) => OrderOutcome::Failed {
            step: StepName::Candidate,
            failure: Failure::new(FailureKind::Check, "web did not answer", "see the log"),
            current: disk.current.clone(),
        },
        OrderKind::Activate { expected, .. } => {
            assert_eq!(*expected, disk.current, "what the controller believes is what serves");
            disk.current = Some(release);
            disk.unconfirmed = true;
            OrderOutcome::Done { current: disk.current.clone() }
        }
        OrderKind::Revert { to, .. } => {
            disk.current = to.as_ref().map(|to| to.id.clone());
            OrderOutcome::Done { current: disk.current.clone() }
        }
        OrderKind::Prepare { .. } => {
            disk.releases.push(release);
            OrderOutcome::Done { current: disk.current.clone() }
        }
        OrderKind::Confirm { .. } => {
            disk.unconfirmed = false;
            OrderOutcome::Done { current: disk.current.clone() }
        }
        OrderKind::Halt { .. } => {
            disk.current = None;
            OrderOutcome::Done { current: None }
        }
        OrderKind::Migrate { .. }
        | OrderKind::Abandon { .. }
        | OrderKind::Backup { .. }
        | OrderKind::Recheck { .. }
        | OrderKind::Job { .. }
        | OrderKind::Survey { .. }
        | OrderKind::Restore { .. }
        | OrderKind::Exchange { .. } => OrderOutcome::Done { current: disk.current.clone() },
    };
    disk.outcomes.insert(order.key(), outcome.clone());
    Some(outcome)
}

fn serving(disks: &Disks) -> Vec<Option<ReleaseId>> {
    let disks = disks.lock().unwrap();
    let mut hosts: Vec<_> = disks.iter().collect();
    hosts.sort_by_key(|(id, _)| (*id).clone());
    hosts.into_iter().map(|(_, disk)| disk.current.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_reaches_every_host_and_a_broken_one_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(3, &["1.0", "1.1", "1.2", "1.3"]).await;
    let disks = Disks::default();
    let behaviour = Behaviour { broken: vec![release("1.1").id()], ..Behaviour::default() };
    for number in 0..3 {
        rig.connect(number, &disks, &behaviour).await;
    }
    let first = rig.deploy("1.0").await.unwrap();
    assert_eq!(rig.end(first).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 3]);
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    assert_eq!(rig.deploy("1.0").await.unwrap(), first, "a repeat of the request starts nothing");

    let broken = rig.deploy("1.1").await.unwrap();
    let ended = rig.end(broken).await;
    assert_ne!(ended.state.phase.word(), "done");
    assert!(ended.state.failure.unwrap().summary.contains("web did not answer"));
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 3]);
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    assert!(!rig.store.release(&release("1.1").digest).await.unwrap().unwrap().bad.is_empty(), "it is not rolled out again");

    let good = rig.deploy("1.2").await.unwrap();
    assert_eq!(rig.end(good).await.state.phase.word(), "done");
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    let ended = rig.end(back).await;
    assert_eq!((ended.state.phase.word(), ended.state.plan.kind), ("done", roadstead_rollout::RolloutKind::Rollback));
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 3]);
    assert!(matches!(rig.roll_back(Some("1.0")).await, Err(Refused::RunsAlready(..))));
    assert!(matches!(rig.roll_back(Some("1.1")).await, Err(Refused::Bad { .. })), "it was found broken");
    assert!(matches!(rig.roll_back(Some("1.3")).await, Err(Refused::NeverServed(..))), "nobody knows whether its database is there");
    let forth = rig.roll_back(Some("1.2")).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(forth).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.2").id()); 3]);
    rig.store.verify_history().await.unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_goes_on_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(3, &["1.0"]).await;
    let deaf = Behaviour { deaf: vec!["activate"], ..Behaviour::default() };
    for number in 0..3 {
        rig.connect(number, &disks, &deaf).await;
    }
    let rollout = rig.deploy("1.0").await.unwrap();
    let mut changes = rig.announcements.follow(rollout).unwrap();
    timeout(LONG, changes.wait_for(|snapshot| snapshot.phase == "moving")).await.unwrap().unwrap();
    drop(changes);
    rig.stop().await;

    let rig = Rig::start(folder.path()).await;
    assert_eq!(rig.term, 2);
    for number in 0..3 {
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 3]);
    for (host, disk) in disks.lock().unwrap().iter() {
        let prepared = disk.obeyed.iter().filter(|(verb, _)| verb == "prepare").count();
        assert_eq!(prepared, 1, "{host} was told to prepare once more: {:?}", disk.obeyed);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_is_ahead_of_the_database_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    // since the backup of which this database is, the host has been given another release by a rollout that is not in it
    let later = roadstead_model::Fence { term: rig.term, rollout: RolloutId(rollout.0 + 3), sequence: 3 };
    {
        let mut disks = disks.lock().unwrap();
        let disk = disks.get_mut(&host_id(0)).unwrap();
        (disk.current, disk.highest) = (Some(release("1.2").id()), Some(later));
    }
    rig.connect(0, &disks, &Behaviour::default()).await;
    let refused = rig.deploy("1.1").await;
    assert!(matches!(&refused, Err(Refused::Behind(hosts)) if hosts == host_record(0).name.as_str()), "{refused:?}");
    assert!(matches!(rig.roll_back(Some("1.1")).await, Err(Refused::Behind(_) | Refused::NeverServed(..))));
    assert_eq!(serving(&disks), vec![Some(release("1.2").id())], "it was not brought \"level\"");
    rig.stop().await;

    // a restart does not forget it, and no number is given twice
    let rig = Rig::start(folder.path()).await;
    rig.connect(0, &disks, &Behaviour::default()).await;
    assert!(matches!(rig.deploy("1.1").await, Err(Refused::Behind(_))));
    assert_eq!(serving(&disks), vec![Some(release("1.2").id())]);
    rig.store.jump(clock::now()).await.unwrap();
    rig.stop().await;

    // once somebody has said that the database was restored, and what hosts run was pushed again, it goes on
    let rig = Rig::start(folder.path()).await;
    rig.store.publish(release("1.2"), clock::now()).await.unwrap();
    rig.connect(0, &disks, &Behaviour::default()).await;
    let deployed = rig.deploy("1.1").await.unwrap();
    assert!(deployed > later.rollout, "{deployed}");
    assert_eq!(rig.end(deployed).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.1").id())]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_host_comes_level_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    rig.store.add_host(host_record(1)).await;
    rig.connect(1, &disks, &Behaviour::default()).await;
    let level = rig.level(rollout).await;
    assert_eq!(rig.end(level).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 2]);
    // it falls behind once more, on the same boot: once level is not for ever
    disks.lock().unwrap().get_mut(&host_id(1)).unwrap().current = None;
    rig.connect(1, &disks, &Behaviour::default()).await;
    let again = rig.level(level).await;
    assert_eq!(rig.end(again).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.0").id()); 2]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_does_not_wait_for_hosts_to_come_level() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    rig.store.add_host(host_record(1)).await;
    let deaf = Behaviour { deaf: vec!["prepare"], ..Behaviour::default() };
    rig.connect(1, &disks, &deaf).await;
    let level = rig.level(rollout).await;
    let deploy = timeout(LONG, rig.deploy("1.1"));
    let (deployed, ()) = tokio::join!(deploy, async {
        let ended = rig.end(level).await;
        assert!(ended.state.gives_way, "{:?}", ended.state);
        rig.connect(1, &disks, &Behaviour::default()).await;
    });
    let deployed = deployed.expect("the deployment begins").unwrap();
    assert_eq!(rig.end(deployed).await.state.phase.word(), "done");
    assert_eq!(serving(&disks), vec![Some(release("1.1").id()); 2]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_away_when_others_confirmed_is_confirmed_later() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    assert!(!disks.lock().unwrap()[&host_id(0)].unconfirmed);
    // as if the confirmation had never come, and the rollout had ended without this host
    disks.lock().unwrap().get_mut(&host_id(0)).unwrap().unconfirmed = true;
    rig.connect(0, &disks, &Behaviour::default()).await;
    let level = rig.level(rollout).await;
    assert_eq!(rig.end(level).await.state.phase.word(), "done");
    assert!(!disks.lock().unwrap()[&host_id(0)].unconfirmed);
    assert_eq!(rig.store.rollouts("staging", 10).await.unwrap().len(), 2, "once is enough");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_session_said_is_not_listened_to() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let earlier = rig.sessions.epoch(&host_id(0)).unwrap();
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour::default()).await;
    let before = Box::new(facts(0));
    rig.driver.tell(Event::Facts { host: host_id(0), epoch: earlier, facts: before }).await;
    // A verb is answered when all that came before it is decided and saved.
    assert!(matches!(rig.roll_back(Some("1.0")).await, Err(Refused::RunsAlready(..))));
    let known = rig.store.hosts(None).await.unwrap().remove(0);
    assert_eq!(known.facts.apps[&app()].current, Some(release("1.0").id()));
    assert_eq!(rig.store.rollouts("staging", 1).await.unwrap()[0].state.plan.rollout, rollout, "nobody is brought level");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_ends_its_cutover_after_its_rollout_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    // it came back level, and in the session it finishes what its journal still had
    disks.lock().unwrap().get_mut(&host_id(0)).unwrap().unconfirmed = true;
    let epoch = rig.sessions.epoch(&host_id(0)).unwrap();
    rig.driver.tell(Event::Facts { host: host_id(0), epoch, facts: Box::new(facts_of(0, &disks)) }).await;
    let level = rig.level(rollout).await;
    assert_eq!(rig.end(level).await.state.phase.word(), "done");
    assert!(!disks.lock().unwrap()[&host_id(0)].unconfirmed);
    rig.stop().await;
}

/// An agent answers an order that comes once more with what became of it, however long ago that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_report_says_nothing_of_what_serves_now() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let (host, epoch) = (host_id(0), rig.sessions.epoch(&host_id(0)).unwrap());
    let why = Failure::new(FailureKind::Deadline, "long ago", "");
    let report = Report::WentBack { key: OrderKey { rollout, sequence: 3 }, app: app(), current: None, why };
    rig.driver.tell(Event::Report { host: host.clone(), epoch, sequence: 99, report: Box::new(report) }).await;
    let told = async {
        let mut newest = rig.store.newest_event();
        loop {
            newest.mark_unchanged();
            let events = rig.store.events(rollout.0, 0, 1_000).await.unwrap();
            if events.iter().any(|event| event.kind == "host-went-back") {
                return;
            }
            newest.changed().await.unwrap();
        }
    };
    timeout(LONG, told).await.expect("the history says so");
    let known = rig.store.host(&host).await.unwrap().unwrap();
    assert_eq!(known.facts.apps[&app()].current, Some(release("1.0").id()));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_rollout_at_a_time_and_it_can_be_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(2, &["1.0", "1.1"]).await;
    assert!(matches!(rig.deploy("7.7").await, Err(Refused::NoRelease(..))));
    let deaf = Behaviour { deaf: vec!["prepare"], ..Behaviour::default() };
    for number in 0..2 {
        rig.connect(number, &disks, &deaf).await;
    }
    let rollout = rig.deploy("1.0").await.unwrap();
    assert!(matches!(rig.deploy("1.1").await, Err(Refused::Busy(busy, ..)) if busy == rollout));
    rig.steer(rollout, Steer::Abort).await.unwrap();
    let ended = rig.end(rollout).await;
    assert!(ended.state.failure.unwrap().summary.contains("aborted by admin:ada"));
    assert!(matches!(rig.steer(rollout, Steer::Abort).await, Err(Refused::NotRunning(_))));
    assert!(rig.store.release(&release("1.0").digest).await.unwrap().unwrap().bad.is_empty(), "nobody said that it is bad");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rollback_that_did_not_reach_all_nobody_is_brought_to_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(2, &["1.0", "1.1"]).await;
    let stuck = Behaviour { stuck: vec!["revert"], ..Behaviour::default() };
    rig.connect(0, &disks, &Behaviour::default()).await;
    rig.connect(1, &disks, &stuck).await;
    for version in ["1.0", "1.1"] {
        let rollout = rig.deploy(version).await.unwrap();
        assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    }
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(back).await.state.phase.word(), "failed");
    assert_eq!(serving(&disks), [Some(release("1.0").id()), Some(release("1.1").id())]);
    assert_eq!(rig.current().await, Some(release("1.0").digest), "what was wanted");
    // A session that opens anew makes the driver look for hosts that are not level.
    rig.connect(0, &disks, &Behaviour::default()).await;
    rig.connect(1, &disks, &stuck).await;
    // Whatever is asked for comes after that.
    assert!(matches!(rig.deploy("7.7").await, Err(Refused::NoRelease(..))));
    let newest = rig.store.rollouts("staging", 10).await.unwrap();
    assert!(newest.iter().all(|record| record.state.plan.rollout <= back), "{newest:?}");
    rig.stop().await;
}
