//! What must be true after a kill: the end is that of an undisturbed run, or the old release serves and the operator reads why.

use super::cells::{Cell, Victim};
use super::ground::{Ground, OLD};
use super::rows::Scenario;
use crate::SOON;
use roadstead_tests::lab::{Execution, wait_until};

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it ends without a kill.
    Same,
    /// The old release serves, and the rollout says why.
    WentBack,
}

impl Ground {
    /// Looks at everything; an error tells what is not as it must be.
    pub(super) fn end_of(&self, cell: Cell, done: &Execution) -> Result<End, String> {
        let said = format!("{}{}", done.stdout, done.stderr);
        let (end, version) = match (cell.scenario(), done.code) {
            (Scenario::Deploy, Some(0)) => (End::Same, self.new_version(Scenario::Deploy)),
            // What went back from a restore serves what it served before, and that is the new one.
            (Scenario::Restore, Some(1)) => (End::WentBack, self.new_version(Scenario::Deploy)),
            (Scenario::Recheck | Scenario::Job, Some(0)) => (End::Same, self.new_version(Scenario::Deploy)),
            (Scenario::Recheck | Scenario::Job, Some(1)) => (End::WentBack, self.new_version(Scenario::Deploy)),
            (Scenario::Rollback | Scenario::Restore, Some(0)) => (End::Same, OLD.to_owned()),
            (Scenario::Broken | Scenario::Abort, Some(1)) => (End::Same, OLD.to_owned()),
            (Scenario::Deploy, Some(1)) => (End::WentBack, OLD.to_owned()),
            (scenario, code) => return Err(format!("{scenario:?} ended with {code:?}: {said}")),
        };
        // whoever dies or is cut off comes back, and that costs time, nothing else; what the release itself runs may have failed
        if end == End::WentBack && cell.victim != Victim::Helper {
            return Err(format!("it went back: {said}"));
        }
        self.is_explained(cell.scenario(), end, &said)?;
        self.is_whole(&version)?;
        let expected = if version == OLD { &self.old_files } else { &self.good_files };
        let files = self.files();
        if files != *expected {
            return Err(format!("other files than without the kill: {}", difference(expected, &files)));
        }
        Ok(end)
    }

    /// The rollout has ended, and a bad end has a reason that the operator reads.
    fn is_explained(&self, scenario: Scenario, end: End, said: &str) -> Result<(), String> {
        let rollout = self.journals.newest_rollout().unwrap();
        let shown = self.fleet.rollout(&rollout).unwrap();
        let phase = shown["phase"].as_str().unwrap_or_default();
        let good = matches!(
            (scenario, end),
            (Scenario::Deploy | Scenario::Rollback | Scenario::Restore | Scenario::Recheck | Scenario::Job, End::Same)
        );
        let phases: &[&str] = if good { &["done"] } else { &["rolled-back", "failed"] };
        if !phases.contains(&phase) || !shown["waiting"].is_null() {
            return Err(format!("{rollout} is {phase}: {shown:#}"));
        }
        let why = shown["failure"]["summary"].as_str().unwrap_or_default();
        match good || (!why.is_empty() && said.contains(why)) {
            true => Ok(()),
            false => Err(format!("{rollout} is {phase}, and nothing says why: {said}{shown:#}")),
        }
    }

    /// One release serves, `current` and the controller name it, and nothing else of the app runs, has failed or is half made.
    fn is_whole(&self, version: &str) -> Result<(), String> {
        let level = || {
            let serving = self.fleet.serving().is_ok_and(|serving| serving == [version]);
            let environment = self.fleet.desk.json(&["env", "show", "staging"]).map_or_else(|e| e.to_string(), |env| env.to_string());
            serving && environment.contains(&format!("\"current\":\"{version}-"))
        };
        wait_until(&format!("{version} to serve"), SOON, level).map_err(|error| error.to_string())?;
        // workers end what they have before they go
        wait_until("the host to be at rest", SOON, || self.is_at_rest()).map_err(|error| format!("{error}: {:?}", self.strays()))?;
        let current = self.host.sh("readlink /srv/roadstead/erp/current").unwrap();
        if !current.starts_with(&format!("releases/{version}-")) {
            return Err(format!("current is {current}"));
        }
        let unpublished = self.unpublished();
        if !unpublished.is_empty() {
            return Err(format!("static files are not published: {unpublished}"));
        }
        let twice = "SELECT app || '.' || name FROM django_migrations GROUP BY app, name HAVING count(*) > 1";
        let twice = self.fleet.data.sql("erp", twice).unwrap();
        if !twice.is_empty() {
            return Err(format!("applied twice: {twice}"));
        }
        let broken = self.host.sh("systemctl list-units --plain --no-legend --state=failed").unwrap();
        if broken.is_empty() { Ok(()) } else { Err(format!("failed units: {broken}")) }
    }
}

/// The first lines of one text that are not in the other.
fn difference(expected: &str, seen: &str) -> String {
    let only = |a: &str, b: &str, sign: char| {
        let lines: Vec<&str> = b.lines().collect();
        a.lines().filter(|line| !lines.contains(line)).take(10).map(|line| format!("\n{sign} {line}")).collect::<String>()
    };
    only(expected, seen, '-') + &only(seen, expected, '+')
}
