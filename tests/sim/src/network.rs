//! The network between agents and the controller: sessions over links that are slow, break, and are cut, always both ways; cuts of one way,
//! and all that happens below TCP, are for real hosts. Within a session nothing is lost or overtaken, as in TCP; what was on its way when a
//! session ended arrives late or never. Orders alone come twice: any of the last ones, long after.

use roadstead_driver::{Downward, Epoch, Event};
use roadstead_model::{HostId, Millis, Order, Report, ServiceName};
use roadstead_worker::output::Outgoing;
use roadstead_worker::worker::Event as AgentEvent;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::agent::Life;
use crate::chance::Chance;
use crate::controller::{Controller, Serving};
use crate::promises;
use crate::witness::Witness;

const HEARTBEAT: Millis = Millis::from_secs(10);
/// Silence after which both sides give a session up.
const SILENCE: Duration = Duration::from_secs(30);
/// Messages on their way.
const ON_THE_WAY: usize = 64;
/// Orders of which a host may be sent one again.
const PAST: usize = 40;

/// Which hosts are cut off.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) controller: Arc<Controller>,
    cut: Mutex<BTreeSet<HostId>>,
    /// The newest orders that each host was sent.
    past: Mutex<BTreeMap<HostId, VecDeque<Order>>>,
    healed: Notify,
}

impl Network {
    pub(crate) fn new(controller: Arc<Controller>) -> Self {
        Self { controller, cut: Mutex::default(), past: Mutex::default(), healed: Notify::new() }
    }

    pub(crate) fn cut(&self, host: &HostId) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone());
    }

    pub(crate) fn heal(&self, host: &HostId) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
        self.healed.notify_waiters();
    }

    fn is_cut(&self, host: &HostId) -> bool {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// An order on its way to a host.
    fn remember(&self, host: &HostId, order: &Order) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = past.entry(host.clone()).or_default();
        of_host.push_back(order.clone());
        if of_host.len() > PAST {
            of_host.pop_front();
        }
    }

    /// One of the orders that a host was sent, as a controller would send it that was taken for dead, or a network that repeats itself.
    pub(crate) fn ghost(&self, host: &HostId, chance: &mut Chance) -> Option<Order> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = past.get(host).filter(|of_host| !of_host.is_empty())?;
        of_host.get(chance.index(of_host.len())).cloned()
    }

    pub(crate) async fn whole(&self, host: &HostId) {
        while self.is_cut(host) {
            let healed = self.healed.notified();
            if self.is_cut(host) {
                healed.await;
            }
        }
    }
}

/// One session after the other, until the agent dies.
pub(crate) async fn be_connected(host: &HostId, life: &Life, network: &Arc<Network>, mut chance: Chance) {
    loop {
        network.whole(host).await;
        if let Some(serving) = network.controller.serving() {
            session(host, life, network, &serving, &mut chance).await;
        }
        sleep(chance.millis(100, 10_000)).await;
    }
}

/// A message and when it arrives.
type OnItsWay<T> = (Instant, T);

async fn session(host: &HostId, life: &Life, network: &Arc<Network>, serving: &Serving, chance: &mut Chance) {
    let (reply, hello) = oneshot::channel();
    if life.events.send(AgentEvent::Hello(reply)).await.is_err() {
        return;
    }
    let Ok(hello) = hello.await else { return };
    sleep(chance.millis(1, 2_000)).await;
    if network.is_cut(host) || serving.dead.is_cancelled() {
        return;
    }
    let mut opened = serving.sessions.open(host);
    let epoch = opened.epoch;
    let witness = network.controller.witness().clone();
    witness.saw(format!("network  the session of {host} opens"));
    let after = if chance.percent(80) { chance.millis(0, 500) } else { chance.millis(500, 30_000) };
    let _ending = Ending { host: host.clone(), epoch, serving: serving.clone(), witness, after };
    life.contact.set_heartbeat(HEARTBEAT);
    life.contact.hear();
    let (mut outcomes, mut steps) = (Vec::new(), Vec::new());
    for report in hello.outcomes.into_iter().chain(hello.steps) {
        match report {
            Report::Order { key, outcome } => outcomes.push((key, outcome)),
            Report::Step(step) => steps.push(step),
            Report::Refused { .. } | Report::WentBack { .. } => {}
        }
    }
    serving.driver.tell(Event::Hello { host: host.clone(), epoch, facts: Box::new(hello.facts), outcomes, steps }).await;

    let (up, arriving) = mpsc::channel::<OnItsWay<Event>>(ON_THE_WAY);
    tokio::spawn(arrive(host.clone(), Arc::clone(network), serving.clone(), arriving));
    let (mut reports, mut heard) = (0, Instant::now());
    let mut beat = interval(HEARTBEAT.to_duration());
    loop {
        tokio::select! {
            biased;
            () = serving.dead.cancelled() => break,
            () = opened.cut.cancelled() => break,
            () = sleep_until(heard + SILENCE) => break,
            message = opened.messages.recv() => {
                let Some(message) = message else { break };
                // A connection that takes nothing for so long is given up.
                if timeout(SILENCE, network.whole(host)).await.is_err() {
                    break;
                }
                sleep(chance.millis(0, 200)).await;
                heard = Instant::now();
                life.contact.hear();
                if let Downward::Lease(table) = message {
                    let services: Vec<&str> = table.services.iter().map(ServiceName::as_str).collect();
                    network.controller.witness().saw(format!("network  {host} may run {services:?} (turn {}, answer {})", table.turn & 0xffff, table.answers));
                    if life.events.send(AgentEvent::Lease(table)).await.is_err() {
                        break;
                    }
                } else if let Downward::Order(order) = message {
                    network.remember(host, &order);
                    promises::of_order(network.controller.witness(), &network.controller.ledger.tables(), host, &order);
                    if life.events.send(AgentEvent::Order(order)).await.is_err() {
                        break;
                    }
                }
            }
            _ = beat.tick() => if !network.is_cut(host) {
                heard = Instant::now();
                life.contact.hear();
            },
            item = life.outbox.next() => {
                let event = match item {
                    Outgoing::Report(report) => {
                        network.controller.look_at(host, &report);
                        reports += 1;
                        Event::Report { host: host.clone(), epoch, sequence: reports, report: Box::new(report) }
                    }
                    Outgoing::Facts(facts) => Event::Facts { host: host.clone(), epoch, facts },
                    Outgoing::Lease(ask) => Event::LeaseAsked { host: host.clone(), epoch, ask },
                    Outgoing::Output(_) | Outgoing::Traffic(_) => continue,
                };
                let late = if chance.percent(5) { chance.millis(0, 20_000) } else { chance.millis(0, 200) };
                if up.send((Instant::now() + late, event)).await.is_err() {
                    break;
                }
            }
        }
    }
}

/// The controller's end of a session. It learns of the other end's death a moment later, or when nothing was heard for too long.
struct Ending {
    host: HostId,
    epoch: Epoch,
    serving: Serving,
    witness: Witness,
    after: Duration,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { host, epoch, serving, witness, after } = self;
        let (host, epoch, serving, witness, after) = (host.clone(), *epoch, serving.clone(), witness.clone(), *after);
        tokio::spawn(async move {
            sleep(after).await;
            witness.saw(format!("network  the session of {host} ends"));
            if serving.sessions.close(&host, epoch) {
                serving.driver.tell(Event::Gone { host }).await;
            }
        });
    }
}

/// Brings messages up, in their order, when they are due and the link is whole.
async fn arrive(host: HostId, network: Arc<Network>, serving: Serving, mut arriving: mpsc::Receiver<OnItsWay<Event>>) {
    while let Some((due, event)) = arriving.recv().await {
        sleep_until(due).await;
        // What waits for too long is lost with its connection.
        if timeout(SILENCE, network.whole(&host)).await.is_err() || serving.dead.is_cancelled() {
            return;
        }
        serving.driver.tell(event).await;
    }
}
