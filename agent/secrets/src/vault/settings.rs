//! What the host's operator says of a Vault.

use roadstead_model::{HttpUrl, SecretPath};
use roadstead_pki::ClientFiles;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::private_file::HostFile;

/// A cluster and how the host logs in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    /// Its servers: nobody else is asked, whatever an answer says. At least one.
    pub addresses: Vec<HttpUrl>,
    /// The authorities of their certificates; those of the machine otherwise.
    pub authorities: Option<PathBuf>,
    /// The namespace of everything, where the cluster has some.
    pub namespace: Option<SecretPath>,
    /// What is mounted where, of what references may name.
    pub mounts: BTreeMap<SecretPath, Engine>,
    /// How the host shows who it is.
    pub login: Login,
    /// Where that login is mounted.
    pub login_mount: SecretPath,
}

impl VaultSettings {
    /// What is mounted where a path leads, and the rest of the path.
    pub(crate) fn mounted<'a>(&self, path: &'a SecretPath) -> Option<(&str, Engine, &'a str)> {
        let below = |mount: &str| path.as_str().strip_prefix(mount)?.strip_prefix('/');
        let found = self.mounts.iter().filter_map(|(mount, engine)| Some((mount.as_str(), *engine, below(mount.as_str())?)));
        found.max_by_key(|(mount, ..)| mount.len())
    }
}

/// A secrets engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Values with versions: KV, version 2.
    Kv,
    /// Users of a database, issued for a time.
    Database,
}

/// How a host shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By a token that somebody else got.
    Token(HostFile),
    /// By AppRole.
    AppRole {
        /// The role's id.
        role_id: HostFile,
        /// A secret id of it; a role may need none.
        secret_id: Option<HostFile>,
    },
    /// By a certificate of TLS.
    Certificate {
        /// What is shown; the agent's own identity otherwise, which the controller issues: whoever takes that over could then be any host.
        files: Option<ClientFiles>,
        /// The role; whichever fits otherwise.
        role: Option<String>,
    },
}

impl Login {
    /// Its name, for people.
    pub(crate) const fn how(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::AppRole { .. } => "AppRole",
            Self::Certificate { .. } => "certificate",
        }
    }
}
