//! Power cuts that lose what was not flushed. A host's disk is recorded while it takes releases and goes back; from the recording disks
//! are made as a cut at any moment may leave them. Each is looked through, then the host boots from it and has to come level.
//!
//! What must hold on a disk before any agent runs is in `offline`, what the host must do then in `recovery`.

mod cuts;
mod image;
mod offline;
mod recovery;
mod report;
mod trees;
mod workload;

pub use image::make;
pub use report::Report;

use crate::fleet::target;
use crate::lab::LabError;
use cuts::Cut;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use workload::Recorded;

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The lab's name; the recording is kept under it when something is wrong.
    pub name: String,
    /// How many disks are made and looked through.
    pub images: usize,
    /// From how many of them the host boots.
    pub boots: usize,
    /// The moments of the cuts and what they lose follow from it and from the recording.
    pub seed: u64,
}

/// Records a host, cuts its power at random moments, and looks at what becomes of it.
pub fn run(trial: &Trial, tell: &(dyn Fn(&str) + Sync)) -> Result<Report, LabError> {
    let folder = recordings().join(&trial.name);
    remove(&folder)?;
    let began = Instant::now();
    let recorded = workload::record(&trial.name, &folder)?;
    let requests = recorded.recording.requests();
    tell(&format!(
        "seed {}: {} writes and flushes, {} records of journals, {} complete trees and files, in {:.0?}",
        trial.seed,
        requests.len(),
        recorded.marks.len(),
        recorded.trees.count(),
        began.elapsed()
    ));
    let mut report = Report::default();
    for (number, cut) in cuts::draw(&recorded.marks, requests, trial.images, trial.seed).into_iter().enumerate() {
        let boots = (number + 1) * trial.boots / trial.images > number * trial.boots / trial.images;
        let began = Instant::now();
        let (lost, wrong) = try_one(&recorded, &folder.join("image"), &cut, boots)?;
        let verdict = match (wrong.is_empty(), boots) {
            (true, true) => "level".to_owned(),
            (true, false) => "whole".to_owned(),
            (false, _) => format!("WRONG\n  {}", wrong.join("\n  ")),
        };
        let story = format!("{} at {}, disk {}: {lost}: {verdict}", cut.step, cut.position, cut.seed);
        tell(&format!("{story} ({:.0?})", began.elapsed()));
        let again = format!("make crash-image RECORDING={} POSITION={} SEED={}", folder.display(), cut.position, cut.seed);
        report.add(&cut.step, boots.then(|| began.elapsed()), (!wrong.is_empty()).then(|| format!("{story}\n  the disk again: {again}")));
    }
    if report.failures.is_empty() {
        remove(&folder)?;
    }
    Ok(report)
}

/// Does the same with several hosts side by side, each in a lab of its own.
pub fn run_side_by_side(hosts: usize, trial: &Trial, tell: &(dyn Fn(&str) + Sync)) -> Result<Report, LabError> {
    let share = |all: usize, number: usize| (number + 1) * all / hosts - number * all / hosts;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..hosts)
            .map(|number| {
                let name = format!("{}-{}", trial.name, number + 1);
                let seed = trial.seed.wrapping_add(number as u64);
                let one = Trial { images: share(trial.images, number), boots: share(trial.boots, number), seed, name };
                scope.spawn(move || run(&one, &|line| tell(&format!("{}: {line}", one.name))))
            })
            .collect();
        let reports = runs.into_iter().map(|run| run.join().unwrap_or(Err(LabError::Thread)));
        reports.collect::<Result<Vec<_>, _>>().map(|reports| reports.into_iter().fold(Report::default(), Report::and))
    })
}

/// Makes the disk of one power cut and boots the host from it: what was lost, and what is wrong.
fn try_one(recorded: &Recorded, image: &Path, cut: &Cut, boots: bool) -> Result<(String, Vec<String>), LabError> {
    let web = recorded.host()?;
    let lost = image::make(&recorded.recording, cut.position, cut.seed, image)?;
    if let Err(error) = web.replace_disk(image) {
        return Ok((lost, vec![error.to_string()]));
    }
    let durable = cuts::durable_lines(&recorded.marks, cut.position);
    let before = offline::look(&web.root_path(), &recorded.trees, &durable);
    let mut wrong = before.wrong.clone();
    if boots {
        wrong.extend(recovery::recover(&recorded.fleet, web, &before)?);
        web.power_cut()?;
    }
    Ok((lost, wrong))
}

/// Where recordings are kept.
fn recordings() -> PathBuf {
    target().join("crash-images")
}

fn remove(folder: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}
