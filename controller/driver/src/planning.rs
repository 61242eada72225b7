//! From what is known to a plan: hosts with what they serve, where singletons run, whether the database moves.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::spec::Service;
use roadstead_model::{AppName, EnvironmentSpec, HostId, ReleaseRef, ServiceName};
use roadstead_rollout::Candidate;
use std::collections::BTreeMap;

use super::Loop;
use super::traffic::Place;
use crate::{Configured, EnvironmentRecord, HostRecord, LedgerError};

impl Loop {
    /// Every host that may take part, with what it serves.
    pub(super) async fn candidates(&self, spec: &EnvironmentSpec) -> Result<Vec<HostRecord>, LedgerError> {
        let hosts = self.parts.ledger.hosts(Some(&spec.name)).await?;
        Ok(hosts.into_iter().filter(|host| host.revoked_at.is_none() && spec.hosts.matches(&host.labels)).collect())
    }

    /// The host as the plan needs it.
    pub(super) async fn candidate(
        &self,
        app: &AppName,
        manifest: &Manifest,
        host: HostRecord,
        homes: &BTreeMap<ServiceName, HostId>,
        place: Option<&Place>,
    ) -> Result<Candidate, LedgerError> {
        let current = self.serves(&host.id, app).await?;
        let singletons = listed(manifest, &host, homes);
        let share = place.and_then(|place| place.standing.get(&host.id).copied());
        Ok(Candidate { id: host.id, name: host.name, labels: host.labels, current, singletons, share })
    }

    /// The release that a host serves, as far as it said and it is known here.
    pub(super) async fn serves(&self, host: &HostId, app: &AppName) -> Result<Option<ReleaseRef>, LedgerError> {
        match self.app_state(host, app).and_then(|state| state.current.as_ref()) {
            Some(id) => {
                let release = self.parts.ledger.release_by_id(app, id).await?;
                Ok(release.map(|release| ReleaseRef { id: id.clone(), manifest: release.digest }))
            }
            None => Ok(None),
        }
    }

    /// What the environment runs.
    pub(super) async fn current(&self, environment: &EnvironmentRecord) -> Result<Option<Configured>, LedgerError> {
        match &environment.current {
            Some(current) => self.as_it_ran(environment, current).await,
            None => Ok(None),
        }
    }
}

/// The services that run on this host because it was chosen for them: the only instance by its home, others by the host's labels.
fn listed(manifest: &Manifest, host: &HostRecord, homes: &BTreeMap<ServiceName, HostId>) -> Vec<ServiceName> {
    let chosen = |(name, service): &(&ServiceName, &Service)| match service.kind.is_singleton() {
        true => homes.get(*name) == Some(&host.id),
        false => !service.hosts.is_everything() && service.hosts.matches(&host.labels),
    };
    manifest.spec.services.iter().filter(chosen).map(|(name, _)| name.clone()).collect()
}

/// Whether the database may have to move: not when neither the migrations nor the packages that bring some are new.
pub(super) fn migrates(new: &Manifest, current: Option<&Manifest>) -> bool {
    let wants = new.spec.django.as_ref().is_some_and(|django| django.migrate);
    if current.is_some_and(|old| old.release_id() == new.release_id()) {
        // Another configuration: what the database needs of this release was done when it came.
        return false;
    }
    let hooks = !(new.spec.hooks.before_migrate.is_empty() && new.spec.hooks.after_migrate.is_empty());
    let same = current.is_some_and(|old| {
        old.migrations == new.migrations && old.packages.lock == new.packages.lock && old.spec.django == new.spec.django
    });
    hooks || (wants && !same)
}

/// Whether every host still has the release on its disk.
pub(super) fn all_have(
    facts: &std::collections::BTreeMap<HostId, roadstead_model::HostFacts>,
    app: &AppName,
    hosts: &[Candidate],
    release: &ReleaseRef,
) -> bool {
    hosts.iter().all(|host| {
        let state = facts.get(&host.id).and_then(|facts| facts.apps.get(app));
        state.is_some_and(|state| state.releases.contains(&release.id) || state.current.as_ref() == Some(&release.id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use roadstead_bundle::spec::{RelativePath, Resources, ServiceKind};
    use roadstead_model::{Labels, Millis, Selector};

    #[test]
    fn a_host_runs_the_services_that_want_its_labels_and_the_only_ones_that_it_is_home_of() {
        let name = |text: &str| ServiceName::parse(text).unwrap();
        let service = |hosts: &str, singleton| Service {
            kind: ServiceKind::Command { command: vec!["python".into()], singleton, overlap: true },
            hosts: Selector::parse(hosts).unwrap(),
            environment: BTreeMap::new(),
            working_directory: RelativePath::root(),
            resources: Resources::default(),
            start_timeout: Millis(1),
            stop_timeout: Millis(1),
        };
        let mut manifest = samples::manifest("1.0");
        manifest.spec.services =
            [("all", "", false), ("web", "role=web", false), ("mail", "role=mail", false), ("beat", "", true), ("cron", "", true)]
                .map(|(text, hosts, singleton)| (name(text), service(hosts, singleton)))
                .into();
        let mut host = samples::host_record(1);
        host.labels = Labels::parse(["role=mail"]).unwrap();
        let homes = BTreeMap::from([(name("beat"), host.id.clone()), (name("cron"), samples::host_id(2))]);
        assert_eq!(listed(&manifest, &host, &homes), [name("beat"), name("mail")]);
    }
}
