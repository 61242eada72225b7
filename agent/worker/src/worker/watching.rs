//! The watch over a cutover until it is confirmed: it is undone when the controller falls silent, or when the app does not do well.

use roadstead_deployment::{Record, WatchState, effective_silence};
use roadstead_model::{AppName, Failure, FailureKind, Millis, OrderKey};
use std::sync::Arc;
use tokio::time::{Duration, Instant, timeout};

use super::{Event, Worker};
use crate::app::App;
use crate::failure::chain;
use crate::journal::JournalError;

/// The pause between two looks at an app.
const LOOK_EVERY: Millis = Millis(5_000);
/// How long a look may take before it is given up, and nothing follows from it.
const LOOK_AT_MOST: Duration = Duration::from_secs(120);

impl Worker {
    /// When something of the watch is due: a silence that ends in going back, or a look at an app.
    pub(super) fn next_watch(&self) -> Option<Instant> {
        let due = self.apps.values().flat_map(|app| [self.lapses_at(app), look_at(app)]).flatten().min();
        due.map(|due| self.means.contact.clock().at(due))
    }

    /// When a cutover goes back, if the controller stays silent until then.
    fn lapses_at(&self, app: &App) -> Option<Millis> {
        let (contact, watch) = (&self.means.contact, app.watch()?);
        let heard = contact.heard().max(app.rested);
        Some(Millis(heard.0.saturating_add(effective_silence(watch.within, contact.heartbeat()).0)))
    }

    /// Does what is due.
    pub(super) async fn watch(&mut self) {
        self.lapse().await;
        let now = self.means.contact.clock().elapsed();
        let due: Vec<AppName> =
            self.apps.iter().filter(|(_, app)| look_at(app).is_some_and(|at| at <= now)).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.look(name);
        }
    }

    /// Undoes the cutovers whose time of silence is over.
    async fn lapse(&mut self) {
        let contact = Arc::clone(&self.means.contact);
        let over = |app: &App| {
            let watch = app.watch()?;
            match watch.at(contact.clock().elapsed(), contact.heard().max(app.rested), contact.heartbeat()) {
                WatchState::WentBack { silent } => Some((watch.key, silent)),
                WatchState::Quiet { .. } => None,
            }
        };
        let lapsed: Vec<_> =
            self.apps.iter().filter_map(|(name, app)| over(app).map(|(key, silent)| (name.clone(), key, silent))).collect();
        for (name, key, silent) in lapsed {
            tracing::warn!(app = %name, %silent, "the controller is silent since the cutover: the app goes back to the release before");
            self.undo_cutover(name, key, silence(silent)).await;
        }
    }

    /// Looks at an app whose cutover is not confirmed yet.
    fn look(&mut self, name: AppName) {
        let app = self.app(&name);
        let Some(watch) = app.watch() else { return };
        app.looking = true;
        let (hands, sender, stopping) = (Arc::clone(&self.means.hands), self.sender.clone(), self.means.tasks.stopping().clone());
        self.means.tasks.spawn("look", async move {
            let seen = tokio::select! {
                biased;
                seen = timeout(LOOK_AT_MOST, hands.look(&name)) => seen.unwrap_or(Ok(())),
                () = stopping.cancelled() => return,
            };
            drop(sender.send(Event::Looked(name, watch.key, seen)).await);
        });
    }

    /// What a look saw. What the host did is not the app's fault, and what came after the look has made it worthless.
    pub(super) async fn looked(&mut self, name: AppName, key: OrderKey, seen: Result<(), Failure>) {
        let now = self.means.contact.clock().elapsed();
        let app = self.app(&name);
        (app.looking, app.looked) = (false, now);
        if app.watch().is_none_or(|watch| watch.key != key) {
            return;
        }
        match seen {
            Err(failure) if matches!(failure.kind, FailureKind::Unit | FailureKind::Check) => {
                tracing::warn!(app = %name, %failure, "the app does not do well since the cutover: it goes back to the release before");
                self.undo_cutover(name, key, failure).await;
            }
            Err(failure) => tracing::warn!(app = %name, %failure, "the app could not be looked at"),
            Ok(()) => self.rest().await,
        }
    }

    /// Undoes a cutover that had ended well, and says why in its journal first.
    async fn undo_cutover(&mut self, name: AppName, key: OrderKey, why: Failure) {
        let (journals, app) = (self.means.journals.clone(), name.clone());
        let write = move || {
            let Some((mut journal, mut status)) = journals.open(&app, key)? else { return Ok(None) };
            let record = Record::Lapsed { why };
            journal.append(&record)?;
            status.apply(&record).map_err(|source| JournalError::Senseless { path: journal.path().to_path_buf(), source })?;
            Ok::<_, JournalError>(Some((journal, status)))
        };
        match self.means.tasks.blocking(write).await {
            Ok(Some((journal, status))) => {
                self.app(&name).history.remember(status.clone());
                self.drive(journal, status, false);
            }
            Ok(None) => self.hold(&name, "the journal of the cutover vanished".to_owned()),
            Err(error) => self.hold(&name, chain(&error)),
        }
    }
}

/// When an app is looked at the next time, if its cutover waits for its confirmation.
fn look_at(app: &App) -> Option<Millis> {
    app.watch().filter(|_| !app.looking)?;
    Some(Millis(app.rested.max(app.looked).0.saturating_add(LOOK_EVERY.0)))
}

fn silence(silent: Millis) -> Failure {
    Failure::new(
        FailureKind::Deadline,
        format!("the controller was not heard for {silent} after the cutover"),
        "look at the network between the host and the controller, then deploy again",
    )
}
