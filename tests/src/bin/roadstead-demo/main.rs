//! The main job, end to end, on real systemd hosts of this machine: a first deployment, an upgrade under load, two
//! releases that do not work, and the way back. Everything is made from the packages and done by the commands that a
//! user types; anything that is not as it should be ends the demo with the reason.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod kept;
mod table;

use roadstead_tests::fleet::{Erp, Fleet, FleetOptions, Profile, packages};
use roadstead_tests::lab::{Execution, LabError};
use roadstead_tests::load::{Load, Report, RunningLoad};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Row;

/// Hosts that run the application.
const HOSTS: usize = 3;
/// How long a thing may take on a slow machine before the demo counts it as not happening.
const SOON: Duration = Duration::from_secs(60);
/// Good answers before and after each change, so that it happens under load and is seen to be over.
const REQUESTS: u64 = 100;
/// One host after the other; the old instances are kept warm for two seconds after the last.
const POLICY: &str = "[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"2s\"\n";

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("{what}: expected {expected}, but it was {found}")]
    Surprise { what: String, expected: String, found: String },
}

type Result<T> = std::result::Result<T, DemoError>;

fn main() -> ExitCode {
    let keep = std::env::var("KEEP").is_ok_and(|value| !value.is_empty() && value != "0");
    match demo(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(keep: bool) -> Result<()> {
    println!("Roadstead: from a commit to {HOSTS} hosts and back. Nothing outside this machine's lab is touched.\n");
    stage("build the packages: roadstead, roadstead-controller, roadstead-agent", || packages(Profile::Ship))?;
    stage("build and sign four releases of examples/erp from commits of a git repository", || Erp::build(Profile::Ship))?;
    let options = FleetOptions { profile: Profile::Ship, hosts: HOSTS, ..FleetOptions::default() }.policy(POLICY);
    let fleet = stage("boot a controller, PostgreSQL and Redis, three web hosts with nginx; enroll them", || Fleet::new("demo", &options))?;
    let rows = acts(&fleet).inspect_err(|_| fleet.lab.show_last_words())?;
    println!("\n{}", table::render(&rows));
    if keep {
        kept::leave(fleet)?;
    } else {
        println!("All of it is gone again. To keep it and play with it: make demo KEEP=1");
        println!("To read on: README.md, docs/concepts.md, docs/operations.md; the app that was deployed is examples/erp.");
    }
    Ok(())
}

/// Does one thing of the preparation and says how long it took.
fn stage<T>(what: &str, work: impl FnOnce() -> std::result::Result<T, LabError>) -> Result<T> {
    println!("* {what}");
    let began = Instant::now();
    let made = work()?;
    println!("  {:.1} s", began.elapsed().as_secs_f64());
    Ok(made)
}

/// The story itself; each act is a row of the table.
fn acts(fleet: &Fleet) -> Result<Vec<Row>> {
    let mut rows = vec![first_deployment(fleet)?];
    rows.push(upgrade(fleet)?);
    for (version, what) in [("1.2.0", "does not start"), ("1.2.1", "starts, but fails its smoke check")] {
        rows.push(refused(fleet, version, what)?);
    }
    rows.push(back(fleet)?);
    Ok(rows)
}

fn first_deployment(fleet: &Fleet) -> Result<Row> {
    fleet.push("1.0.0")?;
    let (took, _) = types(fleet, &["deploy", "staging", "1.0.0"], 0)?;
    serves(fleet, "1.0.0")?;
    Ok(Row::new("1.0.0, the first deployment", "serves", took))
}

fn upgrade(fleet: &Fleet) -> Result<Row> {
    fleet.push("1.1.0")?;
    let (took, reports) = under_load(fleet, "1.1.0", || types(fleet, &["deploy", "staging", "1.1.0"], 0).map(|(took, _)| took))?;
    serves(fleet, "1.1.0")?;
    Ok(Row::new("1.1.0, code and a migration", "serves", took).load(&reports))
}

/// A release that does not work: the command says why and fails, and users never meet it.
fn refused(fleet: &Fleet, version: &str, what: &str) -> Result<Row> {
    fleet.push(version)?;
    let (took, reports) = under_load(fleet, "1.1.0", || types(fleet, &["deploy", "staging", version], 1).map(|(took, _)| took))?;
    serves(fleet, "1.1.0")?;
    for report in &reports {
        let answered: Vec<&str> = report.releases.keys().map(String::as_str).collect();
        expect(&format!("who answered while {version} was tried"), &["1.1.0"][..], &answered[..])?;
    }
    Ok(Row::new(&format!("{version}, {what}"), "refused, 1.1.0 serves on", took).load(&reports))
}

fn back(fleet: &Fleet) -> Result<Row> {
    let words = ["rollback", "staging", "--reason", "the demo goes back"];
    let (took, reports) = under_load(fleet, "1.0.0", || types(fleet, &words, 0).map(|(took, _)| took))?;
    serves(fleet, "1.0.0")?;
    Ok(Row::new("back to 1.0.0 by hand", "serves", took).load(&reports))
}

/// Types a command, shows what it says, and insists on how it ends.
fn types(fleet: &Fleet, words: &[&str], code: i32) -> Result<(Duration, Execution)> {
    println!("\n$ roadstead {}", words.join(" "));
    let began = Instant::now();
    let done = fleet.desk.try_roadstead(words)?;
    let took = began.elapsed();
    print!("{}", done.stdout);
    if code != 0 || done.code != Some(code) {
        // the progress that came before the error is for machines here: people see it as a picture that moves
        print!("{}", done.stderr.lines().skip_while(|line| !line.starts_with("Error")).map(|line| format!("{line}\n")).collect::<String>());
    }
    expect(&format!("exit code of `roadstead {}`", words.join(" ")), Some(code), done.code)?;
    Ok((took, done))
}

/// Does something while clients ask every host all the time; not one of their requests may fail.
fn under_load(fleet: &Fleet, then: &str, work: impl FnOnce() -> Result<Duration>) -> Result<(Duration, Vec<Report>)> {
    let loads = fleet.hosts.iter().map(|host| {
        let load = Load::on(format!("{}:80", host.ip())).path("/api/products/").clients(2).pause(Duration::from_millis(10));
        load.start(&fleet.client())
    });
    let loads: Vec<RunningLoad> = loads.collect();
    loads.iter().try_for_each(|load| load.wait_for_more(REQUESTS, SOON))?;
    let took = work()?;
    loads.iter().try_for_each(|load| load.wait_for_release(then, SOON).and_then(|()| load.wait_for_more(REQUESTS, SOON)))?;
    let reports = loads.into_iter().map(RunningLoad::stop).collect::<std::result::Result<Vec<_>, _>>()?;
    for (host, report) in fleet.hosts.iter().zip(&reports) {
        if report.failed() > 0 {
            expect(&format!("requests to {} that failed", host.name()), "0".to_owned(), report.to_string())?;
        }
    }
    Ok((took, reports))
}

fn serves(fleet: &Fleet, version: &str) -> Result<()> {
    expect("what the hosts serve", vec![version.to_owned(); HOSTS], fleet.serving()?)
}

fn expect<T: PartialEq<F> + std::fmt::Debug, F: std::fmt::Debug>(what: &str, expected: T, found: F) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(DemoError::Surprise { what: what.to_owned(), expected: format!("{expected:?}"), found: format!("{found:?}") })
}
