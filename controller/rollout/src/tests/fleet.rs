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
        timeouts: Timeouts::default(),
        variables: BTreeMap::new(),
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
    };
    (0..count).map(candidate).collect()
}

pub(crate) fn plan(kind: RolloutKind, environment: &EnvironmentSpec, hosts: usize) -> Plan {
    let (old, new) = (release("1.0"), release("1.1"));
    Plan::new(RolloutId(7), kind, environment, new, Some(old.clone()), candidates(hosts, Some(&old)), true).unwrap()
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
    pub(crate) sight: Sight,
}

impl Fleet {
    pub(crate) fn new(plan: Plan) -> Self {
        let serves = plan.hosts.iter().map(|(id, h)| (id.clone(), h.current.as_ref().map(|r| r.id.clone()))).collect();
        let now = Timestamp(1_000_000);
        Self {
            state: State::new(plan, now, |_| Contact::AtRest),
            now,
            behaviour: BTreeMap::new(),
            serves,
            history: Vec::new(),
            sight: Sight::Good,
        }
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

    /// Goes on until something holds.
    pub(crate) fn until(&mut self, holds: impl Fn(&State) -> bool) {
        for _ in 0..10_000 {
            if holds(&self.state) {
                return;
            }
            if !self.carry_out(0) {
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
                    OrderKind::Prepare { .. } | OrderKind::Migrate { .. } | OrderKind::Abandon { .. } => current,
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
            if self.state.revision == before {
                self.sleep();
            }
        }
        panic!("the rollout does not end: {:?}\n{}", self.state.phase, self.history.join("\n"));
    }
}
