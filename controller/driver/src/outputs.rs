//! Output of steps while rollouts run: kept bounded in memory, told to whoever follows, written down when a rollout ends.

use roadstead_model::{HostId, RolloutId, StepName, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

use crate::OutputRecord;

/// Parts that a follower may lag behind; a slower one is told how much it missed.
const FOLLOWERS_LAG: usize = 1024;
/// Outputs that one host may have in one rollout: more than there are steps.
const STEPS_MAX: usize = 64;

/// A part of some output as it came.
#[derive(Debug, Clone)]
pub struct OutputPart {
    /// From which host.
    pub host: HostId,
    /// Of which step.
    pub step: StepName,
    /// The text.
    pub text: String,
    /// Bytes before it that were not kept.
    pub dropped: u64,
}

#[derive(Debug)]
struct Kept {
    head: String,
    dropped: u64,
    tail: String,
}

impl Kept {
    const fn new() -> Self {
        Self { head: String::new(), dropped: 0, tail: String::new() }
    }

    fn take(&mut self, part: &OutputPart) {
        self.dropped += part.dropped;
        let mut text = part.text.as_str();
        if self.tail.is_empty() && self.dropped == 0 {
            let room = floor(text, limits::STEP_OUTPUT_HEAD_BYTES.saturating_sub(self.head.len()));
            self.head.push_str(&text[..room]);
            text = &text[room..];
        }
        self.tail.push_str(text);
        let over = self.tail.len().saturating_sub(limits::STEP_OUTPUT_TAIL_BYTES);
        if over > 0 {
            let cut = self.tail.len() - floor_from(&self.tail, over);
            self.dropped += cut as u64;
            self.tail.drain(..cut);
        }
    }
}

/// The largest length up to `at` that does not split a character.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What is left when at least `over` bytes go from the front, without splitting a character.
fn floor_from(text: &str, over: usize) -> usize {
    let mut at = over;
    while !text.is_char_boundary(at) {
        at += 1;
    }
    text.len() - at
}

#[derive(Debug)]
struct Running {
    hosts: BTreeSet<HostId>,
    kept: BTreeMap<(HostId, StepName), Kept>,
    tell: broadcast::Sender<OutputPart>,
}

/// The output of every rollout that runs.
#[derive(Debug, Clone, Default)]
pub struct Outputs(Arc<Mutex<BTreeMap<RolloutId, Running>>>);

impl Outputs {
    fn table(&self) -> MutexGuard<'_, BTreeMap<RolloutId, Running>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A rollout begins: its output is taken from now on.
    pub fn begin(&self, rollout: RolloutId, hosts: impl IntoIterator<Item = HostId>) {
        let (kept, tell) = (BTreeMap::new(), broadcast::channel(FOLLOWERS_LAG).0);
        self.table().entry(rollout).or_insert_with(|| Running { hosts: hosts.into_iter().collect(), kept, tell });
    }

    /// A part arrives; that of a rollout that does not run, or of which the host is no part, is not kept.
    pub fn take(&self, rollout: RolloutId, part: OutputPart) {
        let mut table = self.table();
        let Some(running) = table.get_mut(&rollout).filter(|running| running.hosts.contains(&part.host)) else { return };
        let key = (part.host.clone(), part.step);
        let of_host = running.kept.keys().filter(|(host, _)| *host == part.host).count();
        if of_host >= STEPS_MAX && !running.kept.contains_key(&key) {
            return;
        }
        running.kept.entry(key).or_insert_with(Kept::new).take(&part);
        // Without followers nobody is told.
        drop(running.tell.send(part));
    }

    /// What is kept of a rollout that runs, and what comes from now on.
    pub fn follow(&self, rollout: RolloutId) -> Option<(Vec<OutputRecord>, broadcast::Receiver<OutputPart>)> {
        let table = self.table();
        let running = table.get(&rollout)?;
        Some((records(running), running.tell.subscribe()))
    }

    /// What is kept of a rollout that runs, to be written down.
    pub fn kept(&self, rollout: RolloutId) -> Vec<OutputRecord> {
        self.table().get(&rollout).map(records).unwrap_or_default()
    }

    /// A rollout has ended, and what was kept of it is written down. Followers see the end.
    pub fn end(&self, rollout: RolloutId) {
        self.table().remove(&rollout);
    }

    /// What is kept of every rollout that runs, for a controller that stops.
    pub fn all(&self) -> Vec<(RolloutId, Vec<OutputRecord>)> {
        self.table().iter().map(|(rollout, running)| (*rollout, records(running))).collect()
    }

    /// Takes up what was written down when the controller stopped.
    pub fn restore(&self, rollout: RolloutId, hosts: impl IntoIterator<Item = HostId>, records: Vec<OutputRecord>) {
        self.begin(rollout, hosts);
        if let Some(running) = self.table().get_mut(&rollout) {
            for OutputRecord { host, step, head, dropped, tail } in records {
                running.kept.insert((host, step), Kept { head, dropped, tail });
            }
        }
    }
}

fn records(running: &Running) -> Vec<OutputRecord> {
    let record = |((host, step), kept): (&(HostId, StepName), &Kept)| OutputRecord {
        host: host.clone(),
        step: *step,
        head: kept.head.clone(),
        dropped: kept.dropped,
        tail: kept.tail.clone(),
    };
    running.kept.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> OutputPart {
        let host = HostId::parse("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        OutputPart { host, step: StepName::Migrate, text: text.to_owned(), dropped: 0 }
    }

    #[test]
    fn head_and_tail_are_kept_and_the_middle_is_counted() {
        let (outputs, rollout) = (Outputs::default(), RolloutId(1));
        outputs.take(rollout, part("nobody listens yet"));
        outputs.begin(rollout, [part("").host]);
        outputs.take(rollout, OutputPart { host: HostId::parse(&"b".repeat(26)).unwrap(), ..part("of no part of it") });
        outputs.take(rollout, part("first\n"));
        let line = "ö".repeat(4096);
        for _ in 0..200 {
            outputs.take(rollout, part(&line));
        }
        outputs.take(rollout, part("last\n"));
        let kept = outputs.kept(rollout);
        let [only] = kept.as_slice() else { panic!("one step has one output") };
        assert!(only.head.starts_with("first\n") && only.tail.ends_with("last\n"));
        assert!(only.head.len() <= limits::STEP_OUTPUT_HEAD_BYTES && only.tail.len() <= limits::STEP_OUTPUT_TAIL_BYTES);
        let all = "first\n".len() + 200 * line.len() + "last\n".len();
        assert_eq!(only.head.len() + only.tail.len() + usize::try_from(only.dropped).unwrap(), all);
        outputs.end(rollout);
        assert!(outputs.follow(rollout).is_none(), "it has ended");
    }
}
