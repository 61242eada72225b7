//! Blue and green: which of two sets of hosts has the traffic, and which one moves.

use roadstead_bundle::manifest::Manifest;
use roadstead_model::{HostId, LabelKey};
use roadstead_rollout::{InvalidPlan, RolloutKind, Switch};
use std::collections::{BTreeMap, BTreeSet};

use super::Loop;
use crate::{EnvironmentRecord, HostRecord, Refused};

/// What a rollout moves, and from whom it gets the traffic.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) hosts: Vec<HostRecord>,
    pub(super) switch: Option<Switch>,
}

/// The values of the label, each with its hosts; hosts without it are of none.
fn sets<'a>(label: &LabelKey, hosts: &'a [HostRecord]) -> BTreeMap<&'a str, Vec<&'a HostRecord>> {
    let mut sets: BTreeMap<&str, Vec<&HostRecord>> = BTreeMap::new();
    for host in hosts {
        if let Some(value) = host.labels.get(label.as_str()) {
            sets.entry(value).or_default().push(host);
        }
    }
    sets
}

/// Why hosts are not two sets, in words.
fn found(label: &LabelKey, hosts: &[HostRecord], sets: &BTreeMap<&str, Vec<&HostRecord>>) -> Option<String> {
    let without: Vec<&str> = hosts.iter().filter(|host| host.labels.get(label.as_str()).is_none()).map(|host| host.name.as_str()).collect();
    match (sets.len(), without.as_slice()) {
        (2, []) => None,
        (_, [first, ..]) => Some(format!("{} hosts have no such label, such as {first}", without.len())),
        (0, []) => Some("no host has it".to_owned()),
        _ => Some(format!("there are {}", sets.keys().copied().collect::<Vec<_>>().join(", "))),
    }
}

/// The set that has the traffic of a blue-green environment: the one to which it was switched last, or the first by name.
fn live_set(environment: &EnvironmentRecord, hosts: &[HostRecord]) -> Option<String> {
    let label = environment.spec.strategy.sets.as_ref()?;
    let sets = sets(label, hosts);
    let known = environment.live_set.clone().filter(|set| sets.contains_key(set.as_str()));
    known.or_else(|| sets.keys().next().map(|set| (*set).to_owned()))
}

impl Loop {
    /// Hosts that have no traffic and are not brought level: the other set of a blue-green environment.
    pub(super) fn idle(&self, environment: &EnvironmentRecord, hosts: &[HostRecord]) -> BTreeSet<HostId> {
        let (Some(label), Some(live)) = (&environment.spec.strategy.sets, live_set(environment, hosts)) else { return BTreeSet::new() };
        let is_live = |host: &&HostRecord| host.labels.get(label.as_str()).is_none_or(|set| set == live);
        hosts.iter().filter(|host| !is_live(host)).map(|host| host.id.clone()).collect()
    }

    /// The hosts that a rollout moves: all of them, or the set that has no traffic. Before anything runs it is the first set.
    pub(super) fn sides(
        &self,
        record: &EnvironmentRecord,
        manifest: &Manifest,
        kind: RolloutKind,
        hosts: Vec<HostRecord>,
    ) -> Result<Sides, Refused> {
        let spec = &record.spec;
        let (Some(label), false) = (&spec.strategy.sets, kind == RolloutKind::Level) else { return Ok(Sides { hosts, switch: None }) };
        let environment = spec.name.clone();
        if let Some(found) = found(label, &hosts, &sets(label, &hosts)) {
            return Err(InvalidPlan::NotTwoSets { environment, label: label.clone(), found }.into());
        }
        if let Some((service, _)) = manifest.spec.services.iter().find(|(_, service)| service.kind.is_singleton()) {
            return Err(InvalidPlan::RunsOnce { environment, service: service.clone() }.into());
        }
        let (idle, runs_something) = (self.idle(record, &hosts), record.current.is_some());
        let (moves, stays): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| idle.contains(&host.id) == runs_something);
        let set = moves.iter().find_map(|host| host.labels.get(label.as_str())).unwrap_or_default().to_owned();
        let from = stays.into_iter().map(|host| (host.id, host.name)).collect();
        Ok(Sides { hosts: moves, switch: Some(Switch { set, from }) })
    }
}
