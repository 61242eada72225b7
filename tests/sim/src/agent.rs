//! One host's agent: the code that runs on real hosts, on a disk and with hands of its own. It is killed, loses its power, comes back.

use roadstead_model::{AppName, HostId, HostName, Order, Timestamp};
use roadstead_worker::clock::{Monotonic, WallClock};
use roadstead_worker::contact::Contact;
use roadstead_worker::disk::SimDisk;
use roadstead_worker::journal::Journals;
use roadstead_worker::leases::Leases;
use roadstead_worker::output::Outbox;
use roadstead_worker::state::States;
use roadstead_worker::tasks::Tasks;
use roadstead_worker::watchdog::NoWatchdog;
use roadstead_worker::worker::{Event, Means, Worker};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::hands::SimHands;
use crate::network::{Network, be_connected};
use crate::world::World;

/// How an agent's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process is killed; the machine runs on.
    Killed,
    /// The machine loses its power, now.
    PowerCut,
    /// The machine loses its power in the middle of one of the next writes.
    PowerCutWithin(u64),
}

/// One life of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) contact: Arc<Contact>,
    tasks: Tasks,
    dead: CancellationToken,
}

/// An agent, from life to life.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) host: HostId,
    pub(crate) name: HostName,
    world: Arc<World>,
    pub(crate) disk: SimDisk,
    seed: u64,
    life: Mutex<Option<Life>>,
}

impl Agent {
    pub(crate) fn new(seed: u64, host: HostId, name: HostName, world: Arc<World>) -> Arc<Self> {
        let disk = SimDisk::new(Chance::of(seed, &format!("disk of {host}")).number(0, u64::MAX));
        Arc::new(Self { host, name, world, disk, seed, life: Mutex::default() })
    }

    fn life(&self) -> Option<Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the life that it has, if it has one.
    pub(crate) fn die(&self, death: Death) {
        let Some(life) = self.life() else { return };
        self.world.witness.saw(format!("{}  {death:?}", self.name));
        match death {
            Death::Killed => life.end(),
            Death::PowerCut => {
                life.end();
                self.lose_power();
            }
            Death::PowerCutWithin(writes) => self.disk.crash_at(Some(self.disk.writes() + writes)),
        }
    }

    /// An order arrives from somewhere.
    pub(crate) fn hear(&self, order: Order) {
        if let Some(life) = self.life() {
            // Whoever is busy does not hear it.
            drop(life.events.try_send(Event::Order(Box::new(order))));
        }
    }

    fn lose_power(&self) {
        self.disk.crash();
        self.world.machine(&self.host).reboot();
    }

    /// Lives again and again, for as long as the world stands.
    pub(crate) async fn exist(self: Arc<Self>, network: Arc<Network>) {
        let mut chance = Chance::of(self.seed, &format!("lives of {}", self.host));
        for number in 0_u64.. {
            let life = self.begin(number, &mut chance);
            tokio::select! {
                biased;
                () = life.dead.cancelled() => {}
                () = life.tasks.stopping().cancelled() => {
                    self.world.witness.broken("no task of an agent ends by a bug", self.name.as_str());
                }
                () = be_connected(&self.host, &life, &network, Chance::of(self.seed, &format!("link {number} of {}", self.host))) => {}
            }
            life.end();
            *self.life.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if self.disk.is_down() {
                self.world.witness.saw(format!("{}  lost its power while it wrote", self.name));
                self.lose_power();
            }
            let settled = !self.world.is_troubled();
            let soon = settled || chance.percent(70);
            sleep(if soon { chance.millis(500, 5_000) } else { chance.millis(5_000, 900_000) }).await;
        }
    }

    fn begin(&self, number: u64, chance: &mut Chance) -> Life {
        let (tasks, dead) = (Tasks::inline(), CancellationToken::new());
        let (end, ended) = (tasks.clone(), dead.clone());
        self.disk.crash_at(None);
        self.disk.on_failure(move || {
            end.kill();
            ended.cancel();
        });
        let (outbox, contact) = (Arc::<Outbox>::default(), Arc::new(Contact::new(Monotonic::start())));
        let leases = Arc::new(Leases::new(contact.clock()));
        let hands = SimHands {
            leases: Arc::clone(&leases),
            host: self.host.clone(),
            name: self.name.clone(),
            boot: format!("boot-{number}"),
            world: Arc::clone(&self.world),
            chance: Mutex::new(Chance::of(self.seed, &format!("hands {number} of {}", self.host))),
        };
        let wrong = chance.number(0, 1_000_000_000_000);
        let wall = WallClock::new(move || Timestamp(1_800_000_000_000 + wrong));
        let disk: Arc<SimDisk> = Arc::new(self.disk.clone());
        let means = Means {
            hands: Arc::new(hands),
            journals: Journals::new(disk.clone(), wall, PathBuf::from("/var/lib/roadstead-agent/journal")),
            states: Arc::new(States::new(disk, PathBuf::from("/var/lib/roadstead-agent/apps"))),
            leases,
            outbox: Arc::clone(&outbox),
            contact: Arc::clone(&contact),
            tasks: tasks.clone(),
        };
        let (mut worker, events) = Worker::new(means);
        let on_disk: Vec<AppName> = Vec::new();
        tasks.spawn("worker", async move {
            worker.start(on_disk).await;
            worker.run(NoWatchdog).await;
        });
        let life = Life { events, outbox, contact, tasks, dead };
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(life.clone());
        life
    }
}

impl Life {
    fn end(&self) {
        self.tasks.kill();
        self.dead.cancel();
    }
}
