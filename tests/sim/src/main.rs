//! `roadstead-sim [SEEDS] [FROM]`: runs so many seeds and prints what broke, with its story; of a single seed the whole story.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use roadstead_sim::{Ticks, Verdict, run_all};
use std::process::ExitCode;
use std::time::Instant;

/// Lines of the story before what broke.
const LINES: usize = 400;

fn main() -> ExitCode {
    let number = |index: usize, default| std::env::args().nth(index).map_or(Ok(default), |text| text.parse::<u64>());
    let (Ok(seeds), Ok(from)) = (number(1, 200), number(2, 0)) else {
        eprintln!("Usage: roadstead-sim [SEEDS] [FROM]");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let verdicts = run_all(from, seeds);
    let broken: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.broken.is_empty()).collect();
    if seeds == 1
        && let [only] = verdicts.as_slice()
    {
        println!("{}", only.story);
    } else if let Some(first) = broken.first() {
        let lines: Vec<&str> = first.story.lines().collect();
        println!("{}\n", lines[lines.len().saturating_sub(LINES)..].join("\n"));
        println!("the story of seed {} ({} hosts), the first of those that broke a promise", first.seed, first.hosts);
    }
    for verdict in &broken {
        println!("seed {}: {}", verdict.seed, verdict.broken.join("; "));
    }
    let rollouts: usize = verdicts.iter().map(|verdict| verdict.rollouts).sum();
    println!(
        "{} seeds from {from}: {} broke a promise; {rollouts} rollouts, {:.1} s",
        verdicts.len(),
        broken.len(),
        began.elapsed().as_secs_f64()
    );
    let ticks = verdicts.iter().map(|verdict| verdict.ticks).fold(Ticks::default(), Ticks::and);
    println!("beats: {} ticks of one, {} of none, at most {} of these in a row", ticks.ran, ticks.missed, ticks.in_a_row);
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
