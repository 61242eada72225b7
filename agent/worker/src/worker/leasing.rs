//! Leases: tables come in, questions go out, and what ends a service is armed before anybody may start it.

use roadstead_model::{AppName, Failure, FailureKind, LeaseTable};
use std::sync::Arc;
use tokio::time::{Duration, Instant, timeout};

use super::{APPS_MAX, Event, Worker};
use crate::app::{App, Work};
use crate::failure::chain;
use crate::lease::Hold;
use crate::output::Outgoing;

/// How long arming may take before it is given up; the next answer tries it again.
const ARM_AT_MOST: Duration = Duration::from_secs(120);

impl Worker {
    /// When the next question is due.
    pub(super) fn next_question(&self) -> Option<Instant> {
        let due = self.apps.values().flat_map(|app| [app.lease.due(app.needs_lease), app.lease.ends()]).flatten().min();
        due.map(|due| self.means.contact.clock().at(due))
    }

    /// Asks for every lease that has run for a while, and ends what has none any more.
    pub(super) async fn ask_for_leases(&mut self) {
        let now = self.means.contact.clock().elapsed();
        let due = |app: &App| app.lease.due(app.needs_lease).is_some_and(|at| at <= now);
        let over: Vec<(AppName, Hold)> =
            self.apps.iter_mut().filter_map(|(name, app)| Some((name.clone(), app.lease.lapse(now)?))).collect();
        for (name, hold) in over {
            tracing::warn!(app = %name, "the controller is silent: what runs only once ends here, and may run elsewhere");
            self.app(&name).lease.arming(&hold);
            self.have_armed(name, hold);
        }
        let due: Vec<AppName> = self.apps.iter().filter(|(_, app)| due(app)).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.ask_for_lease(&name).await;
            self.arm(&name).await;
        }
    }

    /// Asks, and says what is written down.
    async fn ask_for_lease(&mut self, name: &AppName) {
        let needs = self.remember_lease(name).await;
        let now = self.means.contact.clock().elapsed();
        let ask = self.app(name).lease.ask(name, needs, now);
        self.means.outbox.push(Outgoing::Lease(ask));
    }

    /// Writes down whether a lease is needed; what is durable now. That none is needed any more only once nothing is held to it, and no
    /// order of before is left that may bring what is another host's by now: with a lease that starts nothing, whatever dies meanwhile.
    async fn remember_lease(&mut self, name: &AppName) -> bool {
        let app = self.app(name);
        let needed = match app.lease.is_needed() {
            Some(false) => app.needs_lease && !(matches!(app.lease.armed, Some(Hold::Free(_))) && app.lease.is_settled()),
            Some(true) => true,
            None => app.needs_lease,
        };
        if app.needs_lease == needed {
            return needed;
        }
        let (states, of) = (Arc::clone(&self.means.states), name.clone());
        let update = move || states.update(&of, |memory| memory.needs_lease = needed);
        match self.means.tasks.blocking(update).await {
            Ok(_) => self.app(name).needs_lease = needed,
            Err(error) => tracing::warn!(app = %name, error = chain(&error), "whether a lease is needed is not written down yet"),
        }
        self.app(name).needs_lease
    }

    /// The controller says what may run here of what may run only once.
    pub(super) async fn lease(&mut self, table: LeaseTable) {
        let name = table.app.clone();
        if !self.apps.contains_key(&name) {
            if self.apps.len() >= APPS_MAX {
                return tracing::warn!(app = %name, "a lease of one app too many is not taken up");
            }
            self.load(&name).await;
        }
        let is_question = table.answers == 0;
        // Also of an app that takes no orders: what it runs goes on, or ends.
        if !self.app(&name).lease.hear(table) {
            return;
        }
        if is_question {
            let app = self.app(&name);
            let older: Vec<_> = app.history.unfinished().map(|status| status.order.key()).collect();
            app.lease.predates(older.into_iter());
            self.ask_for_lease(&name).await;
        }
        self.arm(&name).await;
    }

    /// Has what ends the services armed, where something else holds now. Until that is done nobody starts more than before.
    pub(super) async fn arm(&mut self, name: &AppName) {
        let is_durable = self.remember_lease(name).await;
        let app = self.app(name);
        let Some(hold) = app.lease.wanted() else { return };
        if !is_durable && matches!(hold, Hold::Until(..)) {
            // Not written down, so nothing changes: it is tried again.
            return;
        }
        app.lease.arming(&hold);
        self.have_armed(name.clone(), hold);
    }

    fn have_armed(&self, name: AppName, hold: Hold) {
        let (services, until) = match &hold {
            Hold::Free(services) => (services.clone(), None),
            Hold::Until(services, until) => (services.clone(), Some(self.means.contact.clock().at(*until))),
        };
        self.means.leases.keep(&name, &services);
        let (hands, sender, stopping) = (Arc::clone(&self.means.hands), self.sender.clone(), self.means.tasks.stopping().clone());
        self.means.tasks.spawn("lease", async move {
            let armed = tokio::select! {
                biased;
                armed = timeout(ARM_AT_MOST, hands.hold(&name, &services, until)) => armed.unwrap_or_else(|_| Err(too_slow())),
                () = stopping.cancelled() => return,
            };
            drop(sender.send(Event::Armed(name, hold, armed)).await);
        });
    }

    /// What ends the services is armed: they may run that long.
    pub(super) async fn armed(&mut self, name: AppName, hold: Hold, armed: Result<bool, Failure>) {
        let lease = &mut self.app(&name).lease;
        match armed {
            Ok(is_stopped) => {
                let is_free = |hold: &Hold| matches!(hold, Hold::Free(_));
                let is_new = lease.armed.as_ref().is_none_or(|armed| is_free(armed) != is_free(&hold));
                lease.is_stopped |= is_stopped;
                lease.was_armed(hold);
                self.use_lease(&name);
                if is_new {
                    // Only from now on the host keeps to it by itself, which the controller wants to know.
                    self.ask_for_lease(&name).await;
                }
                // A newer table may have come meanwhile.
                self.arm(&name).await;
            }
            Err(failure) => {
                lease.was_not_armed(&hold);
                tracing::warn!(app = %name, %failure, "what runs only once cannot be held to its lease: it ends with the one before")
            }
        }
    }

    /// What was armed may be used: by an app at rest all of it, by one that is at work what it had already, so that no step looks for
    /// what did not run when its order began.
    pub(super) fn use_lease(&mut self, name: &AppName) {
        let leases = Arc::clone(&self.means.leases);
        let app = self.app(name);
        let Some(hold) = app.lease.armed.clone() else { return };
        // One that takes no orders until its journals can be trusted serves all the same, as after a start.
        if matches!(app.work, Work::None) {
            leases.set(name, hold);
            if std::mem::take(&mut app.lease.is_stopped) {
                self.reconcile(name);
            }
        } else if let Hold::Until(services, until) = hold {
            let had = leases.of(name).unwrap_or_else(|| services.clone());
            leases.set(name, Hold::Until(had.intersection(&services).cloned().collect(), until));
        }
    }
}

fn too_slow() -> Failure {
    Failure::new(
        FailureKind::Deadline,
        format!("systemd did not take up a timer within {} s", ARM_AT_MOST.as_secs()),
        "see whether systemd answers: systemctl status",
    )
}
