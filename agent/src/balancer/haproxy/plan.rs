//! From what is wanted and what HAProxy says to what it is told, and to what the controller is told. Pure.

use roadstead_model::{Failure, FailureKind, HostName, ServerSeen, Weight};
use std::collections::BTreeMap;

use super::servers::Server;
use crate::balancer::problems::{joined, nobody_left, not_known, someone_takes};
use crate::balancer::{Sight, Weights};
use crate::settings::HaProxySettings;

/// Percent that HAProxy's whole numbers may be beside what is wanted.
const ROUGHLY: u32 = 5;

/// What is wanted of the servers, beside what they are.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) settings: &'a HaProxySettings,
    pub(super) wanted: &'a Weights,
    pub(super) servers: &'a BTreeMap<String, Server>,
}

impl Plan<'_> {
    /// What HAProxy is to be told: first who takes more, then who takes less, so that at no moment nobody is left.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for (host, weight, server) in self.known().filter(|(_, weight, server)| weight.takes() && !server.in_maintenance) {
            let name = self.full_name(host);
            if server.weight != target(server, weight) && server.full_weight > 0 {
                // So many percent of a small weight would be none at all.
                let none = server.full_weight.saturating_mul(weight.get().into()) < 100;
                let share = if none { "1".to_owned() } else { format!("{}%", weight.get()) };
                commands.push(format!("set server {name} weight {share}"));
            }
            if server.drained {
                commands.push(format!("set server {name} state ready"));
            }
        }
        if self.someone_is_left() {
            let to_drain = self.known().filter(|(_, weight, server)| !weight.takes() && !server.in_maintenance && !server.drained);
            commands.extend(to_drain.map(|(host, ..)| format!("set server {} state drain", self.full_name(host))));
        }
        commands
    }

    /// What is in effect, and what is not as wanted.
    pub(super) fn sight(&self) -> Sight {
        let servers = self.known().map(|(host, weight, server)| (host.clone(), seen(server, weight))).collect();
        Sight { servers, problem: joined(self.problems()) }
    }

    fn problems(&self) -> Vec<Failure> {
        let mut problems = Vec::new();
        if !self.someone_is_left() {
            problems
                .push(nobody_left(&format!("HAProxy may send requests to none of those that are to take it in {}", self.settings.backend)));
        }
        for host in self.wanted.keys().filter(|host| !self.servers.contains_key(self.settings.server(host))) {
            let what = format!("HAProxy has no server {}", self.full_name(host));
            problems.push(not_known(host, &what, "add it to haproxy.cfg, or name it under servers of [traffic.APP] in agent.toml"));
        }
        for (host, weight, server) in self.known() {
            problems.extend(self.problem_of(host, weight, server));
        }
        problems
    }

    fn problem_of(&self, host: &HostName, weight: Weight, server: &Server) -> Option<Failure> {
        let name = self.full_name(host);
        if server.in_maintenance {
            let hint = format!("end it when it is over: echo 'set server {name} state ready' to HAProxy's socket");
            let summary = format!("HAProxy has server {name} in maintenance, which somebody set: that is not lifted, it gets no traffic");
            return weight.takes().then(|| Failure::new(FailureKind::Unfit, summary, hint));
        }
        let percent = seen(server, weight).weight;
        if percent == weight {
            return None;
        }
        let hint = if weight.takes() && server.weight == target(server, weight) {
            "write `weight 100` for each server of the backend in haproxy.cfg: shares are whole numbers of that"
        } else {
            "see what else sets it: an agent check, a server that it tracks, another tool at the same socket"
        };
        let summary = format!(
            "HAProxy has server {name} at {percent} instead of {weight}: its weight is {} of {}",
            server.weight, server.full_weight
        );
        Some(Failure::new(FailureKind::Host, summary, hint))
    }

    /// One of those that are to take traffic is there to take it.
    fn someone_is_left(&self) -> bool {
        someone_takes(self.wanted, |host| self.servers.get(self.settings.server(host)).is_some_and(|server| !server.in_maintenance))
    }

    fn known(&self) -> impl Iterator<Item = (&HostName, Weight, &Server)> {
        self.wanted.iter().filter_map(|(host, weight)| Some((host, *weight, self.servers.get(self.settings.server(host))?)))
    }

    fn full_name(&self, host: &HostName) -> String {
        format!("{}/{}", self.settings.backend, self.settings.server(host))
    }
}

/// The weight that a server is to have, as HAProxy works it out, but never none where the configuration gives it some.
fn target(server: &Server, weight: Weight) -> u32 {
    (server.full_weight.saturating_mul(weight.get().into()) / 100).max(server.full_weight.min(1))
}

/// What a server gets. A weight that is as near to what is wanted as whole numbers allow is what is wanted.
fn seen(server: &Server, wanted: Weight) -> ServerSeen {
    let percent = match server.weight.saturating_mul(100).checked_div(server.full_weight) {
        _ if server.drained || server.in_maintenance || server.weight == 0 => 0,
        None => 100,
        Some(percent) if server.weight == target(server, wanted) && percent.abs_diff(wanted.get().into()) <= ROUGHLY => wanted.get().into(),
        Some(percent) => percent.clamp(1, 100),
    };
    ServerSeen { weight: Weight::percent(percent).unwrap_or(Weight::FULL), up: server.up, in_flight: server.in_flight }
}

#[cfg(test)]
mod tests;
