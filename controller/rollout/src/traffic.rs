//! Traffic around a host that moves: it is drained first, and gets its share again when every balancer sees it well.
//!
//! What balancers are to do is a function of the state, as orders are: [`weights`]. What they say of it comes back as events, and only
//! what they say of a table that is new enough counts.

use roadstead_model::{Failure, FailureKind, HostId, HostName, Millis, OrderKey, ReleaseId, ServerSeen, Timestamp, TrafficSeen, Weight};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::decide::{enter, lose};
use crate::settle::traffic_of_step;
use crate::{Host, Note, Phase, Rejected, RolloutKind, Stage, State};

/// Where the traffic of a rollout's hosts comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTraffic {
    /// Hosts that share it out.
    pub balancers: BTreeMap<HostId, HostName>,
    /// Hosts of the environment that take traffic and are no part of the rollout.
    pub others: usize,
    /// How long the requests in flight of a host that is drained are waited for.
    pub drain: Millis,
    /// All of it is switched from one set of hosts to the one that moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
}

/// Blue and green.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The set that the rollout moves: the value of the label that tells the sets apart.
    pub set: String,
    /// The hosts that have the traffic until then, and again when it goes back.
    pub from: BTreeMap<HostId, HostName>,
}

/// What is known of the traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficState {
    /// How often what balancers are to do has changed.
    pub turn: u32,
    /// The balancers that are heard.
    pub heard: BTreeMap<HostId, Heard>,
}

/// What a balancer said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Of which table.
    pub turn: u32,
    /// What it does with each host.
    pub servers: BTreeMap<HostName, ServerSeen>,
    /// Why not all of it is in effect.
    pub problem: Option<Failure>,
}

/// What a host has to do with the traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTraffic {
    /// It is drained, or is to be, from before it moves until it serves again.
    pub drained: bool,
    /// The first table that says what it is to get now.
    pub turn: u32,
    /// Since when it gets no new requests.
    pub out_since: Option<Timestamp>,
    /// Since when balancers do not do with it what they are to do.
    #[serde(default)]
    pub lacking_since: Option<Timestamp>,
    /// What it goes back to takes no traffic: the release serves on there until balancers send nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

/// Which table is wanted now.
#[must_use]
pub const fn table_key(state: &State) -> OrderKey {
    OrderKey { rollout: state.plan.rollout, sequence: state.traffic.turn }
}

/// What each host of the rollout that takes traffic is to get; `None` where the rollout has no say in it: before it begins, when it has
/// ended, and where nothing shares out traffic.
#[must_use]
pub fn weights(state: &State) -> Option<BTreeMap<HostId, Weight>> {
    if !has_a_say(state) {
        return None;
    }
    if let Some(switch) = switch_of(state) {
        return Some(switched(state, switch));
    }
    let parts = canary(state);
    Some(state.hosts.keys().filter_map(|id| Some((id.clone(), weight(state, id, parts)?))).collect())
}

/// What one host is to get, as it stands in [`weights`].
fn weight_of(state: &State, id: &HostId) -> Option<Weight> {
    match switch_of(state) {
        _ if !has_a_say(state) => None,
        Some(switch) => switched(state, switch).get(id).copied(),
        None => weight(state, id, canary(state)),
    }
}

fn weight(state: &State, id: &HostId, (new, old): (Weight, Weight)) -> Option<Weight> {
    match share(state, id)? {
        share if !share.takes() => Some(Weight::DRAINED),
        _ if serves(state, id) => Some(new),
        _ => Some(old),
    }
}

fn has_a_say(state: &State) -> bool {
    state.plan.traffic.is_some() && !matches!(state.phase, Phase::Gated { .. } | Phase::Ended { .. })
}

/// What each host gets while no rollout moves it, by the release that it serves: those that serve another than the environment are held
/// out of the traffic until they are level. Of those that serve an older one no more are held out than may be, and never all of them:
/// somebody has to answer.
#[must_use]
pub fn standing(hosts: &BTreeMap<HostId, Option<ReleaseId>>, wanted: Option<&ReleaseId>, may_be_out: usize) -> BTreeMap<HostId, Weight> {
    let mut room = may_be_out;
    let mut weight = |serves: &Option<ReleaseId>| match (serves, wanted) {
        (_, None) => Weight::FULL,
        (None, Some(_)) => Weight::DRAINED,
        (Some(serves), Some(wanted)) if serves == wanted || room == 0 => Weight::FULL,
        (Some(_), Some(_)) => {
            room -= 1;
            Weight::DRAINED
        }
    };
    never_nobody(hosts.iter().map(|(id, serves)| (id.clone(), weight(serves))).collect())
}

/// Where nobody would be left, all stay in.
#[must_use]
pub fn never_nobody(mut weights: BTreeMap<HostId, Weight>) -> BTreeMap<HostId, Weight> {
    if !weights.values().any(|weight| weight.takes()) {
        weights.values_mut().for_each(|weight| *weight = Weight::FULL);
    }
    weights
}

fn switch_of(state: &State) -> Option<&Switch> {
    state.plan.traffic.as_ref()?.switch.as_ref()
}

/// All of it to one set, nothing to the other.
fn switched(state: &State, switch: &Switch) -> BTreeMap<HostId, Weight> {
    let is_new = matches!(state.phase, Phase::Switching { .. } | Phase::Baking { .. } | Phase::Baked { .. } | Phase::Confirming { .. });
    let part = |takes: bool| if takes { Weight::FULL } else { Weight::DRAINED };
    let behind = state.hosts.keys().filter(|id| state.plan.hosts.get(*id).is_some_and(|planned| planned.share.is_some()));
    let new = behind.map(|id| (id.clone(), part(is_new && serves(state, id))));
    switch.from.keys().map(|id| (id.clone(), part(!is_new))).chain(new).collect()
}

/// Whether the rollout switches the traffic from one set of hosts to another.
pub(crate) fn switches(state: &State) -> bool {
    switch_of(state).is_some()
}

/// The set that has moved gets all of the traffic.
pub(crate) fn begin_to_switch(state: &mut State, now: Timestamp) {
    state.phase = Phase::Switching { since: now };
    state.traffic.turn += 1;
    let turn = state.traffic.turn;
    state.hosts.values_mut().for_each(|host| host.traffic.turn = turn);
}

/// What keeps the switch from being in effect at every balancer.
pub(crate) fn lacks_switch(state: &State) -> Option<Failure> {
    let name = |id: &HostId| {
        let planned = state.plan.hosts.get(id).map(|planned| &planned.name);
        planned.or_else(|| switch_of(state)?.from.get(id))
    };
    let turn = state.hosts.values().map(|host| host.traffic.turn).max().unwrap_or_default();
    weights(state)?.into_iter().find_map(|(id, wanted)| lacks_anywhere(state, name(&id)?, wanted, turn))
}

/// Full or nothing, canary or not; `None` for a host that never takes traffic.
fn share(state: &State, id: &HostId) -> Option<Weight> {
    let host = state.hosts.get(id)?;
    let planned = state.plan.hosts.get(id)?.share?;
    let out = match host.stage {
        Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed => false,
        // It serves what it served.
        Stage::Failed | Stage::Reverted | Stage::Abandoning | Stage::Abandoned => !planned.takes(),
        // One that is tried again, of which nothing is known, stays out like one that moves.
        Stage::Waiting
        | Stage::Preparing
        | Stage::Prepared
        | Stage::Migrating
        | Stage::Tending
        | Stage::Surveying
        | Stage::Halting
        | Stage::Halted
        | Stage::Restoring
        | Stage::Exchanging
        | Stage::Draining
        | Stage::Moving
        | Stage::Reverting
        | Stage::Stuck
        | Stage::Left => host.traffic.drained || !planned.takes(),
    };
    Some(if out { Weight::DRAINED } else { Weight::FULL })
}

/// Whether the release takes traffic there.
fn serves(state: &State, id: &HostId) -> bool {
    let stage = state.hosts.get(id).map(|host| host.stage);
    matches!(stage, Some(Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed))
}

/// What each host with the release gets, and each of the others, so that a canary's step has its part of all traffic.
fn canary(state: &State) -> (Weight, Weight) {
    let Some(part) = traffic_of_step(state) else { return (Weight::FULL, Weight::FULL) };
    let takes = |id: &&HostId| share(state, id).is_some_and(Weight::takes);
    let (new, old): (Vec<_>, Vec<_>) = state.hosts.keys().filter(takes).partition(|id| serves(state, id));
    split(part, new.len(), old.len())
}

/// Weights of `new` hosts and of `old` ones, the larger of them full, so that the new ones get `part` of all.
pub(crate) fn split(part: Weight, new: usize, old: usize) -> (Weight, Weight) {
    let per_host = |part: u8, hosts: usize| f64::from(part) / f64::from(u32::try_from(hosts).unwrap_or(u32::MAX));
    if new == 0 || old == 0 || !part.takes() || part == Weight::FULL {
        return (Weight::FULL, Weight::FULL);
    }
    let (new, old) = (per_host(part.get(), new), per_host(Weight::FULL.get() - part.get(), old));
    let of_full = |share: f64| {
        let percent = (share / new.max(old) * f64::from(Weight::FULL.get())).round().clamp(1.0, 100.0);
        // Between 1 and 100.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just bounded")]
        Weight::percent(percent as u32).unwrap_or(Weight::FULL)
    };
    (of_full(new), of_full(old))
}

/// The turn of these hosts has come. They are drained first where others take their requests meanwhile; where nobody else would be left
/// who can answer, none of them is: a cutover drops nothing by itself. A set of which another has the traffic is drained in any case.
pub(crate) fn begin_to_move(state: &mut State, ids: &[HostId], now: Timestamp) {
    let moving: BTreeSet<&HostId> = ids.iter().collect();
    let answers = |id: &HostId| {
        let is_there = state.hosts.get(id).is_some_and(|host| !matches!(host.stage, Stage::Left | Stage::Stuck));
        is_there && !moving.contains(id) && share(state, id).is_some_and(Weight::takes) && !is_down(state, id)
    };
    let others = state.plan.traffic.as_ref().map(|traffic| traffic.others);
    let may_drain = others.is_some_and(|others| others > 0 || switches(state) || state.hosts.keys().any(answers));
    let may_drain = may_drain && state.plan.kind != RolloutKind::Rollback;
    state.traffic.turn += u32::from(may_drain && !ids.is_empty());
    for id in ids {
        let drains = may_drain && share(state, id).is_some();
        let State { hosts, traffic, .. } = state;
        let Some(host) = hosts.get_mut(id) else { continue };
        enter(host, if drains { Stage::Draining } else { Stage::Moving }, now);
        host.traffic = HostTraffic { drained: drains, turn: traffic.turn, lacking_since: Some(now), ..HostTraffic::default() };
    }
}

/// Whether a balancer says that it takes the host for down.
fn is_down(state: &State, id: &HostId) -> bool {
    let Some(planned) = state.plan.hosts.get(id) else { return true };
    let down = |heard: &Heard| heard.servers.get(&planned.name).is_some_and(|server| server.weight.takes() && !server.up);
    state.traffic.heard.values().any(down)
}

/// A host's release serves and is healthy: it gets its traffic back, and is watched until balancers see it well.
pub(crate) fn give_back(state: &mut State, id: &HostId, now: Timestamp) {
    let is_behind = state.plan.traffic.is_some() && share(state, id).is_some() && state.plan.kind != RolloutKind::Rollback;
    let is_behind = is_behind && !switches(state);
    state.traffic.turn += u32::from(is_behind);
    let State { hosts, traffic, .. } = state;
    let Some(host) = hosts.get_mut(id) else { return };
    enter(host, if is_behind { Stage::Returning } else { Stage::Healthy }, now);
    host.traffic = HostTraffic { turn: traffic.turn, lacking_since: Some(now), ..HostTraffic::default() };
}

/// Any other change of what balancers are to do is a new table, too.
pub(crate) fn count_turns(before: &State, state: &mut State) {
    let (had, gets) = (weights(before), weights(state));
    state.traffic.turn += u32::from(before.traffic.turn == state.traffic.turn && had != gets);
    let has_balancers = state.plan.traffic.as_ref().is_some_and(|traffic| !traffic.balancers.is_empty());
    if let (Some(had), Some(gets), true) = (had, gets, has_balancers) {
        let_traffic_leave(before, state, |id| had.get(id).is_some_and(|had| had.takes()) && gets.get(id) == Some(&Weight::DRAINED));
    }
}

/// Whoever goes back and has no traffic from now on is left by it first. What such a host goes back to was not there for users: it may be
/// a release of long ago, or nothing.
fn let_traffic_leave(before: &State, state: &mut State, loses: impl Fn(&HostId) -> bool) {
    let turn = state.traffic.turn;
    for (_, host) in state.hosts.iter_mut().filter(|(id, host)| host.stage == Stage::Reverting && serves(before, id) && loses(id)) {
        host.traffic = HostTraffic { turn, leaves: true, ..HostTraffic::default() };
    }
}

/// Whether it goes back when its traffic has left it.
pub(crate) const fn leaves(host: &Host) -> bool {
    matches!(host.stage, Stage::Reverting) && host.traffic.leaves
}

/// A balancer said what it does. What it says of another rollout's table, or of none of this one, says nothing here.
pub(crate) fn heard(state: &mut State, balancer: HostId, seen: TrafficSeen) {
    let is_ours = state.plan.traffic.as_ref().is_some_and(|traffic| traffic.balancers.contains_key(&balancer));
    let newer = |heard: &Heard| heard.turn <= seen.key.sequence;
    if is_ours && seen.key.rollout == state.plan.rollout && state.traffic.heard.get(&balancer).is_none_or(newer) {
        let TrafficSeen { key, servers, problem, .. } = seen;
        state.traffic.heard.insert(balancer, Heard { turn: key.sequence, servers, problem });
    }
}

/// A host became a balancer after the plan was made: it is asked like the others.
pub(crate) fn joined(state: &mut State, balancer: HostId, name: HostName) {
    if let Some(traffic) = &mut state.plan.traffic {
        traffic.balancers.insert(balancer, name);
    }
}

/// A balancer is away, or (`for_good`) is none any more.
pub(crate) fn gone(state: &mut State, balancer: &HostId, for_good: bool) {
    state.traffic.heard.remove(balancer);
    if let Some(traffic) = state.plan.traffic.as_mut().filter(|_| for_good) {
        traffic.balancers.remove(balancer);
    }
}

/// Drained hosts move, and hosts that balancers see well are healthy; those for which that does not come about in time are lost.
pub(crate) fn settle(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let ids: Vec<HostId> = state.hosts.iter().filter(|(_, host)| is_between(host)).map(|(id, _)| id.clone()).collect();
    for id in ids {
        match state.hosts.get(&id).map(|host| host.stage) {
            Some(Stage::Draining) => settle_draining(state, &id, now, notes),
            Some(Stage::Returning) => settle_returning(state, &id, now, notes),
            Some(Stage::Reverting) => settle_leaving(state, &id, now),
            _ => {}
        }
    }
}

const fn is_between(host: &Host) -> bool {
    matches!(host.stage, Stage::Draining | Stage::Returning) || leaves(host)
}

fn settle_draining(state: &mut State, id: &HostId, now: Timestamp, notes: &mut Vec<Note>) {
    if let Some(failure) = lacking(state, id) {
        return lose_when_late(state, id, failure, now, notes);
    }
    let in_flight = in_flight(state, id);
    let drain = state.plan.traffic.as_ref().map_or(Millis(0), |traffic| traffic.drain);
    let Some(host) = state.hosts.get_mut(id) else { return };
    host.traffic.lacking_since = None;
    let since = *host.traffic.out_since.get_or_insert(now);
    if in_flight > 0 && now < since.plus(drain) {
        return;
    }
    if in_flight > 0 {
        let text = format!("{in_flight} requests were in flight still after {drain}");
        notes.push(Note { host: Some(id.clone()), kind: "drain-cut-short", text });
    } else {
        notes.push(Note { host: Some(id.clone()), kind: "host", text: "drained".to_owned() });
    }
    enter(host, Stage::Moving, now);
}

fn settle_returning(state: &mut State, id: &HostId, now: Timestamp, notes: &mut Vec<Note>) {
    if let Some(failure) = lacking(state, id) {
        return lose_when_late(state, id, failure, now, notes);
    }
    if let Some(host) = state.hosts.get_mut(id) {
        enter(host, Stage::Healthy, now);
        notes.push(Note { host: Some(id.clone()), kind: "host", text: Stage::Healthy.word().to_owned() });
    }
}

/// A balancer that does not obey keeps nobody from going back.
fn settle_leaving(state: &mut State, id: &HostId, now: Timestamp) {
    let is_out = lacking(state, id).is_none();
    let is_left = is_out && in_flight(state, id) == 0;
    if let Some(host) = state.hosts.get_mut(id) {
        host.traffic.out_since = is_out.then(|| host.traffic.out_since.unwrap_or(now));
    }
    let is_late = state.hosts.get(id).and_then(|host| deadline(state, host)).is_some_and(|deadline| now >= deadline);
    let Some(host) = state.hosts.get_mut(id).filter(|_| is_left || is_late) else { return };
    enter(host, Stage::Reverting, now);
    host.traffic = HostTraffic::default();
}

/// Until when balancers are waited for.
pub(crate) fn deadline(state: &State, host: &Host) -> Option<Timestamp> {
    let traffic = state.plan.traffic.as_ref()?;
    match (host.stage, host.traffic.out_since) {
        (stage, Some(since)) if stage == Stage::Draining || leaves(host) => Some(since.plus(traffic.drain)),
        (Stage::Draining | Stage::Returning, _) => Some(host.traffic.lacking_since.unwrap_or(host.since).plus(state.plan.timeouts.away)),
        _ if leaves(host) => Some(host.since.plus(state.plan.timeouts.away)),
        _ => None,
    }
}

fn lose_when_late(state: &mut State, id: &HostId, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(host) = state.hosts.get_mut(id) else { return };
    // A balancer that is heard no more may have given it traffic again.
    host.traffic.out_since = None;
    let since = *host.traffic.lacking_since.get_or_insert(now);
    if now >= since.plus(state.plan.timeouts.away) {
        // The host is one of the rollout's.
        let _ignored: Result<(), Rejected> = lose(state, id, Stage::Failed, failure, now, notes);
    }
}

/// The first thing that balancers do not do yet with a host: not take it out, or not give it its share.
fn lacking(state: &State, id: &HostId) -> Option<Failure> {
    let (host, planned) = (state.hosts.get(id)?, state.plan.hosts.get(id)?);
    lacks_anywhere(state, &planned.name, weight_of(state, id)?, host.traffic.turn)
}

/// The first balancer that does not give a host what is wanted, by what each says of a table of this turn or a newer one.
fn lacks_anywhere(state: &State, host: &HostName, wanted: Weight, turn: u32) -> Option<Failure> {
    let balancers = &state.plan.traffic.as_ref()?.balancers;
    if balancers.is_empty() {
        let hint = "enroll one: see docs/traffic.md, and deploy again";
        return Some(Failure::new(FailureKind::Host, "no balancer is left to share out the traffic", hint));
    }
    balancers.iter().find_map(|(balancer, name)| {
        let heard = state.traffic.heard.get(balancer).filter(|heard| heard.turn >= turn);
        lacks(name, heard, host, wanted)
    })
}

fn lacks(balancer: &HostName, heard: Option<&Heard>, host: &HostName, wanted: Weight) -> Option<Failure> {
    let asked = if wanted.takes() { format!("give {host} its traffic") } else { format!("take {host} out of the traffic") };
    let Some(heard) = heard else {
        let hint = format!("look at {balancer}: does roadstead-agent run there, and does it know the app's [traffic] section?");
        return Some(Failure::new(FailureKind::Host, format!("{balancer} does not say that it could {asked}"), hint));
    };
    let why = |what: String| match &heard.problem {
        Some(problem) => Some(Failure { summary: format!("{balancer} did not {asked}: {}", problem.summary), ..problem.clone() }),
        None => Some(Failure::new(FailureKind::Host, what, format!("run roadstead-agent doctor on {balancer}"))),
    };
    match heard.servers.get(host) {
        None => why(format!("{balancer} has no server for {host}")),
        Some(server) if server.weight != wanted => why(format!("{balancer} did not {asked}: it gets {}", server.weight)),
        Some(server) if wanted.takes() && !server.up => {
            let hint = format!("see what the balancer's own check asks of {host}, and what {host} answers");
            Some(Failure::new(FailureKind::Check, format!("{balancer} sees {host} as down"), hint))
        }
        Some(_) => None,
    }
}

/// Requests under way to a host, through all balancers.
fn in_flight(state: &State, id: &HostId) -> u64 {
    let Some(planned) = state.plan.hosts.get(id) else { return 0 };
    let of = |heard: &Heard| heard.servers.get(&planned.name).map_or(0, |server| u64::from(server.in_flight));
    state.traffic.heard.values().map(of).sum()
}

/// What balancers are waited for, in words, with until when and what happens then.
pub(crate) fn awaited(state: &State) -> Option<(String, Timestamp, Timestamp, &'static str)> {
    let between = state.hosts.iter().filter(|(_, host)| is_between(host));
    let (id, host) = between.min_by_key(|(_, host)| deadline(state, host))?;
    let (name, until) = (&state.plan.hosts.get(id)?.name, deadline(state, host)?);
    let (late, cut) = match leaves(host) {
        true => ("it goes back all the same", "it goes back all the same"),
        false => ("the host counts as lost", "it moves all the same"),
    };
    Some(match (lacking(state, id), in_flight(state, id)) {
        (Some(lacking), _) => (format!("balancers, of which {}", lacking.summary), host.since, until, late),
        (None, requests) => (format!("{requests} requests in flight on {name} to end"), host.since, until, cut),
    })
}

#[cfg(test)]
mod tests;
