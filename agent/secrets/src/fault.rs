//! Why there is no secret. No fault holds a value, a token, what a program printed or what a server wrote: only what was tried, where, and
//! how that ended in words of our own.

use roadstead_model::{AppName, SecretRef};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A reference that cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{of}")]
pub struct SecretError {
    /// What was asked for.
    pub of: Asked,
    /// Why it cannot be had.
    #[source]
    pub fault: Fault,
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        self.fault.hint()
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A secret.
    Secret(SecretRef),
    /// Something of a provider that has no reference, such as a lease.
    Provider(roadstead_model::ProviderName),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(reference) => write!(f, "the secret {reference} cannot be had"),
            Self::Provider(name) => write!(f, "the provider of secrets {name} does not do what it is asked"),
        }
    }
}

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// This host knows no such provider.
    #[error("this host has no [secrets.{0}] in its agent.toml")]
    NoProvider(roadstead_model::ProviderName),
    /// The host's operator does not allow it.
    #[error(
        "this host does not let {app} have it: no pattern of `allow` in [secrets.{provider}] of its agent.toml fits, or `apps` leaves {app} out"
    )]
    NotAllowed {
        /// The app that would get it.
        app: AppName,
        /// The provider.
        provider: roadstead_model::ProviderName,
    },
    /// More at once than anybody needs.
    #[error("more than {max} secrets at once are too many")]
    TooMany {
        /// How many are not.
        max: usize,
    },
    /// Time is up.
    #[error("time is up{}", .last.as_ref().map(|last| format!("; the last try: {last}")).unwrap_or_default())]
    Deadline {
        /// What the last try ended with.
        last: Option<Box<Fault>>,
    },
    /// Nobody answers.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// Why, by this host.
        why: String,
    },
    /// TLS.
    #[error("no TLS with {address}: {why}")]
    Tls {
        /// Who was asked.
        address: String,
        /// Why, by this host.
        why: String,
    },
    /// The server is sealed.
    #[error("{address} is sealed")]
    Sealed {
        /// Who was asked.
        address: String,
    },
    /// The server cannot answer now.
    #[error("{address} cannot answer now: HTTP status {status}")]
    Busy {
        /// Who was asked.
        address: String,
        /// What it said.
        status: u16,
    },
    /// The server sends us elsewhere.
    #[error("{address} sends requests on to another server, {to}, which is none of `addresses`: it is not followed")]
    Elsewhere {
        /// Who was asked.
        address: String,
        /// Where it sends us.
        to: String,
    },
    /// The login fails.
    #[error("{address} refuses the login by {how}: HTTP status {status}")]
    Login {
        /// Who was asked.
        address: String,
        /// How the host logs in.
        how: &'static str,
        /// What it said.
        status: u16,
    },
    /// The login was fine, this is not.
    #[error("{address} does not let this host have it (permission denied)")]
    Denied {
        /// Who was asked.
        address: String,
    },
    /// There is no such thing.
    #[error("there is no such secret at {place}")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// There was such a thing.
    #[error("version {version} of it was {}", if *.destroyed { "destroyed" } else { "deleted" })]
    Deleted {
        /// Which version.
        version: u64,
        /// Whether it is gone for good.
        destroyed: bool,
    },
    /// Nothing is mounted there.
    #[error("{0} is no mount of the server, in this namespace")]
    NoMount(String),
    /// A mount that the settings do not name.
    #[error("its path begins with none of `mounts` in [secrets.{0}] of the host's agent.toml")]
    UnknownMount(roadstead_model::ProviderName),
    /// It has no path of the form that the provider needs.
    #[error("its path is none that this provider has: {0}")]
    Path(&'static str),
    /// The server refuses the question.
    #[error("{address} refuses the question: HTTP status {status}")]
    Refused {
        /// Who was asked.
        address: String,
        /// What it said.
        status: u16,
    },
    /// The answer is none.
    #[error("what {from} gives is not understood: {what}")]
    Malformed {
        /// Who gave it.
        from: String,
        /// What is wrong with it, in our words.
        what: &'static str,
    },
    /// Too much came.
    #[error("what {from} gives is more than {max} bytes")]
    TooLarge {
        /// Who gave it.
        from: String,
        /// What would have been fine.
        max: usize,
    },
    /// A key where there are none.
    #[error("it is one value and has no keys: leave #{key} out of the reference, or say `format` in the provider's section of agent.toml")]
    NoKeys {
        /// The key.
        key: String,
    },
    /// No key where there are some.
    #[error("it has {count} values: say which, as #KEY in the reference")]
    WhichKey {
        /// How many.
        count: usize,
    },
    /// Another key.
    #[error("it has no text, number or truth value of the key {key}")]
    NoSuchKey {
        /// The key.
        key: String,
    },
    /// A version where there are none.
    #[error("its provider keeps no versions: leave ?version out of the reference")]
    NoVersions,
    /// A value that cannot be delivered.
    #[error("its value is larger than {max} bytes")]
    LargeValue {
        /// What would have been fine.
        max: usize,
    },
    /// A file.
    #[error("cannot {doing} {}: {why}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file of secrets that others may read.
    #[error("{} is open to others than root (mode {mode:o}, owner {owner}): what it holds may be known to anybody", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The number of its owner.
        owner: u32,
    },
    /// A file that cannot be one of a secret.
    #[error("{} is no file that holds one: {what}", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A program.
    #[error("{program} {how}")]
    Program {
        /// Its path.
        program: String,
        /// How it ended.
        how: String,
    },
    /// A user that there is not.
    #[error("there is no user {0} on this host")]
    NoUser(String),
    /// There are no leases.
    #[error("its provider gives no leases")]
    NoLeases,
    /// The lease has ended.
    #[error("{address} knows no such lease any more")]
    LeaseGone {
        /// Who was asked.
        address: String,
    },
}

impl Fault {
    /// Whether the same question may be answered a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Sealed { .. } | Self::Busy { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoProvider(name) => format!("add [secrets.{name}] to /etc/roadstead/agent.toml of the host, or correct the reference"),
            Self::NotAllowed { provider, .. } => {
                format!(
                    "if the app may have it, add a pattern to `allow` in [secrets.{provider}] on the host; no one but the host's operator can"
                )
            }
            Self::TooMany { .. } => "ask for fewer".into(),
            Self::Deadline { last: Some(last) } => last.hint(),
            Self::Deadline { last: None } => "is the provider slow? `roadstead-agent doctor` on the host asks it".into(),
            Self::Unreachable { .. } => "is the server running, and does a firewall let this host out to it?".into(),
            Self::Tls { .. } => {
                "look at `authorities` in the provider's section, whom the host believes, and at what it shows (`certificate` and `key`)"
                    .into()
            }
            Self::Sealed { .. } => "unseal it (`vault operator unseal`), then try again".into(),
            Self::Busy { .. } => "look at the server's own log, then try again".into(),
            Self::Elsewhere { .. } => "name all servers of the cluster in `addresses` of the provider's section".into(),
            Self::Login { .. } => "look at the role, its mount and its policies on the server, and at what this host shows: \
                                   `roadstead-agent doctor` on the host logs in"
                .into(),
            Self::Denied { .. } => "a policy of the host's token must let it `read` the path (for KV v2: MOUNT/data/PATH)".into(),
            Self::Missing { .. } => "put it there, or correct the reference".into(),
            Self::Deleted { destroyed: true, .. } => "name another version in the reference".into(),
            Self::Deleted { .. } => "undelete it (`vault kv undelete`), or name another version in the reference".into(),
            Self::NoMount(_) => "correct `mounts` or `namespace` in the provider's section, or enable the secrets engine".into(),
            Self::UnknownMount(_) => "add the mount and its engine to `mounts`, or correct the reference".into(),
            Self::Path(_) | Self::NoKeys { .. } | Self::WhichKey { .. } | Self::NoSuchKey { .. } | Self::NoVersions => {
                "correct the reference".into()
            }
            Self::Refused { .. } | Self::Malformed { .. } => {
                "is this the server, the mount or the program that the provider's section means? `roadstead-agent doctor` looks".into()
            }
            Self::TooLarge { .. } | Self::LargeValue { .. } => "deliver what is so large in another way, as a file of the host".into(),
            Self::File { .. } | Self::NoFile { .. } => "correct the file or its name, as root".into(),
            Self::Exposed { path, .. } => {
                let path = path.display();
                format!("make what it holds anew, since others could read it; then chown root: {path} && chmod 600 {path}")
            }
            Self::Program { program, .. } => {
                format!("run {program} by hand as root on the host: what it prints is not shown here, since it could hold the secret")
            }
            Self::NoUser(_) => "correct `user` in the provider's section".into(),
            Self::NoLeases => "only what is issued for a time has a lease".into(),
            Self::LeaseGone { .. } => "what it was about has ended: ask for a new one".into(),
        }
    }
}

/// A name or version that a server gives, fit to be shown.
pub(crate) fn shown(text: &str, max: usize) -> String {
    text.chars().filter(char::is_ascii_graphic).take(max).collect()
}
