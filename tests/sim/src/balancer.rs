//! A host that shares out the traffic, as a fleet's balancers do: it takes up the newest table that reaches it, tells what it does, is cut
//! off and dies. What it really does is the world's to see.

use roadstead_driver::{Downward, Event, samples};
use roadstead_model::{HostId, ServerSeen, TrafficSeen, TrafficTable, Weight};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::chance::Chance;
use crate::controller::Serving;
use crate::network::Network;
use crate::world::World;

/// Silence after which a session is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// How often it looks while something is not as wanted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One balancer.
#[derive(Debug)]
pub(crate) struct Balancer {
    host: HostId,
    number: usize,
    world: Arc<World>,
    network: Arc<Network>,
    chance: Chance,
    /// Requests under way to each host.
    in_flight: BTreeMap<String, u32>,
}

impl Balancer {
    pub(crate) fn new(seed: u64, number: usize, world: Arc<World>, network: Arc<Network>) -> Self {
        let host = samples::host_id(number);
        let chance = Chance::of(seed, &format!("balancer {host}"));
        Self { host, number, world, network, chance, in_flight: BTreeMap::new() }
    }

    /// One session after the other, for as long as the world stands.
    pub(crate) async fn exist(mut self) {
        loop {
            let soon = !self.world.is_troubled() || self.chance.percent(85);
            sleep(if soon { self.chance.millis(100, 5_000) } else { self.chance.millis(5_000, 600_000) }).await;
            self.network.whole(&self.host).await;
            if let Some(serving) = self.network.controller.serving() {
                self.session(&serving).await;
            }
        }
    }

    async fn session(&mut self, serving: &Serving) {
        let mut opened = serving.sessions.open(&self.host);
        let epoch = opened.epoch;
        let facts = Box::new(samples::facts(self.number));
        serving.driver.tell(Event::Hello { host: self.host.clone(), epoch, facts, outcomes: Vec::new(), steps: Vec::new() }).await;
        let life = if self.world.is_troubled() { self.chance.millis(60_000, 3_600_000) } else { Duration::from_secs(1_000_000) };
        let ends = Instant::now() + life;
        let (mut table, mut look, mut told) = (None, interval(LOOK_EVERY), None);
        loop {
            tokio::select! {
                biased;
                () = serving.dead.cancelled() => return,
                () = opened.cut.cancelled() => break,
                () = sleep_until(ends) => break,
                message = opened.messages.recv() => {
                    let Some(message) = message else { break };
                    sleep(self.chance.millis(0, 400)).await;
                    if let Downward::Traffic(newer) = message {
                        self.take_up(&newer);
                        table = Some(newer);
                    }
                }
                _ = look.tick() => {}
            }
            if tokio::time::timeout(SILENCE, self.network.whole(&self.host)).await.is_err() {
                break;
            }
            let Some(table) = &table else { continue };
            let seen = self.seen(table);
            if told.as_ref() != Some(&seen) {
                sleep(self.chance.millis(0, 300)).await;
                serving.driver.tell(Event::Traffic { host: self.host.clone(), epoch, seen: Box::new(seen.clone()) }).await;
                told = Some(seen);
            }
        }
        if serving.sessions.close(&self.host, epoch) {
            serving.driver.tell(Event::Gone { host: self.host.clone() }).await;
        }
    }

    fn take_up(&mut self, table: &TrafficTable) {
        let mut effective = self.world.balancers[&self.host].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (host, weight) in &table.weights {
            if weight.takes() {
                self.in_flight.insert(host.to_string(), u32::try_from(self.chance.number(0, 3)).unwrap_or(0));
            }
            effective.insert(host.clone(), *weight);
        }
    }

    /// What it says, which is the truth: of requests, that they end in time, or not.
    fn seen(&mut self, table: &TrafficTable) -> TrafficSeen {
        let effective = self.world.balancers[&self.host].lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let troubled = self.world.is_troubled();
        let mut servers = BTreeMap::new();
        for host in table.weights.keys() {
            let weight = effective.get(host).copied().unwrap_or(Weight::FULL);
            let in_flight = self.in_flight.entry(host.to_string()).or_default();
            if !weight.takes() && (!troubled || self.chance.percent(40)) {
                *in_flight = in_flight.saturating_sub(1);
            }
            let up = !troubled || self.chance.percent(99);
            servers.insert(host.clone(), ServerSeen { weight, up, in_flight: *in_flight });
        }
        TrafficSeen { key: table.key, app: table.app.clone(), servers, problem: None }
    }
}
