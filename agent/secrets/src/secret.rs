//! What a provider gives, and what is taken of it.

use roadstead_model::{ProviderName, SecretKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::value::{VALUE_BYTES_MAX, Value};

/// A resolved reference.
#[derive(Debug)]
pub struct Secret {
    /// The value.
    pub value: Value,
    /// Its version, where its provider keeps versions. A reference without one meant the newest: this is what that was.
    pub version: Option<u64>,
    /// What it was issued under, where it ends by itself.
    pub lease: Option<Lease>,
}

/// That a secret was issued for a time. It is no secret itself, and may be written down to be ended after a restart.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who issued it.
    pub provider: ProviderName,
    id: String,
    /// How long it holds from when it was issued or renewed.
    pub duration: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How soon it wants to be renewed, to go on: well before it ends, and before the login ends with which it would end, too.
    pub renew_in: Duration,
}

impl Lease {
    pub(crate) const fn new(provider: ProviderName, id: String, duration: Duration, renewable: bool, renew_in: Duration) -> Self {
        Self { provider, id, duration, renewable, renew_in }
    }

    /// What its provider calls it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Without the last part of the id, which whoever may end leases could use.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.id.rsplit_once('/').map_or("", |(of, _)| of);
        let mut shown = f.debug_struct("Lease");
        shown.field("provider", &self.provider).field("of", &of).field("duration", &self.duration).finish_non_exhaustive()
    }
}

/// What stands at one place of a provider: one value, or several by their keys.
#[derive(Debug)]
pub enum Content {
    /// One value.
    Whole(Value),
    /// Values by key.
    Keys(BTreeMap<String, Value>),
}

/// What a provider gives for a place.
#[derive(Debug)]
pub struct Document {
    /// The values.
    pub content: Content,
    /// Its version.
    pub version: Option<u64>,
    /// What it was issued under.
    pub lease: Option<Lease>,
}

impl Document {
    /// One that neither has versions nor ends.
    pub(crate) const fn lasting(content: Content) -> Self {
        Self { content, version: None, lease: None }
    }

    /// The value that is meant.
    pub(crate) fn secret(&self, key: Option<&SecretKey>) -> Result<Secret, Fault> {
        let value = match (&self.content, key) {
            (Content::Whole(value), None) => value,
            (Content::Whole(_), Some(key)) => return Err(Fault::NoKeys { key: key.to_string() }),
            (Content::Keys(values), None) => return Err(Fault::WhichKey { count: values.len() }),
            (Content::Keys(values), Some(key)) => values.get(key.as_str()).ok_or_else(|| Fault::NoSuchKey { key: key.to_string() })?,
        };
        if value.reveal().len() > VALUE_BYTES_MAX {
            return Err(Fault::LargeValue { max: VALUE_BYTES_MAX });
        }
        Ok(Secret { value: value.copy(), version: self.version, lease: self.lease.clone() })
    }
}
