//! What operators ask for: start, roll back, steer.

use roadstead_model::{
    AppName, BackupName, Clash, ConfigurationId, DigestStart, EnvironmentName, HostName, Key, ReleaseId, ReleaseRef, RolloutId,
};
use roadstead_rollout::{
    Closed, Contact, Event, InvalidPlan, Outcome, Phase, Plan, PlannedRestore, Rejected, RolloutKind, State, Steer, Tending,
};

use super::foresee::{Drawn, OtherPlan};
use super::running::Running;
use super::tending::TendRequest;
use super::{Loop, gates};
use crate::{Configured, EnvironmentRecord, LedgerError, NewEvent, RolloutRecord, Runs};

/// Something that is asked for, and by whom.
#[derive(Debug)]
pub enum Verb {
    /// A release to an environment.
    Start(StartRequest),
    /// Back to an earlier release.
    Rollback {
        /// Where.
        environment: EnvironmentName,
        /// Which app.
        app: AppName,
        /// To which release; the previous good one when nothing is said.
        to: Option<ReleaseId>,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// A backup of an environment's database.
    Restore(RestoreRequest),
    /// A database is tended.
    Tend(TendRequest),
    /// Steer a rollout that runs.
    Steer {
        /// Which.
        rollout: RolloutId,
        /// How.
        steer: Steer,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
}

/// A release to an environment.
#[derive(Debug)]
pub struct StartRequest {
    /// Where to.
    pub environment: EnvironmentName,
    /// Which app.
    pub app: AppName,
    /// Which release.
    pub release: ReleaseId,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// A repeat with the same key starts nothing.
    pub idempotency_key: String,
    /// The plan that it is to be, by the beginning of its digest; any when nothing is said.
    pub plan: Option<DigestStart>,
    /// Its migrations that take away what earlier releases need.
    pub contracts: Vec<String>,
}

/// A backup that is to be restored.
#[derive(Debug)]
pub struct RestoreRequest {
    /// Where.
    pub environment: EnvironmentName,
    /// Which app.
    pub app: AppName,
    /// The backup.
    pub backup: BackupName,
    /// The host that has it, by its id or its name.
    pub host: String,
    /// The release that belongs to it, and is to serve again.
    pub release: ReleaseId,
    /// Only look what it would lose.
    pub only_survey: bool,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such environment.
    #[error("there is no environment {0} of {1}")]
    NoEnvironment(EnvironmentName, AppName),
    /// There is no such release.
    #[error("there is no release {0} of {1}")]
    NoRelease(ReleaseId, AppName),
    /// There is no such configuration.
    #[error("{1} never had the configuration {0}")]
    NoConfiguration(ConfigurationId, EnvironmentName),
    /// It was marked bad.
    #[error("{release} is not rolled out again: {why}")]
    Bad {
        /// Which.
        release: ReleaseId,
        /// Why.
        why: String,
    },
    /// Another rollout runs.
    #[error("{0} of {1} to {2} has not ended")]
    Busy(RolloutId, AppName, EnvironmentName),
    /// Another rollout waits at the gates.
    #[error("{0} of {1} to {2} waits at its gates")]
    Waiting(RolloutId, AppName, EnvironmentName),
    /// There is nothing to go back to.
    #[error("{1} has no good release of {0} to go back to")]
    NothingBefore(AppName, EnvironmentName),
    /// Nothing is there that knows the way to the database.
    #[error("nothing of {1} runs in {0}, so nobody knows the way to its database")]
    NothingRuns(EnvironmentName, AppName),
    /// No host serves what the environment runs.
    #[error("no connected host of {1} serves {0}, which it runs")]
    NobodyServes(ReleaseId, EnvironmentName),
    /// The host that is named does not.
    #[error("{0} is not connected, or does not serve {1}, which its environment runs")]
    ServesNot(HostName, ReleaseId),
    /// It is no way back.
    #[error("{0} never served {1}, so there is no going back to it")]
    NeverServed(ReleaseId, EnvironmentName),
    /// It runs already.
    #[error("{0} is what {1} runs")]
    RunsAlready(ReleaseId, EnvironmentName),
    /// There is no such rollout, or it has ended.
    #[error("{0} does not run")]
    NotRunning(RolloutId),
    /// It does not fit to where the rollout stands.
    #[error(transparent)]
    Unfit(#[from] Rejected),
    /// Hosts have heard of more than the ledger knows.
    #[error("{0}: heard of rollouts that this controller does not know: its database is older than the fleet")]
    Behind(String),
    /// A request with the same key made this one.
    #[error("the request was carried out before")]
    Made(Box<RolloutRecord>),
    /// No host of the environment is called so.
    #[error("{0} is no host of {1}: it cannot have the backup")]
    NoHost(String, EnvironmentName),
    /// Somebody keeps the rollouts of others out.
    #[error("{}", .0.why)]
    Locked(Closed),
    /// Two sets of hosts share one database.
    #[error("{0} is blue-green: restores of its database are not built in")]
    TwoSets(EnvironmentName),
    /// No plan can be made.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// A migration takes away what a host may still need.
    #[error(
        "{migration} takes away what earlier releases need, and {host} serves something else than {runs}, or may still go back from it"
    )]
    NotEverywhere {
        /// Which migration.
        migration: String,
        /// Which host.
        host: HostName,
        /// What the environment runs.
        runs: ReleaseId,
    },
    /// Two selectors say different things to one host.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// The configuration is not what the release needs.
    #[error("the configuration of {app} in {environment} is not what {release} needs: {}", problems.join("; "))]
    Lacking {
        /// Where.
        environment: EnvironmentName,
        /// Of which app.
        app: AppName,
        /// Which release.
        release: ReleaseId,
        /// What is wrong, a line for each.
        problems: Vec<String>,
    },
    /// It would not be the plan that was asked for.
    #[error("{0}")]
    OtherPlan(Box<OtherPlan>),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What was done, as a word of the history.
const fn steered(steer: &Steer) -> &'static str {
    match steer {
        Steer::Abort => "rollout-aborted",
        Steer::Accept => "loss-accepted",
        Steer::Approve { .. } => "rollout-approved",
        Steer::Pause { .. } => "rollout-paused",
        Steer::Resume => "rollout-resumed",
        Steer::Promote { .. } => "rollout-promoted",
        Steer::Retry(_) => "host-retried",
        Steer::Ignore(_) => "host-ignored",
        Steer::Exclude(_) => "host-excluded",
    }
}

/// What is wanted of a new rollout.
pub(super) struct Wanted {
    kind: RolloutKind,
    reason: String,
    by: String,
    idempotency_key: String,
    plan: Option<DigestStart>,
    contracts: Vec<String>,
    restore: Option<PlannedRestore>,
}

impl Wanted {
    pub(super) fn new(kind: RolloutKind, reason: String, by: String) -> Self {
        Self { kind, reason, by, idempotency_key: String::new(), plan: None, contracts: Vec::new(), restore: None }
    }
}

impl Loop {
    /// Does what is asked for and says which rollout it is about.
    pub(super) async fn verb(&mut self, verb: Verb) -> Result<RolloutId, Refused> {
        match verb {
            Verb::Start(request) => self.start(request).await,
            Verb::Restore(request) => self.restore(request).await,
            Verb::Tend(request) => self.tend(request).await,
            Verb::Rollback { environment, app, to, reason, by } => self.rollback(environment, app, to, reason, by).await,
            Verb::Steer { rollout, steer, reason, by } => self.steer(rollout, steer, reason, by),
        }
    }

    /// The rollout that has its turn in an environment: one that has begun, until its end is saved.
    pub(super) fn unfinished(&self, environment: &EnvironmentName, app: &AppName) -> Option<RolloutId> {
        self.rollout_where(environment, app, |phase| !matches!(phase, Phase::Gated { .. }))
    }

    /// The rollout that waits at the gates of an environment.
    pub(super) fn at_gates(&self, environment: &EnvironmentName, app: &AppName) -> Option<RolloutId> {
        self.rollout_where(environment, app, |phase| matches!(phase, Phase::Gated { .. }))
    }

    fn rollout_where(&self, environment: &EnvironmentName, app: &AppName, fits: impl Fn(&Phase) -> bool) -> Option<RolloutId> {
        let same = |r: &Running| r.state().plan.environment == *environment && r.state().plan.app == *app && fits(&r.state().phase);
        self.running.iter().find(|(_, r)| same(r)).map(|(id, _)| *id)
    }

    pub(super) async fn known(&self, environment: &EnvironmentName, app: &AppName) -> Result<EnvironmentRecord, Refused> {
        let known = self.parts.ledger.environment(environment, app).await?;
        known.ok_or_else(|| Refused::NoEnvironment(environment.clone(), app.clone()))
    }

    async fn start(&mut self, request: StartRequest) -> Result<RolloutId, Refused> {
        let StartRequest { environment, app, release, reason, by, idempotency_key, plan, contracts } = request;
        if let Some(made) = self.parts.ledger.rollout_by_key(&idempotency_key).await? {
            return Err(Refused::Made(Box::new(made)));
        }
        if let Some(busy) = self.unfinished(&environment, &app) {
            return Err(Refused::Busy(busy, app, environment));
        }
        if let Some(waiting) = self.at_gates(&environment, &app) {
            return Err(Refused::Waiting(waiting, app, environment));
        }
        let environment = self.known(&environment, &app).await?;
        let found = self.parts.ledger.release_by_id(&app, &release).await?;
        let release = self.asked_for(&environment, &release, found).await?;
        let wanted = Wanted { idempotency_key, plan, contracts, ..Wanted::new(RolloutKind::Rollout, reason, by) };
        self.begin(&environment, &release, wanted).await
    }

    async fn rollback(
        &mut self,
        environment: EnvironmentName,
        app: AppName,
        to: Option<ReleaseId>,
        reason: String,
        by: String,
    ) -> Result<RolloutId, Refused> {
        if let Some(busy) = self.unfinished(&environment, &app) {
            return match self.running.get(&busy).map(|r| r.state().plan.kind) {
                Some(RolloutKind::Rollout) if to.is_none() => self.steer(busy, Steer::Abort, reason, by),
                _ => Err(Refused::Busy(busy, app, environment)),
            };
        }
        let known = self.known(&environment, &app).await?;
        let target = match to {
            Some(id) => self.served_before(&known, &id).await?,
            None => {
                let previous = match &known.previous {
                    Some(previous) => self.as_it_ran(&known, previous).await?,
                    None => None,
                };
                previous.ok_or(Refused::NothingBefore(app, environment))?
            }
        };
        if known.current.as_ref().is_some_and(|current| current.release == target.reference()) {
            return Err(Refused::RunsAlready(target.id(), known.spec.name));
        }
        self.begin(&known, &target, Wanted::new(RolloutKind::Rollback, reason, by)).await
    }

    /// Whoever asks again for what waits to be decided goes on with that.
    async fn restore(&mut self, request: RestoreRequest) -> Result<RolloutId, Refused> {
        let RestoreRequest { environment, app, backup, host, release, only_survey, reason, by } = request;
        let known = self.known(&environment, &app).await?;
        if known.spec.strategy.sets.is_some() {
            return Err(Refused::TwoSets(environment));
        }
        let found = self.parts.ledger.release_by_id(&app, &release).await?;
        // The release of then, with the configuration of now: what it was told then may name another database.
        let release = self.asked_for(&known, &release, found).await?;
        let hosts = self.candidates(&known.spec).await?;
        let is_meant = |record: &&crate::HostRecord| record.id.as_str() == host || record.name.as_str() == host;
        let host = hosts.iter().find(is_meant).map(|record| record.id.clone()).ok_or_else(|| Refused::NoHost(host, environment.clone()))?;
        let restore = PlannedRestore { backup, host, only_survey };
        if let Some(busy) = self.unfinished(&environment, &app) {
            let same = self.running.get(&busy).is_some_and(|running| is_same_restore(running.state(), &restore, &release.reference(), &by));
            return if same { Ok(busy) } else { Err(Refused::Busy(busy, app, environment)) };
        }
        let restore = Some(restore);
        let wanted = Wanted { restore, ..Wanted::new(RolloutKind::Restore, reason, by) };
        self.begin(&known, &release, wanted).await
    }

    /// A release that served an environment, with the configuration that it had when it did last; or with the one that the id names.
    async fn served_before(&self, known: &EnvironmentRecord, id: &ReleaseId) -> Result<Configured, Refused> {
        let (spec, nowhere) = (&known.spec, || Refused::NoRelease(id.clone(), known.spec.app.clone()));
        let release = self.parts.ledger.release_by_id(&spec.app, id).await?.ok_or_else(nowhere)?;
        let fits = |plan: &Plan| plan.release.id == *id || (id.configuration().is_none() && plan.release.manifest == release.digest);
        let is_current = |plan: &Plan| known.current.as_ref().is_some_and(|current| current.release == plan.release);
        let earlier = self.earlier(&spec.name, &spec.app).await?;
        let done = |state: &&State| state.plan.kind == RolloutKind::Rollout && state.outcome() == Some(Outcome::Done) && fits(&state.plan);
        // Who names the release that serves means it as it ran before.
        let found = earlier.iter().filter(done).find(|state| !is_current(&state.plan)).or_else(|| earlier.iter().find(done));
        let bad = !release.bad.is_empty();
        match found {
            Some(state) => self.as_it_ran(known, &Runs::by(&state.plan)).await?.ok_or_else(nowhere),
            // What is bad is refused for that.
            None if bad => Ok(self.configured(known, release).await?),
            // A rollback migrates nothing: what never served here may need a database that is not there yet.
            None => Err(Refused::NeverServed(id.clone(), spec.name.clone())),
        }
    }

    fn steer(&mut self, rollout: RolloutId, steer: Steer, reason: String, by: String) -> Result<RolloutId, Refused> {
        let running = self.running.get(&rollout).ok_or(Refused::NotRunning(rollout))?;
        let now = self.parts.clock.now();
        let host = steer.host().and_then(|host| running.state().plan.hosts.get(host));
        let text = match (host, &steer) {
            (Some(host), _) => format!("{}: {reason}", host.name),
            (None, Steer::Approve { .. }) => format!("plan {}: {reason}", running.state().plan.digest()),
            (None, _) => reason.clone(),
        };
        let event = NewEvent::new(now, by.clone(), steered(&steer), rollout.to_string(), text).of(rollout);
        let before = self.work.changes.events.len();
        self.try_decide(rollout, Event::Steered { steer, by, reason })?;
        // Who did it comes before what it brought about.
        self.work.changes.events.insert(before, event);
        // Even when nothing moved, what was done is in the history.
        self.work.touched.insert(rollout);
        Ok(rollout)
    }

    /// Plans a rollout and notes it to be saved.
    async fn begin(&mut self, environment: &EnvironmentRecord, release: &Configured, mut wanted: Wanted) -> Result<RolloutId, Refused> {
        let spec = &environment.spec;
        let hosts = self.candidates(spec).await?;
        if let Some(first) = self.obstacles(&release.release, &hosts).into_iter().next() {
            return Err(first);
        }
        let Drawn { mut plan, homes, unused } = self.draw(environment, release, wanted.kind, hosts).await?;
        plan.restore = wanted.restore.take();
        let plan = plan.contracting(std::mem::take(&mut wanted.contracts), spec.database.contract_after);
        if let Some(behind) = self.behind(&plan, environment).await? {
            return Err(behind);
        }
        // Whoever goes back goes back to what ran.
        if wanted.kind != RolloutKind::Rollback
            && let Some(lacking) = self.lacking(&plan, release)
        {
            return Err(lacking);
        }
        self.expect_plan(&plan, wanted.plan.as_ref())?;
        let rollout = plan.rollout;
        let restores = wanted.kind == RolloutKind::Restore;
        let goes_back = restores || wanted.kind == RolloutKind::Rollback;
        let lock = self.parts.ledger.lock(&spec.name, &spec.app).await?;
        let locked = lock.and_then(|lock| gates::locked(&lock, &plan, &wanted.by, self.parts.clock.now()));
        if let (true, Some(locked)) = (restores, &locked) {
            // Who has locked it is perhaps at work on that database.
            return Err(Refused::Locked(locked.clone()));
        }
        // Whoever goes back does not want what waits at the gates to go forward.
        if let Some(waiting) = self.at_gates(&spec.name, &spec.app).filter(|_| goes_back) {
            self.steer(waiting, Steer::Abort, wanted.reason.clone(), wanted.by.clone())?;
        }
        self.next_rollout += 1;
        for (service, host) in homes {
            self.work.changes.singletons.push((spec.name.clone(), spec.app.clone(), service, host));
        }
        let gated = !goes_back && (locked.is_some() || plan.waits());
        // Only a rollout of a release condemns it.
        let blames = plan.kind == RolloutKind::Rollout && !self.runs_somewhere(&plan).await?;
        self.enter(plan, wanted, &unused, gated, blames);
        Ok(rollout)
    }

    pub(super) fn enter(&mut self, plan: Plan, wanted: Wanted, others: &[Key], gated: bool, blames: bool) {
        let (now, rollout) = (self.parts.clock.now(), plan.rollout);
        let line = |actor: &str, kind: &str, text: String| NewEvent::new(now, actor, kind, rollout.to_string(), text).of(rollout);
        let kind = match plan.kind {
            RolloutKind::Rollout => "rollout-started",
            RolloutKind::Rollback => "rollback-started",
            RolloutKind::Level => "level-started",
            RolloutKind::Restore => "restore-started",
            RolloutKind::Tend => "tending-started",
        };
        let digest = plan.digest().short();
        let (app, release, hosts) = (&plan.app, &plan.release.id, plan.hosts.len());
        let text = match (&plan.restore, &plan.tending) {
            (None, Some(Tending::Backup(demand))) => {
                format!("a backup of {app} in {}, {demand} ({release} serves): {}", plan.environment, wanted.reason)
            }
            (None, Some(Tending::Recheck { backup, .. })) => {
                format!("{backup} of {app} in {} is looked at again: {}", plan.environment, wanted.reason)
            }
            (None, Some(Tending::Job { job, .. })) => {
                format!("the job {job} of {app} in {} ({release} serves): {}", plan.environment, wanted.reason)
            }
            (Some(restore), _) => {
                format!("{} of {app} in {} ({hosts} hosts, with {release}): {}", restore.backup, plan.environment, wanted.reason)
            }
            (None, None) => format!("{app} {release} to {} ({hosts} hosts, plan {digest}): {}", plan.environment, wanted.reason),
        };
        self.work.changes.events.push(line(&wanted.by, kind, text));
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(ToString::to_string).collect();
            let text = format!("the release does not take these variables of the environment: {}", names.join(", "));
            self.work.changes.events.push(line("controller", "variables-unused", text));
        }
        let app = plan.app.clone();
        let contact = |host: &roadstead_model::HostId| match self.parts.sessions.is_open(host) {
            false => Contact::Away,
            true if self.busy.is(host, &app) || self.is_unconfirmed(host, &app) => Contact::Busy,
            true => Contact::AtRest,
        };
        let steady = self.parts.clock.steady();
        let mut state = if gated { State::gated(plan, steady, contact) } else { State::new(plan, steady, contact) };
        // What some environment runs well is no bad release: hosts are not told to condemn it either.
        state.condemn &= blames;
        state.requested_by.clone_from(&wanted.by);
        let Wanted { reason, by, idempotency_key, .. } = wanted;
        let running = Running::new(RolloutRecord { state, reason, started_by: by, idempotency_key });
        self.work.changes.started.push(running.shared());
        self.work.touched.insert(rollout);
        self.parts.outputs.begin(rollout, running.state().hosts.keys().cloned());
        self.running.insert(rollout, running);
    }

    /// Starts bringing hosts level with what their environment runs. `asked`: who wants that and why, when it is a repair.
    pub(super) fn begin_level(&mut self, plan: Plan, others: &[Key], asked: Option<(String, String)>) {
        self.next_rollout += 1;
        let (by, reason) = asked.unwrap_or_else(|| ("controller".to_owned(), "hosts come level with their environment".to_owned()));
        self.enter(plan, Wanted::new(RolloutKind::Level, reason, by), others, false, true);
    }
}

/// Whether a restore is the one that is asked for once more, and can still be decided.
fn is_same_restore(state: &State, restore: &PlannedRestore, release: &ReleaseRef, by: &str) -> bool {
    let waits = matches!(state.phase, Phase::Preparing { .. } | Phase::Surveying { .. } | Phase::Deciding { .. });
    let same = state.plan.restore.as_ref() == Some(restore) && state.plan.release == *release;
    waits && same && state.requested_by == by
}
