//! The gates of a rollout: what it waits for before any host hears of it.
//!
//! Approvals are the rollout's own. Whether it is the time for it, whether its environment is locked and what other environments run is
//! seen by whoever drives it, and told with [`Event::GatesSeen`](crate::Event::GatesSeen).

use roadstead_model::{Failure, FailureKind, HostId, ReleaseRef, RoleName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::decide::enter;
use crate::ending::go_back;
use crate::{Note, Phase, Plan, Stage, State};

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
    let now_serving = with_currents(&state.plan, currents);
    let changes = state.plan.told_apart(&now_serving);
    if !state.approvals.is_empty() && brings_news(&state.plan, &now_serving) {
        state.condemn = false;
        let summary = format!("what hosts serve has changed since it was planned, and that was approved: {}", changes.join("; "));
        let hint = "nothing was changed: look at `roadstead plan`, and ask for it again";
        return go_back(state, Failure::new(FailureKind::Host, summary, hint), now, notes);
    }
    let since = if changes.is_empty() { String::new() } else { format!("; since it was planned, {}", changes.join("; ")) };
    notes.push(Note { host: None, kind: "gates-open", text: format!("its gates are open: it begins{since}") });
    for (id, host) in &mut state.hosts {
        host.current = now_serving.hosts.get(id).and_then(|planned| planned.current.as_ref()).map(|release| release.id.clone());
    }
    state.plan = now_serving;
    for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Waiting) {
        enter(host, Stage::Preparing, now);
    }
    state.phase = Phase::Preparing { since: now };
}

/// A plan with what its hosts serve by now, perhaps days after it was asked for.
fn with_currents(plan: &Plan, currents: &Currents) -> Plan {
    let mut plan = plan.clone();
    for (id, planned) in &mut plan.hosts {
        if let Some(current) = currents.get(id) {
            planned.current.clone_from(current);
        }
    }
    plan
}

/// Whether a host serves what nobody served by the plan: whoever approved it judged the step from other releases. One that came level, or
/// went back to what others had, is no news.
fn brings_news(planned: &Plan, now: &Plan) -> bool {
    let served = planned.hosts.values().filter_map(|host| host.current.as_ref());
    let known: Vec<&ReleaseRef> = served.chain(&planned.previous).chain([&planned.release]).collect();
    now.hosts.values().filter_map(|host| host.current.as_ref()).any(|current| !known.contains(&current))
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
