//! Hosts that have heard of more than this controller knows of. The database is then older than the fleet: a backup that was restored
//! without a word, or a host of another controller. What such hosts run may be right and what is remembered wrong, so nothing moves
//! them until somebody has said which.

use roadstead_model::{AppName, Fence, HostFacts, HostId, RolloutId};

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Loop;
use crate::{HostRecord, LedgerError, NewEvent, Refused};

/// Numbers that are skipped for a host's word, at most: a host that lies burns no more of them.
const SKIPPED_MAX: u64 = 1_000;

/// The hosts that have heard of more than the ledger knows; written by the driver, read by whoever shows hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead(Arc<Mutex<BTreeSet<HostId>>>);

impl Ahead {
    fn hosts(&self) -> MutexGuard<'_, BTreeSet<HostId>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether it was not yet.
    fn insert(&self, host: &HostId) -> bool {
        self.hosts().insert(host.clone())
    }

    pub(super) fn remove(&self, host: &HostId) {
        self.hosts().remove(host);
    }

    pub(super) fn contains(&self, host: &HostId) -> bool {
        self.hosts().contains(host)
    }
}

impl Loop {
    /// A host has said what it has heard: whether it knows more than the ledger. Its orders wait until that is known.
    pub(super) async fn look_whether_ahead(&mut self, host: &HostId) {
        let Some(facts) = self.facts.get(host) else { return };
        let heard: Vec<(AppName, Fence)> = heard(facts).collect();
        let name = facts.host_name.clone();
        let mut ahead = None;
        for (app, fence) in heard {
            match self.is_beyond(&app, fence).await {
                Ok(false) => {}
                Ok(true) => ahead = ahead.max(Some((fence.rollout, fence.term))),
                // The next session asks again; until then the host is not believed to be level with the ledger.
                Err(error) => {
                    tracing::error!(%host, %error, "whether the host is ahead of the database is not known");
                    ahead = ahead.max(Some((fence.rollout, fence.term)));
                }
            }
        }
        let Some((rollout, term)) = ahead else {
            self.ahead.remove(host);
            return;
        };
        self.skip_to(rollout);
        if self.ahead.insert(host) {
            let text = format!("{name} has heard of {rollout} in term {term}, of which this database knows nothing: nothing moves it");
            tracing::warn!(%host, "{text}");
            let who = format!("host:{host}");
            self.work.changes.events.push(NewEvent::new(self.parts.clock.now(), who.clone(), "host-ahead", who, text));
        }
    }

    async fn is_beyond(&self, app: &AppName, heard: Fence) -> Result<bool, LedgerError> {
        if heard.term > self.parts.term {
            return Ok(true);
        }
        if heard.rollout.0 <= self.forgiven {
            return Ok(false);
        }
        Ok(self.parts.ledger.app_of(heard.rollout).await?.as_ref() != Some(app))
    }

    /// The number of a rollout that somebody else began is not given again: a host would answer for the other one.
    fn skip_to(&mut self, rollout: RolloutId) {
        if (self.next_rollout..=self.next_rollout.saturating_add(SKIPPED_MAX)).contains(&rollout.0) {
            self.next_rollout = rollout.0.saturating_add(1);
        }
    }

    /// Whether nothing moves the host.
    pub(super) fn is_ahead(&self, host: &HostId) -> bool {
        self.ahead.contains(host)
    }

    /// Refuses what would move hosts that are ahead.
    pub(super) fn expect_level(&self, hosts: &[HostRecord]) -> Result<(), Refused> {
        let ahead: Vec<&str> = hosts.iter().filter(|host| self.is_ahead(&host.id)).map(|host| host.name.as_str()).collect();
        if ahead.is_empty() { Ok(()) } else { Err(Refused::Behind(ahead.join(", "))) }
    }
}

fn heard(facts: &HostFacts) -> impl Iterator<Item = (AppName, Fence)> + '_ {
    facts.apps.iter().filter_map(|(app, state)| Some((app.clone(), state.highest?)))
}
