//! Rollouts that a story watches while they run.

use super::{Fleet, Result};
use crate::lab::{Execution, wait_until};
use std::time::Duration;

impl Fleet {
    /// Begins a rollout by a command with `--no-wait`, and returns its number, such as `r-3`.
    pub fn begin(&self, words: &[&str]) -> Result<String> {
        let said = self.desk.json(&[words, &["--no-wait"]].concat())?;
        Ok(said["rollout"].as_str().unwrap_or_default().to_owned())
    }

    /// What the controller says of a rollout.
    pub fn rollout(&self, rollout: &str) -> Result<serde_json::Value> {
        self.desk.json(&["rollout", "show", rollout])
    }

    /// Waits until a rollout is in a phase.
    pub fn wait_for_phase(&self, rollout: &str, phase: &str, deadline: Duration) -> Result<()> {
        let mut seen = String::new();
        let mut look = || {
            seen = self.rollout(rollout).map_or_else(|error| error.to_string(), |rollout| rollout["phase"].to_string());
            seen.trim_matches('"') == phase
        };
        wait_until(&format!("{rollout} to be {phase}"), deadline, &mut look).inspect_err(|_| {
            let shown = self.desk.try_roadstead(&["rollout", "show", rollout]);
            crate::lab::complain(&shown.map_or_else(|error| error.to_string(), |shown| shown.stdout));
        })
    }

    /// Follows a rollout to its end and returns how the command ended, with all that it said.
    pub fn watch(&self, rollout: &str) -> Result<Execution> {
        self.desk.try_roadstead(&["rollout", "watch", rollout])
    }
}
