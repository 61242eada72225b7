//! Ends what steps left behind: those that a crash ended, those that did not return in time, and those whose provider was away at their end.
//! What still runs with it keeps it until it has ended.

use futures_util::future::join_all;
use roadstead_deployment::Status;
use roadstead_model::{AppName, Failure, OrderKey};
use roadstead_worker::failure::chain;
use roadstead_worker::tasks::{Tasks, blocking};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::files::{self, Record};
use super::{Credentials, end, until};
use crate::remembered;
use crate::steps::util::disk;

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
    /// Ends all that is of no step that runs or is to be carried on, and that nothing runs with.
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
                (Some(record), Ok(orders)) if is_open(&orders, record.order) => Ok((Some(record), true)),
                (Some(_), Err(error)) => {
                    tracing::warn!(app = %of, error = chain(&error), "whether a migration is to be carried on is not known");
                    Err(())
                }
                (record, _) => Ok((record, false)),
            }
        });
        let Ok((record, is_carried_on)) = left.await else { return Ok(()) };
        let record = match record {
            Some(record) if is_carried_on || self.are_used(app, record.order).await => return self.renew(app, record).await,
            record => record,
        };
        tracing::info!(%app, "credentials for migrations that a step left behind are ended");
        end(&self.layout, &self.providers, app, record).await.map(drop)
    }

    /// Makes what a command runs with that nobody follows, or nobody follows yet, hold longer.
    async fn renew(&self, app: &AppName, mut record: Record) -> Result<(), Failure> {
        if !record.leases.iter().any(|lease| lease.renewable) {
            return Ok(());
        }
        let by = Instant::now() + EVERY;
        let answers = join_all(record.leases.iter().filter(|lease| lease.renewable).map(|lease| self.providers.renew(lease, by))).await;
        for (lease, answer) in record.leases.iter_mut().filter(|lease| lease.renewable).zip(answers) {
            match answer {
                Ok(renewed) => *lease = renewed,
                Err(error) => tracing::warn!(%app, error = chain(&error), "what a migration runs with that nobody follows is not renewed"),
            }
        }
        record.until = until(&record.leases).max(record.until);
        let (layout, app) = (self.layout.clone(), app.clone());
        disk(move || record.write(&layout, &app)).await
    }
}

/// Whether an order is still to be carried out.
fn is_open(orders: &[Status], order: OrderKey) -> bool {
    orders.iter().any(|status| status.order.key() == order && status.outcome().is_none())
}
