//! What a rollout waits for, since when, until when, and what will happen then. No state but the last is without an answer.

use roadstead_model::{Promotion, Timeouts, Timestamp};

use crate::analysis;
use crate::decide::AWAKE_EVERY;
use crate::gates::closed;
use crate::hold::HoldCause;
use crate::settle::bake_of;
use crate::{Host, Phase, Stage, State, restore, tending, traffic};

/// What is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// In words, such as `2 of 3 hosts to be prepared`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// When something happens all the same.
    pub until: Timestamp,
    /// What will happen then.
    pub then: &'static str,
}

/// What the rollout waits for; `None` when it has ended.
#[must_use]
pub fn waiting(state: &State) -> Option<Waiting> {
    let timeouts = &state.plan.timeouts;
    if let Some(on_hold) = on_hold(state) {
        return Some(on_hold);
    }
    let total = state.hosts.len();
    let count = |stage: Stage| state.hosts.values().filter(|h| h.stage == stage).count();
    let (what, since, own, then) = match &state.phase {
        Phase::Ended { .. } => return None,
        Phase::Gated { since, .. } => return Some(at_gates(state, *since)),
        Phase::Preparing { since } => {
            let open = count(Stage::Preparing);
            (format!("{open} of {total} hosts to be prepared"), *since, None, "late hosts are left out and come level later")
        }
        Phase::Migrating { host, since } => {
            let name = state.plan.hosts.get(host).map_or("a host", |p| p.name.as_str());
            let until = since.plus(timeouts.migrate).plus(timeouts.away);
            match state.failure {
                Some(_) => (
                    format!("{name} to end the migrations; then it goes back"),
                    *since,
                    Some(until),
                    "it goes back; the outcome is unknown",
                ),
                None => (format!("{name} to run the migrations"), *since, Some(until), "the rollout ends; the outcome is unknown"),
            }
        }
        Phase::Moving { .. } if count(Stage::Moving) == 0 && count(Stage::Draining) + count(Stage::Returning) > 0 => {
            return of_traffic(state);
        }
        Phase::Reverting { .. } if state.hosts.values().any(traffic::leaves) => return of_traffic(state),
        Phase::Moving { batch, since } => {
            let open = count(Stage::Moving);
            let until = since.plus(timeouts.away).plus(timeouts.activate);
            let what = format!("{} of {} to serve the release", hosts(open), place(state, *batch));
            // Without a moving host only the phase's own deadline is left.
            (what, *since, (open == 0).then_some(until), "late hosts count as lost")
        }
        Phase::Switching { since } => {
            let what = traffic::lacks_switch(state)
                .map_or_else(|| "the traffic to be switched".to_owned(), |lacks| format!("balancers, of which {}", lacks.summary));
            (what, *since, Some(since.plus(timeouts.away)), "it goes back")
        }
        Phase::Baking { batch, since } => return Some(bake(state, *batch, *since)),
        Phase::Baked { batch, since } => return Some(promotion(state, *batch, *since)),
        Phase::Confirming { since } => {
            let open = count(Stage::Confirming);
            (format!("{} to let their old instances go", hosts(open)), *since, None, "late hosts are left")
        }
        Phase::Tending { .. } => return tending::waiting(state),
        Phase::Surveying { .. }
        | Phase::Deciding { .. }
        | Phase::Halting { .. }
        | Phase::Restoring { .. }
        | Phase::Exchanging { .. }
        | Phase::Starting { .. } => return restore::waiting(state),
        Phase::Reverting { since } => {
            let open = count(Stage::Reverting) + count(Stage::Abandoning);
            (format!("{} to go back", hosts(open)), *since, None, "late hosts are named as unknown")
        }
    };
    let of_hosts = state.hosts.values().filter_map(|host| host_deadline(host, timeouts)).map(|deadline| deadline.until);
    let until = of_hosts.chain(own).min().unwrap_or_else(|| since.plus(timeouts.activate));
    Some(Waiting { what, since, until, then })
}

/// When the rollout is to be looked at again: the first deadline of all, or sooner; `None` when it has ended.
#[must_use]
pub fn wake(state: &State) -> Option<Timestamp> {
    let waiting = waiting(state)?;
    let of_hosts = state.hosts.values().filter_map(|host| host_deadline(host, &state.plan.timeouts)).map(|deadline| deadline.until);
    let of_traffic = state.hosts.values().filter_map(|host| traffic::deadline(state, host));
    of_hosts.chain(of_traffic).chain([waiting.until, state.changed_at.plus(AWAKE_EVERY)]).min()
}

/// An operator, where nothing further begins without one. A migration goes on all the same, and so does the way back.
fn on_hold(state: &State) -> Option<Waiting> {
    let hold = state.hold.as_ref().filter(|_| !matches!(state.phase, Phase::Migrating { .. }))?;
    let what = match &hold.cause {
        HoldCause::Paused { by, reason } => format!("an operator to resume it: {by} paused it, {reason}"),
        HoldCause::Unknown { what } => format!("an operator to look and resume it, or for something to judge by: {what}"),
        HoldCause::Losses { failure } => format!("an operator to retry, ignore or exclude hosts: {}", failure.summary),
    };
    Some(Waiting { what, since: hold.since, until: hold.until(), then: "it goes back" })
}

/// Balancers, or requests in flight.
fn of_traffic(state: &State) -> Option<Waiting> {
    traffic::awaited(state).map(|(what, since, until, then)| Waiting { what, since, until, then })
}

/// The gates that are closed, and how each is opened.
fn at_gates(state: &State, since: Timestamp) -> Waiting {
    let closed: Vec<String> = closed(state).into_iter().map(|closed| format!("{} ({})", closed.why, closed.way)).collect();
    let what = if closed.is_empty() { "its gates to be looked at".to_owned() } else { closed.join("; ") };
    Waiting { what, since, until: since.plus(state.plan.timeouts.gates), then: "it ends, and nothing was changed" }
}

/// The end of a bake.
fn bake(state: &State, batch: u32, since: Timestamp) -> Waiting {
    let bake = bake_of(state, batch);
    let until = if state.gives_way { since } else { since.plus(bake.time) };
    let then = match bake.promotion {
        Promotion::Manual => "an operator is asked to promote it",
        Promotion::Automatic if batch + 1 < state.plan.batches => "the next batch moves",
        Promotion::Automatic => "the release is confirmed",
    };
    let what = format!("the bake of {} to end: old instances stay warm", place(state, batch));
    match analysis::waiting(state, batch) {
        None => Waiting { what, since, until, then },
        Some((told, None)) => Waiting { what: format!("{what}; {told}"), since, until, then },
        // It goes on as soon as all passes.
        Some((told, Some(until))) => Waiting { what: format!("{what}; {told}"), since, until, then: "it goes back" },
    }
}

/// An operator who promotes what has baked.
fn promotion(state: &State, batch: u32, since: Timestamp) -> Waiting {
    let until = since.plus(state.plan.timeouts.decide);
    Waiting { what: format!("an operator to promote {}, which has baked", place(state, batch)), since, until, then: "it goes back" }
}

fn place(state: &State, batch: u32) -> String {
    format!("batch {} of {}", batch + 1, state.plan.batches)
}

fn hosts(number: usize) -> String {
    if number == 1 { "1 host".to_owned() } else { format!("{number} hosts") }
}

/// When a host is given up, and what is said then.
pub(crate) struct HostDeadline {
    pub(crate) until: Timestamp,
    pub(crate) what: &'static str,
}

pub(crate) fn host_deadline(host: &Host, timeouts: &Timeouts) -> Option<HostDeadline> {
    if traffic::leaves(host) {
        // It is asked for nothing before its traffic has left it, which has a deadline of its own.
        return None;
    }
    let span = match host.stage {
        Stage::Preparing => timeouts.prepare,
        Stage::Moving | Stage::Confirming | Stage::Reverting | Stage::Abandoning | Stage::Halting => timeouts.activate,
        // The migration's host has the phase's deadline; of those between, balancers are asked something; the others are asked for nothing.
        Stage::Migrating
        | Stage::Tending
        | Stage::Surveying
        | Stage::Halted
        | Stage::Restoring
        | Stage::Exchanging
        | Stage::Waiting
        | Stage::Prepared
        | Stage::Draining
        | Stage::Returning
        | Stage::Healthy
        | Stage::Confirmed
        | Stage::Failed
        | Stage::Left
        | Stage::Reverted
        | Stage::Abandoned
        | Stage::Stuck => return None,
    };
    // The agent gives up by itself at its deadline and says so: the controller waits a little longer for that.
    let late = HostDeadline { until: host.since.plus(span).plus(timeouts.away), what: "it did not answer within its deadline" };
    // A host that moves finishes or undoes by itself while it is away; in the other stages nothing is at stake.
    let away = match host.stage {
        Stage::Moving => None,
        _ => host.away_since.map(|since| HostDeadline { until: since.max(host.since).plus(timeouts.away), what: "it is away" }),
    };
    match away {
        Some(away) if away.until < late.until => Some(away),
        _ => Some(late),
    }
}
