//! Where the only instance of each such service of an environment runs: at one host at a time, also while it moves.

use roadstead_bundle::manifest::Manifest;
use roadstead_model::{AppState, EnvironmentSpec, HostId, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

use super::Loop;
use crate::{HostRecord, LedgerError};

/// Where the only instances run and where they should.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// Where each was brought last.
    known: BTreeMap<ServiceName, HostId>,
    /// Where each should be.
    wanted: BTreeMap<ServiceName, HostId>,
    /// Those whose host fell silent, and has stopped them since.
    lapsed: BTreeSet<ServiceName>,
}

impl Loop {
    /// A service stays where it is while that host is of the fleet and fits, be it away: a host that is not heard may still run it, unless
    /// its lease is over. Else it goes to the first host that the service wants, one that is connected before one that is not.
    pub(super) async fn homes(&self, spec: &EnvironmentSpec, manifest: &Manifest, hosts: &[HostRecord]) -> Result<Homes, LedgerError> {
        let known: BTreeMap<_, _> = self.parts.ledger.singletons(&spec.name, &spec.app).await?.into_iter().collect();
        let (mut wanted, mut lapsed) = (BTreeMap::new(), BTreeSet::new());
        let now = self.parts.clock.steady();
        for (name, service) in manifest.spec.services.iter().filter(|(_, service)| service.kind.is_singleton()) {
            let mut fit: Vec<&HostRecord> = hosts.iter().filter(|host| service.hosts.matches(&host.labels)).collect();
            fit.sort_by_key(|host| (!self.parts.sessions.is_open(&host.id), host.name.clone(), host.id.clone()));
            let kept = known.get(name).and_then(|home| fit.iter().find(|host| host.id == *home));
            let is_lapsed = |host: &HostId| self.has_lapsed(host, &spec.app, service.stop_timeout, now);
            let follows = fit.first().filter(|host| self.parts.sessions.is_open(&host.id));
            let home = match kept {
                // Nobody is better off by a home that is as silent.
                Some(home) if is_lapsed(&home.id) => follows.or(kept),
                Some(_) => kept,
                None => fit.first(),
            };
            if let Some(host) = home {
                wanted.insert(name.clone(), host.id.clone());
            }
            if known.get(name).is_some_and(is_lapsed) {
                lapsed.insert(name.clone());
            }
        }
        Ok(Homes { known, wanted, lapsed })
    }
}

impl Homes {
    /// Where each may run now: it is left out while the host that it has to leave has not `let_go` of it.
    pub(super) fn settled(&self, let_go: impl Fn(&HostId) -> bool) -> BTreeMap<ServiceName, HostId> {
        let free = |(name, home): &(&ServiceName, &HostId)| {
            self.lapsed.contains(*name) || self.known.get(*name).is_none_or(|old| old == *home || let_go(old))
        };
        self.wanted.iter().filter(free).map(|(name, home)| (name.clone(), home.clone())).collect()
    }

    /// Services that leave a host which fell silent: which, from where, to where.
    pub(super) fn followed<'a>(
        &'a self,
        settled: &'a BTreeMap<ServiceName, HostId>,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a HostId, &'a HostId)> {
        let moved = settled.iter().filter_map(|(name, home)| Some((name, self.known.get(name)?, home)));
        moved.filter(|(name, old, new)| self.lapsed.contains(*name) && old != new)
    }

    /// Whether a host is the home of a service, and the release that serves there was not prepared to run it.
    pub(super) fn lacks(&self, host: &HostId, state: Option<&AppState>) -> bool {
        let Some(listed) = state.and_then(|state| state.listed.as_ref()) else { return false };
        self.known.iter().any(|(name, home)| home == host && self.wanted.contains_key(name) && !listed.contains(name))
    }

    /// Whether a host is to get a service that it did not have.
    pub(super) fn gains(&self, host: &HostId, settled: &BTreeMap<ServiceName, HostId>) -> bool {
        settled.iter().any(|(name, home)| home == host && self.known.get(name) != Some(home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::host_id;

    #[test]
    fn a_service_waits_until_its_old_home_has_let_it_go() {
        let beat = ServiceName::parse("beat").unwrap();
        let at = |number| BTreeMap::from([(beat.clone(), host_id(number))]);
        let homes = |known, wanted| Homes { known, wanted, lapsed: BTreeSet::new() };
        let first = homes(BTreeMap::new(), at(1));
        assert_eq!(first.settled(|_| false), at(1));
        let moves = homes(at(1), at(2));
        assert_eq!(moves.settled(|_| false), BTreeMap::new());
        assert_eq!(moves.settled(|old| *old == host_id(1)), at(2));
        assert!(moves.gains(&host_id(2), &at(2)) && !moves.gains(&host_id(1), &at(2)));
        let lapsed = Homes { lapsed: BTreeSet::from([beat.clone()]), ..homes(at(1), at(2)) };
        assert_eq!(lapsed.settled(|_| false), at(2));
        let stays = homes(at(1), at(1));
        assert_eq!(stays.settled(|_| false), at(1));
        assert!(!stays.gains(&host_id(1), &at(1)));
    }
}
