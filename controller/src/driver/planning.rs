//! From what is known to a plan: hosts with what they serve, where singletons run, whether the database moves.

use roadstead_bundle::manifest::Manifest;
use roadstead_model::{AppName, EnvironmentSpec, HostId, ReleaseRef, ServiceName, VariableName};
use roadstead_rollout::Candidate;
use std::collections::BTreeMap;

use super::Loop;
use crate::store::{EnvironmentRecord, HostRecord, ReleaseRecord, StoreError};

impl Loop {
    /// Every host that may take part, with what it serves.
    pub(super) async fn candidates(&self, spec: &EnvironmentSpec) -> Result<Vec<HostRecord>, StoreError> {
        let hosts = self.parts.store.hosts(Some(&spec.name)).await?;
        Ok(hosts.into_iter().filter(|host| host.revoked_at.is_none() && spec.hosts.matches(&host.labels)).collect())
    }

    /// The host as the plan needs it.
    pub(super) async fn candidate(
        &self,
        app: &AppName,
        host: HostRecord,
        homes: &BTreeMap<ServiceName, HostId>,
    ) -> Result<Candidate, StoreError> {
        let current = self.facts.get(&host.id).and_then(|facts| facts.apps.get(app)).and_then(|state| state.current.clone());
        let current = match current {
            Some(id) => self.parts.store.release_by_id(app, &id).await?.map(|release| release.reference()),
            None => None,
        };
        let singletons = homes.iter().filter(|(_, home)| **home == host.id).map(|(service, _)| service.clone()).collect();
        Ok(Candidate { id: host.id, name: host.name, labels: host.labels, current, singletons })
    }

    /// Where the only instance of each such service runs: where it ran before while that host is there, else on the first
    /// host that the service wants, one that is connected before one that is not.
    pub(super) async fn homes(
        &self,
        spec: &EnvironmentSpec,
        manifest: &Manifest,
        hosts: &[HostRecord],
    ) -> Result<BTreeMap<ServiceName, HostId>, StoreError> {
        let known: BTreeMap<_, _> = self.parts.store.singletons(&spec.name, &spec.app).await?.into_iter().collect();
        let mut homes = BTreeMap::new();
        for (name, service) in manifest.spec.services.iter().filter(|(_, service)| service.kind.is_singleton()) {
            let mut fit: Vec<&HostRecord> = hosts.iter().filter(|host| service.hosts.matches(&host.labels)).collect();
            fit.sort_by_key(|host| (!self.parts.sessions.is_open(&host.id), host.name.clone(), host.id.clone()));
            let kept = known.get(name).and_then(|home| fit.iter().find(|host| host.id == *home));
            if let Some(host) = kept.or_else(|| fit.first()) {
                homes.insert(name.clone(), host.id.clone());
            }
        }
        Ok(homes)
    }

    /// What the environment runs.
    pub(super) async fn current(&self, environment: &EnvironmentRecord) -> Result<Option<ReleaseRecord>, StoreError> {
        match environment.current {
            Some(digest) => self.parts.store.release(&digest).await,
            None => Ok(None),
        }
    }
}

/// Whether the database may have to move: not when neither the migrations nor the packages that bring some are new.
pub(super) fn migrates(new: &Manifest, current: Option<&Manifest>) -> bool {
    let wants = new.spec.django.as_ref().is_some_and(|django| django.migrate);
    let hooks = !(new.spec.hooks.before_migrate.is_empty() && new.spec.hooks.after_migrate.is_empty());
    let same = current.is_some_and(|old| {
        old.migrations == new.migrations && old.packages.lock == new.packages.lock && old.spec.django == new.spec.django
    });
    hooks || (wants && !same)
}

/// The variables that the release declares and lets an environment set, and the names of the others.
pub(super) fn declared(
    manifest: &Manifest,
    variables: BTreeMap<VariableName, String>,
) -> (BTreeMap<VariableName, String>, Vec<VariableName>) {
    let declared = |name: &VariableName| manifest.spec.variables.get(name).is_some_and(|variable| !variable.fixed);
    let (kept, others): (BTreeMap<_, _>, BTreeMap<_, _>) = variables.into_iter().partition(|(name, _)| declared(name));
    (kept, others.into_keys().collect())
}

/// Whether every host still has the release on its disk.
pub(super) fn all_have(
    facts: &std::collections::HashMap<HostId, roadstead_model::HostFacts>,
    app: &AppName,
    hosts: &[Candidate],
    release: &ReleaseRef,
) -> bool {
    hosts.iter().all(|host| {
        let state = facts.get(&host.id).and_then(|facts| facts.apps.get(app));
        state.is_some_and(|state| state.releases.contains(&release.id) || state.current.as_ref() == Some(&release.id))
    })
}
