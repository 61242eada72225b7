//! The gates of a rollout: what it waits for before any host hears of it.
//!
//! Approvals are the rollout's own. Whether it is the time for it, whether its environment is locked and what other environments run is
//! seen by whoever drives it, and told with [`Event::GatesSeen`](crate::Event::GatesSeen).

use roadstead_model::{Failure, FailureKind, HostId, ReleaseRef, RoleName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::decide::enter;
use crate::ending::go_back;
use crate::{Note, Phase, Stage, State};

/// Somebody approved a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// As what.
    pub role: RoleName,
    /// When.
    pub at: Timestamp,
}

/// A gate that is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Why, such as `production is frozen until 2027-01-03 (Christmas)`.
    pub why: String,
    /// Who can open it, and how; or when it opens by itself.
    pub way: String,
}

/// What hosts serve now, by the driver's knowledge.
pub type Currents = BTreeMap<HostId, Option<ReleaseRef>>;

/// Every gate that is closed, the approvals first; nothing when it does not wait at its gates.
#[must_use]
pub fn closed(state: &State) -> Vec<Closed> {
    let Phase::Gated { closed, .. } = &state.phase else { return Vec::new() };
    let mut all: Vec<Closed> = missing(state).into_iter().map(|(role, count)| approval(state, &role, count)).collect();
    all.extend(closed.iter().flatten().cloned());
    all
}

/// How many approvals of each role are missing.
pub(crate) fn missing(state: &State) -> Vec<(RoleName, u32)> {
    let given =
        |role: &RoleName| u32::try_from(state.approvals.iter().filter(|approval| approval.role == *role).count()).unwrap_or(u32::MAX);
    let rules = state.plan.gates.approvals.iter();
    rules.map(|rule| (rule.role.clone(), rule.count.saturating_sub(given(&rule.role)))).filter(|(_, missing)| *missing > 0).collect()
}

pub(crate) fn approval(state: &State, role: &RoleName, count: u32) -> Closed {
    let what = if count == 1 { format!("the approval of one of {role}") } else { format!("the approval of {count} of {role}") };
    let given: Vec<&str> = state.approvals.iter().map(|approval| approval.by.as_str()).collect();
    // Nobody counts twice.
    let given = if given.is_empty() { String::new() } else { format!(", nor of {}, who approved it", given.join(" and ")) };
    let way = format!("not of {}, who asked for it{given}: roadstead rollout approve {}", state.requested_by, state.plan.rollout);
    Closed { why: what, way }
}

impl State {
    /// Whether no approval is missing.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        missing(self).is_empty()
    }
}

/// Somebody looked at the gates: they are as told, and hosts serve what is told, should it begin now.
pub(crate) fn seen(state: &mut State, seen: Vec<Closed>, currents: &Currents, now: Timestamp, notes: &mut Vec<Note>) {
    let Phase::Gated { closed, .. } = &mut state.phase else { return };
    *closed = Some(seen);
    if !is_open(state) {
        return;
    }
    notes.push(Note { host: None, kind: "gates-open", text: "its gates are open: it begins".to_owned() });
    // What hosts serve may be something else than when it was asked for, days ago.
    for (id, planned) in &mut state.plan.hosts {
        if let Some(current) = currents.get(id) {
            planned.current.clone_from(current);
            if let Some(host) = state.hosts.get_mut(id) {
                host.current = current.as_ref().map(|release| release.id.clone());
            }
        }
    }
    for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Waiting) {
        enter(host, Stage::Preparing, now);
    }
    state.phase = Phase::Preparing { since: now };
}

fn is_open(state: &State) -> bool {
    let looked = matches!(&state.phase, Phase::Gated { closed: Some(closed), .. } if closed.is_empty());
    looked && state.is_approved()
}

/// Nobody opened them in time.
pub(crate) fn settle_gated(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let within = state.plan.timeouts.gates;
    if now < since.plus(within) {
        return;
    }
    state.condemn = false;
    let why: Vec<String> = closed(state).into_iter().map(|closed| closed.why).collect();
    let summary = format!("its gates did not open within {within}: {}", why.join("; "));
    go_back(state, Failure::new(FailureKind::Deadline, summary, "nothing was changed: ask for it again"), now, notes);
}
