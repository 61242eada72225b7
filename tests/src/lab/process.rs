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

    /// The process that has this number inside a host, by the host's init.
    pub(crate) fn inside(init: Self, number: i32) -> Option<Self> {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let of_host = namespace(init.pid)?;
        let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut inside = pids.filter(|pid| namespace(*pid).as_ref() == Some(&of_host));
        inside.find(|pid| number_inside(*pid) == Some(number)).and_then(Self::of)
    }

    /// Whether it still runs; a dead one that nobody waited for does not.
    pub fn is_alive(self) -> bool {
        state_and_start(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Whether it stands still until it is told to go on.
    pub fn is_stopped(self) -> bool {
        state_and_start(self.pid).is_some_and(|(state, started)| started == self.started && state == 'T')
    }

    /// SIGKILL, if it is still the same process.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGSTOP, if it is still the same process.
    pub fn stop(self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT, if it is still the same process.
    pub fn go_on(self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(self, signal: Signal) {
        if self.is_alive() {
            // it may have gone by itself meanwhile, which is as good
            kill(Pid::from_raw(self.pid), signal).unwrap_or_default();
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
    status_field(pid, "Name:").is_some_and(|name| name == "systemd") && number_inside(pid) == Some(1)
}

/// The number that a process has in the innermost namespace that it is in.
fn number_inside(pid: i32) -> Option<i32> {
    status_field(pid, "NSpid:")?.split_whitespace().next_back()?.parse().ok()
}

fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
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
