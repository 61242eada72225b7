//! The agent's hands on its host: systemd, commands of a release, probes, users, interpreters, disks.
//!
//! Nothing here knows steps or orders. What touches systemd goes through [`Host`], so that tests can put another one in its place.

pub(crate) mod argv;
pub(crate) mod command;
pub(crate) mod disk;
pub(crate) mod environment_file;
pub(crate) mod installer;
pub(crate) mod journal;
pub(crate) mod leash;
pub(crate) mod libc_version;
pub(crate) mod links;
pub(crate) mod ports;
pub(crate) mod probe;
pub(crate) mod proof;
pub(crate) mod python;
pub(crate) mod quote;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod statics;
pub(crate) mod systemd;
pub(crate) mod tasks_left;
pub(crate) mod unit_file;
pub(crate) mod user;

use std::path::PathBuf;

use journal::Journal;
use systemd::{Bus, Systemd};

/// The host that steps act on.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its systemd.
    pub(crate) systemd: Systemd,
    /// Its journal.
    pub(crate) journal: Journal,
    /// `/`, where `proc` and `sys` are found.
    pub(crate) root: PathBuf,
}

impl Host {
    /// The host that the agent runs on. Connects to nothing yet.
    pub(crate) fn new() -> Self {
        Self { systemd: Systemd::new(Bus::System), journal: Journal::new("journalctl".into()), root: PathBuf::from("/") }
    }
}
