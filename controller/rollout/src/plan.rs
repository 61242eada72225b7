//! The plan: fixed when the rollout is created, it leaves no choices to execution.

use roadstead_model::{
    AppName, EnvironmentName, EnvironmentSpec, HostId, HostName, Labels, Millis, ReleaseRef, RolloutId, ServiceName, Timeouts,
    VariableName, limits,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Whether the database migrations run.
    pub migrate: bool,
    /// Hosts that may be out at once.
    pub max_unavailable: usize,
    /// Hosts that may fail or be away before the rollout goes back.
    pub failure_budget: usize,
    /// How long old instances stay warm after the last batch.
    pub bake: Millis,
    /// Releases that stay on disk beside current and previous.
    pub keep: u32,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Values of variables.
    pub variables: BTreeMap<VariableName, String>,
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
    /// More hosts than one rollout takes.
    #[error("{0} hosts are more than one rollout takes ({max})", max = limits::HOSTS_PER_ROLLOUT_MAX)]
    TooManyHosts(usize),
}

impl Plan {
    /// Fixes a rollout: sorts the hosts by name into batches and turns shares into numbers.
    ///
    /// A rollback is one batch of all hosts: its cutover is a rename. `candidates` outside of the environment's selector are left out.
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
        let mut chosen: Vec<_> = candidates.into_iter().filter(|c| environment.hosts.matches(&c.labels)).collect();
        chosen.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let mut seen = BTreeSet::new();
        chosen.retain(|c| seen.insert(c.id.clone()));
        let total = chosen.len();
        if total == 0 {
            return Err(InvalidPlan::NoHosts { environment: environment.name.clone(), selector: environment.hosts.to_string() });
        }
        if total > limits::HOSTS_PER_ROLLOUT_MAX {
            return Err(InvalidPlan::TooManyHosts(total));
        }
        let strategy = environment.strategy;
        let max_unavailable = strategy.max_unavailable.of_rounded_up(total).max(1);
        let batch_size = match kind {
            RolloutKind::Rollback => total,
            RolloutKind::Rollout | RolloutKind::Level => strategy.batch.of_rounded_up(total).clamp(1, max_unavailable),
        };
        let batch_of = |index: usize| u32::try_from(index / batch_size).unwrap_or(u32::MAX);
        let hosts = chosen
            .into_iter()
            .enumerate()
            .map(|(index, c)| (c.id, PlannedHost { name: c.name, batch: batch_of(index), current: c.current, singletons: c.singletons }))
            .collect();
        Ok(Self {
            rollout,
            kind,
            environment: environment.name.clone(),
            app: environment.app.clone(),
            release,
            previous,
            hosts,
            batches: batch_of(total - 1) + 1,
            migrate: migrate && kind == RolloutKind::Rollout,
            max_unavailable,
            failure_budget: strategy.failure_budget.of_rounded_down(total),
            bake: if kind == RolloutKind::Rollout { environment.bake } else { Millis(0) },
            keep: environment.keep,
            timeouts: environment.timeouts,
            variables: environment.variables.clone(),
        })
    }
}
