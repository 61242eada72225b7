//! Ends what steps left behind: those that a crash ended, those that did not return in time, and those whose provider was away at their end.

use roadstead_deployment::Status;
use roadstead_model::{AppName, Failure, OrderKey};
use roadstead_worker::failure::chain;
use roadstead_worker::tasks::{Tasks, blocking};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

use super::files::{self, Record};
use super::{Credentials, end};
use crate::remembered;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(15);

/// Looks until the agent stops.
pub(crate) async fn run(credentials: Arc<Credentials>, tasks: Tasks) {
    let look = async {
        loop {
            credentials.sweep().await;
            sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = tasks.stopping().cancelled() => {}
        () = look => {}
    }
}

impl Credentials {
    /// Ends all that is of no step that runs or is to be carried on.
    pub(crate) async fn sweep(&self) {
        let layout = self.layout.clone();
        for app in blocking(move || files::apps(&layout)).await {
            if let Err(failure) = self.sweep_one(&app).await {
                tracing::warn!(%app, %failure, "what is left of credentials for migrations cannot be cleared away");
            }
        }
    }

    async fn sweep_one(&self, app: &AppName) -> Result<(), Failure> {
        // A step has its turn.
        let Ok(_turn) = self.turn(app).try_lock_owned() else { return Ok(()) };
        let (layout, of) = (self.layout.clone(), app.clone());
        let left = blocking(move || {
            let journals = remembered::journals(&layout).peek(&of);
            match (Record::read(&layout, &of), journals) {
                (Some(record), Ok(orders)) if is_open(&orders, record.order) => Err(()),
                (Some(_), Err(error)) => {
                    tracing::warn!(app = %of, error = chain(&error), "whether a migration is to be carried on is not known");
                    Err(())
                }
                (record, _) => Ok(record),
            }
        });
        let Ok(record) = left.await else { return Ok(()) };
        tracing::info!(%app, "credentials for migrations that a step left behind are ended");
        end(&self.layout, &self.providers, app, record).await.map(drop)
    }
}

/// Whether an order is still to be carried out.
fn is_open(orders: &[Status], order: OrderKey) -> bool {
    orders.iter().any(|status| status.order.key() == order && status.outcome().is_none())
}
