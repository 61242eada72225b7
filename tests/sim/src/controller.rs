//! The controller: the driver of real fleets over a simulated database. It is killed and comes back with what was saved.

use roadstead_driver::{Announce, Clock as _, Driver, Outputs, Parts, RolloutRecord, Sessions, start};
use roadstead_model::{HostId, Report, RolloutId, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::ledger::SimLedger;
use crate::lookout::Lookout;
use crate::promises;
use crate::witness::Witness;
use crate::world::World;

/// One start of the controller.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) driver: Driver,
    pub(crate) sessions: Sessions,
    pub(crate) dead: CancellationToken,
    clock: Arc<SimClock>,
}

/// The controller, from start to start.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) ledger: Arc<SimLedger>,
    world: Arc<World>,
    began: Instant,
    serving: Mutex<Option<Serving>>,
    wrong: Mutex<i64>,
}

/// Sees every end that is told.
#[derive(Debug)]
struct Onlooker(Arc<World>);

impl Announce for Onlooker {
    fn tell(&self, record: &RolloutRecord) {
        promises::of_end(&self.0, record);
    }

    fn end(&self, _rollout: RolloutId) {}
}

impl Controller {
    pub(crate) fn new(world: Arc<World>) -> Arc<Self> {
        let ledger = Arc::clone(&world.ledger);
        Arc::new(Self { ledger, world, began: Instant::now(), serving: Mutex::default(), wrong: Mutex::default() })
    }

    /// The start that serves now.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who sees all of it.
    pub(crate) fn witness(&self) -> &Witness {
        &self.world.witness
    }

    /// A host reports something.
    pub(crate) fn look_at(&self, host: &HostId, report: &Report) {
        promises::of_outcome(&self.world, host, report);
    }

    /// The time of day of the start that serves.
    pub(crate) fn now(&self) -> Timestamp {
        self.serving().map_or(Timestamp(0), |serving| serving.clock.now())
    }

    /// Kills the process.
    pub(crate) fn die(&self) {
        if let Some(serving) = self.serving() {
            self.world.witness.saw("controller  killed");
            serving.dead.cancel();
        }
    }

    /// Somebody sets its clock.
    pub(crate) fn set_clock(&self, wrong: i64) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
        if let Some(serving) = self.serving() {
            serving.clock.set_wrong(wrong);
        }
    }

    /// Starts again and again, for as long as the world stands.
    pub(crate) async fn exist(self: Arc<Self>, seed: u64) {
        let mut chance = Chance::of(seed, "starts of the controller");
        loop {
            let wrong = *self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            let clock = Arc::new(SimClock::new(self.began, wrong));
            let sessions = Sessions::new(clock.clone());
            let (stopping, dead) = (CancellationToken::new(), CancellationToken::new());
            let parts = Parts {
                ledger: self.ledger.clone(),
                sessions: sessions.clone(),
                outputs: Outputs::default(),
                announcer: Arc::new(Onlooker(Arc::clone(&self.world))),
                measure: Arc::new(Lookout::new(Arc::clone(&self.world), chance.number(0, u64::MAX))),
                clock: clock.clone(),
                term: self.ledger.begin_term(),
            };
            match start(parts, stopping).await {
                Ok((driver, task)) => {
                    self.world.witness.saw("controller  starts");
                    let serving = Serving { driver, sessions: sessions.clone(), dead: dead.clone(), clock };
                    *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
                    let abort = task.abort_handle();
                    tokio::select! {
                        biased;
                        () = dead.cancelled() => {}
                        ended = task => self.world.witness.broken("the driver does not end by itself", format!("{ended:?}")),
                    }
                    abort.abort();
                    sessions.cut_all();
                    *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Err(error) => self.world.witness.broken("the controller starts", error.to_string()),
            }
            dead.cancel();
            let soon = !self.world.is_troubled() || chance.percent(70);
            sleep(if soon { chance.millis(100, 2_000) } else { chance.millis(2_000, 1_200_000) }).await;
        }
    }
}
