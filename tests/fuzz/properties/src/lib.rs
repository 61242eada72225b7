//! What must hold of every reader of outside bytes, whatever the bytes are: one function for each, which panics where it does not.
//!
//! The fuzzer of `tests/fuzz` looks for bytes that break one; the test of this crate gives each its corpus, everything that ever
//! broke it included.

// Unit tests in the files of the programs belong to the programs.
#![cfg(not(test))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a property that does not hold stops the run")]

mod agent;
mod balancer;
mod blob;
mod bundle;
mod command;
mod credentials;
mod environment_file;
mod history;
mod join_token;
mod journal;
mod keys;
mod manifest;
mod memory;
mod metrics;
mod migration_facts;
mod names;
mod node;
mod parts;
mod policy;
mod project;
mod release;
mod release_keys;
mod request;
mod scratch;
mod secret_ref;
mod signatures;
mod sockets;
mod static_names;
mod text;
mod unit_text;
mod vault_answer;
mod wheel;
mod wire;

pub use balancer::{command_show, haproxy_stat};
pub use blob::blob;
pub use bundle::bundle;
pub use command::django_settings;
pub use credentials::credentials;
pub use environment_file::environment_file;
pub use history::history;
pub use join_token::join_token;
pub use journal::journal;
pub use manifest::manifest;
pub use memory::memory;
pub use metrics::metrics;
pub use migration_facts::migration_facts;
pub use names::names;
pub use node::node;
pub use parts::parts;
pub use policy::policy;
pub use project::project;
pub use release::release;
pub use release_keys::release_keys;
pub use request::request;
pub use secret_ref::secret_ref;
pub use signatures::signatures;
pub use sockets::sockets;
pub use static_names::static_names;
pub use unit_text::unit_text;
pub use vault_answer::vault_answer;
pub use wheel::wheel;
pub use wire::{facts, message, order, report};

/// A property, by the name of its target.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 33] = [
    ("blob", blob),
    ("bundle", bundle),
    ("command_show", command_show),
    ("credentials", credentials),
    ("django_settings", django_settings),
    ("environment_file", environment_file),
    ("facts", facts),
    ("haproxy_stat", haproxy_stat),
    ("history", history),
    ("join_token", join_token),
    ("journal", journal),
    ("manifest", manifest),
    ("memory", memory),
    ("message", message),
    ("metrics", metrics),
    ("migration_facts", migration_facts),
    ("names", names),
    ("node", node),
    ("order", order),
    ("parts", parts),
    ("policy", policy),
    ("project", project),
    ("release", release),
    ("release_keys", release_keys),
    ("report", report),
    ("request", request),
    ("secret_ref", secret_ref),
    ("signatures", signatures),
    ("sockets", sockets),
    ("static_names", static_names),
    ("unit_text", unit_text),
    ("vault_answer", vault_answer),
    ("wheel", wheel),
];
