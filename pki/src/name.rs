//! Identities as they stand in certificates: one URI each.

use roadstead_model::{AdminName, HostId, InvalidName};
use std::fmt;

const SCHEME: &str = "roadstead:";

/// Who speaks at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The controller.
    Controller,
    /// The agent of one host.
    Host(HostId),
    /// A person or a CI job that drives the fleet.
    Admin(AdminName),
}

/// Why a URI is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// It is none of the three forms.
    #[error("the name {0:?} is none of roadstead:controller, roadstead:host:ID and roadstead:admin:NAME")]
    Unknown(String),
    /// The form is right, the id or name in it is not.
    #[error("the name in the certificate is malformed")]
    Name(#[from] InvalidName),
}

impl Identity {
    /// The identity as it is written into a certificate.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Reads an identity from a certificate's URI.
    ///
    /// # Errors
    /// [`InvalidIdentity`] for everything that [`Identity::uri`] does not write.
    pub fn parse_uri(uri: &str) -> Result<Self, InvalidIdentity> {
        let unknown = || InvalidIdentity::Unknown(uri.chars().take(120).collect());
        let name = uri.strip_prefix(SCHEME).ok_or_else(unknown)?;
        match name.split_once(':') {
            None if name == "controller" => Ok(Self::Controller),
            Some(("host", id)) => Ok(Self::Host(HostId::parse(id)?)),
            Some(("admin", name)) => Ok(Self::Admin(AdminName::parse(name)?)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Host(id) => write!(f, "host:{id}"),
            Self::Admin(name) => write!(f, "admin:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_identity_reads_back(host in "[a-z0-9]{26}", admin in "[a-z0-9][a-z0-9._-]{0,63}") {
            for identity in [
                Identity::Controller,
                Identity::Host(HostId::parse(&host).unwrap()),
                Identity::Admin(AdminName::parse(&admin).unwrap()),
            ] {
                prop_assert_eq!(Identity::parse_uri(&identity.uri()), Ok(identity));
            }
        }

        #[test]
        fn what_reads_at_all_is_written_the_same(text in "(roadstead:)?(host:|admin:|controller)?\\PC{0,80}") {
            if let Ok(identity) = Identity::parse_uri(&text) {
                prop_assert_eq!(identity.uri(), text);
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let id = "a".repeat(26);
        for bad in [
            "",
            "roadstead:",
            "controller",
            "roadstead:Controller",
            "roadstead:controller:",
            "roadstead:controller ",
            "roadstead:host",
            "roadstead:host:",
            "ROADSTEAD:controller",
            &format!("roadstead:host:{id}:"),
            &format!("roadstead:host:{id}\0"),
            &format!("roadstead:host:{}", "A".repeat(26)),
            &format!("spiffe://roadstead:host:{id}"),
            "roadstead:admin:Root",
            "roadstead:admin:a/b",
            "roadstead:admin:",
        ] {
            assert!(Identity::parse_uri(bad).is_err(), "{bad:?}");
        }
    }
}
