//! Processes named so that a number that was given to another process meanwhile is not mistaken for it.

use crate::lab::error::{LabError, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};
use serde::{Deserialize, Serialize};
use std::fs;

/// A process: its number and the moment it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The number.
    pub pid: i32,
    /// Its start in ticks since the machine's boot.
    pub started: u64,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (_, started) = state_and_start(pid)?;
        Some(Self { pid, started })
    }

    /// This process.
    pub(crate) fn own() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        Self::of(pid).unwrap_or(Self { pid, started: 0 })
    }

    /// Whether it still runs; a dead one that nobody waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        state_and_start(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// SIGKILL, if it is still the same process.
    pub(crate) fn kill(self) {
        if self.is_alive() {
            // it may have gone by itself meanwhile, which is as good
            kill(Pid::from_raw(self.pid), Signal::SIGKILL).unwrap_or_default();
        }
    }

    /// The first process of the namespace that this process' child began: a host's init.
    pub(crate) fn find_init(self) -> Option<Self> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.filter(|pid| is_init(*pid)).find_map(Self::of)
    }
}

/// Whether a process is number 1 in a namespace of its own and has become systemd.
fn is_init(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    field("Name:") == "systemd" && field("NSpid:").split_whitespace().next_back() == Some("1")
}

fn state_and_start(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name in parentheses may hold anything, so count from its end
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    Some((state, fields.get(19)?.parse().ok()?))
}

/// Refuses everyone but root, by a sentence rather than by a failing mount.
pub(crate) fn require_root() -> Result<()> {
    if getuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}
