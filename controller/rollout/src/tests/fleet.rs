//! A fleet of simulated hosts that obey orders, for the tests of this crate.

use roadstead_model::*;
use std::collections::BTreeMap;

use crate::*;

pub(crate) fn release(version: &str) -> ReleaseRef {
    let manifest = Digest::of(version.as_bytes());
    ReleaseRef { id: ReleaseId::of(&Version::parse(version).unwrap(), &manifest), manifest }
}

pub(crate) fn host_id(n: usize) -> HostId {
    HostId::parse(&format!("{n:026}")).unwrap()
}

pub(crate) fn environment(batch: Share, max_unavailable: Share, failure_budget: Share) -> EnvironmentSpec {
    EnvironmentSpec {
        name: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        hosts: Selector::default(),
        gates: Gates::default(),
        strategy: Strategy { batch, max_unavailable, failure_budget, ..Strategy::default() },
        traffic: None,
        analysis: None,
        bake: Millis::from_secs(60),
        keep: 3,
        database: roadstead_model::DatabasePolicy {
            backup: roadstead_model::BackupDemand::None,
            ..roadstead_model::DatabasePolicy::default()
        },
        drift: roadstead_model::DriftPolicy::default(),
        failover: None,
        timeouts: Timeouts::default(),
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        files: BTreeMap::new(),
        overrides: vec![],
    }
}

/// An analysis of one query and one check.
pub(crate) fn analysis() -> Analysis {
    serde_json::from_value(serde_json::json!({
        "prometheus": "http://prometheus:9090",
        "every": 15_000,
        "queries": [{ "name": "errors", "query": "errors{instance=~'$hosts:.*'}", "at_most": 0.01, "at_most_baseline": 2 }],
        "checks": [{ "name": "front page", "url": "http://$host/", "contains": "$version", "failures": 2, "inconclusive": 3 }],
    }))
    .unwrap()
}

pub(crate) fn candidates(count: usize, current: Option<&ReleaseRef>) -> Vec<Candidate> {
    let candidate = |n| Candidate {
        id: host_id(n),
        name: HostName::parse(&format!("web-{n}")).unwrap(),
        labels: Labels::default(),
        current: current.cloned(),
        singletons: Vec::new(),
        share: None,
    };
    (0..count).map(candidate).collect()
}

pub(crate) fn plan(kind: RolloutKind, environment: &EnvironmentSpec, hosts: usize) -> Plan {
    let (old, new) = (release("1.0"), release("1.1"));
    Plan::new(RolloutId(7), kind, environment, new, Some(old.clone()), candidates(hosts, Some(&old)), true).unwrap()
}

/// As [`plan`], with the hosts behind so many balancers.
pub(crate) fn plan_behind(kind: RolloutKind, environment: &EnvironmentSpec, hosts: usize, balancers: usize) -> Plan {
    let traffic = Traffic { balancers: Selector::parse("role=lb").unwrap(), hosts: Selector::default(), drain: Millis::from_secs(30) };
    let mut plan = plan(kind, environment, hosts);
    plan.hosts.values_mut().for_each(|host| host.share = Some(Weight::FULL));
    let name = |n: usize| (balancer_id(n), HostName::parse(&format!("lb-{n}")).unwrap());
    plan.behind(&traffic, (0..balancers).map(name).collect(), 0, None).unwrap()
}

/// As [`plan_behind`]: the hosts are one of two sets, and the other one, of as many hosts, has the traffic.
pub(crate) fn plan_of_sets(kind: RolloutKind, environment: &EnvironmentSpec, hosts: usize, balancers: usize) -> Plan {
    let mut plan = plan_behind(kind, environment, hosts, balancers);
    plan.hosts.values_mut().for_each(|host| host.share = Some(Weight::DRAINED));
    let name = |n: usize| (host_id(500 + n), HostName::parse(&format!("blue-{n}")).unwrap());
    let switch = Switch { set: "green".to_owned(), from: (0..hosts).map(name).collect() };
    plan.traffic = plan.traffic.map(|traffic| PlannedTraffic { switch: Some(switch), ..traffic });
    plan
}

pub(crate) fn balancer_id(n: usize) -> HostId {
    HostId::parse(&format!("{:026}", 900 + n)).unwrap()
}

/// What a balancer does: a table that it has taken up, and the requests under way to each host.
#[derive(Clone, Default)]
pub(crate) struct FakeBalancer {
    pub(crate) table: BTreeMap<HostId, Weight>,
    pub(crate) turn: u32,
    pub(crate) in_flight: BTreeMap<HostId, u32>,
    pub(crate) down: std::collections::BTreeSet<HostId>,
}

/// What a host does with an order of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Obeys,
    Fails,
    GetsStuck,
    StaysSilent,
}

/// What somebody sees who looks at a batch that bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Good,
    Bad,
    Nothing,
}

/// A rollout with its fleet and its clock.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) behaviour: BTreeMap<(HostId, u32), Behaviour>,
    pub(crate) serves: BTreeMap<HostId, Option<ReleaseId>>,
    pub(crate) history: Vec<String>,
    pub(crate) balancers: BTreeMap<HostId, FakeBalancer>,
    pub(crate) sight: Sight,
}

impl Fleet {
    pub(crate) fn new(plan: Plan) -> Self {
        let serves = plan.hosts.iter().map(|(id, h)| (id.clone(), h.current.as_ref().map(|r| r.id.clone()))).collect();
        let now = Timestamp(1_000_000);
        let state = State::new(plan, now, |_| Contact::AtRest);
        let balancers =
            state.plan.traffic.iter().flat_map(|traffic| traffic.balancers.keys().cloned()).map(|id| (id, FakeBalancer::default()));
        let balancers = balancers.collect();
        Self { state, now, behaviour: BTreeMap::new(), serves, history: Vec::new(), balancers, sight: Sight::Good }
    }

    pub(crate) fn event(&mut self, event: Event) {
        if let Ok(decision) = decide(&self.state, event, self.now) {
            for note in decision.notes {
                self.history.push(format!("{} {}", note.kind, note.text));
            }
            self.state = decision.state;
        }
    }

    /// An operator steers it.
    pub(crate) fn steer(&mut self, steer: Steer) -> Result<(), Rejected> {
        let event = Event::Steered { steer, by: "ada".to_owned(), reason: "a test".to_owned() };
        let decision = decide(&self.state, event.clone(), self.now);
        self.event(event);
        decision.map(|_| ())
    }

    pub(crate) fn abort(&mut self, by: &str, reason: &str) {
        self.event(Event::Steered { steer: Steer::Abort, by: by.to_owned(), reason: reason.to_owned() });
    }

    /// A balancer takes up what it is to do now.
    pub(crate) fn take_up(&mut self, balancer: &HostId) {
        let table = weights(&self.state);
        let turn = self.state.traffic.turn;
        if let (Some(balancer), Some(table)) = (self.balancers.get_mut(balancer), table) {
            (balancer.table, balancer.turn) = (table, turn);
        }
    }

    /// What a balancer would say now.
    pub(crate) fn told(&self, balancer: &HostId) -> TrafficSeen {
        let FakeBalancer { table, turn, in_flight, down } = &self.balancers[balancer];
        let server = |(id, weight): (&HostId, &Weight)| {
            let in_flight = in_flight.get(id).copied().unwrap_or(0);
            let planned = self.state.plan.hosts.get(id).map(|host| &host.name);
            let from = || self.state.plan.traffic.as_ref()?.switch.as_ref()?.from.get(id);
            (planned.or_else(from).unwrap().clone(), ServerSeen { weight: *weight, up: !down.contains(id), in_flight })
        };
        let key = OrderKey { rollout: self.state.plan.rollout, sequence: *turn };
        TrafficSeen { key, app: self.state.plan.app.clone(), servers: table.iter().map(server).collect(), problem: None }
    }

    /// A balancer says what it does.
    pub(crate) fn tell(&mut self, balancer: &HostId) {
        let seen = self.told(balancer);
        self.event(Event::BalancerSeen { balancer: balancer.clone(), seen });
    }

    /// All balancers obey at once, and say so.
    pub(crate) fn balance(&mut self) {
        for balancer in self.balancers.keys().cloned().collect::<Vec<_>>() {
            self.take_up(&balancer);
            self.tell(&balancer);
        }
    }

    /// Goes on until something holds.
    pub(crate) fn until(&mut self, holds: impl Fn(&State) -> bool) {
        for _ in 0..10_000 {
            if holds(&self.state) {
                return;
            }
            let before = self.state.revision;
            let carried_out = self.carry_out(0);
            // What balancers are to do is there to be seen before they do it.
            if holds(&self.state) {
                return;
            }
            self.balance();
            if !carried_out && self.state.revision == before {
                self.sleep();
            }
        }
        panic!("it does not come to that: {:?}\n{}", self.state.phase, self.history.join("\n"));
    }

    pub(crate) fn outcome(&mut self, host: &HostId, order: &Order, behaviour: Behaviour) -> Option<OrderOutcome> {
        let current = self.serves.get(host).cloned().flatten();
        let failure = Failure::new(FailureKind::Check, "it did not work", "look");
        Some(match behaviour {
            Behaviour::StaysSilent => return None,
            Behaviour::Fails => OrderOutcome::Failed { step: StepName::Candidate, failure, current },
            Behaviour::GetsStuck => OrderOutcome::Stuck { step: StepName::Cutover, failure, current },
            Behaviour::Obeys => {
                let serves = match &order.kind {
                    OrderKind::Activate { release, .. } | OrderKind::Confirm { release } => Some(release.id.clone()),
                    OrderKind::Revert { to, .. } => to.as_ref().map(|r| r.id.clone()),
                    OrderKind::Halt { .. } => None,
                    OrderKind::Prepare { .. }
                    | OrderKind::Migrate { .. }
                    | OrderKind::Abandon { .. }
                    | OrderKind::Backup { .. }
                    | OrderKind::Recheck { .. }
                    | OrderKind::Job { .. }
                    | OrderKind::Survey { .. }
                    | OrderKind::Restore { .. }
                    | OrderKind::Exchange { .. } => current,
                };
                self.serves.insert(host.clone(), serves.clone());
                OrderOutcome::Done { current: serves }
            }
        })
    }

    /// One host that has an order and is connected carries it out. Returns whether there was one.
    pub(crate) fn carry_out(&mut self, choice: usize) -> bool {
        let connected = |id: &HostId| self.state.hosts[id].away_since.is_none();
        let open: Vec<_> = orders(&self.state, 1).into_iter().filter(|(id, _)| connected(id)).collect();
        if open.is_empty() {
            return false;
        }
        let (host, order) = &open[choice % open.len()];
        let behaviour = self.behaviour.get(&(host.clone(), order.fence.sequence)).copied().unwrap_or(Behaviour::Obeys);
        let Some(outcome) = self.outcome(host, order, behaviour) else { return open.len() > 1 };
        let step = match order.kind {
            OrderKind::Survey { .. } => Some(StepName::Survey),
            OrderKind::Exchange { .. } => Some(StepName::Exchange),
            _ => None,
        };
        if let (Some(step), OrderOutcome::Done { .. }) = (step, &outcome) {
            let state = StepState::Succeeded { took: Millis(1), note: String::new(), safeguard: Some(super::restores::loss()) };
            let report = Report::Step(StepReport { key: order.key(), step, state });
            self.event(Event::Report { host: host.clone(), report });
        }
        self.event(Event::Report { host: host.clone(), report: Report::Order { key: order.key(), outcome } });
        true
    }

    /// Sleeps until the rollout wants to be woken.
    pub(crate) fn sleep(&mut self) {
        let Some(wake) = wake(&self.state) else { return };
        match look_due(&self.state) {
            Some(due) if due <= wake => {
                self.now = self.now.max(due);
                self.look(self.sight);
            }
            _ => {
                self.now = self.now.max(wake);
                self.event(Event::Tick);
            }
        }
    }

    /// Somebody looks at the batch that bakes.
    pub(crate) fn look(&mut self, sight: Sight) {
        let Some(asked) = questions(&self.state) else { return };
        let number = |value| Number::new(value).map_err(|error| error.to_string());
        let value = || match sight {
            Sight::Good => number(0.001),
            Sight::Bad => number(0.051),
            Sight::Nothing => Err("the query finds nothing".to_owned()),
        };
        let answer = || match sight {
            Sight::Good => Answer::Good,
            Sight::Bad => Answer::Wrong("answers 503, not 200".to_owned()),
            Sight::Nothing => Answer::Silent("does not answer".to_owned()),
        };
        let query =
            |(_, baseline): &(String, Option<String>)| Numbers { value: value(), baseline: baseline.as_ref().map(|_| number(0.001)) };
        let check = |hosts: &Vec<Question>| hosts.iter().map(|asked| (asked.host.to_string(), answer())).collect();
        let findings = Findings { queries: asked.queries.iter().map(query).collect(), checks: asked.checks.iter().map(check).collect() };
        self.event(Event::Looked { batch: asked.batch, asked_at: self.now, findings });
    }

    /// Runs until the rollout has ended; a silent host costs its deadline.
    pub(crate) fn run(&mut self) -> Outcome {
        for round in 0..10_000 {
            if let Some(outcome) = self.state.outcome() {
                return outcome;
            }
            let before = self.state.revision;
            for choice in 0..self.state.hosts.len() {
                self.carry_out(choice + round);
            }
            self.balance();
            if self.state.revision == before {
                self.sleep();
            }
        }
        panic!("the rollout does not end: {:?}\n{}", self.state.phase, self.history.join("\n"));
    }
}
