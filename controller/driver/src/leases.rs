//! Leases: what runs only once follows to another host when its own falls silent, where an environment wants that.
//!
//! Every host of such an environment is told what it may run, and asks for it again and again; whoever keeps to its lease says so, which is
//! written down. Such a host has stopped the services once a span, the time that they may take to stop, and a margin have passed since
//! its last answer, and once what it has armed is over, which it tells when it asks: a span that was made shorter counts from when it is armed.
//! Leases that were given by an earlier start of the controller, and of which no host has told yet, last as long as any may.

use roadstead_model::{
    AppName, EnvironmentName, EnvironmentSpec, HostId, LEASE_MAX, LeaseAsk, LeaseSpan, LeaseTable, Millis, ServiceName, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

use super::Loop;
use crate::LedgerError;
use crate::ledger::LeaseRecord;
use crate::sessions::{Downward, Epoch};

/// What the rates of two clocks may differ by in a span, and the time that systemd may need to look at its timer.
const MARGIN: Millis = Millis::from_secs(10);
/// How often services are looked for whose host is silent.
const LOOK_EVERY: Millis = Millis::from_secs(10);

/// Where something runs only once.
#[derive(Debug)]
struct Place {
    environment: EnvironmentName,
    app: AppName,
    lasts: Option<LeaseSpan>,
    homes: BTreeMap<ServiceName, HostId>,
    hosts: BTreeSet<HostId>,
}

/// What the driver knows of leases.
#[derive(Debug)]
pub(super) struct Leases {
    /// Environments, their hosts or the homes of services may have changed.
    pub(super) is_stale: bool,
    /// A session opened.
    pub(super) has_joined: bool,
    started: Timestamp,
    /// The newest turn of a table; turns of a later term are higher.
    turn: u64,
    places: Vec<Place>,
    /// Hosts that were looked for in all places.
    known: BTreeSet<HostId>,
    told: BTreeMap<(HostId, AppName), (Epoch, LeaseTable)>,
    /// As in the ledger: hosts that may go by a lease, and whether they keep to it by themselves.
    holders: BTreeMap<(HostId, AppName), (EnvironmentName, bool)>,
    /// Until when the answers of this start let services run.
    until: BTreeMap<(HostId, AppName), Timestamp>,
    looked: Timestamp,
}

impl Leases {
    /// Leases as the ledger has them.
    pub(super) fn new(records: Vec<LeaseRecord>, term: u64, started: Timestamp) -> Self {
        let holder = |record: LeaseRecord| ((record.host, record.app), (record.environment, record.keeps));
        Self {
            is_stale: true,
            has_joined: false,
            started,
            turn: term << 32,
            places: Vec::new(),
            known: BTreeSet::new(),
            told: BTreeMap::new(),
            holders: records.into_iter().map(holder).collect(),
            until: BTreeMap::new(),
            looked: started,
        }
    }

    /// Every lease that a host may go by, and where.
    fn held_by(&self, host: &HostId) -> Vec<((HostId, AppName), EnvironmentName)> {
        let of_host = self.holders.iter().filter(|((id, _), _)| id == host);
        of_host.map(|(key, (environment, _))| (key.clone(), environment.clone())).collect()
    }

    /// When a host that is silent has stopped what it may run only with a lease, but for the time of stopping; `None` where it does not
    /// keep to one.
    fn ends(&self, host: &HostId, app: &AppName) -> Option<Timestamp> {
        let place = (host.clone(), app.clone());
        self.holders.get(&place).filter(|(_, keeps)| *keeps)?;
        let last = self.until.get(&place).copied().unwrap_or_else(|| self.started.plus(LEASE_MAX));
        Some(last.plus(MARGIN))
    }
}

impl Loop {
    /// Whether a host has stopped a service of which it was not heard any more, as it had confirmed that it would.
    pub(super) fn has_lapsed(&self, host: &HostId, app: &AppName, stop: Millis, now: Timestamp) -> bool {
        !self.parts.sessions.is_open(host) && self.leases.ends(host, app).is_some_and(|ends| ends.plus(stop) <= now)
    }

    /// What hosts are to be told, written down first where the ledger has to know of it.
    pub(super) async fn look_at_leases(&mut self) -> Result<(), LedgerError> {
        if std::mem::take(&mut self.leases.is_stale) {
            self.leases.places = self.leased_places().await.inspect_err(|_| self.leases.is_stale = true)?;
            let all = self.leases.places.iter().flat_map(|place| place.hosts.iter().cloned());
            self.leases.known = all.chain(self.facts.keys().cloned()).collect();
            self.leases.has_joined = true;
        }
        if !std::mem::take(&mut self.leases.has_joined) {
            return Ok(());
        }
        let places = std::mem::take(&mut self.leases.places);
        for place in &places {
            for host in &place.hosts {
                self.tell_lease(place, host);
            }
        }
        self.leases.places = places;
        Ok(())
    }

    async fn leased_places(&mut self) -> Result<Vec<Place>, LedgerError> {
        let mut places = Vec::new();
        for environment in self.parts.ledger.environments().await? {
            let spec = environment.spec;
            let is_held = |((_, app), (of, _)): (&(HostId, AppName), &(EnvironmentName, bool))| *app == spec.app && *of == spec.name;
            if spec.failover.is_none() && !self.leases.holders.iter().any(is_held) {
                continue;
            }
            let homes: BTreeMap<_, _> = self.parts.ledger.singletons(&spec.name, &spec.app).await?.into_iter().collect();
            let mut hosts = self.parts.ledger.hosts(Some(&spec.name)).await?;
            hosts.retain(|host| host.revoked_at.is_none());
            let hosts = hosts.into_iter().map(|host| host.id).collect();
            places.push(Place { environment: spec.name, app: spec.app, lasts: spec.failover, homes, hosts });
        }
        Ok(places)
    }

    fn tell_lease(&mut self, place: &Place, host: &HostId) {
        let Some(epoch) = self.parts.sessions.epoch(host) else { return };
        let key = (host.clone(), place.app.clone());
        let is_holder = self.leases.holders.contains_key(&key);
        // Otherwise a hello of this session is on its way here.
        let is_here = self.sent.get(host).is_some_and(|(of_epoch, _)| *of_epoch == epoch);
        if !is_here || (place.lasts.is_none() && !is_holder) || (place.homes.is_empty() && !is_holder) {
            return;
        }
        let services: BTreeSet<ServiceName> = place.homes.iter().filter(|(_, home)| *home == host).map(|(name, _)| name.clone()).collect();
        let same = |(of, table): &(Epoch, LeaseTable)| *of == epoch && table.lasts == place.lasts && table.services == services;
        if self.leases.told.get(&key).is_some_and(same) {
            return;
        }
        self.leases.turn += 1;
        let table = LeaseTable { app: place.app.clone(), turn: self.leases.turn, lasts: place.lasts, services, answers: 0 };
        // A host that is told that it needs none any more may go by that before anybody hears of it.
        let keeps = place.lasts.is_some() && self.leases.holders.get(&key).is_some_and(|(_, keeps)| *keeps);
        self.note_holder(&key, &place.environment, Some(keeps));
        self.leases.told.insert(key, (epoch, table.clone()));
        self.work.leases.push((host.clone(), epoch, table));
    }

    fn note_holder(&mut self, key: &(HostId, AppName), environment: &EnvironmentName, keeps: Option<bool>) {
        let known = self.leases.holders.get(key).map(|(_, keeps)| *keeps);
        if known == keeps {
            return;
        }
        match keeps {
            Some(keeps) => drop(self.leases.holders.insert(key.clone(), (environment.clone(), keeps))),
            None => drop(self.leases.holders.remove(key)),
        }
        let (host, app) = key.clone();
        self.work.changes.leases.push((environment.clone(), app, host, keeps));
    }

    /// A host asks for its lease.
    pub(super) fn lease_asked(&mut self, host: &HostId, epoch: Epoch, ask: LeaseAsk) {
        let key = (host.clone(), ask.app);
        let Some((of_epoch, table)) = self.leases.told.get(&key) else { return };
        let Some((environment, keeps)) = self.leases.holders.get(&key) else { return };
        let keeps = *keeps;
        if self.parts.sessions.epoch(host) != Some(epoch) || *of_epoch != epoch || table.turn != ask.turn {
            // It asks again when it has the newest table, which is on its way.
            return;
        }
        let (environment, answer) = (environment.clone(), LeaseTable { answers: ask.number, ..table.clone() });
        match table.lasts {
            Some(lasts) => {
                let now = self.parts.clock.steady();
                let answered = now.plus(lasts.get());
                let before = match ask.lasts {
                    // A longer lease of before, where a shorter one is not armed yet.
                    Some(lasts) => now.plus(lasts.min(LEASE_MAX)),
                    None => self.leases.until.get(&key).copied().unwrap_or_else(|| self.leases.started.plus(LEASE_MAX)),
                };
                self.leases.until.insert(key.clone(), answered.max(before));
                // An agent that has started anew arms nothing before it was answered; what runs is ended by what was armed before.
                self.note_holder(&key, &environment, Some(ask.keeps || (ask.needs && keeps)));
                self.work.leases.push((host.clone(), epoch, answer));
            }
            None if !ask.needs => self.note_holder(&key, &environment, None),
            None => {}
        }
    }

    /// Sends what is written down.
    pub(super) fn send_leases(&self, leases: Vec<(HostId, Epoch, LeaseTable)>) {
        for (host, epoch, table) in leases {
            if self.parts.sessions.epoch(&host) == Some(epoch) {
                self.parts.sessions.send(&host, Downward::Lease(Box::new(table)));
            }
        }
    }

    /// Whether a host that is not among an environment's any more, and was not cut off, may still run what it has a lease of.
    pub(super) fn is_here_by_lease(&self, host: &HostId, spec: &EnvironmentSpec) -> bool {
        spec.failover.is_some() && self.leases.holders.contains_key(&(host.clone(), spec.app.clone()))
    }

    /// A host's session opened. Another agent than before may know nothing of leases.
    pub(super) fn lease_hello(&mut self, host: &HostId, is_another: bool) {
        if is_another {
            for (key, environment) in self.leases.held_by(host) {
                self.note_holder(&key, &environment, Some(false));
            }
        }
        self.leases.has_joined |= !self.leases.places.is_empty();
        self.leases.is_stale |= !self.leases.known.contains(host);
    }

    /// A host was cut off for good.
    pub(super) fn lease_revoked(&mut self, host: &HostId) {
        for (key, environment) in self.leases.held_by(host) {
            self.note_holder(&key, &environment, None);
        }
        self.leases.told.retain(|(id, _), _| id != host);
        self.leases.until.retain(|(id, _), _| id != host);
        self.leases.is_stale = true;
    }

    /// When services are to be looked for whose host is silent.
    pub(super) fn next_lapse(&self) -> Option<Timestamp> {
        let of_place = |place: &Place| {
            let silent = place.homes.values().filter(|home| place.lasts.is_some() && !self.parts.sessions.is_open(home));
            silent.filter_map(|home| self.leases.ends(home, &place.app)).min()
        };
        let next = self.leases.places.iter().filter_map(of_place).min()?;
        Some(next.max(self.leases.looked.plus(LOOK_EVERY)))
    }

    /// Looks for services whose host is silent, when it is time.
    pub(super) fn look_for_lapses(&mut self, now: Timestamp) {
        if self.next_lapse().is_some_and(|at| at <= now) {
            self.leases.looked = now;
            self.work.look_for_level = true;
        }
    }
}
