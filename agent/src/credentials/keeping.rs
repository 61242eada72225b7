//! Keeping what was issued in force while its step runs.

use roadstead_secrets::Lease;
use roadstead_worker::failure::chain;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

use super::{Turn, is_gone, until};

/// How long renewing one may take.
const WITHIN: Duration = Duration::from_secs(20);
/// How soon it is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Never more often, whatever a provider says.
const SOONEST: Duration = Duration::from_secs(1);

/// When something that was issued has to be renewed.
#[derive(Debug, Clone)]
pub(super) struct Due {
    at: Instant,
    id: String,
    has_failed: bool,
}

/// What came of a renewal.
enum Renewed {
    Held,
    Failed(String),
    Over,
}

impl Due {
    /// Of something that can be renewed.
    pub(super) fn of(lease: &Lease, now: Instant) -> Option<Self> {
        lease.renewable.then(|| Self { at: now + lease.renew_in.max(SOONEST), id: lease.id().to_owned(), has_failed: false })
    }

    /// All that can be renewed, now.
    pub(super) fn at_once(leases: &[Lease]) -> Vec<Self> {
        let now = Instant::now();
        leases.iter().filter_map(|lease| Some(Self { at: now, ..Self::of(lease, now)? })).collect()
    }
}

impl Turn {
    /// Renews what was issued whenever it is time, and tells when that does not work. It never ends.
    pub(crate) async fn keep(&mut self, say: impl Fn(&str)) -> Infallible {
        loop {
            let Some(next) = self.due.iter().enumerate().min_by_key(|(_, due)| due.at).map(|(index, _)| index) else {
                return pending().await;
            };
            let Some(at) = self.due.get(next).map(|due| due.at) else { continue };
            sleep_until(at).await;
            match self.renew(next).await {
                Renewed::Held => {}
                Renewed::Failed(why) => say(&format!("the credentials for migrations could not be renewed, which is tried again: {why}")),
                Renewed::Over => {
                    say("the credentials for migrations have ended before the step: connections that are opened from now on are refused. \
                     Their provider lets nobody hold them longer (max_ttl of the role), or somebody has ended them")
                }
            }
        }
    }

    /// Renews all that is due; whether all still holds, as far as is known.
    pub(super) async fn renew_all(&mut self) -> bool {
        let mut all = true;
        for index in (0..self.due.len()).rev() {
            all &= !matches!(self.renew(index).await, Renewed::Over);
        }
        all
    }

    async fn renew(&mut self, index: usize) -> Renewed {
        let Some(due) = self.due.get(index).cloned() else { return Renewed::Held };
        let Some(place) = self.record.leases.iter().position(|lease| lease.id() == due.id) else {
            self.due.remove(index);
            return Renewed::Held;
        };
        match self.providers.renew(&self.record.leases[place], Instant::now() + WITHIN).await {
            Ok(lease) => {
                let next = Due::of(&lease, Instant::now());
                self.record.leases[place] = lease;
                self.record.until = until(&self.record.leases).max(self.record.until);
                match next {
                    Some(next) => self.due[index] = next,
                    None => drop(self.due.remove(index)),
                }
                if let Err(failure) = self.write().await {
                    tracing::warn!(app = %self.app, %failure, "how long what was issued holds is not written down");
                }
                Renewed::Held
            }
            Err(error) if is_gone(&error) => {
                self.due.remove(index);
                Renewed::Over
            }
            Err(error) => {
                let is_first = !due.has_failed;
                self.due[index] = Due { at: Instant::now() + AGAIN, has_failed: true, ..due };
                if is_first { Renewed::Failed(chain(&error)) } else { Renewed::Held }
            }
        }
    }
}
