//! What the serving release was prepared to run here runs, also when its rollout was called off in between.
//!
//! A host that serves a release already may be prepared for it once more, to run what it did not run before: what runs only once, most of
//! all. The cutover that comes next starts that. It may never come: an operator aborts, others fail, the controller is away. From then on
//! the host and the controller both know that the service is here, and nobody would start it. A host that goes back to a release and
//! runs out of time once it serves is as badly off.

use roadstead_deployment::Status;
use roadstead_model::{AppName, Millis, OrderKind, OrderOutcome, ReleaseId};
use tokio::time::Instant;

use super::Worker;
use crate::app::{App, Work};

/// How long the next order may take to come.
const FOLLOW_AFTER: Millis = Millis::from_secs(60);

impl App {
    /// An order ended, while this release served.
    pub(crate) fn has_ended(&mut self, status: &Status, serves: Option<&ReleaseId>, now: Millis) {
        let is_done = matches!(status.outcome(), Some(OrderOutcome::Done { .. }));
        match &status.order.kind {
            // It made what runs follow the release that serves now.
            OrderKind::Activate { .. } | OrderKind::Revert { .. } if is_done => self.follows = None,
            OrderKind::Prepare { release, .. } | OrderKind::Revert { to: Some(release), .. } if Some(&release.id) == serves => {
                self.follow_soon(now);
            }
            // Whichever of the two releases serves now, the other one may have taken its place behind the traffic in part.
            OrderKind::Activate { .. } if serves.is_some() => self.follow_soon(now),
            _ => {}
        }
    }

    /// What runs is made to follow what serves, unless an order does that before.
    pub(crate) fn follow_soon(&mut self, now: Millis) {
        self.follows = Some(Millis(now.0.saturating_add(FOLLOW_AFTER.0)));
    }

    /// Whether what runs need not be yet what the serving release was prepared to run.
    pub(crate) const fn is_to_follow(&self) -> bool {
        self.follows.is_some() || matches!(self.work, Work::Reconciling)
    }

    fn follows_at(&self) -> Option<Millis> {
        self.follows.filter(|_| matches!(self.work, Work::None))
    }
}

impl Worker {
    /// When an app is to follow the release that serves.
    pub(super) fn next_follow(&self) -> Option<Instant> {
        let due = self.apps.values().filter_map(App::follows_at).min();
        due.map(|due| self.means.contact.clock().at(due))
    }

    /// Brings up every app for which nothing else has come.
    pub(super) fn follow(&mut self) {
        let now = self.means.contact.clock().elapsed();
        let is_due = |app: &App| app.follows_at().is_some_and(|at| at <= now);
        let due: Vec<AppName> = self.apps.iter().filter(|(_, app)| is_due(app)).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.reconcile(&name);
        }
    }
}
