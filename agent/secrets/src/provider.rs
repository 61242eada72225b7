//! What every source of secrets can do.

use async_trait::async_trait;
use roadstead_model::{AppName, SecretKey, SecretPath};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::secret::{Document, Lease};

/// On whose behalf something is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The app that gets it.
    pub app: &'a AppName,
    /// The tree of its release, whose files were verified: where encrypted files that travel with it are.
    pub tree: Option<&'a Path>,
    /// The host's operator names the reference, in the host's own settings. `allow` is about what others name, and is not asked then.
    pub by_operator: bool,
}

/// Something of a provider: a reference without the provider's name.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// For whom.
    pub asker: Asker<'a>,
    /// Where.
    pub path: &'a SecretPath,
    /// Which value of it.
    pub key: Option<&'a SecretKey>,
    /// Which version of it.
    pub version: Option<u32>,
}

/// A source of secrets. Whatever it is asked ends by the time `until`.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// Reads what is at a place, which the host's operator allows the app to have.
    async fn read(&self, place: Place<'_>, until: Instant) -> Result<Document, Fault>;

    /// Whether reading depends on the key: else one reading does for all keys of a place, and what is issued together fits together.
    fn reads_by_key(&self) -> bool {
        false
    }

    /// The number of the newest version, without its value.
    async fn newest(&self, _place: Place<'_>, _until: Instant) -> Result<u64, Fault> {
        Err(Fault::NoVersions)
    }

    /// Makes what was issued hold longer; gives what holds from now on.
    async fn renew(&self, _lease: &Lease, _until: Instant) -> Result<Lease, Fault> {
        Err(Fault::NoLeases)
    }

    /// Ends what was issued, now.
    async fn revoke(&self, _lease: &Lease, _until: Instant) -> Result<(), Fault> {
        Err(Fault::NoLeases)
    }

    /// Keeps alive what the host logs in with, where it would end otherwise; gives when to do so again.
    async fn tend(&self, _until: Instant) -> Result<Option<Duration>, Fault> {
        Ok(None)
    }

    /// Whether it works, as far as can be seen without reading a secret; what was seen, for people.
    async fn look(&self, until: Instant) -> Result<String, Fault>;
}
