//! Who is who: the fleet's own authority, the certificates it issues, the join tokens that let a new host in, and the TLS
//! of every listener and client.
//!
//! This crate is the only one that names a TLS or certificate library; others see identities, streams and refusals. It
//! holds no database, serves no calls and decides nothing about what an identity *may do*: a certificate says who speaks,
//! and whether that one is still welcome (not revoked, in scope) is for the controller to ask at each call.
//!
//! The rules that hold everywhere:
//! - TLS 1.3 only, HTTP/2 only, no session tickets and no resumption: every connection proves itself anew.
//! - The fleet's authority is the only root; no system store, no default or demo authority is ever trusted. (Servers that are no part of
//!   the fleet, such as a metrics server, are another matter: `outside.rs`.)
//! - An identity is exactly one URI in a verified certificate. It is never read from a message.
//! - What a certificate may be used for follows from the identity in it: the authority ignores what a request asks for.

mod authority;
mod certificate;
mod credentials;
mod csr;
mod dial;
mod files;
mod join_token;
mod limits;
mod name;
mod outside;
mod pem;
mod pin;
mod profile;
mod refusal;
mod renewal;
mod serve;
mod socket;
mod tls;
mod verify;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, IssueError, IssuedCertificate};
pub use certificate::{CertificateFault, InvalidSerial, PeerCertificate, Serial};
pub use credentials::{Credentials, CredentialsError};
pub use csr::{KeyError, PendingCredentials, RequestFault};
pub use dial::{ClientStream, ConnectError, connect};
pub use files::FileError;
pub use join_token::{InvalidJoinToken, JoinToken, TokenHash};
pub use limits::{CONNECT_DEADLINE, HANDSHAKE_DEADLINE};
pub use name::{Identity, InvalidIdentity};
pub use outside::{ClientFiles, OutsideTls};
pub use pin::{InvalidPin, KeyPin};
pub use profile::{ADMIN_LIFETIME, CONTROLLER_LIFETIME, CONTROLLER_SERVER_NAME, HOST_LIFETIME, default_lifetime};
pub use refusal::Refusal;
pub use renewal::{jitter_seed, renew_at, retry_after};
pub use serve::{AcceptError, PeerStream, ServeLimits, listen};
pub use tls::{ClientTls, ServerTls, TlsError};
