//! Which share of the traffic each host gets: told to the balancers of its environment, and heard of them.
//!
//! While a rollout moves a host, the core says what it gets; otherwise it follows from what the host serves. Every balancer is sent the
//! whole table whenever it has changed and when its session opens; nothing is stored, and nothing is repeated that it has.

use roadstead_model::{
    AppName, EnvironmentName, HostId, HostName, OrderKey, ReleaseId, RolloutId, Traffic, TrafficSeen, TrafficTable, Weight,
};
use roadstead_rollout::{Event, InvalidPlan, Plan, Standing, Switch, never_nobody, standing, table_key, weights};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Loop;
use crate::sessions::{Downward, Epoch};
use crate::{EnvironmentRecord, HostRecord, LedgerError, NewEvent, printable};

/// Where the traffic of an environment comes from, and where it goes while no rollout moves anything.
#[derive(Debug)]
pub(super) struct Place {
    environment: EnvironmentName,
    app: AppName,
    balancers: BTreeMap<HostId, HostName>,
    names: BTreeMap<HostId, HostName>,
    /// What its hosts are to serve.
    wanted: Option<ReleaseId>,
    /// Hosts that an operator has left as they are.
    excused: BTreeSet<HostId>,
    /// Hosts of the set that has no traffic.
    idle: BTreeSet<HostId>,
    may_be_out: usize,
    /// What each host gets.
    pub(super) standing: BTreeMap<HostId, Weight>,
}

/// What the driver knows of traffic.
#[derive(Debug)]
pub(super) struct Shares {
    /// Environments may have changed, or their hosts.
    pub(super) is_stale: bool,
    /// Tables may have changed.
    pub(super) has_changed: bool,
    places: Vec<Place>,
    sent: BTreeMap<(HostId, AppName), (Epoch, TrafficTable)>,
    seen: Balancers,
}

/// What balancers said last; written by the driver, read by whoever shows environments.
#[derive(Debug, Clone, Default)]
pub(super) struct Balancers(Arc<Mutex<BTreeMap<(HostId, AppName), TrafficSeen>>>);

impl Balancers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(HostId, AppName), TrafficSeen>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, balancer: &HostId, app: &AppName) -> Option<TrafficSeen> {
        self.all().get(&(balancer.clone(), app.clone())).cloned()
    }
}

impl Shares {
    pub(super) fn new(seen: Balancers) -> Self {
        Self { is_stale: true, has_changed: true, places: Vec::new(), sent: BTreeMap::new(), seen }
    }

    /// What balancers said last.
    pub(super) fn seen(&self) -> Balancers {
        self.seen.clone()
    }

    fn knows(&self, host: &HostId) -> bool {
        self.places.iter().any(|place| place.names.contains_key(host) || place.balancers.contains_key(host))
    }
}

/// A plan of an environment with balancers, and where its traffic comes from.
pub(super) fn behind(plan: Plan, place: Option<&Place>, traffic: Option<&Traffic>, switch: Option<Switch>) -> Result<Plan, InvalidPlan> {
    let (Some(place), Some(traffic)) = (place, traffic) else { return Ok(plan) };
    let takes = |(id, weight): &(&HostId, &Weight)| weight.takes() && !plan.hosts.contains_key(*id);
    let others = place.standing.iter().filter(takes).count();
    plan.behind(traffic, place.balancers.clone(), others, switch)
}

impl Loop {
    /// Where the traffic of an environment comes from and goes; `None` where that is not this product's business.
    pub(super) async fn place(&self, environment: &EnvironmentRecord) -> Result<Option<Place>, LedgerError> {
        let spec = &environment.spec;
        let (mut balancers, mut names) = self.planned_traffic(&spec.name, &spec.app);
        let mut idle = BTreeSet::new();
        if let Some(traffic) = &spec.traffic {
            let named = |host: HostRecord| (host.id, host.name);
            idle = self.idle(spec, &self.candidates(spec).await?).await?;
            for host in self.parts.ledger.hosts(Some(&spec.name)).await?.into_iter().filter(|host| host.revoked_at.is_none()) {
                if traffic.balancers.matches(&host.labels) {
                    balancers.extend([named(host.clone())]);
                }
                if spec.hosts.matches(&host.labels) && traffic.hosts.matches(&host.labels) {
                    names.extend([named(host)]);
                }
            }
        }
        if spec.traffic.is_none() && balancers.is_empty() {
            return Ok(None);
        }
        let release = self.current(environment).await?;
        let brought = match &release {
            Some(release) => self.brought(&spec.name, &spec.app, &release.reference()).await?,
            None => None,
        };
        let excused = brought.iter().flat_map(|state| &state.hosts).filter(|(_, host)| host.standing == Standing::Excluded);
        let mut place = Place {
            environment: spec.name.clone(),
            app: spec.app.clone(),
            balancers,
            may_be_out: spec.strategy.max_unavailable.of_rounded_up(names.len()),
            names,
            wanted: release.map(|release| release.id()),
            idle,
            excused: excused.map(|(id, _)| id.clone()).collect(),
            standing: BTreeMap::new(),
        };
        place.standing = self.standing_of(&place);
        Ok(Some(place))
    }

    /// What the rollout that runs was planned with goes on being told, whatever is applied meanwhile.
    fn planned_traffic(&self, environment: &EnvironmentName, app: &AppName) -> (BTreeMap<HostId, HostName>, BTreeMap<HostId, HostName>) {
        let unfinished = self.unfinished(environment, app).and_then(|rollout| self.running.get(&rollout));
        let plan = unfinished.map(|running| &running.state().plan);
        let Some((plan, traffic)) = plan.and_then(|plan| Some((plan, plan.traffic.as_ref()?))) else { return Default::default() };
        let behind = plan.hosts.iter().filter(|(_, host)| host.share.is_some());
        (traffic.balancers.clone(), behind.map(|(id, host)| (id.clone(), host.name.clone())).collect())
    }

    fn standing_of(&self, place: &Place) -> BTreeMap<HostId, Weight> {
        let serves = |id: &HostId| match place.excused.contains(id) {
            true => place.wanted.clone(),
            false => self.facts.get(id)?.apps.get(&place.app)?.current.clone(),
        };
        let (idle, live): (Vec<&HostId>, Vec<&HostId>) = place.names.keys().partition(|id| place.idle.contains(*id));
        let hosts = live.into_iter().map(|id| (id.clone(), serves(id))).collect();
        let mut all = standing(&hosts, place.wanted.as_ref(), place.may_be_out);
        all.extend(idle.into_iter().map(|id| (id.clone(), Weight::DRAINED)));
        all
    }

    /// Tells balancers what has changed for them.
    pub(super) async fn share_out(&mut self) -> Result<(), LedgerError> {
        if self.shares.is_stale {
            let mut places = Vec::new();
            for environment in self.parts.ledger.environments().await? {
                places.extend(self.place(&environment).await?);
            }
            let gone = std::mem::replace(&mut self.shares.places, places);
            self.let_go(&gone);
            (self.shares.is_stale, self.shares.has_changed) = (false, true);
        }
        if !std::mem::take(&mut self.shares.has_changed) {
            return Ok(());
        }
        let tables: Vec<(Vec<HostId>, TrafficTable)> =
            self.shares.places.iter().map(|place| (place.balancers.keys().cloned().collect(), self.table(place))).collect();
        for (balancers, table) in tables {
            balancers.iter().for_each(|balancer| self.send_table(balancer, &table));
        }
        Ok(())
    }

    /// Where traffic is this product's business no more, nobody is left drained.
    fn let_go(&mut self, before: &[Place]) {
        let stays =
            |gone: &&Place| self.shares.places.iter().any(|place| (&place.environment, &place.app) == (&gone.environment, &gone.app));
        let gone: Vec<&Place> = before.iter().filter(|place| !stays(place)).collect();
        for Place { environment, app, balancers, names, .. } in gone {
            let key = OrderKey { rollout: RolloutId(0), sequence: 0 };
            let weights = names.values().map(|name| (name.clone(), Weight::FULL)).collect();
            let table = TrafficTable { key, environment: environment.clone(), app: app.clone(), weights };
            balancers.keys().for_each(|balancer| self.send_table(balancer, &table));
        }
    }

    fn table(&self, place: &Place) -> TrafficTable {
        let mut all = self.standing_of(place);
        let mut key = OrderKey { rollout: RolloutId(0), sequence: 0 };
        let unfinished = self.unfinished(&place.environment, &place.app);
        if let Some(state) = unfinished.and_then(|rollout| self.running.get(&rollout)).map(super::Running::state) {
            key = table_key(state);
            // What serves while a rollout without a say in it runs is no reason to hold anybody out.
            let say = weights(state);
            for (id, standing) in &mut all {
                *standing = match &say {
                    Some(say) => say.get(id).copied().unwrap_or(*standing),
                    None if state.hosts.contains_key(id) => Weight::FULL,
                    None => *standing,
                };
            }
        }
        let named = |(id, weight): (HostId, Weight)| Some((place.names.get(&id)?.clone(), weight));
        let weights = never_nobody(all).into_iter().filter_map(named).collect();
        TrafficTable { key, environment: place.environment.clone(), app: place.app.clone(), weights }
    }

    fn send_table(&mut self, balancer: &HostId, table: &TrafficTable) {
        let Some(epoch) = self.parts.sessions.epoch(balancer) else { return };
        // Otherwise a hello of this session is on its way here.
        if self.sent.get(balancer).is_none_or(|(of_epoch, _)| *of_epoch != epoch) {
            return;
        }
        let (place, sent) = ((balancer.clone(), table.app.clone()), (epoch, table.clone()));
        if self.shares.sent.get(&place) != Some(&sent) {
            tracing::info!(%balancer, app = %table.app, "a balancer is told how traffic is shared out");
            self.parts.sessions.send(balancer, Downward::Traffic(Box::new(table.clone())));
            self.shares.sent.insert(place, sent);
        }
    }

    /// A balancer says what it does.
    pub(super) fn traffic_seen(&mut self, host: &HostId, epoch: Epoch, seen: TrafficSeen) {
        let is_balancer = self.shares.places.iter().any(|place| place.app == seen.app && place.balancers.contains_key(host));
        if self.parts.sessions.epoch(host) != Some(epoch) || !is_balancer {
            tracing::debug!(%host, app = %seen.app, "traffic that nobody asked for");
            return;
        }
        let known = self.shares.seen.all().insert((host.clone(), seen.app.clone()), seen.clone());
        self.note_problem(host, known.and_then(|known| known.problem).map(|problem| problem.summary), &seen);
        for rollout in self.rollouts_behind(host, Some(&seen.app)) {
            self.decide(rollout, Event::BalancerSeen { balancer: host.clone(), seen: seen.clone() });
        }
    }

    /// Problems of balancers are kept in the history, also while nothing moves.
    fn note_problem(&mut self, host: &HostId, known: Option<String>, seen: &TrafficSeen) {
        let problem = seen.problem.as_ref().map(|problem| problem.summary.clone());
        if known == problem {
            return;
        }
        let (kind, text) = match problem {
            Some(problem) => ("balancer-problem", format!("traffic of {}: {}", seen.app, printable(&problem))),
            None => ("balancer-well", format!("traffic of {}: what was the matter is over", seen.app)),
        };
        let who = format!("host:{host}");
        self.work.changes.events.push(NewEvent::new(self.parts.clock.now(), who.clone(), kind, who, text));
    }

    /// A host's session opened: it may be a balancer, or new behind one.
    pub(super) fn traffic_hello(&mut self, host: &HostId) {
        self.shares.is_stale |= !self.shares.knows(host);
        self.shares.has_changed = true;
    }

    /// A host's session closed, perhaps for good.
    pub(super) fn traffic_gone(&mut self, host: &HostId, for_good: bool) {
        self.shares.sent.retain(|(balancer, _), _| balancer != host);
        self.shares.seen.all().retain(|(balancer, _), _| balancer != host);
        self.shares.is_stale |= for_good;
        for rollout in self.rollouts_behind(host, None) {
            self.decide(rollout, Event::BalancerGone { balancer: host.clone(), for_good });
        }
    }

    /// Rollouts whose traffic comes from this balancer.
    fn rollouts_behind(&self, balancer: &HostId, app: Option<&AppName>) -> Vec<RolloutId> {
        let is_behind = |plan: &Plan| {
            plan.traffic.as_ref().is_some_and(|traffic| traffic.balancers.contains_key(balancer)) && app.is_none_or(|app| *app == plan.app)
        };
        self.running.iter().filter(|(_, running)| is_behind(&running.state().plan)).map(|(id, _)| *id).collect()
    }
}
