//! Where secrets come from: HashiCorp Vault and OpenBao, credentials of systemd, files encrypted with age, commands of the host's operator,
//! all behind one trait, [`Provider`], and one way in, [`Providers`].
//!
//! It resolves references, on the host, with what the host's operator set up there. It is *not* what decides which variable of which app is
//! a secret, it delivers nothing, it stores nothing: a value lives in memory until its [`Value`] is dropped, and is shown by
//! [`Value::reveal`] alone. Who resolves a reference has to see to it that the value ends up where the *signed* release says that a secret
//! belongs: a reference may come from a controller that was taken over.
//!
//! - Addresses, files, programs, namespaces and mounts stand in the host's settings and nowhere else. A reference chooses a path below
//!   them, within what `allow` says for the app that asks.
//! - No error, no `Debug`, no log line holds a value, a token, what a program printed or a server wrote.
//! - Everything that is asked ends by a deadline, and everything that comes is bounded.
//!
//! **Vault's HTTP API is spoken here, with hyper and the TLS of `pki`.** The client that is best kept, `vaultrs` 0.8, was looked at: it
//! brings reqwest 0.13 with aws-lc and the platform's verifier of certificates, a second cryptographic provider that this project bans,
//! and more than twenty other crates that nothing else here needs; it follows redirects, reads answers of any length, and its errors carry
//! what the server wrote. What is needed of the API are ten calls.

mod age;
mod allow;
mod child;
mod command;
mod credential;
mod fault;
mod format;
mod private_file;
mod provider;
mod providers;
mod secret;
mod value;
mod vault;

#[cfg(test)]
mod tests;

pub use age::AgeSettings;
pub use allow::Pattern;
pub use command::{CommandSettings, PLACEHOLDERS};
pub use credential::CredentialSettings;
pub use fault::{Asked, Fault, SecretError};
pub use format::Format;
pub use private_file::HostFile;
pub use provider::{Asker, Place, Provider};
pub use providers::{KindSettings, ProviderSettings, Providers, REFERENCES_MAX};
pub use roadstead_model::{InvalidSecretRef, SecretKey, SecretPath, SecretRef};
pub use roadstead_pki::ClientFiles;
pub use secret::{Content, Document, Lease, Secret};
pub use value::Value;
pub use vault::{Engine, Login, VaultSettings};
