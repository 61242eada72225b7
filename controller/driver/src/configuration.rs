//! Which configuration a release runs with, what each host is told of it, and whether that is what the release needs.

use roadstead_bundle::configured::{self, Unfit};
use roadstead_bundle::manifest::Manifest;
use roadstead_model::{ConfigurationId, HostFacts, HostId, Key, Labels, ServiceName};
use roadstead_rollout::{Plan, PlannedHost};
use std::collections::BTreeMap;

use super::Loop;
use crate::{ConfigurationRecord, Configured, EnvironmentRecord, HostRecord, LedgerError, Refused, ReleaseRecord, Runs};

/// Hosts that are named one by one where something is wrong on them.
const NAMED_MAX: usize = 3;
/// Problems that are told; the rest is counted.
const PROBLEMS_MAX: usize = 12;

impl Loop {
    /// A release with the newest configuration of an environment.
    pub(super) async fn configured(&self, environment: &EnvironmentRecord, release: ReleaseRecord) -> Result<Configured, LedgerError> {
        let spec = &environment.spec;
        let newest = self.parts.ledger.newest_configuration(&spec.name, &spec.app).await?;
        Ok(Configured::new(release, newest.unwrap_or_else(ConfigurationRecord::none)))
    }

    /// A release as it ran in an environment, with the configuration that it had; none where the one or the other is not known any more.
    pub(super) async fn as_it_ran(&self, environment: &EnvironmentRecord, runs: &Runs) -> Result<Option<Configured>, LedgerError> {
        let Some(release) = self.parts.ledger.release(&runs.release.manifest).await? else { return Ok(None) };
        let spec = &environment.spec;
        let known = self.parts.ledger.configuration(&spec.name, &spec.app, runs.configuration).await?;
        let configuration = known.or_else(|| (runs.configuration == 0).then(ConfigurationRecord::none));
        Ok(configuration.map(|configuration| Configured::known(release, configuration, runs.release.clone())))
    }

    /// A release with the configuration that an id names.
    pub(super) async fn named(
        &self,
        environment: &EnvironmentRecord,
        release: ReleaseRecord,
        id: &ConfigurationId,
    ) -> Result<Configured, Refused> {
        let spec = &environment.spec;
        let found = self.parts.ledger.configuration_named(&spec.name, &spec.app, id).await?;
        let configuration = found.ok_or_else(|| Refused::NoConfiguration(id.clone(), spec.name.clone()))?;
        Ok(Configured::new(release, configuration))
    }
}

/// The labels of hosts.
pub(super) fn labels_of(hosts: &[HostRecord]) -> BTreeMap<HostId, Labels> {
    hosts.iter().map(|host| (host.id.clone(), host.labels.clone())).collect()
}

/// The plan, with what each of its hosts is told; and what the release does not take.
pub(super) fn told(plan: Plan, configured: &Configured, labels: &BTreeMap<HostId, Labels>) -> Result<(Plan, Vec<Key>), Refused> {
    let spec = &configured.manifest().spec;
    let content = &configured.configuration.content;
    let mut plan = plan.told(content, labels, |values| configured::declared(spec, values).0)?;
    plan.configuration = configured.configuration.version;
    let mut unused: Vec<Key> = content.by_hosts().into_values().flat_map(|values| configured::declared(spec, values).1).collect();
    unused.sort();
    unused.dedup();
    Ok((plan, unused))
}

/// What of a plan's configuration is not what its release needs: a line for each, with who needs it and where. `facts` gives what is known now of
/// a host: of one that is away, what its own file sets may be otherwise by the time it is back.
pub(super) fn unfit<'a>(plan: &Plan, manifest: &Manifest, facts: impl Fn(&HostId) -> Option<&'a HostFacts>) -> Vec<String> {
    let mut found: BTreeMap<Unfit, Vec<&str>> = BTreeMap::new();
    for (id, host) in &plan.hosts {
        let values = plan.values_of(host);
        let local = facts(id).and_then(|facts| facts.apps.get(&plan.app)).and_then(|state| state.set.as_ref());
        let missing = configured::missing(&manifest.spec, &values, local, |service| runs(manifest, host, service));
        for problem in configured::wrong(&manifest.spec, &values).into_iter().chain(missing) {
            found.entry(problem).or_default().push(host.name.as_str());
        }
    }
    let total = found.len();
    let line = |(problem, hosts): (Unfit, Vec<&str>)| match hosts.len() {
        all if all == plan.hosts.len() => problem.to_string(),
        some if some <= NAMED_MAX => format!("{problem} (on {})", hosts.join(", ")),
        some => format!("{problem} (on {some} of {} hosts)", plan.hosts.len()),
    };
    let mut lines: Vec<String> = found.into_iter().take(PROBLEMS_MAX).map(line).collect();
    if total > PROBLEMS_MAX {
        lines.push(format!("and {} more", total - PROBLEMS_MAX));
    }
    lines
}

fn runs(manifest: &Manifest, host: &PlannedHost, name: &ServiceName) -> bool {
    let everywhere = manifest.spec.services.get(name).is_some_and(|s| !s.kind.is_singleton() && s.hosts.is_everything());
    everywhere || host.singletons.contains(name)
}
