//! Keeps the newest table of one app in effect, and tells what is seen.

use roadstead_model::{AppName, TrafficSeen, TrafficTable};
use roadstead_worker::output::{Outbox, Outgoing};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::desk::Wanted;
use super::problems::{nobody_left, someone_takes};
use super::telling::{Due, Telling};
use super::{Balancer, Sight, pace};

/// The keeper of one app's traffic.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) app: AppName,
    pub(super) balancer: Arc<dyn Balancer>,
    pub(super) news: watch::Receiver<Wanted>,
    pub(super) outbox: Arc<Outbox>,
}

impl Keeper {
    /// Goes on until the agent stops.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        let mut telling = Telling::default();
        let mut problem = None;
        let (mut known, mut since): (Option<Arc<TrafficTable>>, _) = (None, Instant::now());
        loop {
            let Some(table) = self.news.borrow_and_update().table(&self.app) else { return };
            let began = Instant::now();
            if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &table)) {
                (known, since) = (Some(Arc::clone(&table)), began);
            }
            let sight = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                sight = self.bring(&table) => sight,
            };
            if problem != sight.problem {
                self.log(&sight);
                problem.clone_from(&sight.problem);
            }
            let again = began + pace::next_look(&table.weights, &sight, began.elapsed(), since.elapsed());
            if !self.tell_until(again, &table, sight, &mut telling, &stopping).await {
                return;
            }
        }
    }

    async fn bring(&self, table: &TrafficTable) -> Sight {
        if someone_takes(&table.weights, |_| true) {
            self.balancer.bring(&table.weights).await
        } else {
            Sight::failed(nobody_left("the table that came drains every host"))
        }
    }

    /// Tells what was seen, until it is time for the next look or another table has come. `false` when the agent stops.
    async fn tell_until(
        &mut self,
        again: Instant,
        table: &Arc<TrafficTable>,
        sight: Sight,
        telling: &mut Telling,
        stopping: &CancellationToken,
    ) -> bool {
        let seen = TrafficSeen { key: table.key, app: self.app.clone(), servers: sight.servers, problem: sight.problem };
        loop {
            let (session, newest) = {
                let wanted = self.news.borrow_and_update();
                (wanted.sessions(), wanted.table(&self.app))
            };
            let due = match telling.due(&seen, session) {
                Due::Now => Some(Instant::now()),
                Due::At(at) => Some(at),
                Due::Never => None,
            };
            if due.is_some_and(|at| at <= Instant::now()) {
                self.outbox.push(Outgoing::Traffic(Box::new(seen.clone())));
                telling.told(seen.clone(), session, Instant::now());
                continue;
            }
            if !newest.is_some_and(|newest| Arc::ptr_eq(&newest, table)) {
                return true;
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return false,
                changed = self.news.changed() => if changed.is_err() { return false },
                () = sleep_until(due.map_or(again, |due| due.min(again))) => if Instant::now() >= again { return true },
            }
        }
    }

    fn log(&self, sight: &Sight) {
        match &sight.problem {
            Some(problem) => tracing::warn!(app = %self.app, hint = problem.hint, "traffic is not as wanted: {}", problem.summary),
            None => tracing::info!(app = %self.app, "traffic is as wanted"),
        }
    }
}

#[cfg(test)]
mod tests;
