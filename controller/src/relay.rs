//! Whether a host is one machine. A disk that is copied carries the identity along, and then two machines come with one certificate.
//!
//! Each session hands the host a *baton*, which it brings to its next one. The baton lives in the memory of the agent's process alone:
//! an agent that starts has none and is given one, after a reboot, a restored disk or a restart alike, and whoever came before it is
//! expected no more. So a machine that brings a baton which was handed on since is another one than the machine that was here meanwhile.
//!
//! Networks deliver late, and what is late must lock nobody. Therefore a baton is handed on only when its successor is known to have
//! arrived (the host spoke after it was welcomed), and one that comes with an outdated baton is believed to be alive only when it speaks
//! after its welcome: a hello that was sent before the machine went down cannot do that.

use roadstead_model::HostId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::{Store, StoreError};

const BATON_BYTES: usize = 16;
/// Batons of one host that are known to be outdated. One that was forgotten is taken for a new one; then the machine that holds the
/// newest comes with an outdated one.
const OUTDATED_MAX: usize = 16;
/// Batons that a host may hold, as far as is known: one more for each session that was welcomed and not heard.
const HELD_MAX: usize = 64;

/// What a host is handed in a session and brings to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Baton([u8; BATON_BYTES]);

/// A baton of another length than batons have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a baton is {BATON_BYTES} bytes long")]
pub(crate) struct NoBaton;

impl Baton {
    /// Reads what a host brings; nothing, when its agent has just started.
    ///
    /// # Errors
    /// [`NoBaton`].
    pub(crate) fn brought(bytes: &[u8]) -> Result<Option<Self>, NoBaton> {
        if bytes.is_empty() { Ok(None) } else { bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(|_| NoBaton) }
    }

    /// One that nobody has had.
    fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; BATON_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

/// The batons of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Relay {
    /// Those that the host may hold, the newest last.
    held: Vec<Baton>,
    /// Those that it has handed on, the newest last.
    outdated: VecDeque<Baton>,
}

impl Relay {
    /// Someone comes with this host's identity, and would be handed the next baton. False: another machine was here since.
    fn come(&mut self, brought: Option<Baton>, next: Baton) -> bool {
        if brought.is_some_and(|baton| self.outdated.contains(&baton)) {
            return false;
        }
        // One that is not known is of a time that a restored database does not remember.
        let unknown = brought.filter(|baton| !self.held.contains(baton));
        self.held.extend(unknown.into_iter().chain([next]));
        self.held.drain(..self.held.len().saturating_sub(HELD_MAX));
        true
    }

    /// The host spoke after it was handed a baton: it holds that one and no other. Says whether that is news. A baton that is not the
    /// newest says nothing, for the host may have been handed another since.
    fn arrived(&mut self, baton: Baton) -> bool {
        if self.held.last() != Some(&baton) || self.held.len() == 1 {
            return false;
        }
        let before = self.held.len().saturating_sub(1);
        self.outdated.extend(self.held.drain(..before));
        self.outdated.drain(..self.outdated.len().saturating_sub(OUTDATED_MAX));
        true
    }

    /// As it is kept: the one that is held first, then the outdated ones, the newest first.
    fn to_bytes(&self) -> Vec<u8> {
        self.held.iter().rev().chain(self.outdated.iter().rev()).flat_map(|baton| baton.0).collect()
    }

    /// Reads what was kept.
    fn of_bytes(bytes: &[u8]) -> Self {
        let mut batons = bytes.as_chunks().0.iter().copied().map(Baton);
        let held = batons.next().into_iter().collect();
        Self { held, outdated: batons.rev().collect() }
    }
}

/// The batons of all hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Relays(Arc<Mutex<HashMap<HostId, Relay>>>);

impl Relays {
    /// Reads what is known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let relays = store.batons().await?.into_iter().map(|(host, bytes)| (host, Relay::of_bytes(&bytes)));
        Ok(Self(Arc::new(Mutex::new(relays.collect()))))
    }

    fn change<T>(&self, host: &HostId, change: impl FnOnce(&mut Relay) -> T) -> T {
        // Nothing panics while it holds the lock.
        let mut relays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(relays.entry(host.clone()).or_default())
    }

    /// Someone comes with the identity of a host: the baton for that session. None, when another machine was here since.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub(crate) fn come(&self, host: &HostId, brought: Option<Baton>) -> Result<Option<Baton>, getrandom::Error> {
        let next = Baton::fresh()?;
        Ok(self.change(host, |relay| relay.come(brought, next)).then_some(next))
    }

    /// A host spoke after it was handed this baton: what is to be kept, when that is news.
    pub(crate) fn arrived(&self, host: &HostId, baton: Baton) -> Option<Vec<u8>> {
        self.change(host, |relay| relay.arrived(baton).then(|| relay.to_bytes()))
    }
}

#[cfg(test)]
mod tests;
