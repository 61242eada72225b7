//! Balancers with fake hosts behind them: what they are told through rollouts, restarts, and changes of the policy.

use roadstead_model::{
    EnvironmentSpec, HostName, LabelKey, Labels, Millis, Selector, ServerSeen, Share, Strategy, Traffic, TrafficSeen, Weight,
};
use roadstead_rollout::Phase;

use super::*;

/// Which host is the balancer.
const BALANCER: usize = 50;

/// What the balancer does with each host.
type Effect = Arc<Mutex<BTreeMap<HostName, Weight>>>;

fn behind(strategy: Strategy, bake: Millis) -> EnvironmentSpec {
    let traffic = Traffic { balancers: Selector::parse("role=lb").unwrap(), hosts: Selector::default(), drain: Millis(1_000) };
    EnvironmentSpec { hosts: Selector::parse("color").unwrap(), strategy, traffic: Some(traffic), bake, ..environment() }
}

fn blue_green(bake: Millis) -> EnvironmentSpec {
    let whole = Share::Percent(100);
    let sets = LabelKey::try_from("color".to_owned()).ok();
    behind(Strategy { batch: whole, max_unavailable: whole, sets, ..Strategy::default() }, bake)
}

impl Rig {
    async fn applied(&self, spec: EnvironmentSpec) {
        self.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
        self.driver.tell(Event::EnvironmentsChanged).await;
    }

    /// A blue host and a green one, and a balancer; everybody is connected.
    async fn of_two_sets(folder: &Path, disks: &Disks, effect: &Effect, spec: EnvironmentSpec) -> Self {
        let rig = Self::start(folder).await;
        rig.prepare(0, &["1.0", "1.1", "1.2"]).await;
        for (number, label) in [(0, "color=blue"), (1, "color=green"), (BALANCER, "role=lb")] {
            let mut record = host_record(number);
            record.labels = Labels::parse([label]).unwrap();
            rig.store.add_host(record).await;
        }
        rig.applied(spec).await;
        rig.all_connect(disks, effect).await;
        rig
    }

    async fn all_connect(&self, disks: &Disks, effect: &Effect) {
        self.balance(effect).await;
        for number in 0..2 {
            self.connect(number, disks, &Behaviour::default()).await;
        }
    }

    /// A balancer that obeys at once, and says so.
    async fn balance(&self, effect: &Effect) {
        let host = host_id(BALANCER);
        let mut opened = self.sessions.open(&host);
        let epoch = opened.epoch;
        let facts = Box::new(facts(BALANCER));
        self.driver.tell(Event::Hello { host: host.clone(), epoch, facts, outcomes: Vec::new(), steps: Vec::new() }).await;
        let (driver, effect) = (self.driver.clone(), Arc::clone(effect));
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    () = opened.cut.cancelled() => return,
                    message = opened.messages.recv() => message,
                };
                let Some(Downward::Traffic(table)) = message else { continue };
                effect.lock().unwrap().extend(table.weights.clone());
                let seen = |weight: Weight| ServerSeen { weight, up: true, in_flight: 0 };
                let servers = table.weights.into_iter().map(|(host, weight)| (host, seen(weight))).collect();
                let seen = Box::new(TrafficSeen { key: table.key, app: table.app, servers, problem: None });
                driver.tell(Event::Traffic { host: host.clone(), epoch, seen }).await;
            }
        });
    }

    async fn live_set(&self) -> Option<String> {
        self.store.environment(&environment().name, &app()).await.unwrap().unwrap().live_set
    }
}

/// Waits until the blue host and the green one get so much.
async fn shares(effect: &Effect, wanted: [u8; 2]) {
    let of = |number: usize| effect.lock().unwrap().get(&host_record(number).name).map(|weight| weight.get());
    let come = timeout(LONG, async {
        while [0, 1].map(of) != wanted.map(Some) {
            tokio::task::yield_now().await;
        }
    });
    come.await.unwrap_or_else(|_| panic!("{wanted:?} does not come about: {:?}", [0, 1].map(of)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_that_has_the_traffic_is_remembered_and_gets_it_back_by_a_switch() {
    let folder = tempfile::tempdir().unwrap();
    let (disks, effect) = (Disks::default(), Effect::default());
    let rig = Rig::of_two_sets(folder.path(), &disks, &effect, blue_green(Millis(0))).await;
    for (version, wanted, set) in [("1.0", [100, 0], "blue"), ("1.1", [0, 100], "green")] {
        let rollout = rig.deploy(version).await.unwrap();
        assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
        shares(&effect, wanted).await;
        assert_eq!(rig.live_set().await.as_deref(), Some(set));
    }
    assert_eq!(serving(&disks)[..2], [Some(release("1.0").id()), Some(release("1.1").id())]);
    rig.stop().await;

    effect.lock().unwrap().clear();
    let rig = Rig::start(folder.path()).await;
    rig.all_connect(&disks, &effect).await;
    shares(&effect, [0, 100]).await;
    let obeyed = disks.lock().unwrap()[&host_id(0)].obeyed.len();
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(back).await.state.phase.word(), "done");
    shares(&effect, [100, 0]).await;
    assert_eq!(disks.lock().unwrap()[&host_id(0)].obeyed.len(), obeyed, "no host does anything");
    assert_eq!((rig.live_set().await.as_deref(), rig.current().await), (Some("blue"), Some(release("1.0").digest)));
    rig.stop().await;
}

/// Whatever is applied in the middle: the rollout ends as it was planned, and then everybody has traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_shares_out_traffic_any_more_nobody_is_left_drained() {
    let folder = tempfile::tempdir().unwrap();
    let (disks, effect) = (Disks::default(), Effect::default());
    let rig = Rig::of_two_sets(folder.path(), &disks, &effect, blue_green(Millis::from_secs(3_600))).await;
    let first = rig.deploy("1.0").await.unwrap();
    rig.until(first, |state| matches!(state.phase, Phase::Baking { .. })).await;
    shares(&effect, [100, 0]).await;
    let bare = EnvironmentSpec { strategy: environment().strategy, traffic: None, ..blue_green(Millis(0)) };
    rig.applied(bare).await;
    // What is asked for is answered when all that came before was decided.
    assert!(matches!(rig.deploy("1.1").await, Err(Refused::Busy(..))));
    shares(&effect, [100, 0]).await;
    rig.steer(first, Steer::Abort).await.unwrap();
    rig.end(first).await;
    shares(&effect, [100, 100]).await;
    rig.stop().await;
}

/// A rollback whose switch does not come about changes nothing of what the environment runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_back_that_fails_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (disks, effect) = (Disks::default(), Effect::default());
    let mut spec = blue_green(Millis(0));
    spec.timeouts.away = Millis(300);
    let rig = Rig::of_two_sets(folder.path(), &disks, &effect, spec).await;
    for version in ["1.0", "1.1"] {
        let rollout = rig.deploy(version).await.unwrap();
        assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    }
    rig.sessions.cut(&host_id(BALANCER));
    // A session that says nothing takes its place.
    let opened = rig.sessions.open(&host_id(BALANCER));
    let said = Box::new(facts(BALANCER));
    let hello = Event::Hello { host: host_id(BALANCER), epoch: opened.epoch, facts: said, outcomes: Vec::new(), steps: Vec::new() };
    rig.driver.tell(hello).await;
    let back = rig.roll_back(None).await.unwrap().state.plan.rollout;
    let ended = rig.end(back).await.state;
    assert_eq!(ended.phase.word(), "failed");
    assert!(ended.failure.unwrap().summary.contains("does not say that it could"));
    assert_eq!((rig.live_set().await.as_deref(), rig.current().await), (Some("green"), Some(release("1.1").digest)));
    rig.stop().await;
}
