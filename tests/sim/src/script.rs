//! What people and fate do during a run: operators deploy, roll back, steer and change their mind at bad moments; machines, the network
//! and the controller's disk fail.

use roadstead_driver::{Event, LockRecord, Refused, RestoreRequest, StartRequest, TendRequest, Verb};
use roadstead_model::{
    Analysis, ApprovalRule, BackupDemand, BackupName, CanaryStep, Check, EnvironmentSpec, Gates, HostId, JobName, LeaseSpan, Millis,
    Number, OnFailure, Promotion, Query, ReleaseId, RoleName, RolloutId, Safeguard, Selector, Share, StepName, Strategy, Weight, Window,
};
use roadstead_rollout::{Host, Phase, RolloutKind, Steer, Tending};
use roadstead_worker::disk::Room;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use crate::agent::{Agent, Death};
use crate::chance::Chance;
use crate::ledger::BAD;
use crate::network::Network;
use crate::world::World;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// All that a script works on.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) world: Arc<World>,
    pub(crate) network: Arc<Network>,
    pub(crate) agents: Vec<Arc<Agent>>,
    pub(crate) environment: EnvironmentSpec,
}

/// One operator, until the run ends.
pub(crate) async fn operate(stage: Stage, number: u64) {
    let mut chance = Chance::of(stage.seed, &format!("operator {number}"));
    let releases: Vec<ReleaseId> = stage.world.releases.keys().cloned().collect();
    let pace = [60_000, 240_000, 1_200_000][chance.index(3)];
    loop {
        sleep(chance.millis(1_000, pace)).await;
        let Some(serving) = stage.network.controller.serving() else { continue };
        let by = format!("admin:operator-{number}");
        let (environment, app) = (stage.environment.name.clone(), stage.environment.app.clone());
        let reason = "a run".to_owned();
        let verb = match chance.number(0, 21) {
            0..=5 => {
                let release = releases[chance.index(releases.len())].clone();
                Verb::Start(StartRequest {
                    environment,
                    app,
                    release,
                    reason,
                    by,
                    idempotency_key: format!("{}", chance.number(0, u64::MAX)),
                    plan: None,
                    contracts: vec![],
                })
            }
            6..=7 => Verb::Rollback { environment, app, to: None, reason, by },
            8..=13 => {
                let Some((rollout, steer)) = steer(&stage, &by, &mut chance) else { continue };
                Verb::Steer { rollout, steer, reason, by }
            }
            18..=19 => {
                let Some(restore) = restore(&stage, &by, &mut chance) else { continue };
                Verb::Restore(restore)
            }
            20..=21 => {
                let Some(tend) = tend(&stage, &by, &mut chance) else { continue };
                Verb::Tend(tend)
            }
            14 => {
                lock(&stage, &by, &mut chance);
                continue;
            }
            15..=16 => {
                configure(&stage, number, &mut chance);
                continue;
            }
            _ => {
                let spec = policy(&stage.environment, &mut chance);
                stage.world.witness.saw(format!("operator-{number}  applies {:?}, bake {}", spec.strategy, spec.bake));
                stage.world.ledger.apply(spec);
                serving.driver.tell(Event::EnvironmentsChanged).await;
                continue;
            }
        };
        stage.world.witness.saw(format!("operator-{number}  {verb:?}"));
        match timeout(PATIENCE, serving.driver.ask(verb)).await {
            Ok(Ok(record)) => stage.world.witness.saw(format!("operator-{number}  has {}", record.state.plan.rollout)),
            Ok(Err(Refused::Made(_))) => stage.world.witness.broken("keys are used once", "a fresh key was known"),
            Ok(Err(refused)) => stage.world.witness.saw(format!("operator-{number}  is refused: {refused}")),
            Err(_) => stage.world.witness.saw(format!("operator-{number}  has no answer")),
        }
    }
}

/// An operator who looks on, and aborts what nobody asked for: rollouts that bring hosts level, at any moment of theirs. In some runs seldom
/// or never.
pub(crate) async fn call_off(stage: Stage) {
    let mut chance = Chance::of(stage.seed, "who calls off");
    let (often, mut seen) = ([0, 20, 70][chance.index(3)], None);
    loop {
        sleep(chance.millis(500, 5_000)).await;
        let Some(rollout) = newest_level(&stage).filter(|rollout| Some(*rollout) != seen) else { continue };
        seen = Some(rollout);
        let (is_meant, after) = (chance.percent(often), chance.millis(0, 20_000));
        let Some(serving) = stage.network.controller.serving().filter(|_| is_meant) else { continue };
        sleep(after).await;
        stage.world.witness.saw(format!("looker-on  aborts {rollout}"));
        let verb = Verb::Steer { rollout, steer: Steer::Abort, reason: "a run".to_owned(), by: "admin:looker-on".to_owned() };
        drop(timeout(PATIENCE, serving.driver.ask(verb)).await);
    }
}

/// The rollout that brings hosts level now.
fn newest_level(stage: &Stage) -> Option<RolloutId> {
    let tables = stage.world.ledger.tables();
    let (rollout, record) = tables.rollouts.iter().next_back()?;
    (record.state.plan.kind == RolloutKind::Level && record.state.outcome().is_none()).then_some(*rollout)
}

/// Says something else to the app. Now and then it is what no release runs with.
fn configure(stage: &Stage, number: u64, chance: &mut Chance) {
    let hosts = if chance.percent(25) { Selector::parse("color=blue").unwrap_or_default() } else { Selector::default() };
    let value = match chance.number(0, 9) {
        0 => None,
        1 => Some(BAD.to_owned()),
        value => Some(format!("{}", value % 4)),
    };
    stage.world.witness.saw(format!("operator-{number}  sets {value:?} for {:?}", hosts.to_string()));
    stage.world.ledger.configure(&hosts, value);
}

/// Locks the environment for up to an hour, or unlocks it.
fn lock(stage: &Stage, by: &str, chance: &mut Chance) {
    let at = stage.network.controller.now();
    let (place, until) = ((stage.environment.name.clone(), stage.environment.app.clone()), at.plus(Millis(chance.number(1, 60) * 60_000)));
    stage.world.witness.saw(format!("{by} locks the environment, or unlocks it"));
    let locks = &mut stage.world.ledger.tables().locks;
    if locks.remove(&place).is_none() {
        locks.insert(place, LockRecord { by: by.to_owned(), reason: "a run".to_owned(), at, until });
    }
}

/// Something that could be done to the newest rollout: what fits is as likely as what does not.
fn steer(stage: &Stage, by: &str, chance: &mut Chance) -> Option<(RolloutId, Steer)> {
    let tables = stage.world.ledger.tables();
    let (rollout, record) = tables.rollouts.iter().next_back()?;
    let hosts: Vec<(&HostId, &Host)> = record.state.hosts.iter().collect();
    let lost: Vec<&HostId> = hosts.iter().filter(|(_, host)| host.stage.is_lost()).map(|(id, _)| *id).collect();
    let host = match lost.len() {
        some if some > 0 && chance.percent(80) => lost[chance.index(some)].clone(),
        _ => hosts[chance.index(hosts.len())].0.clone(),
    };
    let decides = matches!(record.state.phase, Phase::Deciding { .. });
    if decides && record.state.requested_by == by && chance.percent(80) {
        return Some((*rollout, Steer::Accept));
    }
    let waits = decides || matches!(record.state.phase, Phase::Gated { .. });
    if waits && chance.percent(70) {
        return Some((*rollout, Steer::Approve { roles: vec![role()] }));
    }
    let steer = match chance.number(0, 9) {
        0 => Steer::Abort,
        1..=2 => Steer::Pause { within: Millis(chance.number(1, 40) * 60_000) },
        3..=4 => Steer::Resume,
        5 => Steer::Promote { all: chance.percent(30) },
        6..=7 => Steer::Retry(host),
        8 => Steer::Ignore(host),
        _ => Steer::Exclude(host),
    };
    Some((*rollout, steer))
}

/// A restore of one of the backups that rollouts made, most often of the newest.
fn restore(stage: &Stage, by: &str, chance: &mut Chance) -> Option<RestoreRequest> {
    let (backup, release, host) = some_backup(stage, chance)?;
    Some(RestoreRequest {
        environment: stage.environment.name.clone(),
        app: stage.environment.app.clone(),
        backup,
        host,
        release,
        only_survey: chance.percent(20),
        reason: "a run".to_owned(),
        by: by.to_owned(),
    })
}

/// A backup, or another look at one.
fn tend(stage: &Stage, by: &str, chance: &mut Chance) -> Option<TendRequest> {
    let (environment, app) = (stage.environment.name.clone(), stage.environment.app.clone());
    let demand = BackupDemand::default();
    let (tending, host) = if chance.percent(40) {
        (Tending::Backup(demand), None)
    } else if chance.percent(50) {
        let job = JobName::parse("backfill").ok()?;
        (Tending::Job { job, within: Millis::from_secs(chance.number(60, 7_200)) }, None)
    } else {
        let (backup, _, host) = some_backup(stage, chance)?;
        (Tending::Recheck { backup, demand }, Some(host))
    };
    Some(TendRequest { environment, app, host, tending, reason: "a run".to_owned(), by: by.to_owned() })
}

/// One of the backups that were made, most often the newest: with the release that served then, and the host that keeps it.
fn some_backup(stage: &Stage, chance: &mut Chance) -> Option<(BackupName, ReleaseId, String)> {
    let tables = stage.world.ledger.tables();
    let made = tables.rollouts.values().rev().filter_map(|record| {
        let Some(Safeguard::Made(backup)) = &record.state.safeguard else { return None };
        let release = record.state.plan.previous.as_ref()?.id.clone();
        let keeps = |host: &&Host| host.times.iter().any(|(step, ..)| *step == StepName::Backup);
        let host = record.state.hosts.iter().find(|(_, host)| keeps(host))?.0;
        Some((BackupName::parse(&backup.name).ok()?, release, host.to_string()))
    });
    made.take(3).nth(if chance.percent(70) { 0 } else { chance.index(3) })
}

/// The one role that somebody may be asked to approve as.
fn role() -> RoleName {
    RoleName::parse("ops").unwrap_or_else(|error| panic!("a good role: {error}"))
}

/// Gates that open within an hour or two, if the clock is right and somebody approves.
fn gates(chance: &mut Chance) -> Gates {
    let count = u32::try_from(chance.number(1, 2)).unwrap_or(1);
    let approvals = if chance.percent(30) { vec![ApprovalRule { role: role(), count }] } else { Vec::new() };
    let windows = ["mon-sun 00:00-10:00", "mon-sun 11:00-23:00"].map(|text| Window::try_from(text.to_owned()));
    let windows = if chance.percent(20) { windows.into_iter().flatten().collect() } else { Vec::new() };
    Gates { approvals, windows, time_zone: Some("UTC".to_owned()), ..Gates::default() }
}

/// An analysis of a query and a check.
fn analysis(chance: &mut Chance) -> Analysis {
    let mut row = || (u32::try_from(chance.number(1, 2)).unwrap_or(1), u32::try_from(chance.number(2, 5)).unwrap_or(2));
    let ((failures, inconclusive), (wrong, silent)) = (row(), row());
    let query = Query {
        name: "errors".to_owned(),
        query: "errors{host=~'$hosts'}".to_owned(),
        at_most: Number::new(0.01).ok(),
        at_least: None,
        at_most_baseline: if chance.percent(50) { Number::new(1.5).ok() } else { None },
        failures,
        inconclusive,
    };
    let check = Check {
        name: "front page".to_owned(),
        url: "http://$host/".to_owned(),
        status: 200,
        contains: None,
        failures: wrong,
        inconclusive: silent,
    };
    let prometheus = Some("http://prometheus".to_owned());
    Analysis { prometheus, every: Millis(chance.number(1, 60) * 1_000), queries: vec![query], checks: vec![check] }
}

/// Another policy for the same hosts.
pub(crate) fn policy(before: &EnvironmentSpec, chance: &mut Chance) -> EnvironmentSpec {
    let mut spec = before.clone();
    let share = |chance: &mut Chance, low: u64, high: u64| Share::Count(u32::try_from(chance.number(low, high)).unwrap_or(1));
    spec.strategy.batch = share(chance, 1, 4);
    spec.strategy.max_unavailable = share(chance, 1, 3);
    spec.strategy.failure_budget = share(chance, 0, 2);
    spec.strategy.batch_bake = Millis(chance.number(0, 1) * 60_000);
    spec.strategy.on_failure = if chance.percent(40) { OnFailure::Ask } else { OnFailure::GoBack };
    let steps = if chance.percent(30) { chance.number(1, 2) } else { 0 };
    spec.strategy.steps = (1..=steps)
        .map(|step| CanaryStep {
            hosts: Share::Count(u32::try_from(step).unwrap_or(1)),
            bake: Millis(chance.number(0, 10) * 60_000),
            promote: if chance.percent(50) { Promotion::Manual } else { Promotion::Automatic },
            // Heeded where somebody shares traffic out.
            traffic: Weight::percent(if chance.percent(30) { 10 } else { 100 }).ok(),
        })
        .collect();
    spec.analysis = if chance.percent(50) { Some(analysis(chance)) } else { None };
    spec.gates = if chance.percent(40) { gates(chance) } else { Gates::default() };
    spec.timeouts.gates = Millis(chance.number(10, 60) * 60_000);
    spec.timeouts.decide = Millis(chance.number(5, 30) * 60_000);
    spec.bake = Millis(chance.number(0, 4) * 60_000);
    if chance.percent(8) {
        // Nobody shares out traffic any more, until the next policy.
        (spec.traffic, spec.strategy.sets) = (None, None);
    }
    spec.database.backup = if chance.percent(20) { BackupDemand::None } else { BackupDemand::default() };
    let span = Millis(chance.number(30, 600) * 1_000);
    spec.failover = if chance.percent(60) { LeaseSpan::try_from(span).ok() } else { None };
    if spec.strategy.sets.is_some() {
        let whole = Share::Percent(100);
        let Strategy { failure_budget, on_failure, sets, .. } = spec.strategy;
        spec.strategy = Strategy { batch: whole, max_unavailable: whole, failure_budget, on_failure, sets, ..Strategy::default() };
    }
    if let Some(traffic) = &mut spec.traffic {
        traffic.drain = Millis(chance.number(0, 180) * 1_000);
    }
    spec
}

/// Fate, until the run ends: each fault is mended after a while.
pub(crate) async fn strike(stage: Stage) {
    let mut chance = Chance::of(stage.seed, "fate");
    let rate = [8_000, 40_000, 200_000, 600_000][chance.index(4)];
    loop {
        sleep(chance.millis(rate / 10, rate)).await;
        let agent = &stage.agents[chance.index(stage.agents.len())];
        match chance.number(0, 13) {
            12..=13 => {
                if let Some(order) = stage.network.ghost(&agent.host, &mut chance) {
                    stage.world.witness.saw(format!(
                        "network  {} gets {} of {} once more",
                        agent.name,
                        order.kind.verb(),
                        order.fence.rollout
                    ));
                    agent.hear(order);
                }
            }
            10..=11 => {
                let room = if chance.percent(50) { Room::Reserved } else { Room::Nothing };
                stage.world.witness.saw(format!("{}  has a full disk: {room:?}", agent.name));
                agent.disk.set_room(room);
                mend(&stage, chance.millis(1_000, 600_000), Mend::Room(Arc::clone(agent)));
            }
            0 => stage.network.controller.die(),
            1..=2 => agent.die(Death::Killed),
            3 => agent.die(Death::PowerCut),
            4..=5 => agent.die(Death::PowerCutWithin(chance.number(1, 12))),
            6..=7 => {
                stage.world.witness.saw(format!("network  {} is cut off", agent.name));
                stage.network.cut(&agent.host);
                mend(&stage, chance.millis(1_000, 1_500_000), Mend::Link(Arc::clone(agent)));
            }
            8 => {
                stage.world.witness.saw("controller  its disk is full");
                stage.world.ledger.set_full(true);
                mend(&stage, chance.millis(1_000, 120_000), Mend::Disk);
            }
            _ => {
                let hours = i64::try_from(chance.number(0, 200)).unwrap_or(0) - 100;
                stage.world.witness.saw(format!("controller  its clock is wrong by {hours} h"));
                stage.network.controller.set_clock(hours * 3_600_000);
            }
        }
    }
}

enum Mend {
    Room(Arc<Agent>),
    Link(Arc<Agent>),
    Disk,
}

fn mend(stage: &Stage, after: Duration, what: Mend) {
    let stage = stage.clone();
    tokio::spawn(async move {
        sleep(after).await;
        match what {
            Mend::Link(agent) => {
                stage.world.witness.saw(format!("network  {} is back", agent.name));
                stage.network.heal(&agent.host);
            }
            Mend::Room(agent) => {
                stage.world.witness.saw(format!("{}  has room again", agent.name));
                agent.disk.set_room(Room::Plenty);
            }
            Mend::Disk => {
                stage.world.witness.saw("controller  its disk has room");
                stage.world.ledger.set_full(false);
            }
        }
    });
}
