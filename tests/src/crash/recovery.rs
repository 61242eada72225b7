//! What a host must do that boots from a disk after a power cut.

use super::offline::{Offline, remembered};
use super::workload::LAST;
use crate::fleet::Fleet;
use crate::lab::{Host, LabError, tail, wait_until};
use std::time::Duration;

/// How long a host may take from its boot until it is level, on a busy machine.
const LEVEL_WITHIN: Duration = Duration::from_secs(150);

/// Boots a host, waits until it is level, and says what does not hold.
pub(super) fn recover(fleet: &Fleet, web: &Host, before: &Offline) -> Result<Vec<String>, LabError> {
    web.boot()?;
    let mut last = String::new();
    let level = wait_until("the host to be level", LEVEL_WITHIN, || match lacking(fleet, web) {
        Ok(None) => true,
        Ok(Some(lacks)) => {
            last = lacks;
            false
        }
        Err(error) => {
            last = error.to_string();
            false
        }
    });
    let mut wrong = Vec::new();
    if level.is_err() {
        wrong.push(format!("{} after the boot {last}{}", in_words(LEVEL_WITHIN), tail(&web.journal_lines("roadstead*", 60)?)));
    }
    let (highest, journals) = remembered(&web.root_path());
    if highest < before.highest {
        wrong.push(format!("it remembers the fence {highest:?}, and remembered {:?} before", before.highest));
    }
    for journal in journals.iter().filter(|journal| !before.journals.contains(journal)) {
        wrong.extend(
            before
                .highest
                .filter(|fence| older(journal, fence.rollout.0))
                .map(|fence| format!("it obeyed the order {journal} below the fence {fence:?}")),
        );
    }
    Ok(wrong)
}

fn in_words(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// Whether a journal is of an older rollout.
fn older(journal: &str, rollout: u64) -> bool {
    journal.split_once('-').and_then(|(number, _)| number.parse().ok()).is_some_and(|number: u64| number < rollout)
}

/// What is still missing until a host is level; nothing when it is. What is known without asking anybody comes first.
fn lacking(fleet: &Fleet, web: &Host) -> Result<Option<String>, LabError> {
    let current = std::fs::read_link(web.root_path().join("srv/roadstead/erp/current")).unwrap_or_default().display().to_string();
    if !current.starts_with(&format!("releases/{LAST}-")) {
        return Ok(Some(format!("current names {current:?}")));
    }
    let answer = fleet.ask(web, "/readyz")?;
    if answer != (200, LAST.to_owned()) {
        return Ok(Some(format!("its site answers {answer:?}")));
    }
    if fleet.connected()? != fleet.hosts.len() {
        return Ok(Some("it is not connected".to_owned()));
    }
    let rollouts = fleet.desk.json(&["rollout", "list", "--env", "staging", "--limit", "1"])?;
    if rollouts[0]["phase"] != "done" {
        return Ok(Some(format!("the newest rollout is not done: {}", rollouts[0])));
    }
    let environment = fleet.desk.json(&["env", "show", "staging"])?;
    let wanted = environment["current"].as_str().unwrap_or_default();
    if wanted.is_empty() || !current.ends_with(wanted) {
        return Ok(Some(format!("it serves {current}, its environment runs {wanted}")));
    }
    let failed = web.sh("systemctl list-units --plain --no-legend --state=failed")?;
    Ok((!failed.is_empty()).then(|| format!("units have failed: {failed}")))
}
