//! The plan: fixed when the rollout is created, it leaves no choices to execution.

use roadstead_model::{
    Analysis, AppName, BackupDemand, BackupName, Clash, Configuration, EnvironmentName, EnvironmentSpec, Gates, HostId, HostName, JobName,
    LabelKey, Labels, Millis, OnFailure, Promotion, ReleaseRef, RolloutId, ServiceName, Timeouts, Traffic, Values, Weight, limits,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::batches::{Batches, batches};
use crate::traffic::{PlannedTraffic, Switch};

/// What a rollout does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKind {
    /// A release goes to the environment: prepare, migrate, batches, bake, confirm.
    Rollout,
    /// A release that all hosts still have serves again, on all of them at once.
    Rollback,
    /// Hosts that were away come level with the release that the environment already runs.
    Level,
    /// A backup of the environment's database is restored, and the release that belongs to it serves again.
    Restore,
    /// One host works for the environment's database: it makes a backup, looks at one again, or runs a job. The release goes on serving.
    Tend,
}

/// Which backup a restore restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRestore {
    /// The backup.
    pub backup: BackupName,
    /// The host that has it, and restores it.
    pub host: HostId,
    /// It ends when it is known what would be lost.
    #[serde(default)]
    pub only_survey: bool,
}

/// What one host does for the contents of a database while a release serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tending {
    /// A backup is made, and checked as this demands.
    Backup(BackupDemand),
    /// A backup is looked at once more.
    Recheck {
        /// Which.
        backup: BackupName,
        /// How, as a new one would be.
        demand: BackupDemand,
    },
    /// A command of the release runs once.
    Job {
        /// Which.
        job: JobName,
        /// How long it may take.
        within: Millis,
    },
}

/// One release going to one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its number and generation.
    pub rollout: RolloutId,
    /// What it does.
    pub kind: RolloutKind,
    /// Where to.
    pub environment: EnvironmentName,
    /// Of which app.
    pub app: AppName,
    /// The release that is to serve in the end.
    pub release: ReleaseRef,
    /// The release that the environment ran before: what going back means.
    pub previous: Option<ReleaseRef>,
    /// Every host, with its batch.
    pub hosts: BTreeMap<HostId, PlannedHost>,
    /// The number of batches.
    pub batches: u32,
    /// How each batch bakes, the last one included. One that is not named here does not bake.
    #[serde(default)]
    pub bakes: Vec<Bake>,
    /// By what it is judged while it bakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// What is waited for before it begins.
    #[serde(default, skip_serializing_if = "Gates::is_empty")]
    pub gates: Gates,
    /// Where the traffic comes from; `None` where that is not the product's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<PlannedTraffic>,
    /// Whether the database migrations run.
    pub migrate: bool,
    /// The backup that has to be there before they do; absent in plans of controllers that knew of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupDemand>,
    /// Its migrations that wait until nobody wants to go back behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracts: Option<Contracts>,
    /// What is restored, in a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<PlannedRestore>,
    /// What is done to the database, where that is all; its only host does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tending: Option<Tending>,
    /// Hosts that may be out at once.
    pub max_unavailable: usize,
    /// Hosts that may fail or be away.
    pub failure_budget: usize,
    /// What becomes of it when more do.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Releases that stay on disk beside current and previous.
    pub keep: u32,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The version of the configuration that they are told; 0: there was none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub configuration: u64,
    /// What all hosts are told.
    #[serde(flatten)]
    pub values: Values,
    /// What some are told instead, or beside it; see [`PlannedHost::overrides`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Values>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_none(version: &u64) -> bool {
    *version == 0
}

/// Migrations that take away what earlier releases need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// Which.
    pub migrations: Vec<String>,
    /// How long the release that runs has to have served on every host.
    pub after: Millis,
}

/// What is waited for after a batch has moved: old instances stay warm meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bake {
    /// For how long.
    pub time: Millis,
    /// Who says that it goes on then.
    pub promotion: Promotion,
    /// How much of all traffic the hosts that have moved get together, from when this batch moves until its bake ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Weight>,
}

/// A host's place in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedHost {
    /// Its name, for people.
    pub name: HostName,
    /// Its batch, from 0.
    pub batch: u32,
    /// The release that it served when the plan was made.
    pub current: Option<ReleaseRef>,
    /// Services of which it runs the only instance.
    pub singletons: Vec<ServiceName>,
    /// What it gets of the traffic when the plan was made; `None` when it never gets any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Weight>,
    /// Its places in [`Plan::overrides`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<u32>,
}

/// A host that could take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its identity.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Its labels.
    pub labels: Labels,
    /// The release that it serves.
    pub current: Option<ReleaseRef>,
    /// Services of which it is to run the only instance.
    pub singletons: Vec<ServiceName>,
    /// What it gets of the traffic; `None` when it never gets any.
    pub share: Option<Weight>,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// The selector matches no enrolled host.
    #[error(
        "environment {environment} has no host: none that enrolled for it matches {selector:?}; see `roadstead host list --env {environment}`"
    )]
    NoHosts {
        /// The environment.
        environment: EnvironmentName,
        /// Its selector.
        selector: String,
    },
    /// The traffic's selector matches no enrolled host.
    #[error(
        "environment {environment} has no balancer: none that enrolled for it matches {selector:?}; enroll one with that label \
         (`roadstead host token`), or remove [traffic]"
    )]
    NoBalancers {
        /// The environment.
        environment: EnvironmentName,
        /// The selector of its balancers.
        selector: String,
    },
    /// Hosts that are not two sets.
    #[error("environment {environment} is blue-green by the label {}, which is to have two values: {found}", label.as_str())]
    NotTwoSets {
        /// The environment.
        environment: EnvironmentName,
        /// The label.
        label: LabelKey,
        /// What there is instead.
        found: String,
    },
    /// A service of which there is only one would run in both sets.
    #[error(
        "environment {environment} is blue-green, and {service} of the app runs once: it would run in both sets; \
         give it hosts and an environment of its own"
    )]
    RunsOnce {
        /// The environment.
        environment: EnvironmentName,
        /// The service.
        service: ServiceName,
    },
    /// More hosts than one rollout takes.
    #[error("{0} hosts are more than one rollout takes ({max})", max = limits::HOSTS_PER_ROLLOUT_MAX)]
    TooManyHosts(usize),
}

impl Plan {
    /// Fixes a rollout: sorts the hosts into batches and turns shares into numbers.
    ///
    /// A rollback is one batch of all hosts: its cutover is a rename. Hosts that come level are no canary: they move as those of a batch
    /// do. `candidates` outside of the environment's selector are left out.
    ///
    /// # Errors
    /// [`InvalidPlan`] when there is no host to move or there are too many.
    pub fn new(
        rollout: RolloutId,
        kind: RolloutKind,
        environment: &EnvironmentSpec,
        release: ReleaseRef,
        previous: Option<ReleaseRef>,
        candidates: Vec<Candidate>,
        migrate: bool,
    ) -> Result<Self, InvalidPlan> {
        let chosen = chosen(environment, candidates)?;
        let total = chosen.len();
        let strategy = &environment.strategy;
        let max_unavailable = strategy.max_unavailable.of_rounded_up(total).max(1);
        let Batches { of_host, mut bakes } = match kind {
            RolloutKind::Rollback | RolloutKind::Restore | RolloutKind::Tend => {
                Batches { of_host: vec![0; total], bakes: vec![Bake::default()] }
            }
            RolloutKind::Rollout => batches(strategy, &strategy.steps, &chosen, max_unavailable),
            RolloutKind::Level => batches(strategy, &[], &chosen, max_unavailable),
        };
        match (kind, bakes.last_mut()) {
            (RolloutKind::Rollout, Some(last)) => last.time = last.time.max(environment.bake),
            _ => bakes.fill(Bake::default()),
        }
        let planned = |(c, batch): (Candidate, u32)| {
            (c.id, PlannedHost { name: c.name, batch, current: c.current, singletons: c.singletons, share: c.share, overrides: Vec::new() })
        };
        let count = of_host.iter().max().map_or(1, |last| last + 1);
        Ok(Self {
            rollout,
            kind,
            environment: environment.name.clone(),
            app: environment.app.clone(),
            release,
            previous,
            hosts: chosen.into_iter().zip(of_host).map(planned).collect(),
            batches: count,
            bakes,
            gates: gates_of(kind, environment),
            traffic: None,
            analysis: environment.analysis.clone().filter(|_| kind == RolloutKind::Rollout),
            migrate: migrate && kind == RolloutKind::Rollout,
            restore: None,
            tending: None,
            backup: (migrate && kind == RolloutKind::Rollout).then_some(environment.database.backup),
            contracts: None,
            max_unavailable,
            // A host that still writes to the database is one too many.
            failure_budget: if matches!(kind, RolloutKind::Restore | RolloutKind::Tend) {
                0
            } else {
                strategy.failure_budget.of_rounded_down(total)
            },
            on_failure: if kind == RolloutKind::Rollout { strategy.on_failure } else { OnFailure::GoBack },
            keep: environment.keep,
            timeouts: environment.timeouts,
            configuration: 0,
            values: Values::default(),
            overrides: Vec::new(),
        })
    }

    /// The traffic of its hosts comes from these balancers; `others` are hosts that take traffic and are no part of it, and `switch` is
    /// from whom they get it where they get it all at once.
    ///
    /// # Errors
    /// [`InvalidPlan::NoBalancers`] when there is none.
    pub fn behind(
        mut self,
        traffic: &Traffic,
        balancers: BTreeMap<HostId, HostName>,
        others: usize,
        switch: Option<Switch>,
    ) -> Result<Self, InvalidPlan> {
        if balancers.is_empty() {
            let (environment, selector) = (self.environment.clone(), traffic.balancers.to_string());
            return Err(InvalidPlan::NoBalancers { environment, selector });
        }
        self.traffic = Some(PlannedTraffic { balancers, others, drain: traffic.drain, switch });
        Ok(self)
    }

    /// Some of its migrations take away what earlier releases need: they wait as long as the environment says.
    #[must_use]
    pub fn contracting(mut self, migrations: Vec<String>, after: Option<Millis>) -> Self {
        let waits = self.migrate && !migrations.is_empty();
        self.contracts = after.filter(|_| waits).map(|after| Contracts { migrations, after });
        self
    }

    /// Its hosts are told this configuration, as far as `takes` lets them. `labels` are those of each host that is known.
    ///
    /// # Errors
    /// [`Clash`] where two selectors say different things to one host.
    pub fn told(
        mut self,
        configuration: &Configuration,
        labels: &BTreeMap<HostId, Labels>,
        takes: impl Fn(Values) -> Values,
    ) -> Result<Self, Clash> {
        let nothing = Labels::default();
        let hosts = self.hosts.iter().map(|(id, host)| (host.name.to_string(), labels.get(id).unwrap_or(&nothing)));
        let resolved = configuration.resolve(hosts)?;
        self.values = takes(resolved.base);
        self.overrides = resolved.overrides.into_iter().map(takes).collect();
        self.hosts.values_mut().zip(resolved.of).for_each(|(host, places)| host.overrides = places);
        Ok(self)
    }

    /// What one of its hosts is told.
    #[must_use]
    pub fn values_of(&self, host: &PlannedHost) -> Values {
        let mut values = self.values.clone();
        let over = host.overrides.iter().filter_map(|place| self.overrides.get(usize::try_from(*place).ok()?));
        over.for_each(|over| values.overlay(over));
        values
    }

    /// Whether anything is waited for before it begins.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.gates.is_empty() || self.contracts.is_some()
    }

    /// How a batch bakes.
    #[must_use]
    pub fn bake_after(&self, batch: u32) -> Bake {
        usize::try_from(batch).ok().and_then(|batch| self.bakes.get(batch)).copied().unwrap_or_default()
    }
}

/// What is waited for. Whoever goes back, and hosts that come level with what runs already, wait for nobody. A restore is no release: it waits
/// for people, and for no window and no freeze.
fn gates_of(kind: RolloutKind, environment: &EnvironmentSpec) -> Gates {
    match kind {
        RolloutKind::Rollout => environment.gates.clone(),
        RolloutKind::Restore => {
            let approvals = environment.database.restore_approvals.as_ref().unwrap_or(&environment.gates.approvals).clone();
            Gates { approvals, ..Gates::default() }
        }
        RolloutKind::Rollback | RolloutKind::Level | RolloutKind::Tend => Gates::default(),
    }
}

/// The hosts that take part, each once, by their names.
fn chosen(environment: &EnvironmentSpec, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, InvalidPlan> {
    let mut chosen: Vec<_> = candidates.into_iter().filter(|c| environment.hosts.matches(&c.labels)).collect();
    chosen.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let mut seen = BTreeSet::new();
    chosen.retain(|c| seen.insert(c.id.clone()));
    match chosen.len() {
        0 => Err(InvalidPlan::NoHosts { environment: environment.name.clone(), selector: environment.hosts.to_string() }),
        total if total > limits::HOSTS_PER_ROLLOUT_MAX => Err(InvalidPlan::TooManyHosts(total)),
        _ => Ok(chosen),
    }
}
