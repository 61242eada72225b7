//! The loop of the agent: receive, decide, save, act. One order at a time for an app, apps beside each other.

mod following;
mod leasing;
mod watching;

use roadstead_deployment::{Admission, Status};
use roadstead_model::{
    AppName, Failure, FailureKind, HostFacts, LeaseTable, Millis, Order, OrderKey, OrderKind, OrderOutcome, Report, StepName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Work};
use crate::contact::Contact;
use crate::failure::chain;
use crate::hands::Hands;
use crate::journal::{JournalFile, Journals};
use crate::lease::Hold;
use crate::leases::Leases;
use crate::output::{Outbox, Outgoing};
use crate::runner::{Driven, Runner};
use crate::state::States;
use crate::tasks::Tasks;
use crate::watchdog::Watchdog;

/// Events that wait for the worker; who brings more waits too.
pub const EVENTS_MAX: usize = 32;
/// Apps on one host.
const APPS_MAX: usize = 256;
/// Journals that are kept of each app.
const JOURNALS_KEPT: usize = 20;
/// How long bringing an app up after a start may take.
const RECONCILE_AT_MOST: Duration = Duration::from_secs(300);

/// All that can happen to the agent.
#[derive(Debug)]
pub enum Event {
    /// The controller gave an order.
    Order(Box<Order>),
    /// A session begins and wants to know what to say first.
    Hello(oneshot::Sender<Hello>),
    /// The controller has cut this host off.
    Revoked,
    /// An app was brought up after a start.
    Reconciled(AppName, Result<(), Failure>),
    /// An app whose cutover, by this order, is not confirmed yet was looked at.
    Looked(AppName, OrderKey, Result<(), Failure>),
    /// The controller says what may run here of what may run only once.
    Lease(Box<LeaseTable>),
    /// What ends services of an app was armed.
    Armed(AppName, Hold, Result<bool, Failure>),
    /// What the host says of itself has changed, and no order has changed it.
    Changed,
    /// The work on an order ended.
    Driven(AppName, Box<Driven>),
}

/// What a session says first.
#[derive(Debug)]
pub struct Hello {
    /// The host.
    pub facts: HostFacts,
    /// The end of every order that is remembered.
    pub outcomes: Vec<Report>,
    /// What is done of the newest rollout: its reports may have been lost together with a controller that had not written them down.
    pub steps: Vec<Report>,
}

/// What the worker works with.
#[derive(Debug, Clone)]
pub struct Means {
    /// The host.
    pub hands: Arc<dyn Hands>,
    /// Where orders are made durable.
    pub journals: Journals,
    /// Where the highest fence is remembered, beside what the steps remember.
    pub states: Arc<States>,
    /// What may run of what may run only once, for who starts it.
    pub leases: Arc<Leases>,
    /// Where reports go.
    pub outbox: Arc<Outbox>,
    /// When the controller was heard last.
    pub contact: Arc<Contact>,
    /// What spawns, and where work on the disk is done.
    pub tasks: Tasks,
}

/// The worker.
#[derive(Debug)]
pub struct Worker {
    means: Means,
    apps: BTreeMap<AppName, App>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Worker {
    /// A worker, and where its events go.
    pub fn new(means: Means) -> (Self, mpsc::Sender<Event>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        (Self { means, apps: BTreeMap::new(), sender: sender.clone(), events }, sender)
    }

    /// Replays the journals, brings the apps up and carries on with what was unfinished, all without the controller.
    pub async fn start(&mut self, on_disk: Vec<AppName>) {
        let journals = self.means.journals.clone();
        let journalled = self.means.tasks.blocking(move || journals.apps()).await.unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "the journals cannot be listed");
            Vec::new()
        });
        for name in on_disk.into_iter().chain(journalled) {
            if !self.apps.contains_key(&name) && self.apps.len() < APPS_MAX {
                self.load(&name).await;
                self.reconcile(&name);
            }
        }
    }

    /// The loop, until the agent stops.
    pub async fn run(mut self, mut watchdog: impl Watchdog) {
        let stopping = self.means.tasks.stopping().clone();
        loop {
            let due = [self.next_watch(), self.next_question(), self.next_follow()].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = watchdog.due() => watchdog.feed(),
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                () = sleep_or_forever(due) => {
                    self.watch().await;
                    self.ask_for_leases().await;
                    self.follow();
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Order(order) => self.order(*order).await,
            Event::Hello(reply) => {
                let hello = self.hello().await;
                if reply.send(hello).is_err() {
                    tracing::debug!("the session ended before its hello");
                }
            }
            Event::Revoked => self.stand_down(),
            Event::Lease(table) => self.lease(*table).await,
            Event::Armed(name, hold, armed) => self.armed(name, hold, armed).await,
            Event::Looked(name, key, seen) => self.looked(name, key, seen).await,
            Event::Reconciled(name, result) => self.reconciled(&name, result).await,
            Event::Changed => self.tell_facts().await,
            Event::Driven(name, driven) => self.driven(&name, *driven).await,
        }
    }

    /// What may run only once in an environment is another host's now. Said again at every refusal, until it is done.
    fn stand_down(&self) {
        let names: Vec<AppName> = self.apps.keys().cloned().collect();
        for name in names {
            let hands = Arc::clone(&self.means.hands);
            self.means.tasks.spawn("stand down", async move {
                match hands.stand_down(&name).await {
                    Ok(0) => {}
                    Ok(stopped) => tracing::warn!(app = %name, stopped, "this host was revoked: what may run only once was stopped"),
                    Err(failure) => {
                        tracing::error!(app = %name, why = failure.summary, "this host was revoked, but what may run only once still runs")
                    }
                }
            });
        }
    }

    /// Decides about an order, makes an accepted one durable, and only then acts.
    async fn order(&mut self, order: Order) {
        let (name, key) = (order.app.clone(), order.key());
        if !self.apps.contains_key(&name) {
            if self.apps.len() >= APPS_MAX {
                return self.refuse(&order, format!("the host has {APPS_MAX} apps already"));
            }
            self.load(&name).await;
        } else if self.app(&name).held.is_some() {
            // Someone may have put it right.
            self.load(&name).await;
        }
        let app = self.app(&name);
        if let Some(why) = &app.held {
            let why = why.clone();
            return self.refuse(&order, why);
        }
        match app.history.admit(&order) {
            Admission::Accept => self.accept(order).await,
            Admission::Answer(report) => {
                self.raise(&order).await;
                self.means.outbox.report(report);
            }
            Admission::Known => {
                self.raise(&order).await;
                // What a full disk stopped goes on when there is room again.
                self.go_on(&name).await;
            }
            Admission::Refuse { highest, why } => {
                tracing::warn!(app = %name, rollout = %key.rollout, sequence = key.sequence, why, "an order is refused");
                self.means.outbox.report(Report::Refused { key, highest, why });
            }
        }
    }

    async fn accept(&mut self, order: Order) {
        let (journals, written) = (self.means.journals.clone(), order.clone());
        if let Err(error) = self.means.tasks.blocking(move || journals.create(&written)).await {
            return self.refuse(
                &order,
                format!("the order cannot be journalled: {}; make room on the disk, or make it writable again", chain(&error)),
            );
        }
        tracing::info!(app = %order.app, rollout = %order.fence.rollout, sequence = order.fence.sequence, verb = order.kind.verb(), "order accepted");
        self.raise(&order).await;
        let name = order.app.clone();
        let app = self.app(&name);
        app.history.remember(Status::new(order));
        if let Work::Order { called_off, .. } = &app.work {
            called_off.cancel();
        }
        self.go_on(&name).await;
    }

    /// Remembers the highest fence. The journal of an accepted order says it too, so a failure here loses nothing.
    async fn raise(&mut self, order: &Order) {
        let (fence, name) = (order.fence, order.app.clone());
        let app = self.app(&name);
        if app.history.highest() < Some(fence) {
            app.history.raise(fence);
            let states = Arc::clone(&self.means.states);
            let raise = move || states.update(&name, |memory| memory.highest = memory.highest.max(Some(fence)));
            let raised = self.means.tasks.blocking(raise).await;
            if let Err(error) = raised {
                tracing::warn!(error = chain(&error), "the highest fence is only remembered in the journal");
            }
        }
    }

    fn refuse(&self, order: &Order, why: String) {
        tracing::warn!(app = %order.app, rollout = %order.fence.rollout, sequence = order.fence.sequence, why, "an order is refused");
        self.means.outbox.report(Report::Refused { key: order.key(), highest: None, why });
    }

    /// Starts the next unfinished order of an app that is at rest.
    async fn go_on(&mut self, name: &AppName) {
        let app = self.app(name);
        if !matches!(app.work, Work::None) || app.held.is_some() {
            return;
        }
        let unfinished: Vec<OrderKey> = app.history.unfinished().map(|status| status.order.key()).collect();
        let Some(key) = unfinished.first().copied() else { return };
        let superseded = unfinished.len() > 1;
        let (journals, app) = (self.means.journals.clone(), name.clone());
        match self.means.tasks.blocking(move || journals.open(&app, key)).await {
            Ok(Some((journal, status))) => self.drive(journal, status, superseded),
            Ok(None) => self.give_up(name, key, format!("the journal of order {} of {} vanished", key.sequence, key.rollout)).await,
            Err(error) => self.give_up(name, key, chain(&error)).await,
        }
    }

    /// An order cannot be carried out, and its journal cannot say so: the app is held, and the controller hears why.
    async fn give_up(&mut self, name: &AppName, key: OrderKey, why: String) {
        let step = self.app(name).history.get(key).and_then(Status::present_step).unwrap_or(StepName::Preflight);
        let failure = Failure::new(FailureKind::Host, why.clone(), "make room on the disk, or make it writable again, then deploy again");
        self.hold(name, why);
        let current = self.means.hands.current(name).await;
        self.means.outbox.report(Report::Order { key, outcome: OrderOutcome::Stuck { step, failure, current } });
    }

    fn drive(&mut self, journal: JournalFile, status: Status, superseded: bool) {
        let (name, key) = (status.order.app.clone(), status.order.key());
        let called_off = CancellationToken::new();
        let outdated = is_of_another_day(&journal, &status.order);
        if superseded || outdated {
            called_off.cancel();
        }
        let span =
            tracing::info_span!("order", app = %name, rollout = %key.rollout, sequence = key.sequence, verb = status.order.kind.verb());
        let runner = Runner {
            journal: Arc::new(Mutex::new(journal)),
            status,
            hands: Arc::clone(&self.means.hands),
            outbox: Arc::clone(&self.means.outbox),
            called_off: called_off.clone(),
            outdated,
            tasks: self.means.tasks.clone(),
        };
        self.app(&name).work = Work::Order { called_off };
        let sender = self.sender.clone();
        let work = async move {
            let driven = runner.drive().await;
            // Without a worker the agent is stopping; the journal knows all.
            drop(sender.send(Event::Driven(name, Box::new(driven))).await);
        };
        self.means.tasks.spawn("order", tracing::Instrument::instrument(work, span));
    }

    async fn driven(&mut self, name: &AppName, driven: Driven) {
        let now = self.means.contact.clock().elapsed();
        let serves = self.means.hands.current(name).await;
        let app = self.app(name);
        app.work = Work::None;
        let mut is_to_follow = false;
        match driven {
            Driven::Stopped => return,
            Driven::Ended(status) => {
                let report = status.report();
                app.lease.ended(status.order.key());
                app.has_ended(&status, serves.as_ref(), now);
                // What the serving release was prepared to run here in the meantime runs now.
                is_to_follow = matches!(&status.order.kind, OrderKind::Abandon { release, .. } if Some(&release.id) == serves.as_ref());
                app.history.remember(status);
                app.rested = now;
                let forgotten = app.history.forget(JOURNALS_KEPT);
                if let Some(report) = report {
                    self.means.outbox.report(report);
                }
                self.forget(name, forgotten).await;
            }
            Driven::Broken(status, error) => {
                let key = status.order.key();
                self.app(name).history.remember(status);
                self.give_up(name, key, chain(&error)).await;
            }
        }
        self.tell_facts().await;
        self.app(name).lease.look_again();
        self.use_lease(name);
        if is_to_follow && matches!(self.app(name).work, Work::None) {
            self.reconcile(name);
        }
        self.arm(name).await;
        self.go_on(name).await;
        self.rest().await;
    }

    async fn tell_facts(&self) {
        let facts = self.facts().await;
        self.means.outbox.push(Outgoing::Facts(Box::new(facts)));
    }

    async fn rest(&self) {
        if self.apps.values().all(|app| matches!(app.work, Work::None)) {
            self.means.hands.rest().await;
        }
    }

    async fn forget(&self, name: &AppName, keys: Vec<OrderKey>) {
        let (journals, name) = (self.means.journals.clone(), name.clone());
        let remove = move || {
            for key in keys {
                if let Err(error) = journals.remove(&name, key) {
                    tracing::warn!(error = chain(&error), "an old journal stays");
                }
            }
        };
        self.means.tasks.blocking(remove).await;
    }

    fn hold(&mut self, name: &AppName, why: String) {
        tracing::error!(app = %name, why, "the app is stuck: it keeps serving, and takes no orders until this is put right");
        self.app(name).held = Some(why);
    }

    /// Reads what is remembered of an app. What cannot be read holds this app, and no other.
    async fn load(&mut self, name: &AppName) {
        let (journals, states, read) = (self.means.journals.clone(), Arc::clone(&self.means.states), name.clone());
        let load = move || {
            let memory = states.read(&read).map_err(|error| chain(&error));
            // Who cannot read whether a lease is needed needs one.
            let needs_lease = memory.as_ref().map_or(true, |memory| memory.needs_lease);
            let orders = journals.read(&read).map_err(|error| chain(&error));
            (needs_lease, memory.and_then(|memory| Ok((memory.highest, orders?))))
        };
        let (needs_lease, read) = self.means.tasks.blocking(load).await;
        self.app(name).needs_lease = needs_lease;
        if needs_lease && self.means.leases.of(name).is_none() {
            // What runs goes on; nothing is started before the controller has said again that it may run.
            self.means.leases.set(name, Hold::Until(BTreeSet::new(), Millis(0)));
        }
        match read {
            Ok((highest, orders)) => self.app(name).restore(highest, orders),
            Err(why) => self.hold(name, why),
        }
    }

    fn app(&mut self, name: &AppName) -> &mut App {
        self.apps.entry(name.clone()).or_default()
    }

    fn reconcile(&mut self, name: &AppName) {
        self.app(name).work = Work::Reconciling;
        self.app(name).follows = None;
        let (hands, sender, name) = (Arc::clone(&self.means.hands), self.sender.clone(), name.clone());
        let stopping = self.means.tasks.stopping().clone();
        self.means.tasks.spawn("reconcile", async move {
            let work = timeout(RECONCILE_AT_MOST, hands.reconcile(&name));
            let result = tokio::select! {
                biased;
                result = work => result.unwrap_or_else(|_| Err(reconcile_too_late(&name))).map(drop),
                () = stopping.cancelled() => return,
            };
            drop(sender.send(Event::Reconciled(name, result)).await);
        });
    }

    async fn reconciled(&mut self, name: &AppName, result: Result<(), Failure>) {
        if let Err(failure) = result {
            tracing::error!(app = %name, %failure, hint = failure.hint, detail = failure.detail, "the app could not be brought up as its 'current' says");
            let now = self.means.contact.clock().elapsed();
            self.app(name).follow_soon(now);
            self.app(name).lease.hold_anew();
        }
        self.app(name).work = Work::None;
        self.tell_facts().await;
        self.app(name).lease.look_again();
        self.use_lease(name);
        self.go_on(name).await;
        self.rest().await;
    }

    async fn hello(&self) -> Hello {
        self.means.outbox.forget_outcomes();
        let reports = self.apps.values().flat_map(|app| app.history.reports());
        let steps = self.apps.values().flat_map(|app| app.history.steps_done());
        Hello { facts: self.facts().await, outcomes: crate::app::bounded(reports.collect()), steps: crate::app::bounded(steps.collect()) }
    }

    async fn facts(&self) -> HostFacts {
        let mut facts = self.means.hands.facts(self.apps.keys().cloned().collect()).await;
        for (name, state) in &mut facts.apps {
            let Some(app) = self.apps.get(name) else { continue };
            state.highest = app.history.highest();
            state.unconfirmed = app.history.watch().is_some();
            if app.is_to_follow() {
                // What it was prepared for is not yet what runs.
                state.listed = None;
            }
        }
        facts
    }
}

/// Whether an order would lead where nobody may want to be any more: its journal has rested for longer than the whole order may take, so
/// the controller has given it up, and this host was off, or its disk was restored. A way back and what only tidies up are finished all
/// the same.
fn is_of_another_day(journal: &JournalFile, order: &Order) -> bool {
    let goes_on = match order.kind {
        OrderKind::Prepare { .. }
        | OrderKind::Migrate { .. }
        | OrderKind::Activate { .. }
        | OrderKind::Backup { .. }
        | OrderKind::Recheck { .. }
        | OrderKind::Job { .. }
        | OrderKind::Survey { .. }
        | OrderKind::Halt { .. }
        | OrderKind::Restore { .. }
        | OrderKind::Exchange { .. } => true,
        OrderKind::Confirm { .. } | OrderKind::Revert { .. } | OrderKind::Abandon { .. } => false,
    };
    goes_on && journal.rested() > order.deadline
}

async fn sleep_or_forever(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn reconcile_too_late(name: &AppName) -> Failure {
    let hint = "look at the app's units with systemctl";
    Failure::new(FailureKind::Deadline, format!("{name} was not up within {} s", RECONCILE_AT_MOST.as_secs()), hint)
}

#[cfg(test)]
mod tests;
