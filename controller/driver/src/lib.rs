//! The driver: receive, decide, save, send. One task owns every unfinished rollout and brings what hosts and operators say to the
//! pure core in `roadstead-rollout`. It knows no database, no network and no clock: a [`Ledger`], [`Sessions`], an [`Announce`]r
//! and a [`Clock`] are given to it, by the controller or by a simulator. It decides nothing that the core decides.
//!
//! Nothing leaves before what it follows from is durable. Orders are a function of the saved state, so that a crash anywhere
//! only sends them again.

mod ahead;
mod announce;
mod busy;
mod clock;
mod configuration;
mod drift;
mod fleet;
mod foresee;
mod gates;
mod homes;
mod leases;
mod ledger;
mod level;
mod looking;
mod outputs;
mod parked;
mod planning;
mod records;
mod removal;
mod running;
pub mod samples;
mod sessions;
mod sets;
mod tending;
mod traffic;
mod tries;
mod verbs;
mod windows;

use roadstead_model::{
    AppName, HostFacts, HostId, LeaseAsk, LeaseTable, OrderKey, OrderOutcome, Report, RolloutId, StepReport, TrafficSeen,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use ahead::Ahead;
pub use announce::Announce;
use busy::Busy;
pub use clock::Clock;
use drift::Drifts;
pub use drift::Repair;
pub use foresee::{Foresee, Foreseen, OtherPlan};
pub use gates::LockRecord;
use gates::Looked;
use leases::Leases;
pub use ledger::{Changes, LeaseRecord, Ledger, LedgerError, Serving};
pub use looking::Measure;
use looking::{Looking, Seen};
pub use outputs::{OutputPart, Outputs};
use parked::Parked;
pub use records::{
    ConfigurationRecord, Configured, EnvironmentRecord, HostRecord, NewEvent, OutputRecord, ReleaseRecord, RolloutRecord, Runs,
    SignatureRecord, printable,
};
pub use removal::{NotRemoved, Removal};
use running::Running;
pub use sessions::{Downward, Epoch, Opened, Sessions};
pub use tending::TendRequest;
use traffic::{Balancers, Shares};
use tries::Tries;
pub use verbs::{Refused, RestoreRequest, StartRequest, Verb};
pub use windows::{UnknownTimeZone, check_time_zone, opens_in};

/// Events that wait; whoever brings one more waits with it.
const QUEUE: usize = 1024;
/// Events that are decided before one save.
const EVENTS_MAX: usize = 512;
/// How long until a save that failed is tried again.
const SAVE_AGAIN: Duration = Duration::from_millis(500);
/// A rollout is looked at this often while it runs, whatever it waits for.
const LOOK_AT_MOST: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Something that happens to the driver.
#[derive(Debug)]
pub enum Event {
    /// A host's session opened.
    Hello {
        /// Which host.
        host: HostId,
        /// Which of its sessions.
        epoch: Epoch,
        /// What it says of itself.
        facts: Box<HostFacts>,
        /// The outcomes that it remembers.
        outcomes: Vec<(OrderKey, OrderOutcome)>,
        /// The steps that are done of its newest rollout.
        steps: Vec<StepReport>,
    },
    /// A host's session closed.
    Gone {
        /// Which host.
        host: HostId,
    },
    /// A host's facts changed.
    Facts {
        /// Which host.
        host: HostId,
        /// In which of its sessions.
        epoch: Epoch,
        /// What it says now.
        facts: Box<HostFacts>,
    },
    /// A host reported.
    Report {
        /// Which host.
        host: HostId,
        /// Which of its sessions is to hear that the report is durable.
        epoch: Epoch,
        /// The report's number in that session.
        sequence: u64,
        /// What it says.
        report: Box<Report>,
    },
    /// A balancer says what it does with the hosts of an app.
    Traffic {
        /// Which host is the balancer.
        host: HostId,
        /// In which of its sessions.
        epoch: Epoch,
        /// What it says.
        seen: Box<TrafficSeen>,
    },
    /// A host asks for its lease of what runs only once.
    LeaseAsked {
        /// Which host.
        host: HostId,
        /// In which of its sessions.
        epoch: Epoch,
        /// What it says.
        ask: LeaseAsk,
    },
    /// A host was cut off for good.
    Revoked {
        /// Which host.
        host: HostId,
    },
    /// Something has changed that gates depend on, such as the lock of an environment.
    LookAtGates,
    /// The policy of an environment has changed, or there is one more or less.
    EnvironmentsChanged,
    /// Someone wants something.
    Verb {
        /// What.
        verb: Verb,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Arc<RolloutRecord>, Refused>>,
    },
    /// Someone wants to know what a rollout would be.
    Foresee {
        /// Of what, where.
        asked: Foresee,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Box<Foreseen>, Refused>>,
    },
    /// Someone wants a host repaired.
    Repair {
        /// Which, and why.
        repair: Repair,
        /// Where the answer goes: what begins, or will when it can.
        answer: oneshot::Sender<Result<Vec<String>, LedgerError>>,
    },
    /// Someone wants an environment to go.
    Remove {
        /// Which.
        removal: Removal,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), NotRemoved>>,
    },
}

/// The way to the driver.
#[derive(Debug, Clone)]
pub struct Driver {
    events: mpsc::Sender<Event>,
    ahead: Ahead,
    balancers: Balancers,
}

impl Driver {
    /// Tells the driver something; waits while it is busy.
    pub async fn tell(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("the driver has stopped");
        }
    }

    /// Whether nothing moves a host, because it has heard of more than the ledger knows.
    #[must_use]
    pub fn holds(&self, host: &HostId) -> bool {
        self.ahead.contains(host)
    }

    /// What a balancer said last of an app; `None` while it has no session, or has said nothing in it.
    #[must_use]
    pub fn balancer(&self, host: &HostId, app: &AppName) -> Option<TrafficSeen> {
        self.balancers.get(host, app)
    }

    /// Asks for a repair of a host; gives what begins, or will when it can.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn repair(&self, repair: Repair) -> Result<Vec<String>, LedgerError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Repair { repair, answer }).await;
        answered.await.map_err(|_| LedgerError::Stopping)?
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn ask(&self, verb: Verb) -> Result<Arc<RolloutRecord>, Refused> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Verb { verb, answer }).await;
        answered.await.map_err(|_| Refused::Ledger(LedgerError::Stopping))?
    }
}

/// What the driver needs.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where everything is saved.
    pub ledger: Arc<dyn Ledger>,
    /// Where orders go.
    pub sessions: Sessions,
    /// Where output is kept.
    pub outputs: Outputs,
    /// Where changes are told.
    pub announcer: Arc<dyn Announce>,
    /// Who looks at releases that bake.
    pub measure: Arc<dyn Measure>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The term of this start.
    pub term: u64,
}

/// The task's own state.
#[derive(Debug)]
struct Loop {
    parts: Parts,
    running: BTreeMap<RolloutId, Running>,
    facts: BTreeMap<HostId, HostFacts>,
    ahead: Ahead,
    busy: Busy,
    /// The ledger's, which changes only while no controller runs.
    forgiven: u64,
    next_rollout: u64,
    /// Orders that went out in the session that is open.
    sent: BTreeMap<HostId, (Epoch, BTreeSet<(RolloutId, u32)>)>,
    /// Attempts to bring hosts level that did not work.
    tries: Tries,
    /// Hosts that were changed behind the product's back.
    drifts: Drifts,
    /// When the gates of rollouts were looked at.
    looked: Looked,
    /// What is asked for and waits for another rollout to give way.
    parked: Vec<Parked>,
    /// Which share of the traffic each host gets.
    shares: Shares,
    /// Who may run what runs only once.
    leases: Leases,
    /// Looks at batches that bake.
    looking: Looking,
    /// Plans that were shown to somebody.
    shown: foresee::Shown,
    work: Work,
}

/// What a round of events brought about, to be saved and then told.
#[derive(Debug, Default)]
struct Work {
    changes: Changes,
    touched: BTreeSet<RolloutId>,
    /// Touched in ways that need not survive a crash, such as progress.
    lightly: BTreeSet<RolloutId>,
    acknowledge: Vec<(HostId, Epoch, u64)>,
    answers: Vec<Answer>,
    leases: Vec<(HostId, Epoch, LeaseTable)>,
    look_for_level: bool,
}

/// What a host remembers of its orders.
#[derive(Debug)]
struct Remembered {
    outcomes: Vec<(OrderKey, OrderOutcome)>,
    steps: Vec<StepReport>,
}

#[derive(Debug)]
struct Answer {
    to: oneshot::Sender<Result<Arc<RolloutRecord>, Refused>>,
    rollout: RolloutId,
}

/// Starts the driver; it takes up every rollout that has not ended.
///
/// # Errors
/// When the database cannot be read.
pub async fn start(parts: Parts, stopping: CancellationToken) -> Result<(Driver, tokio::task::JoinHandle<()>), LedgerError> {
    let (events, queue) = mpsc::channel(QUEUE);
    let driver = Loop::load(parts).await?;
    let (ahead, balancers) = (driver.ahead.clone(), driver.shares.seen());
    let task = tokio::spawn(driver.run(queue, stopping));
    Ok((Driver { events, ahead, balancers }, task))
}

impl Loop {
    async fn load(parts: Parts) -> Result<Self, LedgerError> {
        let hosts = parts.ledger.hosts(None).await?;
        let mut this = Self {
            running: BTreeMap::new(),
            facts: hosts.into_iter().map(|host| (host.id, host.facts)).collect(),
            next_rollout: parts.ledger.last_rollout().await? + 1,
            ahead: Ahead::default(),
            busy: Busy::default(),
            forgiven: parts.ledger.forgiven().await?,
            sent: BTreeMap::new(),
            tries: Tries::default(),
            drifts: Drifts::default(),
            looked: Looked::default(),
            looking: Looking::default(),
            parked: Vec::new(),
            shares: Shares::new(Balancers::default()),
            leases: Leases::new(parts.ledger.leases().await?, parts.term, parts.clock.steady()),
            shown: foresee::Shown::default(),
            work: Work::default(),
            parts,
        };
        this.recall_drifts();
        for record in this.parts.ledger.unfinished_rollouts().await? {
            let rollout = record.state.plan.rollout;
            let hosts = record.state.hosts.keys().cloned();
            this.parts.outputs.restore(rollout, hosts, this.parts.ledger.outputs(rollout).await?);
            this.running.insert(rollout, Running::new(record));
            this.announce(rollout);
            this.take_up(rollout);
        }
        Ok(this)
    }

    /// A rollout goes on after a start: no session is open yet.
    fn take_up(&mut self, rollout: RolloutId) {
        tracing::info!(%rollout, "an unfinished rollout is taken up");
        self.decide(rollout, roadstead_rollout::Event::Resumed);
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Event>, stopping: CancellationToken) {
        let (mut events, mut seen) = (Vec::new(), None::<Seen>);
        self.finish_round(&stopping).await;
        loop {
            self.begin_looks();
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                count = queue.recv_many(&mut events, EVENTS_MAX) => if count == 0 { break },
                looked = self.looking.next() => seen = Some(looked),
                () = tokio::time::sleep(wake) => {}
            }
            for event in events.drain(..) {
                self.take(event, &stopping).await;
            }
            self.take_looks(seen.take());
            self.tick();
            self.look_at_gates().await;
            self.finish_round(&stopping).await;
        }
        for (rollout, outputs) in self.parts.outputs.all() {
            if let Err(error) = self.parts.ledger.keep_outputs(rollout, outputs).await {
                tracing::warn!(%error, "the output of steps was not written down");
            }
        }
    }

    async fn take(&mut self, event: Event, stopping: &CancellationToken) {
        match event {
            Event::Hello { host, epoch, facts, outcomes, steps } => {
                self.hello(&host, epoch, *facts, &Remembered { outcomes, steps });
                self.look_whether_ahead(&host).await;
            }
            Event::Gone { host } => self.gone(&host),
            // What an earlier session said may be older than what this one has told already.
            Event::Facts { host, epoch, .. } if self.parts.sessions.epoch(&host) != Some(epoch) => {
                tracing::debug!(%host, "facts of an earlier session came late");
            }
            Event::Facts { host, facts, .. } => self.take_facts(&host, *facts),
            Event::Report { host, epoch, sequence, report } => self.report(&host, epoch, sequence, *report),
            Event::Traffic { host, epoch, seen } => self.traffic_seen(&host, epoch, *seen),
            Event::LeaseAsked { host, epoch, ask } => self.lease_asked(&host, epoch, ask),
            Event::Revoked { host } => self.revoked(&host),
            Event::LookAtGates => {
                self.looked.again();
                // What is locked is not repaired by itself.
                self.work.look_for_level |= self.drifts.is_any();
            }
            Event::EnvironmentsChanged => {
                self.shares.is_stale = true;
                self.leases.is_stale = true;
                // A host that differs may be wanted repaired now.
                self.work.look_for_level |= self.drifts.is_any();
            }
            Event::Verb { verb, answer } => {
                // What was decided before is saved first: a verb reads the database.
                self.finish_round(stopping).await;
                self.looked.again();
                match self.park(verb, answer) {
                    Some((verb, answer)) => {
                        self.answer(verb, answer).await;
                        // Whoever asks is told at once why it waits.
                        self.look_at_gates().await;
                    }
                    None => tracing::info!("what is asked for waits until hosts that come level have given way"),
                }
                self.finish_round(stopping).await;
            }
            Event::Foresee { asked, answer } => self.foresee(asked, answer, stopping).await,
            Event::Repair { repair, answer } => {
                let begun = self.ask_for_repair(repair).await;
                // Whoever hears of it can rely on it.
                self.finish_round(stopping).await;
                drop(answer.send(begun));
            }
            Event::Remove { removal, answer } => self.remove(removal, answer, stopping).await,
        }
    }

    /// Does what is asked for; the answer goes out when it is saved.
    async fn answer(&mut self, verb: Verb, to: oneshot::Sender<Result<Arc<RolloutRecord>, Refused>>) {
        match self.verb(verb).await {
            Ok(rollout) => self.work.answers.push(Answer { to, rollout }),
            Err(Refused::Made(record)) => drop(to.send(Ok(Arc::from(record)))),
            Err(refused) => drop(to.send(Err(refused))),
        }
    }

    /// How long until a rollout has to be looked at.
    fn wake(&self) -> Duration {
        let now = self.parts.clock.steady();
        let waiting = self.running.values().filter_map(|running| roadstead_rollout::wake(running.state()));
        let waiting = waiting.chain(self.next_look()).chain(self.next_lapse());
        let next = waiting.chain(self.parked.iter().map(|parked| parked.until)).chain(self.tries.next()).chain(self.drifts.next()).min();
        match next {
            None => Duration::from_secs(3600),
            // What is overdue although it was just looked at waits for something else than the clock.
            Some(until) if until <= now => LOOK_AGAIN,
            // A little later than the deadline, so that it has passed.
            Some(until) => (until.since(now).to_duration() + Duration::from_millis(1)).min(LOOK_AT_MOST),
        }
    }

    fn tick(&mut self) {
        let now = self.parts.clock.steady();
        let due = |running: &Running| roadstead_rollout::wake(running.state()).is_none_or(|wake| wake <= now);
        let due: Vec<RolloutId> = self.running.iter().filter(|(_, r)| due(r)).map(|(id, _)| *id).collect();
        for rollout in due {
            self.decide(rollout, roadstead_rollout::Event::Tick);
        }
        // Both are asked: each marks what it told.
        let (tries, repairs) = (self.tries.are_due(now), self.drifts.are_due(now));
        self.work.look_for_level |= tries || repairs;
        self.look_for_lapses(now);
    }

    /// Saves what was decided, then tells it: acknowledgements, orders, watchers, answers.
    async fn finish_round(&mut self, stopping: &CancellationToken) {
        loop {
            if let Err(error) = self.look_at_leases().await {
                tracing::error!(%error, "hosts are not told what they may run of what runs only once");
            }
            let mut work = std::mem::take(&mut self.work);
            let ended = self.collect(&mut work).await;
            self.shares.has_changed |= !work.touched.is_empty();
            self.shares.is_stale |= !ended.is_empty() || !work.changes.started.is_empty();
            // A service has found another home.
            let has_moved = !work.changes.singletons.is_empty();
            self.leases.is_stale |= has_moved;
            if !self.save(&work.changes, stopping).await {
                return;
            }
            self.tell(work, &ended).await;
            if let Err(error) = self.share_out().await {
                tracing::error!(%error, "balancers are not told how traffic is shared out");
            }
            if self.unpark().await || !self.work.touched.is_empty() || has_moved {
                continue;
            }
            if !self.work.look_for_level {
                return;
            }
            self.work.look_for_level = false;
            if let Err(error) = self.bring_level().await {
                tracing::error!(%error, "hosts that are not level were not looked for");
                return;
            }
        }
    }

    /// Saves; tries until it works. What is not durable is neither acknowledged nor sent.
    async fn save(&self, changes: &Changes, stopping: &CancellationToken) -> bool {
        if changes.is_empty() {
            return true;
        }
        loop {
            match self.parts.ledger.save(changes.clone()).await {
                Ok(()) => return true,
                Err(error) => tracing::error!(%error, "a decision is not saved yet; nothing is sent until it is"),
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return false,
                () = tokio::time::sleep(SAVE_AGAIN) => {}
            }
        }
    }

    async fn tell(&mut self, work: Work, ended: &[RolloutId]) {
        for (host, epoch, sequence) in work.acknowledge {
            if self.parts.sessions.epoch(&host) == Some(epoch) {
                self.parts.sessions.send(&host, Downward::Acknowledge(sequence));
            }
        }
        for rollout in work.touched.iter().chain(&work.lightly) {
            self.send_orders(*rollout);
            self.announce(*rollout);
        }
        self.send_leases(work.leases);
        for answer in work.answers {
            if let Some(running) = self.running.get(&answer.rollout) {
                drop(answer.to.send(Ok(running.shared())));
            }
        }
        for rollout in ended {
            if let Some(running) = self.running.remove(rollout) {
                self.note_levels(running.state());
            }
            // In memory until it is written down: a reader finds it in one of the two.
            let outputs = self.parts.outputs.kept(*rollout);
            if let Err(error) = self.parts.ledger.keep_outputs(*rollout, outputs).await {
                tracing::warn!(%error, "the output of steps was not written down");
            }
            self.parts.outputs.end(*rollout);
            self.parts.announcer.end(*rollout);
        }
        self.work.look_for_level |= work.look_for_level || !ended.is_empty();
    }

    fn announce(&self, rollout: RolloutId) {
        if let Some(running) = self.running.get(&rollout) {
            self.parts.announcer.tell(running.record());
        }
    }

    fn send_orders(&mut self, rollout: RolloutId) {
        let Some(running) = self.running.get(&rollout) else { return };
        for (host, order) in roadstead_rollout::orders(running.state(), self.parts.term) {
            if self.is_ahead(&host) {
                continue;
            }
            let Some(epoch) = self.parts.sessions.epoch(&host) else { continue };
            // Otherwise a hello of this session is on its way here: with it the host gets its orders.
            let Some((_, sent)) = self.sent.get_mut(&host).filter(|(of_epoch, _)| *of_epoch == epoch) else { continue };
            if sent.insert((rollout, order.fence.sequence)) {
                tracing::info!(%rollout, %host, verb = order.kind.verb(), "an order goes out");
                self.busy.ordered(&host, &order.app, order.key());
                self.parts.sessions.send(&host, Downward::Order(Box::new(order)));
            }
        }
    }
}
