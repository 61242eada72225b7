//! Measures what Roadstead promises, on real hosts made from the packages as they ship, beside the floor of each promise
//! measured in the same run. It judges nothing: it prints one table, for people and for `docs/benchmarks.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod controller;
mod floors;
mod host;
mod machine;
mod releases;
mod rollouts;
mod samples;
mod table;
mod under_load;
mod wire;

use roadstead_tests::fleet::{Fleet, FleetOptions, Profile};
use std::process::ExitCode;
use std::time::Instant;
use table::Table;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
Measures the promises of docs/benchmarks.md on real hosts on this machine, in about ten minutes. Needs root, and `make setup` once.

Usage: roadstead-bench [PART...]
  rollouts     times, CPU and bytes of rollouts and rollbacks on four hosts
  agent        size, memory and idle CPU of the agent
  controller   memory per connected agent, durable lines of history a second
Without a PART: all of them.";

const PARTS: [&str; 3] = ["rollouts", "agent", "controller"];
/// The fleet of the promises.
const HOSTS: usize = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| ["help", "--help", "-h"].contains(&word.as_str())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = words.iter().find(|word| !PARTS.contains(&word.as_str())) {
        eprintln!("Error: I do not know the part `{unknown}`\n\n{USAGE}");
        return ExitCode::from(2);
    }
    match run(|part| words.is_empty() || words.iter().any(|word| word == part)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: impl Fn(&str) -> bool) -> Result<()> {
    step("building the packages as they ship (the first time takes minutes)");
    roadstead_tests::fleet::packages(Profile::Ship)?;
    let began = Instant::now();
    let load_before = machine::load();
    step(&format!("booting and enrolling {HOSTS} hosts"));
    let options = FleetOptions { profile: Profile::Ship, ..FleetOptions::default() }.hosts(HOSTS);
    let fleet = Fleet::new("bench", &options)?;
    let mut table = Table::default();
    if wanted("rollouts") {
        rollouts::measure(&fleet, &mut table)?;
    } else {
        fleet.deploy("1.0.0")?;
    }
    if wanted("agent") {
        host::measure(&fleet, &mut table)?;
    }
    if wanted("controller") {
        controller::measure(&fleet, &mut table)?;
    }
    println!("{}\n\n{}", machine::describe(load_before, began.elapsed()), table.markdown());
    Ok(())
}

/// Says what is measured now.
fn step(text: &str) {
    eprintln!("bench: {text}");
}
