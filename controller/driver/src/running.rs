//! One unfinished rollout in memory: what is saved of it, and deciding about it.

use roadstead_model::{AppName, EnvironmentName, HostId, ReleaseRef, RolloutId, Timestamp};
use roadstead_rollout::{Event, Exchange, Note, Outcome, Plan, Rejected, RolloutKind, Stage, State, decide};
use std::sync::Arc;

use super::{Loop, Work};
use crate::{EnvironmentRecord, LedgerError, NewEvent, RolloutRecord, Runs, Serving};

/// Rollouts of an environment among which the one that brought a release is looked for.
const EARLIER_MAX: u32 = 200;

/// One unfinished rollout.
#[derive(Debug)]
pub(super) struct Running(Arc<RolloutRecord>);

impl Running {
    pub(super) fn new(record: RolloutRecord) -> Self {
        Self(Arc::new(record))
    }

    pub(super) fn state(&self) -> &State {
        &self.0.state
    }

    pub(super) fn record(&self) -> &RolloutRecord {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<RolloutRecord> {
        Arc::clone(&self.0)
    }

    fn set(&mut self, state: State) {
        Arc::make_mut(&mut self.0).state = state;
    }
}

impl Loop {
    /// Decides what an event does to a rollout, and notes what is to be saved. What does not fit changes nothing.
    pub(super) fn decide(&mut self, rollout: RolloutId, event: Event) {
        if let Err(rejected) = self.try_decide(rollout, event) {
            tracing::warn!(%rollout, why = %rejected, "an event does not fit the rollout");
        }
    }

    /// As [`Self::decide`]. Deadlines go by the clock that does not jump, the history by the one that people read.
    pub(super) fn try_decide(&mut self, rollout: RolloutId, event: Event) -> Result<(), Rejected> {
        let (now, steady) = (self.parts.clock.now(), self.parts.clock.steady());
        let Some(running) = self.running.get_mut(&rollout) else { return Ok(()) };
        let (is_progress, is_balancer) = (is_progress(&event), matches!(event, Event::BalancerSeen { .. }));
        let decision = decide(running.state(), event, steady)?;
        if decision.state == *running.state() {
            return Ok(());
        }
        let notes = decision.notes;
        // What is only seen of the traffic need not survive; what follows from it does.
        let lightly = is_progress || (is_balancer && decision.state.hosts == running.state().hosts);
        running.set(decision.state);
        let touched = if lightly && notes.is_empty() { &mut self.work.lightly } else { &mut self.work.touched };
        touched.insert(rollout);
        let record = running.shared();
        self.work.changes.events.extend(notes.into_iter().map(|note| told(&record.state, note, now)));
        Ok(())
    }

    /// Adds the touched rollouts to what is to be saved, and says which of them have ended.
    pub(super) async fn collect(&self, work: &mut Work) -> Vec<RolloutId> {
        let mut ended = Vec::new();
        for rollout in work.touched.iter().copied().collect::<Vec<_>>() {
            let Some(running) = self.running.get(&rollout) else { continue };
            let begins = work.changes.started.iter().any(|r| r.state.plan.rollout == rollout);
            if begins {
                work.changes.started.retain(|r| r.state.plan.rollout != rollout);
                work.changes.started.push(running.shared());
            } else {
                work.changes.moved.push(running.shared());
            }
            if running.state().outcome().is_some() {
                ended.push(rollout);
                if let Err(error) = self.conclude(running.state(), work).await {
                    tracing::error!(%rollout, %error, "the end of a rollout is not fully noted");
                }
            }
        }
        ended
    }

    /// What the end of a rollout means for its environment and its release.
    async fn conclude(&self, state: &State, work: &mut Work) -> Result<(), LedgerError> {
        let plan = &state.plan;
        match state.outcome() {
            // Where nobody knows which database is in its place, nobody is brought level with anything.
            Some(_) if state.recovery.exchange == Exchange::Unknown => {
                let (environment, app) = (plan.environment.clone(), plan.app.clone());
                work.changes.serving.push(Serving { environment, app, current: None, previous: None, set: None });
            }
            Some(_) if took_place(state) => {
                let previous = self.good_before(state).await?;
                work.changes.serving.push(Serving {
                    environment: plan.environment.clone(),
                    app: plan.app.clone(),
                    current: Some(Runs::by(plan)),
                    previous,
                    set: switch_of(plan).map(|switch| switch.set.clone()),
                });
            }
            Some(Outcome::RolledBack | Outcome::Failed) if state.condemn && !self.runs_somewhere(plan).await? => {
                let why = state.failure.as_ref().map_or("it went back", |failure| failure.summary.as_str());
                work.changes.bad.push((plan.release.manifest, crate::printable(why)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether some environment runs the release: then it is this one, or what it says to the app, that the release does not go with.
    pub(super) async fn runs_somewhere(&self, plan: &Plan) -> Result<bool, LedgerError> {
        let runs = |known: &EnvironmentRecord| known.current.as_ref().is_some_and(|runs| runs.release.manifest == plan.release.manifest);
        Ok(self.parts.ledger.environments().await?.iter().any(|known| known.spec.app == plan.app && runs(known)))
    }

    /// The good release before the one that serves now. After a rollback it is the one before that, not the one that was left.
    async fn good_before(&self, state: &State) -> Result<Option<Runs>, LedgerError> {
        let plan = &state.plan;
        if !matches!(plan.kind, RolloutKind::Rollback | RolloutKind::Restore) {
            let unchanged = plan.previous.as_ref() == Some(&plan.release);
            if unchanged {
                let environment = self.parts.ledger.environment(&plan.environment, &plan.app).await?;
                return Ok(environment.and_then(|e| e.previous));
            }
            return self.ran(plan).await;
        }
        let brought = self.brought(&plan.environment, &plan.app, &plan.release).await?;
        // One that was brought where it ran already says nothing of what was before it.
        match brought {
            Some(state) if state.plan.previous.as_ref() != Some(&plan.release) => self.ran(&state.plan).await,
            _ => Ok(None),
        }
    }

    /// What ran before a rollout, with what it was told then.
    async fn ran(&self, plan: &Plan) -> Result<Option<Runs>, LedgerError> {
        let Some(previous) = &plan.previous else { return Ok(None) };
        let environment = self.parts.ledger.environment(&plan.environment, &plan.app).await?;
        if let Some(runs) = environment.and_then(|known| known.current).filter(|current| current.release == *previous) {
            return Ok(Some(runs));
        }
        let brought = self.brought(&plan.environment, &plan.app, previous).await?;
        let configuration = match brought {
            Some(state) => state.plan.configuration,
            // It is too long ago; what its id names is what it was told.
            None => match previous.id.configuration() {
                Some(id) => {
                    let found = self.parts.ledger.configuration_named(&plan.environment, &plan.app, &id).await?;
                    found.map_or(0, |found| found.version)
                }
                None => 0,
            },
        };
        Ok(Some(Runs { release: previous.clone(), configuration }))
    }

    /// The newest rollout that brought a release to an environment and ended well.
    pub(super) async fn brought(
        &self,
        environment: &EnvironmentName,
        app: &AppName,
        release: &ReleaseRef,
    ) -> Result<Option<State>, LedgerError> {
        Ok(self.earlier(environment, app).await?.into_iter().find(|state| {
            let plan = &state.plan;
            plan.kind == RolloutKind::Rollout && plan.release == *release && state.outcome() == Some(Outcome::Done)
        }))
    }

    /// The newest rollouts that somebody asked for, newest first. Those of a removed environment of the same name say nothing of this one,
    /// nor of its database.
    pub(super) async fn earlier(&self, environment: &EnvironmentName, app: &AppName) -> Result<Vec<State>, LedgerError> {
        let removed = self.parts.ledger.removed_up_to(environment, app).await?;
        let earlier = self.parts.ledger.asked_for(environment, EARLIER_MAX).await?;
        let here = |state: &State| state.plan.app == *app && state.plan.rollout > removed;
        Ok(earlier.into_iter().map(|record| record.state).filter(here).collect())
    }
}

/// Whether a rollout ended with its release in the place of what the environment ran. A restore that only looked did not, nor one that brought
/// hosts level.
pub(super) fn took_place(state: &State) -> bool {
    let done = state.outcome() == Some(Outcome::Done);
    done && !matches!(state.plan.kind, RolloutKind::Level | RolloutKind::Restore | RolloutKind::Tend) || went_back(state)
}

/// Whether a rollback brought some hosts back, though not all. What was wanted stays wanted: nobody is brought level with what was left.
/// Where the traffic is switched from one set of hosts to another, nothing has gone back until that was done.
/// Where a database was restored, the release that belongs to it is wanted, whether it serves already or not.
pub(super) fn went_back(state: &State) -> bool {
    if state.recovery.exchange == Exchange::Done {
        return true;
    }
    let is_switched = switch_of(&state.plan).is_some() && state.outcome() != Some(Outcome::Done);
    state.plan.kind == RolloutKind::Rollback && !is_switched && state.hosts.values().any(|host| host.stage == Stage::Confirmed)
}

/// From whom the hosts of a plan get the traffic all at once.
fn switch_of(plan: &roadstead_rollout::Plan) -> Option<&roadstead_rollout::Switch> {
    plan.traffic.as_ref()?.switch.as_ref()
}

/// Events whose only trace is what a host does right now.
fn is_progress(event: &Event) -> bool {
    use roadstead_model::{Report, StepState};
    matches!(event, Event::Report { report: Report::Step(step), .. } if matches!(step.state, StepState::Started | StepState::Progress { .. }))
}

/// A note of the core as a line of the history.
fn told(state: &State, note: Note, now: Timestamp) -> NewEvent {
    let rollout = state.plan.rollout;
    let name = |id: &HostId| state.plan.hosts.get(id).map_or_else(|| id.to_string(), |host| host.name.to_string());
    let (actor, subject, text) = match &note.host {
        Some(id) => (format!("host:{id}"), format!("host:{id}"), format!("{}: {}", name(id), note.text)),
        None => ("controller".to_owned(), rollout.to_string(), note.text),
    };
    NewEvent::new(now, actor, note.kind, subject, text).of(rollout)
}

/// Whether a host ended the rollout in a way that bringing it level at once would only repeat.
pub(super) const fn not_again(stage: Stage) -> bool {
    matches!(stage, Stage::Failed | Stage::Stuck | Stage::Abandoned | Stage::Reverted)
}
