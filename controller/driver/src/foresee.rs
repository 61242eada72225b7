//! What a rollout would be, before it is: drawn by the very code that begins one. Nothing follows from asking, no number is used up
//! and no home is taken; only the newest answers stay in memory, so that it can be told what has changed since.

use roadstead_model::{
    AppName, Digest, DigestStart, EnvironmentName, EnvironmentSpec, Gates, HostFacts, HostId, Key, Millis, OnFailure, ReleaseId, RolloutId,
    ServiceName, Strategy,
};
use roadstead_rollout::{Closed, Plan, RolloutKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::configuration::{labels_of, told, unfit};
use super::parked;
use super::planning::{all_have, migrates};
use super::sets::Sides;
use super::traffic::behind;
use super::{Driver, Event, Loop};
use crate::{Configured, EnvironmentRecord, HostRecord, LedgerError, Refused, ReleaseRecord};

/// Plans that are remembered, and hosts of all of them together.
const PLANS_MAX: usize = 32;
const HOSTS_MAX: usize = 20_000;
/// Differences that a refusal tells; the rest is counted.
const TOLD_MAX: usize = 10;

/// A release that may go to an environment.
#[derive(Debug, Clone)]
pub struct Foresee {
    /// Where to.
    pub environment: EnvironmentName,
    /// Which app.
    pub app: AppName,
    /// Which release.
    pub release: ReleaseId,
    /// Who would ask for it.
    pub by: String,
    /// Its migrations that take away what earlier releases need.
    pub contracts: Vec<String>,
}

/// What would become of it now.
#[derive(Debug)]
pub struct Foreseen {
    /// Where it would go.
    pub environment: EnvironmentRecord,
    /// The release that was asked for.
    pub release: ReleaseRecord,
    /// What the environment runs.
    pub current: Option<Configured>,
    /// The plan; none where none can be made, which is an obstacle then.
    pub plan: Option<Plan>,
    /// Values of the environment that the release does not take.
    pub unused: Vec<Key>,
    /// What refuses it, the first reason first. Empty: it could begin now.
    pub obstacles: Vec<Refused>,
    /// What it would wait for at its gates.
    pub gates: Vec<Closed>,
    /// What the hosts of the plan said of themselves.
    pub facts: BTreeMap<HostId, HostFacts>,
    /// Those of them that have no session.
    pub away: BTreeSet<HostId>,
    /// A rollout that brings hosts level, and gives way to one that is asked for.
    pub gives_way: Option<RolloutId>,
}

/// A rollout that has not begun.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) plan: Plan,
    /// Where services come to run that run only once.
    pub(super) homes: BTreeMap<ServiceName, HostId>,
    /// Values of the environment that the release does not take.
    pub(super) unused: Vec<Key>,
}

/// What a release that was asked for by its plan would do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherPlan {
    /// Where it would go.
    pub environment: EnvironmentName,
    /// The release.
    pub release: ReleaseId,
    /// The plan that was asked for.
    pub asked: DigestStart,
    /// The one that there would be now.
    pub now: Digest,
    /// What differs; none where the one that was asked for is not known any more.
    pub differs: Option<Vec<String>>,
}

impl std::fmt::Display for OtherPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, now, differs, .. } = self;
        write!(f, "plan {asked} is not what would happen now, which is plan {}: ", now.short())?;
        let Some(differs) = differs else {
            return f.write_str("the world has changed since it was made, and what it was is not known here any more");
        };
        f.write_str(&differs.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; "))?;
        match differs.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The policy under which somebody goes back: no gate, no canary, no judge, nobody who is asked or drained.
fn without_waiting(spec: EnvironmentSpec) -> EnvironmentSpec {
    let strategy = Strategy { steps: Vec::new(), batch_bake: Millis(0), on_failure: OnFailure::GoBack, ..spec.strategy };
    // Traffic that is switched as a whole has to be.
    let traffic = spec.traffic.filter(|_| strategy.sets.is_some());
    EnvironmentSpec { gates: Gates::default(), strategy, traffic, analysis: None, ..spec }
}

impl Driver {
    /// Asks what a rollout would be. It changes nothing.
    ///
    /// # Errors
    /// [`Refused`] where there is no such environment or release; whatever else stands in the way is in the answer.
    pub async fn foresee(&self, asked: Foresee) -> Result<Foreseen, Refused> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Foresee { asked, answer }).await;
        answered.await.map_err(|_| Refused::Ledger(LedgerError::Stopping))?.map(|foreseen| *foreseen)
    }
}

impl Loop {
    /// Answers what a rollout would be.
    pub(super) async fn foresee(
        &mut self,
        asked: Foresee,
        answer: oneshot::Sender<Result<Box<Foreseen>, Refused>>,
        stopping: &CancellationToken,
    ) {
        // What was decided before is saved first: a plan is drawn from what the database says.
        self.finish_round(stopping).await;
        let foreseen = self.look_ahead(asked).await;
        if let Ok(Foreseen { plan: Some(plan), .. }) = &foreseen {
            self.shown.note(plan.clone());
        }
        drop(answer.send(foreseen.map(Box::new)));
    }

    async fn look_ahead(&self, asked: Foresee) -> Result<Foreseen, Refused> {
        let Foresee { environment, app, release, by, contracts } = asked;
        let known = self.known(&environment, &app).await?;
        let found = self.parts.ledger.release_by_id(&app, &release).await?;
        let configured = self.asked_for(&known, &release, found).await?;
        let hosts = self.candidates(&known.spec).await?;
        let (mut obstacles, mut gives_way) = (Vec::new(), None);
        if let Some(running) = self.unfinished(&environment, &app) {
            match self.running.get(&running).map(|running| running.state().plan.kind) {
                Some(kind) if parked::gives_way(kind) => gives_way = Some(running),
                _ => obstacles.push(Refused::Busy(running, app, environment)),
            }
        }
        if let Some(waiting) = self.at_gates(&known.spec.name, &known.spec.app) {
            obstacles.push(Refused::Waiting(waiting, known.spec.app.clone(), known.spec.name.clone()));
        }
        obstacles.extend(self.obstacles(&configured.release, &hosts));
        let facts = hosts.iter().filter_map(|host| Some((host.id.clone(), self.facts.get(&host.id)?.clone()))).collect();
        let away = hosts.iter().filter(|host| !self.parts.sessions.is_open(&host.id)).map(|host| host.id.clone()).collect();
        let current = self.current(&known).await?;
        let (plan, unused) = match self.draw(&known, &configured, RolloutKind::Rollout, hosts).await {
            Ok(Drawn { plan, unused, .. }) => (Some(plan.contracting(contracts, known.spec.database.contract_after)), unused),
            Err(refused @ (Refused::Plan(_) | Refused::Clash(_))) => {
                obstacles.push(refused);
                (None, Vec::new())
            }
            Err(refused) => return Err(refused),
        };
        if let Some(plan) = &plan {
            obstacles.extend(self.lacking(plan, &configured));
            obstacles.extend(self.behind(plan, &known).await?);
        }
        let gates = match &plan {
            Some(plan) => self.gates_ahead(plan, &by).await?,
            None => Vec::new(),
        };
        Ok(Foreseen { environment: known, release: configured.release, current, plan, unused, obstacles, gates, facts, away, gives_way })
    }

    /// What forbids to bring a release to these hosts, whatever the plan is. A rollout begins only where there is nothing.
    pub(super) fn obstacles(&self, release: &ReleaseRecord, hosts: &[HostRecord]) -> Vec<Refused> {
        let bad = (!release.bad.is_empty()).then(|| Refused::Bad { release: release.id(), why: release.bad.clone() });
        bad.into_iter().chain(self.expect_level(hosts).err()).collect()
    }

    /// The rollout that would begin now. Nothing is changed by drawing it.
    pub(super) async fn draw(
        &self,
        environment: &EnvironmentRecord,
        release: &Configured,
        mut kind: RolloutKind,
        hosts: Vec<HostRecord>,
    ) -> Result<Drawn, Refused> {
        let mut spec = environment.spec.clone();
        let current = self.current(environment).await?;
        let Sides { hosts, switch } = self.sides(environment, release.manifest(), kind, hosts)?;
        // One that has to leave a host of the fleet comes to its new home when this rollout is over.
        let homes = self
            .homes(&spec, release.manifest(), &hosts, &BTreeSet::new())
            .await?
            .settled(|_, old| !hosts.iter().any(|host| host.id == *old) && !self.is_here_by_lease(old, &spec));
        let labels = labels_of(&hosts);
        let place = self.place(environment).await?;
        let mut candidates = Vec::with_capacity(hosts.len());
        for host in hosts {
            candidates.push(self.candidate(&spec.app, release.manifest(), host, &homes, place.as_ref()).await?);
        }
        let mut migrate = migrates(release.manifest(), current.as_ref().map(Configured::manifest));
        if kind == RolloutKind::Rollback && !all_have(&self.facts, &spec.app, &candidates, &release.reference()) {
            // Where a host has no more of the release than its name, it is brought there as any other.
            kind = RolloutKind::Rollout;
            migrate = false;
            // It is in a hurry all the same.
            spec = without_waiting(spec);
        }
        let previous = current.map(|c| c.reference());
        let rollout = RolloutId(self.next_rollout);
        let plan = Plan::new(rollout, kind, &spec, release.reference(), previous, candidates, migrate)?;
        // During a restore nobody is there who could answer: the traffic stays where it is.
        let traffic = spec.traffic.as_ref().filter(|_| kind != RolloutKind::Restore);
        let plan = behind(plan, place.as_ref(), traffic, switch)?;
        if kind == RolloutKind::Rollback {
            // Its hosts have all that they were told.
            let plan = Plan { configuration: release.configuration.version, ..plan };
            return Ok(Drawn { plan, homes, unused: Vec::new() });
        }
        let (plan, unused) = told(plan, release, &labels)?;
        Ok(Drawn { plan, homes, unused })
    }

    /// What of the configuration is not what the release needs.
    pub(super) fn lacking(&self, plan: &Plan, release: &Configured) -> Option<Refused> {
        let here = |host: &HostId| self.facts.get(host).filter(|_| self.parts.sessions.is_open(host));
        let problems = unfit(plan, release.manifest(), here);
        let (environment, app, release) = (plan.environment.clone(), plan.app.clone(), release.id());
        (!problems.is_empty()).then_some(Refused::Lacking { environment, app, release, problems })
    }

    /// The release that somebody asked for: with the newest configuration, or with the one that its id names.
    pub(super) async fn asked_for(
        &self,
        environment: &EnvironmentRecord,
        id: &ReleaseId,
        found: Option<ReleaseRecord>,
    ) -> Result<Configured, Refused> {
        let nowhere = || Refused::NoRelease(id.clone(), environment.spec.app.clone());
        let release = found.ok_or_else(nowhere)?;
        match id.configuration() {
            Some(configuration) => self.named(environment, release, &configuration).await,
            None => Ok(self.configured(environment, release).await?),
        }
    }

    /// Refuses a plan that is not the one that was asked for.
    pub(super) fn expect_plan(&self, plan: &Plan, asked: Option<&DigestStart>) -> Result<(), Refused> {
        let Some(asked) = asked else { return Ok(()) };
        let now = plan.digest();
        if asked.begins(&now) {
            return Ok(());
        }
        let differs = self.shown.find(asked).map(|shown| shown.told_apart(plan));
        let (environment, release) = (plan.environment.clone(), plan.release.id.clone());
        Err(Refused::OtherPlan(Box::new(OtherPlan { environment, release, asked: asked.clone(), now, differs })))
    }
}

/// The newest plans that were shown, the newest last.
#[derive(Debug, Default)]
pub(super) struct Shown(VecDeque<(Digest, Plan)>);

impl Shown {
    fn note(&mut self, plan: Plan) {
        let digest = plan.digest();
        self.0.retain(|(known, _)| *known != digest);
        self.0.push_back((digest, plan));
        let hosts = |plans: &VecDeque<(Digest, Plan)>| plans.iter().map(|(_, plan)| plan.hosts.len()).sum::<usize>();
        while self.0.len() > PLANS_MAX || (self.0.len() > 1 && hosts(&self.0) > HOSTS_MAX) {
            self.0.pop_front();
        }
    }

    fn find(&self, asked: &DigestStart) -> Option<&Plan> {
        self.0.iter().rev().find(|(digest, _)| asked.begins(digest)).map(|(_, plan)| plan)
    }
}

#[cfg(test)]
mod tests;
