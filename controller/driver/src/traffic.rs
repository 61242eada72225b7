//! Which share of the traffic each host gets: told to the balancers of its environment, and heard of them.
//!
//! While a rollout moves a host, the core says what it gets; otherwise it follows from what the host serves. Every balancer is sent the
//! whole table whenever it has changed and when its session opens; nothing is stored, and nothing is repeated that it has.

use roadstead_model::{
    AppName, EnvironmentName, HostId, HostName, OrderKey, ReleaseId, RolloutId, Traffic, TrafficSeen, TrafficTable, Weight,
};
use roadstead_rollout::{Event, InvalidPlan, Plan, Stage, Standing, Switch, never_nobody, standing, table_key, weights};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Loop;
use crate::sessions::{Downward, Epoch};
use crate::{EnvironmentRecord, LedgerError, NewEvent, printable};

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
    /// Hosts that were behind the balancers once and are not any more: they are let go.
    parting: BTreeMap<HostId, HostName>,
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
    /// Hosts that were looked for in all environments, and have to do with no traffic.
    nobodys: BTreeSet<HostId>,
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
        Self { is_stale: true, has_changed: true, places: Vec::new(), nobodys: BTreeSet::new(), sent: BTreeMap::new(), seen }
    }

    /// What balancers said last.
    pub(super) fn seen(&self) -> Balancers {
        self.seen.clone()
    }

    fn knows(&self, host: &HostId) -> bool {
        let has = |place: &Place| place.names.contains_key(host) || place.balancers.contains_key(host);
        self.nobodys.contains(host) || self.places.iter().any(has)
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
        if spec.traffic.is_none() && balancers.is_empty() {
            return Ok(None);
        }
        let mut hosts = self.parts.ledger.hosts(Some(&spec.name)).await?;
        hosts.retain(|host| host.revoked_at.is_none());
        let mut all: BTreeMap<HostId, HostName> = BTreeMap::new();
        for host in &hosts {
            let named = || [(host.id.clone(), host.name.clone())];
            all.extend(named());
            if spec.traffic.as_ref().is_some_and(|traffic| traffic.balancers.matches(&host.labels)) {
                balancers.extend(named());
            }
            if spec.hosts.matches(&host.labels) && spec.traffic.as_ref().is_some_and(|traffic| traffic.hosts.matches(&host.labels)) {
                names.extend(named());
            }
        }
        hosts.retain(|host| spec.hosts.matches(&host.labels));
        let idle = self.idle(environment, &hosts);
        let before = self.shares.places.iter().find(|place| place.environment == spec.name && place.app == spec.app);
        let were = before.iter().flat_map(|place| place.names.iter().chain(&place.parting));
        let parting = were.filter(|(id, _)| all.contains_key(*id) && !names.contains_key(*id));
        let parting = parting.map(|(id, name)| (id.clone(), name.clone())).collect();
        let release = self.current(environment).await?;
        let brought = match &release {
            Some(release) => self.brought(&spec.name, &spec.app, &release.reference()).await?,
            None => None,
        };
        let is_excused = |host: &roadstead_rollout::Host| host.standing == Standing::Excluded && host.stage != Stage::Stuck;
        let excused = brought.iter().flat_map(|state| &state.hosts).filter(|(_, host)| is_excused(host) && spec.strategy.sets.is_none());
        let mut place = Place {
            environment: spec.name.clone(),
            app: spec.app.clone(),
            balancers,
            parting,
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
        let behind = plan.hosts.iter().filter(|(_, host)| host.share.is_some()).map(|(id, host)| (id, &host.name));
        let from = traffic.switch.iter().flat_map(|switch| &switch.from);
        (traffic.balancers.clone(), behind.chain(from).map(|(id, name)| (id.clone(), name.clone())).collect())
    }

    fn current_at(&self, host: &HostId, app: &AppName) -> Option<ReleaseId> {
        self.facts.get(host)?.apps.get(app)?.current.clone()
    }

    fn standing_of(&self, place: &Place) -> BTreeMap<HostId, Weight> {
        let serves = |id: &HostId| match place.excused.contains(id) {
            true => self.current_at(id, &place.app).and(place.wanted.clone()),
            false => self.current_at(id, &place.app),
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
            let before = std::mem::replace(&mut self.shares.places, places);
            self.let_go(&before);
            self.shares.nobodys = self.facts.keys().filter(|host| !self.shares.knows(host)).cloned().collect();
            self.ask_those_who_joined();
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

    /// Balancers that are none any more leave nobody drained.
    fn let_go(&mut self, before: &[Place]) {
        for Place { environment, app, balancers, names, .. } in before {
            let same = |place: &&Place| (&place.environment, &place.app) == (environment, app);
            let now = self.shares.places.iter().find(same);
            let gone: Vec<HostId> = balancers.keys().filter(|id| now.is_none_or(|now| !now.balancers.contains_key(*id))).cloned().collect();
            let key = OrderKey { rollout: RolloutId(0), sequence: 0 };
            let weights = names.values().map(|name| (name.clone(), Weight::FULL)).collect();
            let table = TrafficTable { key, environment: environment.clone(), app: app.clone(), weights };
            gone.iter().for_each(|balancer| self.send_table(balancer, &table));
        }
    }

    /// A host that became a balancer after a rollout was planned is asked like those of the plan.
    fn ask_those_who_joined(&mut self) {
        let mut joined = Vec::new();
        for place in &self.shares.places {
            let of_place = |plan: &Plan| plan.environment == place.environment && plan.app == place.app;
            for (rollout, running) in self.running.iter().filter(|(_, running)| of_place(&running.state().plan)) {
                let known = running.state().plan.traffic.as_ref().map(|traffic| &traffic.balancers);
                let new = place.balancers.iter().filter(|(id, _)| known.is_some_and(|known| !known.contains_key(*id)));
                joined.extend(new.map(|(id, name)| (*rollout, id.clone(), name.clone())));
            }
        }
        for (rollout, balancer, name) in joined {
            self.decide(rollout, Event::BalancerJoined { balancer, name });
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
        // Those that part answer, too.
        let all = if place.parting.is_empty() { never_nobody(all) } else { all };
        let parting = place.parting.values().map(|name| (name.clone(), Weight::FULL));
        let mut weights: BTreeMap<HostName, Weight> = BTreeMap::new();
        for (name, weight) in all.into_iter().filter_map(named).chain(parting) {
            // Of two hosts of one name none is taken for the other.
            weights.entry(name).and_modify(|known| *known = weight.min(*known)).or_insert(weight);
        }
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
        // It may have been started anew since it spoke last.
        self.shares.seen.all().retain(|(balancer, _), _| balancer != host);
        for rollout in self.rollouts_behind(host, None) {
            self.decide(rollout, Event::BalancerGone { balancer: host.clone(), for_good: false });
        }
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
