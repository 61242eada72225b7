//! The agent's journals as they lie on a host's disk, read from outside while the agent writes them: the one place that tells exactly
//! in which step a fault hits.

use crate::lab::Host;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a journal is looked at. The shortest steps take little more than a write that is synced.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// What an agent was about when it wrote its newest record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The record: `started`, `succeeded`, `undo-started`, `ended`, …
    pub record: String,
    /// The step; of the record that begins an order, the order's verb.
    pub step: String,
}

impl Moment {
    /// The moment after which a step runs.
    pub fn within(step: &str) -> Self {
        Self { record: "started".into(), step: step.into() }
    }

    /// The moment after which a step is undone.
    pub fn undoing(step: &str) -> Self {
        Self { record: "undo-started".into(), step: step.into() }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.record, self.step)
    }
}

/// The journals of one app on one host.
#[derive(Debug, Clone)]
pub struct Journals {
    folder: PathBuf,
}

impl Journals {
    /// Those of the ERP.
    pub fn of(host: &Host) -> Self {
        Self::of_app(host, "erp")
    }

    /// Those of another app.
    pub fn of_app(host: &Host, app: &str) -> Self {
        Self { folder: host.root_path().join("var/lib/roadstead-agent/journal").join(app) }
    }

    /// The newest record of the order that is carried out: the first of the newest rollout that has not ended, else the last.
    pub fn last(&self) -> Option<Moment> {
        let mut orders: Vec<_> = self.numbered()?.collect();
        orders.sort();
        let newest = orders.last()?.0.0;
        let moments: Vec<Moment> =
            orders.iter().filter(|((rollout, _), _)| *rollout == newest).filter_map(|(_, path)| last_of(path)).collect();
        moments.iter().find(|moment| moment.record != "ended").or(moments.last()).cloned()
    }

    /// How many whole lines each journal has, by its file name.
    pub fn lines(&self) -> BTreeMap<String, usize> {
        let whole = |path: &Path| fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        let files = self.numbered().into_iter().flatten();
        files.map(|(_, path)| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), whole(&path))).collect()
    }

    /// Looks until the newest record is one of those that are waited for, or until it is no use any more.
    pub fn wait_for(&self, mut wanted: impl FnMut(&Moment) -> bool, mut in_vain: impl FnMut() -> bool) -> Option<Moment> {
        loop {
            if let Some(moment) = self.last().filter(|moment| wanted(moment)) {
                return Some(moment);
            }
            if in_vain() {
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The file of the newest order.
    pub fn newest(&self) -> Option<PathBuf> {
        self.numbered()?.max().map(|(_, path)| path)
    }

    /// The rollout of the newest order, such as r-17.
    pub fn newest_rollout(&self) -> Option<String> {
        self.numbered()?.max().map(|((rollout, _), _)| format!("r-{rollout}"))
    }

    fn numbered(&self) -> Option<impl Iterator<Item = ((u64, u64), PathBuf)>> {
        let files = fs::read_dir(&self.folder).ok()?.flatten();
        Some(files.filter_map(|file| Some((numbers(file.file_name().to_str()?)?, file.path()))))
    }
}

/// `ROLLOUT-ORDER.jsonl`
fn numbers(name: &str) -> Option<(u64, u64)> {
    let (rollout, order) = name.strip_suffix(".jsonl")?.split_once('-')?;
    Some((rollout.parse().ok()?, order.parse().ok()?))
}

fn last_of(path: &Path) -> Option<Moment> {
    let text = fs::read_to_string(path).ok()?;
    // what follows the last line feed is being written
    let (whole, _) = text.rsplit_once('\n')?;
    let line: serde_json::Value = serde_json::from_str(whole.lines().next_back()?).ok()?;
    let entry = &line["entry"];
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let verb = word(&entry["order"]["kind"]["verb"]);
    Some(Moment { record: word(&entry["record"]), step: if verb.is_empty() { word(&entry["step"]) } else { verb } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_out_is_the_oldest_order_of_the_newest_rollout_that_has_not_ended() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals { folder: folder.path().to_owned() };
        assert_eq!(journals.last(), None);
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("9-6.jsonl", "{\"entry\":{\"record\":\"ended\"}}\n");
        write("10-1.jsonl", "{\"entry\":{\"record\":\"started\",\"step\":\"fetch\"}}\n{\"entry\":{\"reco");
        write("notes", "");
        assert_eq!(journals.last(), Some(Moment::within("fetch")));
        write("10-2.jsonl", "{\"entry\":{\"record\":\"header\",\"order\":{\"kind\":{\"verb\":\"migrate\"}}}}\n");
        write("10-1.jsonl", "{\"entry\":{\"record\":\"ended\"}}\n");
        assert_eq!(journals.last(), Some(Moment { record: "header".into(), step: "migrate".into() }));
        // a newer order waits until an older one is undone
        write("10-5.jsonl", "{\"entry\":{\"record\":\"header\"}}\n");
        write("10-1.jsonl", "{\"entry\":{\"record\":\"undo-started\",\"step\":\"cutover\"}}\n");
        assert_eq!(journals.last(), Some(Moment::undoing("cutover")));
    }
}
