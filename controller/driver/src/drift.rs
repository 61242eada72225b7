//! Hosts that were changed behind the product's back: told in the history when that changes, and brought level again where that is wanted.
//!
//! A repair is a rollout that brings a host level, to the release that it serves already. It is begun when the environment's policy says
//! so or an operator asks for it, after longer and longer pauses while it does not help, and at last not any more.

use roadstead_model::{
    AppName, Differs, Drift, DriftFinding, DriftPart, DriftPolicy, EnvironmentSpec, HostFacts, HostId, ReleaseId, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

use super::Loop;
use super::tries::{Goal, Tries};
use crate::{LedgerError, NewEvent};

/// Repairs of one host that did not help before nobody tries again by himself.
const REPAIRS_MAX: u32 = 3;

/// What somebody wants repaired.
#[derive(Debug)]
pub struct Repair {
    /// Which host.
    pub host: HostId,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// A difference, whatever there is instead.
type Told = BTreeSet<(DriftPart, Differs, String)>;

/// What is known of hosts that differ.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    /// What the history says of a host's app; empty: it is level.
    told: BTreeMap<(HostId, AppName), Told>,
    /// Repairs that were begun since a host was level last.
    tries: Tries,
    /// Repairs that operators wait for, with who and why.
    asked: BTreeMap<(HostId, AppName), (String, String)>,
    /// Repairs that were given up, and that this was told.
    given_up: BTreeSet<Goal>,
}

impl Drifts {
    /// Whether any host differs.
    pub(super) fn is_any(&self) -> bool {
        self.told.values().any(|told| !told.is_empty())
    }

    /// When the next pause between two repairs is over.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.tries.next()
    }

    /// Whether a pause is over that was not over when this was asked last.
    pub(super) fn are_due(&mut self, now: Timestamp) -> bool {
        self.tries.are_due(now)
    }

    /// The host is another one than the one that could not be repaired, or is no more.
    pub(super) fn forget_host(&mut self, host: &HostId) {
        self.tries.forget_host(host);
        self.given_up.retain(|(known, _, _)| known != host);
    }

    /// Nobody waits for anything of a host that was cut off.
    pub(super) fn revoked(&mut self, host: &HostId) {
        self.forget_host(host);
        self.told.retain(|(known, _), _| known != host);
        self.asked.retain(|(known, _), _| known != host);
    }

    /// What the history is to say of what a host says: nothing when it has said so before.
    fn take(&mut self, host: &HostId, app: &AppName, drift: &Drift) -> Option<(&'static str, String)> {
        let wrong = |finding: &&DriftFinding| finding.how != Differs::Own;
        let now: Told = drift.findings.iter().filter(wrong).map(|f| (f.part, f.how, f.place.clone())).collect();
        let before = self.told.insert((host.clone(), app.clone()), now.clone()).unwrap_or_default();
        if now.is_empty() {
            self.tries.forget_app(host, app);
            self.given_up.retain(|(known, of, _)| known != host || of != app);
            return (!before.is_empty()).then(|| ("host-level-again", format!("{app} is as it was deployed")));
        }
        // What is gone while the rest stays is no event.
        (!now.is_subset(&before)).then(|| ("host-drifted", format!("{app}: {}", drift.summary())))
    }
}

impl Loop {
    /// What hosts said before this start is in the history already.
    pub(super) fn recall_drifts(&mut self) {
        let facts = std::mem::take(&mut self.facts);
        for (host, facts) in &facts {
            for (app, drift) in facts.apps.iter().filter_map(|(app, state)| Some((app, state.drift.as_ref()?))) {
                drop(self.drifts.take(host, app, drift));
            }
        }
        self.facts = facts;
    }

    /// Takes in what a host says of its apps; whether some differ, or differ no more.
    pub(super) fn note_drift(&mut self, host: &HostId, facts: &HostFacts) -> bool {
        let mut news = false;
        for (app, drift) in facts.apps.iter().filter_map(|(app, state)| Some((app, state.drift.as_ref()?))) {
            let known = self.app_state(host, app).and_then(|state| state.drift.as_ref());
            news |= known != Some(drift);
            if let Some((kind, text)) = self.drifts.take(host, app, drift) {
                let text = format!("{}: {text}", facts.host_name);
                let subject = format!("host:{host}");
                self.work.changes.events.push(NewEvent::new(self.parts.clock.now(), subject.clone(), kind, subject, text));
            }
        }
        news
    }

    /// Whether a host is to be repaired now: it differs, somebody wants that changed, and it is not too early for another attempt. In a
    /// locked environment somebody may be at work on the host: there nothing is repaired that no operator asks for.
    pub(super) fn is_to_repair(&self, host: &HostId, spec: &EnvironmentSpec, target: &ReleaseId, is_locked: bool, now: Timestamp) -> bool {
        let goal = (host.clone(), spec.app.clone(), target.clone());
        if self.drifts.asked.contains_key(&(host.clone(), spec.app.clone())) {
            return true;
        }
        spec.drift == DriftPolicy::Repair
            && !is_locked
            && self.differs(host, &spec.app, target)
            && self.drifts.tries.count(&goal) < REPAIRS_MAX
            && !self.drifts.tries.pauses(&goal, now)
    }

    fn differs(&self, host: &HostId, app: &AppName, target: &ReleaseId) -> bool {
        let state = self.app_state(host, app);
        state.is_some_and(|state| state.current.as_ref() == Some(target) && state.drift.as_ref().is_some_and(|drift| !drift.is_level()))
    }

    /// A rollout to repair a host begins; who wanted it and why, when it was an operator.
    pub(super) fn begin_repair(&mut self, host: &HostId, app: &AppName, target: &ReleaseId, now: Timestamp) -> Option<(String, String)> {
        self.drifts.tries.failed((host.clone(), app.clone(), target.clone()), now);
        self.drifts.asked.remove(&(host.clone(), app.clone()))
    }

    /// Says once that repairs of a host do not help.
    pub(super) fn note_given_up(&mut self, host: &HostId, spec: &EnvironmentSpec, target: &ReleaseId, now: Timestamp) {
        let goal = (host.clone(), spec.app.clone(), target.clone());
        let over = spec.drift == DriftPolicy::Repair
            && self.differs(host, &spec.app, target)
            && self.drifts.tries.count(&goal) >= REPAIRS_MAX
            && !self.drifts.tries.pauses(&goal, now);
        if over && self.drifts.given_up.insert(goal) {
            let facts = self.facts.get(host);
            let name = facts.map(|facts| facts.host_name.to_string()).unwrap_or_default();
            let drift = facts.and_then(|facts| facts.apps.get(&spec.app)?.drift.as_ref()).map(Drift::summary).unwrap_or_default();
            let text = format!(
                "{name}: {} still differs after {REPAIRS_MAX} repairs, and is not repaired by itself any more: {drift}; put it right by hand, or try again with `roadstead host repair`",
                spec.app
            );
            let event = NewEvent::new(self.parts.clock.now(), "controller", "host-not-repaired", format!("host:{host}"), text);
            self.work.changes.events.push(event);
        }
    }

    /// An operator wants a host repaired: what it serves of each environment's app that is his, as `APP RELEASE`.
    pub(super) async fn ask_for_repair(&mut self, repair: Repair) -> Result<Vec<String>, LedgerError> {
        let Repair { host, reason, by } = repair;
        let mut begun = Vec::new();
        for environment in self.parts.ledger.environments().await? {
            let (spec, app) = (&environment.spec, environment.spec.app.clone());
            let mine = self.candidates(spec).await?.iter().any(|known| known.id == host);
            let Some(release) = self.current(&environment).await?.filter(|current| mine && current.release.bad.is_empty()) else {
                continue;
            };
            self.drifts.asked.insert((host.clone(), app.clone()), (by.clone(), reason.clone()));
            self.tries.forget_app(&host, &app);
            self.drifts.tries.forget_app(&host, &app);
            self.drifts.given_up.retain(|(known, of, _)| *known != host || *of != app);
            begun.push(format!("{app} {}", release.id()));
        }
        if !begun.is_empty() {
            let name = self.facts.get(&host).map(|facts| facts.host_name.to_string()).unwrap_or_default();
            let text = format!("{name}: {}: {reason}", begun.join(", "));
            let event = NewEvent::new(self.parts.clock.now(), by, "host-repair-asked", format!("host:{host}"), text);
            self.work.changes.events.push(event);
            self.work.look_for_level = true;
        }
        Ok(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn drift(places: &[&str]) -> Drift {
        Drift::of(places.iter().map(|place| DriftFinding::new(DriftPart::Tree, Differs::Changed, place, "")).collect())
    }

    #[test]
    fn the_history_says_each_change_once() {
        let (mut drifts, host, app) = (Drifts::default(), samples::host_id(1), samples::app());
        let mut said = |drift: &Drift| drifts.take(&host, &app, drift).map(|(kind, _)| kind);
        assert_eq!(said(&drift(&[])), None, "it was never otherwise");
        assert_eq!(said(&drift(&["a", "b"])), Some("host-drifted"));
        assert_eq!(said(&drift(&["a", "b"])), None);
        assert_eq!(said(&drift(&["a"])), None, "what is gone while the rest stays is no event");
        assert_eq!(said(&drift(&["a", "c"])), Some("host-drifted"));
        let own = Drift::of(vec![DriftFinding::new(DriftPart::Unit, Differs::Own, "override.conf", "")]);
        assert_eq!(said(&own), Some("host-level-again"));
        assert_eq!(said(&own), None);
    }
}
