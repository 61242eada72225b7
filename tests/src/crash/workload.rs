//! What is recorded: a host that takes releases, goes back, and refuses one that does not start.

use super::cuts::Mark;
use super::trees::Trees;
use crate::fleet::{Fleet, FleetOptions, Journals, Profile};
use crate::lab::{Host, HostOptions, LabError, Recording};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// All that the host writes fits on this disk.
const MEBIBYTES: u32 = 1024;
/// How often it is looked at what the agent is about, and what became complete.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// One good release is kept beside the serving one, so that others go.
const POLICY: &str = "keep = 1\n\n[strategy]\nbake = \"1s\"\n";
/// What the host runs in the end.
pub(super) const LAST: &str = "1.1.0";

/// A fleet of one host, whose disk was recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) fleet: Fleet,
    pub(super) recording: Recording,
    pub(super) marks: Vec<Mark>,
    pub(super) trees: Trees,
}

impl Recorded {
    /// The host.
    pub(super) fn host(&self) -> Result<&Host, LabError> {
        self.fleet.hosts.first().ok_or(LabError::Thread)
    }
}

/// Makes a fleet and records its host in a folder. It is off when this returns.
pub(super) fn record(name: &str, folder: &Path) -> Result<Recorded, LabError> {
    let host = HostOptions::default().recorded(MEBIBYTES);
    let fleet = Fleet::new(name, &FleetOptions { profile: Profile::Dev, host, ..FleetOptions::default() }.policy(POLICY))?;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        fleet.push(version)?;
    }
    let web = fleet.hosts.first().ok_or(LabError::Thread)?;
    web.exec(&["sync"])?;
    let recorder = web.recorder()?;
    recorder.begin(folder)?;
    let over = AtomicBool::new(false);
    let (worked, marks, trees) = std::thread::scope(|scope| {
        let marks = scope.spawn(|| mark(web, &over));
        let trees = scope.spawn(|| learn(web, &over));
        let worked = work(&fleet);
        over.store(true, Ordering::Relaxed);
        (worked, marks.join(), trees.join())
    });
    worked?;
    let (marks, trees) = (marks.map_err(|_| LabError::Thread)??, trees.map_err(|_| LabError::Thread)??);
    let recording = recorder.end().ok_or(LabError::Thread)?;
    recording.save()?;
    web.power_cut()?;
    Ok(Recorded { fleet, recording, marks, trees })
}

fn work(fleet: &Fleet) -> Result<(), LabError> {
    let deploy = |version: &str| fleet.desk.roadstead(&["deploy", "staging", version]).map(drop);
    deploy("1.0.0")?;
    deploy("1.1.0")?;
    fleet.desk.roadstead(&["rollback", "staging"])?;
    // it does not start: the host goes back by itself and clears it up
    let failed = fleet.desk.try_roadstead(&["deploy", "staging", "1.2.0"])?;
    if failed.success() {
        return failed.checked("desk", "deploy 1.2.0, which cannot succeed,").and(Err(LabError::Thread));
    }
    deploy(LAST)
}

/// Notes when the agent's journals say something new, until it is over.
fn mark(web: &Host, over: &AtomicBool) -> Result<Vec<Mark>, LabError> {
    let (journals, recorder) = (Journals::of(web), web.recorder()?);
    let mut marks: Vec<Mark> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let lines = journals.lines();
        if let Some(moment) = journals.last()
            && marks.last().is_none_or(|mark| mark.lines != lines)
        {
            marks.push(Mark { position: recorder.position(), moment, lines });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(marks)
}

/// Looks at everything that is complete, as soon as it is, until it is over.
fn learn(web: &Host, over: &AtomicBool) -> Result<Trees, LabError> {
    let mut trees = Trees::default();
    while !over.load(Ordering::Relaxed) {
        trees.learn(&web.root_path())?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(trees)
}
