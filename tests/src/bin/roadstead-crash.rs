//! Power cuts that lose what was not flushed: records a host's disk, cuts the power at random moments, boots from what is left.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use roadstead_tests::crash::{self, Trial};
use roadstead_tests::lab::{LabError, Recording};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

const USAGE: &str = "\
Records the disk of a real host, and boots from what power cuts at random moments leave. Needs root, and `make setup` once.

Usage:
  roadstead-crash run IMAGES BOOTS [SEED]                so many power cuts and boots among them (without a SEED: another one each time)
  roadstead-crash image RECORDING POSITION SEED OUT      the disk of one power cut again, as a file";

/// Hosts that are tried side by side.
const HOSTS: usize = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["run", images, boots] => number(images).zip(number(boots)).map(|(images, boots)| run(images, boots, fresh_seed())),
        ["run", images, boots, seed] => {
            number(images).zip(number(boots)).zip(number(seed)).map(|((images, boots), seed)| run(images, boots, seed))
        }
        ["image", recording, position, seed, out] => {
            number(position).zip(number(seed)).map(|(position, seed)| image(recording, position, seed, out))
        }
        _ => None,
    };
    match outcome {
        Some(Ok(code)) => code,
        Some(Err(error)) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(images: u64, boots: u64, seed: u64) -> Result<ExitCode, LabError> {
    let [images, boots] = [images, boots].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let trial = Trial { name: "crash".to_owned(), images, boots: boots.min(images), seed };
    let report = crash::run_side_by_side(HOSTS.min(images.max(1)), &trial, &|line| println!("{line}"))?;
    println!("\nseed {seed}: {report}");
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn image(recording: &str, position: u64, seed: u64, out: &str) -> Result<ExitCode, LabError> {
    let recording = Recording::load(Path::new(recording))?;
    let lost = crash::make(&recording, usize::try_from(position).unwrap_or(usize::MAX), seed, Path::new(out))?;
    println!("{out}: {lost}");
    Ok(ExitCode::SUCCESS)
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn fresh_seed() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
