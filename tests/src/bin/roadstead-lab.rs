//! The lab for people: boot some hosts, look around in them, throw them away.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use roadstead_tests::lab::{self, Lab, LabError, LabState};
use std::process::ExitCode;

const USAGE: &str = "\
Real systemd hosts on this machine, to look around in. Needs root, and `make setup` once.

Usage:
  roadstead-lab up [N]             boot N hosts more (default 3): host-1, host-2, ...
  roadstead-lab status             list labs and hosts
  roadstead-lab exec HOST [CMD...] run a command in a host (default: a shell)
  roadstead-lab cut|heal HOST      pull its network cable or put it back
  roadstead-lab kill|boot HOST     pull its plug or switch it on again
  roadstead-lab down               take down all kept labs
  roadstead-lab down --stale       take down what dead processes left behind
HOST may be LAB/HOST when there are several labs.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["up"] => up(3),
        ["up", number] => match number.parse() {
            Ok(number) if (1..=100).contains(&number) => up(number),
            _ => return usage(&format!("`{number}` is not a number of hosts from 1 to 100")),
        },
        ["status"] => status(),
        ["exec", host, command @ ..] => exec(host, command),
        ["cut", host] => find(host).and_then(|host| host.cut()).map(done),
        ["heal", host] => find(host).and_then(|host| host.heal()).map(done),
        ["kill", host] => find(host).and_then(|host| host.power_cut()).map(done),
        ["boot", host] => find(host).and_then(|host| host.boot()).map(done),
        ["down"] => down(),
        ["down", "--stale"] => down_stale(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        [] => return usage("what shall I do?"),
        other => return usage(&format!("I do not understand `{}`", other.join(" "))),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("Error: {error}");
        ExitCode::FAILURE
    })
}

fn usage(why: &str) -> ExitCode {
    eprintln!("Error: {why}\n\n{USAGE}");
    ExitCode::from(2)
}

fn done(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn kept() -> Result<Vec<LabState>, LabError> {
    Ok(lab::list()?.into_iter().filter(|lab| lab.kept).collect())
}

/// Adds hosts to the lab of people, which is made by the first.
fn up(number: usize) -> Result<ExitCode, LabError> {
    let lab = match kept()?.iter().find(|lab| lab.id.starts_with("people-")) {
        Some(state) => Lab::open(&state.id)?,
        None => Lab::new("people")?,
    };
    let there = lab.all().len();
    let names = (there + 1..=there + number).map(|number| (format!("host-{number}"), lab::HostOptions::default()));
    let began = std::time::Instant::now();
    let hosts = lab.hosts_with(names.collect())?;
    lab.keep()?;
    println!("{} hosts in {:.1} s:", hosts.len(), began.elapsed().as_secs_f64());
    for host in &hosts {
        println!("  {:<10} {}", host.name(), host.ip());
    }
    println!("\nA shell in one:    roadstead-lab exec {}", hosts.first().map_or("host-1", |host| host.name()));
    println!(
        "From this machine: ip netns exec {} curl http://{}/",
        lab.network().name(),
        hosts.first().map(|h| h.ip()).unwrap_or_default()
    );
    Ok(ExitCode::SUCCESS)
}

fn status() -> Result<ExitCode, LabError> {
    let labs = lab::list()?;
    if labs.is_empty() {
        println!("No labs.");
    }
    for state in labs {
        let whose = if state.kept { "kept".to_owned() } else { format!("of process {}", state.owner.pid) };
        println!("{} ({whose})", state.id);
        for host in Lab::open(&state.id)?.all() {
            println!("  {:<14} {:<13} {}", host.name(), host.ip(), if host.is_running() { "running" } else { "off" });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command with the user's own terminal; its exit code is ours.
fn exec(host: &str, command: &[&str]) -> Result<ExitCode, LabError> {
    let command = if command.is_empty() { &["bash", "-l"][..] } else { command };
    let status = find(host)?.command(command)?.status();
    let status = status.map_err(|source| LabError::Io { what: "start", path: "nsenter".into(), source })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn down() -> Result<ExitCode, LabError> {
    for state in kept()? {
        Lab::open(&state.id)?.down()?;
        println!("{} is gone.", state.id);
    }
    down_stale()
}

fn down_stale() -> Result<ExitCode, LabError> {
    for id in lab::clean_stale()? {
        println!("{id} is gone.");
    }
    Ok(ExitCode::SUCCESS)
}

/// A host by `HOST` or `LAB/HOST`; without a lab, the first that has such a host.
fn find(name: &str) -> Result<lab::Host, LabError> {
    let (wanted, host) = match name.split_once('/') {
        Some((lab, host)) => (Some(lab), host),
        None => (None, name),
    };
    let labs = lab::list()?;
    let of_lab = |state: &&LabState| wanted.is_none_or(|wanted| state.id == wanted) && state.hosts.contains_key(host);
    match labs.iter().find(of_lab) {
        Some(state) => Lab::open(&state.id)?.get(host),
        None => Err(LabError::NoHost { lab: wanted.unwrap_or("(any)").to_owned(), host: host.to_owned() }),
    }
}
