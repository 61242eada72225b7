//! Where the only instance of each such service of an environment runs: at one host at a time, also while it moves.

use roadstead_bundle::manifest::Manifest;
use roadstead_model::{AppName, AppState, EnvironmentSpec, HostId, ServiceName};
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
    /// Those whose host was taken out by an operator, and says that it does not run them.
    left: BTreeSet<ServiceName>,
}

/// A service that finds another home, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) old: &'a HostId,
    pub(super) new: &'a HostId,
    pub(super) why: &'static str,
}

impl Loop {
    /// A service stays where it is while that host is of the fleet and fits, be it away: a host that is not heard may still run it, unless
    /// its lease is over. Else it goes to the first host that the service wants, one that is connected before one that is not. Nothing new
    /// comes to hosts that are `out`, which do not come level, and what one of them says that it does not run leaves it.
    pub(super) async fn homes(
        &self,
        spec: &EnvironmentSpec,
        manifest: &Manifest,
        hosts: &[HostRecord],
        out: &BTreeSet<HostId>,
    ) -> Result<Homes, LedgerError> {
        let known = self.parts.ledger.singletons(&spec.name, &spec.app).await?.into_iter().collect();
        let mut homes = Homes { known, ..Homes::default() };
        let now = self.parts.clock.steady();
        for (name, service) in manifest.spec.services.iter().filter(|(_, service)| service.kind.is_singleton()) {
            let mut fit: Vec<&HostRecord> = hosts.iter().filter(|host| service.hosts.matches(&host.labels)).collect();
            fit.sort_by_key(|host| (!self.parts.sessions.is_open(&host.id), host.name.clone(), host.id.clone()));
            let known = homes.known.get(name);
            let kept = known.and_then(|home| fit.iter().find(|host| host.id == *home));
            let is_lapsed = known.is_some_and(|host| self.has_lapsed(host, &spec.app, service.stop_timeout, now));
            let is_left = known.is_some_and(|host| out.contains(host) && self.says_it_runs_not(host, &spec.app, name));
            let first = fit.iter().find(|host| !out.contains(&host.id));
            let follows = first.filter(|host| self.parts.sessions.is_open(&host.id));
            let home = match kept {
                // Nobody is better off by a home that is as silent.
                Some(_) if is_lapsed || is_left => follows.or(kept),
                Some(_) => kept,
                None => first,
            };
            if let Some(host) = home {
                homes.wanted.insert(name.clone(), host.id.clone());
            }
            if is_lapsed {
                homes.lapsed.insert(name.clone());
            }
            if is_left {
                homes.left.insert(name.clone());
            }
        }
        Ok(homes)
    }

    /// Whether a host is here, carries out nothing, and was not prepared to run a service.
    fn says_it_runs_not(&self, host: &HostId, app: &AppName, service: &ServiceName) -> bool {
        // Otherwise a hello of this session is on its way here.
        let epoch = self.parts.sessions.epoch(host);
        let is_here = epoch.is_some() && self.sent.get(host).map(|(of_epoch, _)| *of_epoch) == epoch;
        is_here && !self.busy.is(host, app) && does_not_list(self.app_state(host, app), service)
    }
}

/// Whether a host that says this of an app does not run a service of it that runs only once. One that may still go back by itself may run it
/// then.
pub(super) fn does_not_list(state: Option<&AppState>, service: &ServiceName) -> bool {
    let Some(state) = state.filter(|state| state.current.is_some()) else { return true };
    !state.unconfirmed && state.listed.as_ref().is_some_and(|listed| !listed.contains(service))
}

impl Homes {
    /// Where each may run now: it is left out while the host that it has to leave has not `let_go` of it.
    pub(super) fn settled(&self, let_go: impl Fn(&ServiceName, &HostId) -> bool) -> BTreeMap<ServiceName, HostId> {
        let free = |(name, home): &(&ServiceName, &HostId)| {
            let is_over = self.lapsed.contains(*name) || self.left.contains(*name);
            is_over || self.known.get(*name).is_none_or(|old| old == *home || let_go(name, old))
        };
        self.wanted.iter().filter(free).map(|(name, home)| (name.clone(), home.clone())).collect()
    }

    /// Services that leave a host which fell silent, or was taken out.
    pub(super) fn followed<'a>(&'a self, settled: &'a BTreeMap<ServiceName, HostId>) -> impl Iterator<Item = Moved<'a>> {
        let moved = settled.iter().filter_map(|(service, new)| Some((service, self.known.get(service)?, new)));
        moved.filter(|(_, old, new)| old != new).filter_map(|(service, old, new)| {
            let why = match (self.lapsed.contains(service), self.left.contains(service)) {
                (true, _) => "was not heard for longer than its lease",
                (false, true) => "was taken out by an operator, and does not run it",
                (false, false) => return None,
            };
            Some(Moved { service, old, new, why })
        })
    }

    /// Where services should be.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &HostId> {
        self.wanted.values()
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
        let homes = |known, wanted| Homes { known, wanted, ..Homes::default() };
        let first = homes(BTreeMap::new(), at(1));
        assert_eq!(first.settled(|_, _| false), at(1));
        let moves = homes(at(1), at(2));
        assert_eq!(moves.settled(|_, _| false), BTreeMap::new());
        assert_eq!(moves.settled(|_, old| *old == host_id(1)), at(2));
        assert_eq!(moves.followed(&at(2)).count(), 0, "it was let go of, and nothing is wrong");
        assert!(moves.gains(&host_id(2), &at(2)) && !moves.gains(&host_id(1), &at(2)));
        let lapsed = Homes { lapsed: BTreeSet::from([beat.clone()]), ..homes(at(1), at(2)) };
        assert_eq!(lapsed.settled(|_, _| false), at(2));
        let left = Homes { left: BTreeSet::from([beat.clone()]), ..homes(at(1), at(2)) };
        assert_eq!(left.settled(|_, _| false), at(2));
        let told: Vec<_> = left.followed(&at(2)).map(|moved| (moved.old.clone(), moved.new.clone())).collect();
        assert_eq!(told, [(host_id(1), host_id(2))]);
        let stays = homes(at(1), at(1));
        assert_eq!(stays.settled(|_, _| false), at(1));
        assert!(!stays.gains(&host_id(1), &at(1)));
    }

    #[test]
    fn who_does_not_say_what_it_was_prepared_for_may_run_it() {
        let (beat, release) = (ServiceName::parse("beat").unwrap(), crate::samples::release("1.0").id());
        let serves = |listed: Option<&[&ServiceName]>| AppState {
            current: Some(release.clone()),
            listed: listed.map(|listed| listed.iter().map(|name| (*name).clone()).collect()),
            ..AppState::default()
        };
        assert!(does_not_list(None, &beat) && does_not_list(Some(&AppState::default()), &beat), "nothing serves there");
        assert!(does_not_list(Some(&serves(Some(&[]))), &beat));
        assert!(!does_not_list(Some(&AppState { unconfirmed: true, ..serves(Some(&[])) }), &beat), "it may go back to what lists it");
        assert!(!does_not_list(Some(&serves(Some(&[&beat]))), &beat) && !does_not_list(Some(&serves(None)), &beat));
    }
}
