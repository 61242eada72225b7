//! Looking at the gates of rollouts that wait: the time, the lock of the environment, what another environment had first, and whether
//! another rollout has its turn.

use roadstead_model::{After, AppName, Digest, EnvironmentName, HostId, RolloutId, Timestamp};
use roadstead_rollout::{Closed, Contact, Contracts, Currents, Event, Phase, Plan, State};

use super::running::took_place;
use super::{Loop, windows};
use crate::{EnvironmentRecord, HostRecord, LedgerError, Refused};

/// Gates are looked at so often while nobody says that something has changed.
const LOOK_EVERY: roadstead_model::Millis = roadstead_model::Millis::from_secs(10);

/// Somebody keeps the rollouts of others out of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRecord {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// When gates were looked at last, and whether that is to be done again at once.
#[derive(Debug, Default)]
pub(super) struct Looked {
    at: Timestamp,
    again: bool,
}

impl Looked {
    /// Something has changed that gates depend on.
    pub(super) fn again(&mut self) {
        self.again = true;
    }
}

impl Loop {
    /// Looks at the gates of every rollout that waits at them.
    pub(super) async fn look_at_gates(&mut self) {
        let now = self.parts.clock.steady();
        if !self.looked.again && now < self.looked.at.plus(LOOK_EVERY) {
            return;
        }
        self.looked = Looked { at: now, again: false };
        let waits = |(id, running): (&RolloutId, &super::Running)| matches!(running.state().phase, Phase::Gated { .. }).then_some(*id);
        let waiting: Vec<RolloutId> = self.running.iter().filter_map(waits).collect();
        for rollout in waiting {
            if let Err(error) = self.look_at_gates_of(rollout).await {
                tracing::error!(%rollout, %error, "its gates were not looked at");
            }
        }
    }

    async fn look_at_gates_of(&mut self, rollout: RolloutId) -> Result<(), LedgerError> {
        let Some(running) = self.running.get(&rollout) else { return Ok(()) };
        let (plan, requested_by) = (running.state().plan.clone(), running.state().requested_by.clone());
        let approved = running.state().is_approved();
        let mut closed = self.closed(&plan, &requested_by).await?;
        // Others have their turn until all that people and the clock decide is decided.
        if let Some(other) = self.unfinished(&plan.environment, &plan.app) {
            if closed.is_empty() && approved {
                self.decide(other, Event::GiveWay { by: requested_by });
            }
            closed.push(Closed { why: format!("{other} has not ended"), way: "it gives way when the other gates are open".to_owned() });
        }
        let currents = if closed.is_empty() && approved { self.currents(&plan).await? } else { Currents::new() };
        self.decide(rollout, Event::GatesSeen { closed, currents });
        Ok(())
    }

    /// What a rollout that somebody asked for would wait for now, its approvals first.
    pub(super) async fn gates_ahead(&self, plan: &Plan, by: &str) -> Result<Vec<Closed>, LedgerError> {
        let mut state = State::gated(plan.clone(), self.parts.clock.steady(), |_| Contact::AtRest);
        by.clone_into(&mut state.requested_by);
        let mut all = roadstead_rollout::closed(&state);
        all.extend(self.closed(plan, by).await?);
        Ok(all)
    }

    /// Gates that are closed now, beside approvals: the time, a lock, another environment.
    async fn closed(&self, plan: &Plan, requested_by: &str) -> Result<Vec<Closed>, LedgerError> {
        let now = self.parts.clock.now();
        let mut closed: Vec<Closed> = windows::closed(&plan.gates, now).into_iter().collect();
        if let Some(lock) = self.parts.ledger.lock(&plan.environment, &plan.app).await? {
            closed.extend(locked(&lock, plan, requested_by, now));
        }
        if let Some(after) = &plan.gates.after {
            closed.extend(self.after(plan, after).await?);
        }
        if let Some(contracts) = &plan.contracts {
            closed.extend(self.contracts(plan, contracts).await?);
        }
        Ok(closed)
    }

    /// What the hosts of a plan serve now.
    async fn currents(&self, plan: &Plan) -> Result<Currents, LedgerError> {
        let mut currents = Currents::new();
        for id in plan.hosts.keys() {
            currents.insert(id.clone(), self.serves(id, &plan.app).await?);
        }
        Ok(currents)
    }

    /// Whether the release is well for long enough where it has to be first.
    async fn after(&self, plan: &Plan, rule: &After) -> Result<Option<Closed>, LedgerError> {
        let (first, release) = (&rule.environment, plan.release.id.bare());
        let way = format!("roadstead deploy {first} {release}");
        let known = self.parts.ledger.environment(first, &plan.app).await?;
        // Each environment has a configuration of its own.
        let runs = known.and_then(|known| known.current).map(|current| current.release.manifest);
        if runs != Some(plan.release.manifest) {
            return Ok(Some(Closed { why: format!("{first} does not run {release}"), way }));
        }
        let Some(since) = self.well_since(first, &plan.app, &plan.release.manifest).await? else {
            return Ok(Some(Closed { why: format!("nobody knows since when {first} runs {release}"), way }));
        };
        let open_at = since.plus(rule.healthy_for);
        Ok((self.parts.clock.steady() < open_at).then(|| Closed {
            why: format!("{release} has to be well in {first} for {}", rule.healthy_for),
            way: format!("it opens by itself on {}", windows::shown(open_at)),
        }))
    }
}

impl Loop {
    /// Since when an environment runs a release, by the rollouts that brought it.
    async fn well_since(&self, environment: &EnvironmentName, app: &AppName, release: &Digest) -> Result<Option<Timestamp>, LedgerError> {
        let earlier = self.earlier(environment, app).await?;
        let done = earlier.iter().filter(|state| took_place(state));
        // Deployed again, it has been well since the first time.
        let ends = done.take_while(|state| state.plan.release.manifest == *release).filter_map(|state| match state.phase {
            Phase::Ended { at, .. } => Some(at),
            _ => None,
        });
        Ok(ends.last())
    }

    /// What refuses a rollout whose migrations take away what earlier releases need: a host that serves something else than what the
    /// environment runs, or may go back by itself. It does not wait for that at a gate: hosts come level while no rollout waits.
    pub(super) async fn behind(&self, plan: &Plan, environment: &EnvironmentRecord) -> Result<Option<Refused>, LedgerError> {
        let (Some(contracts), Some(current)) = (&plan.contracts, &environment.current) else { return Ok(None) };
        let hosts = self.candidates(&environment.spec).await?;
        let (runs, comes) = (current.release.id.bare(), plan.release.id.bare());
        let idle = self.idle(environment, &hosts);
        let state = |host: &HostId| self.app_state(host, &plan.app);
        let older = |host: &&HostRecord| {
            let serves = state(&host.id).and_then(|state| Some((state.current.as_ref()?.bare(), state.unconfirmed)));
            !idle.contains(&host.id) && serves.is_some_and(|(id, unconfirmed)| id != comes && (id != runs || unconfirmed))
        };
        let told = |host: &HostRecord| Refused::NotEverywhere {
            migration: named(&contracts.migrations),
            host: host.name.clone(),
            runs: runs.clone(),
        };
        Ok(hosts.iter().find(older).map(told))
    }

    /// Whether anybody may still want to go back behind what migrations take away: what the environment runs is too new.
    async fn contracts(&self, plan: &Plan, contracts: &Contracts) -> Result<Option<Closed>, LedgerError> {
        let Some(known) = self.parts.ledger.environment(&plan.environment, &plan.app).await? else { return Ok(None) };
        let Some(current) = known.current else { return Ok(None) };
        let (runs, what) = (current.release.id.bare(), named(&contracts.migrations));
        let since = self.well_since(&plan.environment, &plan.app, &current.release.manifest).await?;
        let Some(since) = since else { return Ok(None) };
        let open_at = since.plus(contracts.after);
        Ok((self.parts.clock.steady() < open_at).then(|| Closed {
            why: format!("{what} takes away what earlier releases need, and {runs} has not served everywhere for {}", contracts.after),
            way: format!(
                "it opens by itself on {}; who knows that nobody goes back any more: abort it, and deploy with --despite-schema",
                windows::shown(open_at)
            ),
        }))
    }
}

/// Migrations by name, the first of them.
fn named(migrations: &[String]) -> String {
    match migrations {
        [] => "a migration".to_owned(),
        [one] => one.clone(),
        [one, more @ ..] => format!("{one} (and {} more)", more.len()),
    }
}

/// A lock keeps out the rollouts of everybody but its owner, until it expires.
pub(crate) fn locked(lock: &LockRecord, plan: &Plan, requested_by: &str, now: Timestamp) -> Option<Closed> {
    (now < lock.until && lock.by != requested_by).then(|| Closed {
        why: format!("{} is locked by {}: {}", plan.environment, lock.by, lock.reason),
        way: format!("it opens by itself on {}, or by roadstead unlock {}", windows::shown(lock.until), plan.environment),
    })
}
