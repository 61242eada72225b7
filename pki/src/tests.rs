//! The crate as its users meet it: an authority, credentials, and connections between them.

mod connections;
mod issuing;

use crate::{Authority, Credentials, Identity};
use roadstead_model::{AdminName, HostId, Millis, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

pub(super) fn host() -> Identity {
    Identity::Host(HostId::parse(&"h".repeat(26)).unwrap())
}

pub(super) fn admin() -> Identity {
    Identity::Admin(AdminName::parse("ada").unwrap())
}

pub(super) fn hour() -> Millis {
    Millis::from_secs(3600)
}

pub(super) fn credentials(authority: &Authority, identity: &Identity) -> Credentials {
    authority.issue_credentials(identity, hour(), now()).unwrap()
}
