//! What hosts say, brought to the rollouts that they are part of.

use roadstead_model::{AppName, Fence, HostFacts, HostId, OrderOutcome, ReleaseId, Report, RolloutId};
use roadstead_rollout::{Event, Verb};
use std::collections::BTreeSet;

use super::{Loop, Remembered};
use crate::NewEvent;
use crate::sessions::Epoch;

/// Apps of one host, whatever its reports name.
const APPS_MAX: usize = 256;

impl Loop {
    fn rollouts_of(&self, host: &HostId) -> Vec<RolloutId> {
        self.running.iter().filter(|(_, r)| r.state().hosts.contains_key(host)).map(|(id, _)| *id).collect()
    }

    /// A session opened: every rollout of the host learns where it stands, and the host gets what is outstanding.
    pub(super) fn hello(&mut self, host: &HostId, epoch: Epoch, facts: HostFacts, remembered: &Remembered) {
        if self.parts.sessions.epoch(host) != Some(epoch) {
            return;
        }
        self.sent.insert(host.clone(), (epoch, BTreeSet::new()));
        let now = self.parts.clock.now();
        let text = format!("{} connected: agent {}, {}", facts.host_name, facts.agent_version, facts.operating_system);
        self.work.changes.events.push(NewEvent::new(now, format!("host:{host}"), "host-connected", format!("host:{host}"), text));
        self.work.changes.seen.push((host.clone(), now));
        if let Some(text) = self.facts.get(host).and_then(|known| remembers_less(known, &facts)) {
            tracing::warn!(%host, "{text}");
            self.work.changes.events.push(NewEvent::new(now, format!("host:{host}"), "host-restored", format!("host:{host}"), text));
        }
        let changed = self.facts.get(host).is_none_or(|known| known.boot_id != facts.boot_id || known.agent_version != facts.agent_version);
        if changed {
            self.tries.forget_host(host);
            self.drifts.forget_host(host);
        }
        let is_another = self.facts.get(host).is_none_or(|known| known.agent_version != facts.agent_version);
        self.note_drift(host, &facts);
        self.busy.hello(host, &facts, &remembered.outcomes);
        self.work.changes.facts.push((host.clone(), facts.clone()));
        self.facts.insert(host.clone(), facts);
        for rollout in self.rollouts_of(host) {
            let current = self.current_of(host, rollout);
            let (outcomes, steps) = (remembered.outcomes.clone(), remembered.steps.clone());
            self.decide(rollout, Event::HostSeen { host: host.clone(), current, outcomes, steps });
            // Even when nothing changed, the new session has no orders yet.
            self.work.lightly.insert(rollout);
        }
        self.traffic_hello(host);
        self.lease_hello(host, is_another);
        self.work.look_for_level = true;
    }

    fn current_of(&self, host: &HostId, rollout: RolloutId) -> Option<ReleaseId> {
        let app = &self.running.get(&rollout)?.state().plan.app;
        self.facts.get(host)?.apps.get(app)?.current.clone()
    }

    /// A session closed.
    pub(super) fn gone(&mut self, host: &HostId) {
        if self.parts.sessions.is_open(host) {
            return;
        }
        let now = self.parts.clock.now();
        self.sent.remove(host);
        self.work.changes.seen.push((host.clone(), now));
        self.work.changes.events.push(NewEvent::new(now, format!("host:{host}"), "host-gone", format!("host:{host}"), "the session ended"));
        for rollout in self.rollouts_of(host) {
            self.decide(rollout, Event::HostGone { host: host.clone() });
        }
        self.traffic_gone(host, false);
    }

    /// Facts changed within a session.
    pub(super) fn take_facts(&mut self, host: &HostId, facts: HostFacts) {
        let serving = |facts: &HostFacts| -> Vec<_> {
            facts.apps.iter().map(|(app, state)| (app.clone(), state.current.clone(), state.unconfirmed, state.listed.clone())).collect()
        };
        // Reports have told what rollouts did. This is of an earlier one, or of nobody's: what was believed may not hold any more.
        let changed = self.facts.get(host).is_none_or(|known| serving(known) != serving(&facts));
        self.work.look_for_level |= self.note_drift(host, &facts);
        self.work.changes.facts.push((host.clone(), facts.clone()));
        self.facts.insert(host.clone(), facts);
        if changed {
            self.shares.has_changed = true;
            self.work.look_for_level = true;
            for rollout in self.rollouts_of(host) {
                let current = self.current_of(host, rollout);
                self.decide(rollout, Event::HostSeen { host: host.clone(), current, outcomes: Vec::new(), steps: Vec::new() });
            }
        }
    }

    /// A report: to its rollout, and acknowledged once that is durable.
    pub(super) fn report(&mut self, host: &HostId, epoch: Epoch, sequence: u64, report: Report) {
        self.work.acknowledge.push((host.clone(), epoch, sequence));
        let rollout = match &report {
            Report::Step(step) => step.key.rollout,
            Report::Order { key, .. } | Report::Refused { key, .. } | Report::WentBack { key, .. } => key.rollout,
        };
        match &report {
            Report::Order { key, .. } | Report::WentBack { key, .. } => self.busy.ended(host, *key),
            Report::Refused { key, .. } => self.busy.refused(host, *key),
            Report::Step(_) => {}
        }
        self.learn(host, rollout, &report);
        let is_part = self.running.get(&rollout).is_some_and(|r| r.state().hosts.contains_key(host));
        if is_part {
            self.decide(rollout, Event::Report { host: host.clone(), report });
        } else if let Report::WentBack { why, .. } = report {
            let text = format!("went back by itself: {}", why.summary);
            let event =
                NewEvent::new(self.parts.clock.now(), format!("host:{host}"), "host-went-back", format!("host:{host}"), text).of(rollout);
            // What serves now is among the facts that follow: this may be the answer to an old order that came once more.
            self.work.changes.events.push(event);
        }
    }

    /// What a report says about the releases on the host.
    fn learn(&mut self, host: &HostId, rollout: RolloutId, report: &Report) {
        let current = match report {
            Report::Order { outcome, .. } => match outcome {
                OrderOutcome::Done { current } | OrderOutcome::Failed { current, .. } => current,
                OrderOutcome::Stuck { current: current @ Some(_), .. } => current,
                OrderOutcome::Stuck { current: None, .. } => return,
            },
            Report::WentBack { current, .. } => current,
            Report::Step(_) | Report::Refused { .. } => return,
        };
        let Some(app) = self.running.get(&rollout).map(|running| running.state().plan.app.clone()) else { return };
        let Some(facts) = self.facts.get_mut(host) else { return };
        if facts.apps.len() >= APPS_MAX && !facts.apps.contains_key(&app) {
            return;
        }
        let state = facts.apps.entry(app).or_default();
        let known = state.clone();
        // What was seen before the order holds no more: the host looks again.
        state.drift = None;
        state.unconfirmed = waits_for_confirmation(report).unwrap_or(state.unconfirmed);
        if state.current != *current {
            let before = std::mem::replace(&mut state.current, current.clone());
            state.listed = None;
            state.previous = before;
            if let Some(release) = current.as_ref().filter(|r| !state.releases.contains(r)) {
                state.releases.push(release.clone());
            }
        }
        if *state != known {
            self.work.changes.facts.push((host.clone(), facts.clone()));
        }
    }

    /// A host was cut off for good.
    pub(super) fn revoked(&mut self, host: &HostId) {
        self.parts.sessions.cut(host);
        for rollout in self.rollouts_of(host) {
            self.decide(rollout, Event::HostRevoked { host: host.clone() });
        }
        self.traffic_gone(host, true);
        self.lease_revoked(host);
        self.facts.remove(host);
        self.drifts.revoked(host);
        self.busy.forget(host);
        self.ahead.remove(host);
        // What only one host runs finds another.
        self.work.look_for_level = true;
    }
}

/// What to say of a host that has not heard what it had heard before: its disk is of another day.
fn remembers_less(known: &HostFacts, facts: &HostFacts) -> Option<String> {
    let heard = |facts: &HostFacts, app: &AppName| facts.apps.get(app).and_then(|state| state.highest);
    let (had, has) = known.apps.keys().map(|app| (heard(known, app), heard(facts, app))).find(|(had, has)| has < had)?;
    let told = |fence: Option<Fence>| fence.map_or_else(|| "nothing".to_owned(), |fence| fence.rollout.to_string());
    Some(format!("{} has heard of {}, and had heard of {} before: its disk was restored", facts.host_name, told(has), told(had)))
}

/// Whether the host waits for a confirmation after what it reports; `None` when that has nothing to do with it.
const fn waits_for_confirmation(report: &Report) -> Option<bool> {
    match report {
        Report::Order { key, outcome } => match Verb::of(*key) {
            Some(Verb::Activate) => Some(matches!(outcome, OrderOutcome::Done { .. })),
            Some(Verb::Confirm | Verb::Revert | Verb::Start | Verb::Halt) => Some(false),
            Some(Verb::Prepare | Verb::Migrate | Verb::Abandon | Verb::Tend | Verb::Survey | Verb::Restore | Verb::Exchange) | None => None,
        },
        Report::WentBack { .. } => Some(false),
        Report::Step(_) | Report::Refused { .. } => None,
    }
}
