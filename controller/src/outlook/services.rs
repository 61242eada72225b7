//! What a rollout does to each service.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::spec::{Service, ServiceKind, UnitCutover};
use roadstead_model::ServiceName;
use roadstead_model::outlook::{ServiceChange, ServiceOutlook};
use roadstead_rollout::{Plan, PlannedHost};

/// Services of the new release by name, then those that go.
pub(super) fn services(old: Option<&Manifest>, new: &Manifest, plan: &Plan) -> Vec<ServiceOutlook> {
    let known = |name: &ServiceName| old.is_some_and(|old| old.spec.services.contains_key(name));
    let told = |(name, service): (&ServiceName, &Service)| {
        let chosen = |host: &&PlannedHost| is_everywhere(service) || host.singletons.contains(name);
        let mut hosts = plan.hosts.values().filter(chosen);
        let only_on = if service.kind.is_singleton() { hosts.clone().next().map(|host| host.name.clone()) } else { None };
        let change = match &service.kind {
            _ if !known(name) => ServiceChange::Starts,
            ServiceKind::Units { cutover: UnitCutover::Reload, .. } => ServiceChange::Reloads,
            _ => ServiceChange::Restarts,
        };
        ServiceOutlook { name: name.clone(), change, hosts: Some(hosts.by_ref().count()), only_on }
    };
    let gone = |name: &ServiceName| ServiceOutlook { name: name.clone(), change: ServiceChange::Goes, hosts: None, only_on: None };
    let gone = old.into_iter().flat_map(|old| old.spec.services.keys()).filter(|name| !new.spec.services.contains_key(*name)).map(gone);
    new.spec.services.iter().map(told).chain(gone).collect()
}

/// A plan names the services for which a host was chosen; the others run on every host.
fn is_everywhere(service: &Service) -> bool {
    !service.kind.is_singleton() && service.hosts.is_everything()
}
