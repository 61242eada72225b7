//! How a rollout comes into a state, stays in it until it is let go, and goes on then. Nothing here depends on time.

use super::cells::State;
use super::street::Street;
use crate::SOON;
use roadstead_tests::fleet::Moment;
use roadstead_tests::lab::{Host, Process, wait_until};
use roadstead_tests::load::{Load, RunningLoad};
use serde_json::Value;
use std::time::Duration;

/// A rollout that is held in a state.
pub(super) struct Held {
    pub(super) state: State,
    pub(super) rollout: String,
    /// What it deploys.
    pub(super) version: String,
    /// The host that the state is about.
    pub(super) host: Host,
    by: Hold,
}

/// What holds it.
enum Hold {
    /// Requests that are under way on each host, until they are let go.
    Requests(#[expect(dead_code, reason = "they end with it")] Vec<RunningLoad>),
    /// The balancer's agent, which stands still and says nothing.
    Balancer(Process),
    /// An operator who has not said anything yet.
    Operator,
}

impl Street {
    /// Begins a rollout, and holds it in the state.
    pub(super) fn reach(&mut self, state: State) -> Held {
        let version = self.next_version();
        match state {
            State::Draining => self.hold_by_requests(version),
            State::Returning | State::Switching => self.hold_by_the_balancer(state, version),
            State::Baked | State::Gated => self.hold_by_an_operator(state, version),
        }
    }

    /// What holds it, does so no more.
    pub(super) fn let_go(&self, held: &Held) {
        match (&held.by, held.state) {
            (Hold::Requests(_), _) => drop(self.fleet.data.exec(&["redis-cli", "del", "held"]).unwrap()),
            (Hold::Balancer(agent), _) => agent.go_on(),
            (Hold::Operator, State::Gated) => {
                self.bob.roadstead(&["rollout", "approve", &held.rollout, "--reason", "a kill"]).unwrap();
            }
            (Hold::Operator, _) => {
                let mut phase = String::new();
                // It moves again where a host has to, and is not to be cut short; or it has gone back by itself.
                let waits = || {
                    let shown = self.fleet.rollout(&held.rollout).unwrap_or_default();
                    phase = shown["phase"].as_str().unwrap_or_default().to_owned();
                    ["baked", "rolled-back", "failed"].contains(&phase.as_str())
                };
                wait_until("it to wait for its promotion", SOON * 2, waits).unwrap();
                if phase == State::Baked.word() {
                    self.fleet.desk.roadstead(&["rollout", "promote", &held.rollout, "--reason", "a kill"]).unwrap();
                }
            }
        }
    }

    fn begin(&self, version: &str) -> String {
        self.fleet.begin(&["deploy", "staging", version]).unwrap()
    }

    /// A request is under way on each host, for as long as it takes.
    fn hold_by_requests(&self, version: String) -> Held {
        self.fleet.data.exec(&["redis-cli", "mset", "held", "1", "begun", "0"]).unwrap();
        let address = format!("{}:80", self.balancer().ip());
        let ask = |host: &Host| {
            let load = Load::on(&address).path(&format!("/held?on={}", host.name()));
            load.clients(1).at_most(1).timeout(Duration::from_secs(90)).start(&self.fleet.client())
        };
        let requests = self.fleet.hosts.iter().map(ask).collect();
        let begun = || self.fleet.data.exec(&["redis-cli", "get", "begun"]).is_ok_and(|begun| begun.trim() == "2");
        wait_until("a request to be under way on each host", SOON, begun).unwrap();
        let rollout = self.begin(&version);
        let drained = |shown: &Value| shown["waiting"]["for"].as_str().is_some_and(|what| what.contains("in flight on"));
        let host = self.wait_for_host(&rollout, State::Draining.word(), drained);
        Held { state: State::Draining, rollout, version, host, by: Hold::Requests(requests) }
    }

    /// While a host moves, the balancer's agent falls silent: nothing that comes afterwards is heard there.
    fn hold_by_the_balancer(&self, state: State, version: String) -> Held {
        let moment = Moment::within("candidate");
        self.stoppers.iter().for_each(|stopper| stopper.arm(&moment).unwrap());
        let agents: Vec<Process> = self.fleet.hosts.iter().map(|host| host.main_process(super::hits::AGENT).unwrap()).collect();
        let rollout = self.begin(&version);
        let mut stopped = None;
        let stops = || {
            stopped = agents.iter().position(|agent| agent.is_stopped());
            stopped.is_some()
        };
        wait_until("a host to move", SOON * 2, stops).unwrap();
        let moving = stopped.unwrap();
        let balancers = self.balancer().main_process(super::hits::AGENT).unwrap();
        balancers.stop();
        self.stoppers.iter().for_each(|stopper| stopper.disarm().unwrap());
        agents[moving].go_on();
        match state {
            State::Switching => self.fleet.wait_for_phase(&rollout, state.word(), SOON).unwrap(),
            _ => drop(self.wait_for_host(&rollout, state.word(), |_| true)),
        }
        Held { state, rollout, version, host: self.fleet.hosts[moving].clone(), by: Hold::Balancer(balancers) }
    }

    /// It waits for a word by itself.
    fn hold_by_an_operator(&self, state: State, version: String) -> Held {
        let rollout = self.begin(&version);
        self.fleet.wait_for_phase(&rollout, state.word(), SOON * 2).unwrap();
        let host = self.serving().iter().position(|serves| *serves == version).unwrap_or(0);
        Held { state, rollout, version, host: self.fleet.hosts[host].clone(), by: Hold::Operator }
    }

    /// The host that is in a state, once all of it is as wanted.
    fn wait_for_host(&self, rollout: &str, word: &str, fits: impl Fn(&Value) -> bool) -> Host {
        let mut found = None;
        let look = || {
            let shown = self.fleet.rollout(rollout).unwrap();
            let mut hosts = shown["hosts"].as_array().into_iter().flatten();
            found = hosts.find(|host| host["state"] == word).and_then(|host| host["host"].as_str()).map(str::to_owned);
            found.is_some() && fits(&shown)
        };
        wait_until(&format!("a host to be {word}"), SOON * 2, look).unwrap();
        self.fleet.hosts.iter().find(|host| Some(host.name()) == found.as_deref()).unwrap().clone()
    }
}
