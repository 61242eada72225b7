//! One run: a fleet made from a seed, some hours of trouble, then peace, in which everything must come to rest.

use roadstead_driver::{ReleaseRecord, Runs, StartRequest, Verb, samples};
use roadstead_model::{Digest, EnvironmentSpec, Gates, HostId, LabelKey, Labels, Millis, Selector, Strategy, Timeouts, Traffic};
use roadstead_worker::disk::Room;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::agent::Agent;
use crate::balancer::Balancer;
use crate::chance::Chance;
use crate::controller::Controller;
use crate::ledger::{SimLedger, setting};
use crate::network::Network;
use crate::once::{Ticks, tick};
use crate::promises;
use crate::script::{Stage, call_off, operate, policy, strike};
use crate::witness::Witness;
use crate::world::{Flaw, World};

/// How often the world is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Within this time of peace everything must have come to rest.
const REST_WITHIN: Duration = Duration::from_secs(3 * 3600);

/// Numbers of hosts that are balancers.
const BALANCERS_FROM: usize = 9_000;

/// How a run ended.
#[derive(Debug)]
pub struct Verdict {
    /// Its seed.
    pub seed: u64,
    /// Hosts in its fleet.
    pub hosts: usize,
    /// Rollouts in it.
    pub rollouts: usize,
    /// What came of all ticks of the beat.
    pub ticks: Ticks,
    /// Promises that were broken, first of all the first.
    pub broken: Vec<String>,
    /// What happened, a line each.
    pub story: String,
}

/// Runs the world of a seed. The same seed gives the same run.
///
/// # Panics
/// When no runtime can be made.
#[must_use]
pub fn run(seed: u64) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let verdict = runtime.block_on(world(seed));
    drop(runtime);
    verdict
}

async fn world(seed: u64) -> Verdict {
    let witness = Witness::new();
    let stage = build(seed, &witness).await;
    let mut chance = Chance::of(seed, "the run");
    if chance.percent(70) {
        begin_well(&stage).await;
    }
    let trouble = chance.millis(1_800_000, 7_200_000);
    let mut troublemakers: Vec<_> = (0..chance.number(1, 2)).map(|number| tokio::spawn(operate(stage.clone(), number))).collect();
    troublemakers.push(tokio::spawn(call_off(stage.clone())));
    troublemakers.push(tokio::spawn(strike(stage.clone())));

    let began = Instant::now();
    while began.elapsed() < trouble && !witness.is_broken() {
        sleep(LOOK_EVERY).await;
        promises::of_world(&stage.world);
    }
    troublemakers.iter().for_each(tokio::task::JoinHandle::abort);
    if !witness.is_broken() {
        peace(&stage).await;
    }
    let rollouts = stage.world.ledger.tables().rollouts.len();
    Verdict { seed, hosts: stage.agents.len(), rollouts, ticks: stage.world.ticks(), broken: witness.verdict(), story: witness.story() }
}

/// Before anything goes wrong the fleet gets a good release, so that there is something to go back to and to be brought level with.
async fn begin_well(stage: &Stage) {
    let Some((release, _)) = stage.world.releases.iter().find(|(_, flaw)| **flaw == Flaw::None) else { return };
    let Some(serving) = stage.network.controller.serving() else { return };
    stage.world.trouble.store(false, Ordering::Relaxed);
    let easy = EnvironmentSpec {
        gates: Gates::default(),
        analysis: None,
        strategy: Strategy { steps: vec![], ..stage.environment.strategy.clone() },
        ..stage.environment.clone()
    };
    stage.world.ledger.apply(easy.clone());
    let (environment, app) = (easy.name, easy.app);
    let (reason, by, idempotency_key) = ("the first".to_owned(), "admin:ada".to_owned(), "the first".to_owned());
    let first = StartRequest { environment, app, release: release.clone(), reason, by, idempotency_key, plan: None, contracts: vec![] };
    if let Ok(record) = serving.driver.ask(Verb::Start(first)).await {
        let is_over =
            || stage.world.ledger.tables().rollouts.get(&record.state.plan.rollout).is_some_and(|known| known.state.outcome().is_some());
        while !is_over() && !stage.world.witness.is_broken() {
            sleep(LOOK_EVERY).await;
        }
    }
    stage.world.ledger.apply(stage.environment.clone());
    stage.world.trouble.store(true, Ordering::Relaxed);
}

/// Faults stop: everything comes to rest in bounded time, and every host serves what its environment runs.
async fn peace(stage: &Stage) {
    let world = &stage.world;
    world.witness.saw("---------- peace");
    world.trouble.store(false, Ordering::Relaxed);
    world.ledger.set_full(false);
    for agent in &stage.agents {
        stage.network.heal(&agent.host);
        agent.disk.set_room(Room::Plenty);
    }
    let began = Instant::now();
    while let Some(unrest) = unrest(stage) {
        if began.elapsed() > REST_WITHIN {
            return world.witness.broken("everything comes to rest", unrest);
        }
        if world.witness.is_broken() {
            return;
        }
        sleep(LOOK_EVERY).await;
        promises::of_world(world);
    }
}

/// Whether what the environment runs has a flaw, or was found bad.
fn is_bad(stage: &Stage) -> bool {
    let current = stage.world.ledger.tables().environments.values().next().and_then(|known| known.current.clone());
    let Some(Runs { release: current, .. }) = current else { return false };
    let is_bad = stage.world.ledger.tables().releases.get(&current.manifest).is_none_or(|release| !release.bad.is_empty());
    is_bad || stage.world.flaw(&current.id) != Flaw::None
}

/// What is not as it should be once nothing goes wrong any more.
fn unrest(stage: &Stage) -> Option<String> {
    let bad = is_bad(stage);
    let tables = stage.world.ledger.tables();
    if let Some(running) = tables.rollouts.values().find(|record| record.state.outcome().is_none()) {
        return Some(format!("{} is still {}", running.state.plan.rollout, running.state.phase.word()));
    }
    let environment = tables.environments.values().next()?;
    let reference = environment.current.clone()?.release;
    let (id, current) = (&reference.id, tables.releases.get(&reference.manifest)?);
    // A release that turned out to be bad after all is not brought anywhere.
    if bad {
        return None;
    }
    let app = &current.manifest.app;
    let waits = |host: &HostId| tables.hosts.get(host).and_then(|known| known.facts.apps.get(app)).is_some_and(|state| state.unconfirmed);
    let live = environment.spec.strategy.sets.as_ref().map(|_| environment.live_set.clone().unwrap_or_else(|| "blue".to_owned()));
    let left_out = |agent: &&Arc<Agent>| {
        // The set that has no traffic stays as it is.
        let set = tables.hosts.get(&agent.host).and_then(|host| host.labels.get("color")).map(ToOwned::to_owned);
        if live.is_some() && set != live {
            return true;
        }
        let serves = stage.world.machine(&agent.host).current == Some(id.clone());
        !serves && promises::excluded(&tables, &reference, &agent.host)
    };
    let all_others = || stage.agents.iter().filter(|agent| !left_out(agent));
    // Whoever was excluded may have been left by an earlier rollout before it was confirmed, and is not touched.
    if let Some(agent) = all_others().find(|agent| waits(&agent.host)) {
        return Some(format!("{} waits for a confirmation", agent.name));
    }
    // Of balancers that were away when they were let go nobody knows anything.
    let is_shared = environment.spec.traffic.is_some();
    let drained = |agent: &&Arc<Agent>| {
        is_shared && stage.world.machine(&agent.host).current == Some(id.clone()) && stage.world.is_drained_at(&agent.name)
    };
    if let Some(agent) = all_others().find(drained) {
        return Some(format!("{} is level, and a balancer gives it not all of its traffic", agent.name));
    }
    let has_beat = current.manifest.spec.services.values().any(|service| service.kind.is_singleton());
    // Where operators took everybody out, nobody can run it.
    if has_beat && !stage.world.has_a_beat() && all_others().next().is_some() {
        return Some("the beat runs nowhere".to_owned());
    }
    all_others().find_map(|agent| {
        let machine = stage.world.machine(&agent.host);
        let condemned = machine.bad.contains(id);
        (machine.current != Some(id.clone()) && !condemned)
            .then(|| format!("{} serves {:?}, its environment runs {}", agent.name, machine.current, *id))
    })
}

async fn build(seed: u64, witness: &Witness) -> Stage {
    let mut chance = Chance::of(seed, "the fleet");
    let ledger = Arc::new(SimLedger::new(seed, witness.clone()));
    let count = match chance.number(0, 99) {
        0 => chance.number(50, 200),
        1..=9 => chance.number(9, 40),
        _ => chance.number(2, 8),
    };
    let mut environment = policy(&EnvironmentSpec { timeouts: Timeouts::default(), ..samples::environment() }, &mut chance);
    environment.keep = 3;
    let has_beat = chance.percent(60);
    let releases: Vec<(ReleaseRecord, Flaw)> = (0..chance.number(3, 7)).map(|number| release(number, has_beat, &mut chance)).collect();
    let mut hosts = Vec::new();
    {
        let mut tables = ledger.tables();
        for (record, _) in &releases {
            tables.releases.insert(record.digest, record.clone());
        }
        for number in 0..usize::try_from(count).unwrap_or(2) {
            let record = samples::host_record(number);
            hosts.push((record.id.clone(), record.name.clone()));
            tables.hosts.insert(record.id.clone(), record);
        }
    }
    let flaws = releases.iter().map(|(record, flaw)| (record.id(), *flaw)).collect();
    let ids = hosts.iter().map(|(id, _)| id.clone()).collect();
    let balancers = with_balancers(&mut environment, &ledger, has_beat, &mut chance);
    let world =
        Arc::new(World::new(witness.clone(), ledger, flaws, ids, balancers.iter().map(|number| samples::host_id(*number)).collect()));
    let controller = Controller::new(Arc::clone(&world));
    let network = Arc::new(Network::new(Arc::clone(&controller)));
    tokio::spawn(controller.exist(seed));
    let mut agents = Vec::new();
    for (host, name) in hosts {
        let agent = Agent::new(seed, host, name, Arc::clone(&world));
        tokio::spawn(Arc::clone(&agent).exist(Arc::clone(&network)));
        agents.push(agent);
    }
    for number in balancers {
        tokio::spawn(Balancer::new(seed, number, Arc::clone(&world), Arc::clone(&network)).exist());
    }
    tokio::spawn(tick(Arc::clone(&world)));
    // The first session of each opens before anything is asked for.
    sleep(Duration::from_secs(1)).await;
    Stage { seed, world, network, agents, environment }
}

/// Half of the fleets are behind one balancer or two, whose hosts are numbered behind all others.
fn with_balancers(environment: &mut EnvironmentSpec, ledger: &SimLedger, has_beat: bool, chance: &mut Chance) -> Vec<usize> {
    let count = if chance.percent(50) { chance.index(2) + 1 } else { 0 };
    let selector = |text: &str| Selector::parse(text).unwrap_or_else(|error| panic!("a good selector: {error}"));
    let numbers: Vec<usize> = (BALANCERS_FROM..BALANCERS_FROM + count).collect();
    if count > 0 {
        environment.hosts = selector("!role");
        let drain = Millis(chance.number(0, 180) * 1_000);
        environment.traffic = Some(Traffic { balancers: selector("role=balancer"), hosts: Selector::default(), drain });
    }
    // What runs only once would run in both sets.
    if count > 0 && !has_beat && chance.percent(40) {
        environment.strategy.sets = LabelKey::try_from("color".to_owned()).ok();
        for (number, record) in ledger.tables().hosts.values_mut().enumerate() {
            let color = if number % 2 == 0 { "color=blue" } else { "color=green" };
            record.labels = Labels::parse([color]).unwrap_or_else(|error| panic!("a good label: {error}"));
        }
        *environment = policy(environment, chance);
    }
    for number in &numbers {
        let mut record = samples::host_record(*number);
        record.labels = Labels::parse(["role=balancer"]).unwrap_or_else(|error| panic!("a good label: {error}"));
        ledger.tables().hosts.insert(record.id.clone(), record);
    }
    ledger.apply(environment.clone());
    numbers
}

/// A release, which may have a flaw and may move the database.
fn release(number: u64, has_beat: bool, chance: &mut Chance) -> (ReleaseRecord, Flaw) {
    let mut record = samples::release(&format!("1.{number}"));
    let spec = &mut record.manifest.spec;
    spec.variables.entry(setting()).or_default();
    if chance.percent(60) {
        spec.hooks.before_migrate = vec![vec!["true".to_owned()]];
    }
    if has_beat {
        let (name, service) = samples::beat();
        spec.services.insert(name, service);
    }
    record.bytes = record.manifest.encode();
    record.digest = Digest::of(&record.bytes);
    let flaw = match chance.number(0, 9) {
        0 => Flaw::Migration,
        1 => Flaw::Start,
        2 => Flaw::Health,
        3 => Flaw::Later,
        _ => Flaw::None,
    };
    (record, flaw)
}
