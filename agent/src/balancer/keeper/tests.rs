//! On a clock that is stopped: each look of the made-up balancer is noted with its time.

use super::*;
use crate::balancer::Weights;
use crate::balancer::desk::Desk;
use async_trait::async_trait;
use roadstead_model::{EnvironmentName, Failure, FailureKind, HostName, OrderKey, RolloutId, ServerSeen, Weight};
use roadstead_worker::tasks::Tasks;
use std::sync::Mutex;
use tokio::time::{Duration, sleep, timeout};

#[derive(Debug, Default)]
struct World {
    /// The next looks' count of requests; the last goes on.
    in_flight: u32,
    problem: Option<Failure>,
    /// How long a look takes.
    takes: Duration,
    /// When it was asked, and for which share of the one host.
    looks: Vec<(Duration, u8)>,
    /// It does not come back.
    hangs: bool,
}

#[derive(Debug)]
struct Fake {
    began: Instant,
    world: Mutex<World>,
}

#[async_trait]
impl Balancer for Fake {
    async fn bring(&self, wanted: &Weights) -> Sight {
        let (takes, hangs) = {
            let mut world = self.world.lock().unwrap();
            world.looks.push((self.began.elapsed(), wanted[&host()].get()));
            (world.takes, world.hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        sleep(takes).await;
        let world = self.world.lock().unwrap();
        let seen = |weight: &Weight| ServerSeen { weight: *weight, up: true, in_flight: world.in_flight };
        let servers = wanted.iter().map(|(host, weight)| (host.clone(), seen(weight))).collect();
        Sight { servers, problem: world.problem.clone() }
    }
}

impl Fake {
    fn set(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    fn looks(&self) -> Vec<(Duration, u8)> {
        std::mem::take(&mut self.world.lock().unwrap().looks)
    }
}

struct Rig {
    desk: Desk,
    fake: Arc<Fake>,
    outbox: Arc<Outbox>,
    tasks: Tasks,
}

fn app() -> AppName {
    AppName::parse("erp").unwrap()
}

fn host() -> HostName {
    HostName::parse("web-1").unwrap()
}

/// A table with one host of a given share, and one that takes its own in full.
fn table(sequence: u32, percent: u32) -> TrafficTable {
    TrafficTable {
        key: OrderKey { rollout: RolloutId(1), sequence },
        environment: EnvironmentName::parse("live").unwrap(),
        app: app(),
        weights: [(host(), Weight::percent(percent).unwrap()), (HostName::parse("web-2").unwrap(), Weight::FULL)].into(),
    }
}

impl Rig {
    fn start(first: TrafficTable) -> Self {
        let desk = Desk::default();
        desk.take(first);
        let fake = Arc::new(Fake { began: Instant::now(), world: Mutex::default() });
        let (outbox, tasks) = (Arc::<Outbox>::default(), Tasks::default());
        let balancer: Arc<dyn Balancer> = fake.clone();
        let keeper = Keeper { app: app(), balancer, news: desk.news(), outbox: Arc::clone(&outbox) };
        tasks.spawn("keeper", keeper.run(tasks.stopping().clone()));
        Self { desk, fake, outbox, tasks }
    }

    /// The next that is told.
    async fn told(&self) -> TrafficSeen {
        match self.outbox.next().await {
            Outgoing::Traffic(seen) => *seen,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is told for so long.
    async fn quiet(&self, long: Duration) {
        let told = timeout(long, self.outbox.next()).await;
        assert!(told.is_err(), "{told:?}");
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_table_is_taken_up_at_once_and_looked_at_again() {
    let rig = Rig::start(table(1, 100));
    let told = rig.told().await;
    assert_eq!((told.key.sequence, told.servers[&host()].weight, told.problem), (1, Weight::FULL, None));
    rig.quiet(seconds(25)).await;
    assert_eq!(rig.fake.looks(), [(seconds(0), 100), (seconds(10), 100), (seconds(20), 100)]);

    rig.desk.take(table(2, 0));
    let told = rig.told().await;
    assert_eq!((told.key.sequence, told.servers[&host()].weight), (2, Weight::DRAINED));
    rig.quiet(Duration::from_millis(2500)).await;
    assert_eq!(rig.fake.looks(), [(seconds(25), 0), (seconds(26), 0), (seconds(27), 0)]);
    rig.tasks.stop();
    assert!(rig.tasks.finish(seconds(1)).await);
}

#[tokio::test(start_paused = true)]
async fn counts_are_told_once_a_second_and_problems_at_once() {
    let rig = Rig::start(table(1, 0));
    rig.told().await;
    rig.fake.set(|world| world.in_flight = 5);
    rig.desk.take(table(1, 0));
    // The look is at once; it shows nothing but another count.
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.fake.looks().len(), 2);
    rig.quiet(Duration::from_millis(900)).await;
    assert_eq!(rig.told().await.servers[&host()].in_flight, 5);
    rig.fake.set(|world| world.problem = Some(Failure::new(FailureKind::Host, "HAProxy is away", "")));
    assert_eq!(rig.told().await.problem.unwrap().summary, "HAProxy is away");
    rig.quiet(seconds(5)).await;
    rig.fake.set(|world| world.problem = None);
    assert_eq!(rig.told().await.problem, None);
}

#[tokio::test(start_paused = true)]
async fn a_new_session_is_told_what_the_one_before_knew() {
    let rig = Rig::start(table(3, 100));
    let told = rig.told().await;
    rig.quiet(seconds(3)).await;
    rig.desk.session_opened();
    assert_eq!(rig.told().await, told);
    rig.quiet(seconds(3)).await;
    assert_eq!(rig.fake.looks().len(), 1, "nobody had to look again for that");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_drains_everybody_touches_nothing() {
    let mut nobody = table(1, 0);
    nobody.weights.values_mut().for_each(|weight| *weight = Weight::DRAINED);
    let rig = Rig::start(nobody);
    let told = rig.told().await;
    assert!(told.servers.is_empty() && told.problem.unwrap().summary.starts_with("nobody would be left"));
    rig.quiet(seconds(30)).await;
    assert_eq!(rig.fake.looks(), []);
    rig.desk.take(TrafficTable { weights: Weights::new(), ..table(2, 0) });
    assert!(rig.told().await.problem.is_some());
    assert_eq!(rig.fake.looks(), []);
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_is_ended_and_the_newest_table_follows_it() {
    let rig = Rig::start(table(1, 100));
    rig.fake.set(|world| world.takes = seconds(4));
    sleep(seconds(1)).await;
    rig.desk.take(table(2, 50));
    rig.desk.take(table(3, 0));
    assert_eq!(rig.told().await.key.sequence, 1);
    assert_eq!(rig.told().await.key.sequence, 3);
    rig.quiet(seconds(9)).await;
    assert_eq!(rig.fake.looks(), [(seconds(0), 100), (seconds(4), 0), (seconds(12), 0)], "as much time between two as each takes");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_does_not_keep_the_agent_from_stopping() {
    let rig = Rig::start(table(1, 100));
    rig.fake.set(|world| world.hangs = true);
    rig.quiet(seconds(60)).await;
    rig.tasks.stop();
    assert!(rig.tasks.finish(seconds(1)).await);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_the_host_knows_nothing_of_is_told_what_to_add() {
    let (desk, outbox, tasks) = (Arc::<Desk>::default(), Arc::<Outbox>::default(), Tasks::default());
    let layout = crate::layout::Layout::new(std::path::Path::new("/nonexistent"));
    let providers = crate::balancer::Providers::new(Arc::default(), Arc::new(crate::host::Host::new()), layout);
    tasks.spawn("traffic", crate::balancer::run(Arc::clone(&desk), providers, Arc::clone(&outbox), tasks.clone()));
    desk.take(table(1, 100));
    desk.take(TrafficTable { app: AppName::parse("shop").unwrap(), ..table(7, 100) });
    for _ in 0..2 {
        let Outgoing::Traffic(seen) = outbox.next().await else { panic!() };
        let problem = seen.problem.unwrap();
        assert!(problem.summary.contains(&format!("[traffic.{}]", seen.app)), "{problem:?}");
    }
    tasks.stop();
    assert!(tasks.finish(seconds(1)).await);
}
