//! Stops an agent exactly between two records of its journal: by a small library that its unit loads, so that the program is the one that
//! users run.

use super::{Moment, Result};
use crate::lab::{Host, LabError, Process, workspace};
use std::process::Command;
use std::time::Duration;

const LIBRARY: &str = "/usr/local/lib/roadstead-stop-at.so";
/// As the library knows it.
const WORDS: &str = "/run/roadstead-stop-at";
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// What stops the agent of one host.
#[derive(Debug, Clone)]
pub struct Stopper {
    host: Host,
}

impl Stopper {
    /// Builds the library and makes the agent of a host load it, from its next start on, which is now.
    pub fn install(host: &Host) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("make", "a folder for a library"))?;
        let built = folder.path().join("stop-at.so");
        super::run(
            Command::new("gcc")
                .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
                .arg(&built)
                .arg(workspace().join("tests/lab/stop-at.c")),
        )?;
        host.push_file(&built, LIBRARY)?;
        let unit = format!("[Service]\nEnvironment=LD_PRELOAD={LIBRARY}\n");
        host.write("/etc/systemd/system/roadstead-agent.service.d/stop-at.conf", unit)?;
        host.systemctl(&["daemon-reload"])?;
        host.systemctl(&["restart", "roadstead-agent"])?;
        Ok(Self { host: host.clone() })
    }

    /// From now on the agent stops when it has written this record.
    pub fn arm(&self, at: &Moment) -> Result<()> {
        let name = if at.record == "header" { "verb" } else { "step" };
        self.host.write(WORDS, format!("\"record\":\"{}\"\n\"{name}\":\"{}\"\n", at.record, at.step))
    }

    /// It stops no more.
    pub fn disarm(&self) -> Result<()> {
        self.host.exec(&["rm", "-f", WORDS]).map(drop)
    }

    /// Waits until the agent stands still, or until it is no use any more. Whether it does.
    pub fn wait(&self, agent: Process, mut in_vain: impl FnMut() -> bool) -> bool {
        loop {
            if agent.is_stopped() {
                return true;
            }
            if in_vain() {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
