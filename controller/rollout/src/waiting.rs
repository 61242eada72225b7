//! What a rollout waits for, since when, until when, and what will happen then. No state but the last is without an answer.

use roadstead_model::{Timeouts, Timestamp};

use crate::{Host, Phase, Stage, State};

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
    let total = state.hosts.len();
    let count = |stage: Stage| state.hosts.values().filter(|h| h.stage == stage).count();
    let (what, since, own, then) = match &state.phase {
        Phase::Ended { .. } => return None,
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
        Phase::Moving { batch, since } => {
            let open = count(Stage::Moving);
            let until = since.plus(timeouts.away).plus(timeouts.activate);
            let what = format!("{} of batch {} of {} to serve the release", hosts(open), batch + 1, state.plan.batches);
            // Without a moving host only the phase's own deadline is left.
            (what, *since, (open == 0).then_some(until), "late hosts count as lost")
        }
        Phase::Baking { since } => {
            let until = if state.gives_way { *since } else { since.plus(state.plan.bake) };
            ("the bake to end: old instances stay warm".to_owned(), *since, Some(until), "the release is confirmed")
        }
        Phase::Confirming { since } => {
            let open = count(Stage::Confirming);
            (format!("{} to let their old instances go", hosts(open)), *since, None, "late hosts are left")
        }
        Phase::Reverting { since } => {
            let open = count(Stage::Reverting) + count(Stage::Abandoning);
            (format!("{} to go back", hosts(open)), *since, None, "late hosts are named as unknown")
        }
    };
    let of_hosts = state.hosts.values().filter_map(|host| host_deadline(host, timeouts)).map(|deadline| deadline.until);
    let until = of_hosts.chain(own).min().unwrap_or_else(|| since.plus(timeouts.activate));
    Some(Waiting { what, since, until, then })
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
    let span = match host.stage {
        Stage::Preparing => timeouts.prepare,
        Stage::Moving | Stage::Confirming | Stage::Reverting | Stage::Abandoning => timeouts.activate,
        // The migration's host has the phase's deadline; the others are asked for nothing.
        Stage::Migrating
        | Stage::Prepared
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
