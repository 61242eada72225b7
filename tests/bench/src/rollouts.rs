//! Rollouts and rollbacks of four hosts: time, CPU and bytes.

use crate::samples::Samples;
use crate::table::{Table, Unit};
use crate::{Result, floors, releases, step, under_load, wire};
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::wait_until;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

/// How often a time is measured; the middle one counts.
const ROUNDS: usize = 3;
const BYTES_MAX: f64 = 32.0 * 1024.0;
const SOON: Duration = Duration::from_secs(60);

/// Measures all of them.
pub(crate) fn measure(fleet: &Fleet, table: &mut Table) -> Result<()> {
    for host in &fleet.hosts {
        wire::count(host, &fleet.controller.ip())?;
    }
    step("building releases that change a few files");
    let versions = releases::build(fleet, ROUNDS + 2)?;
    fleet.push("1.0.0")?;
    at_once(fleet, "0s")?;
    step("first deployment");
    let (_, first) = floors::cost(fleet, || deploy(fleet, "1.0.0"))?;
    step(&format!("  {}", steps(fleet)?));
    step("the app's own boot, and its first migration");
    let boot = floors::boot(fleet)?;
    let migration = floors::first_migration(fleet, &fleet.hosts[0])?;
    let floor = boot.cpu.median() + migration / count(fleet.hosts.len());
    table.beyond("first deployment: CPU of a host; floor: boot and first migration", 4.0, Unit::CpuSeconds, first.mean(), floor);
    let (in_use, under_load, baked) = (&versions[..ROUNDS], &versions[ROUNDS], &versions[ROUNDS + 1]);
    code_only(fleet, in_use, &boot, table)?;
    step("an upgrade under load");
    under_load::measure(fleet, under_load, table)?;
    later_rollback(fleet, [&versions[ROUNDS - 1], under_load], &boot, table)?;
    rollback_within_the_bake(fleet, baked, table)
}

/// A release that changes a few files comes to all hosts at once.
fn code_only(fleet: &Fleet, versions: &[String], boot: &floors::Boot, table: &mut Table) -> Result<()> {
    step("rollouts of releases that change a few files");
    let (mut cpu, mut wall, mut bytes) = (Samples::default(), Samples::default(), Samples::default());
    for version in versions {
        let before = fleet.hosts.iter().map(wire::counted).collect::<Result<Vec<_>>>()?;
        let (took, used) = floors::cost(fleet, || deploy(fleet, version))?;
        step(&format!("  {}", steps(fleet)?));
        let mut of_hosts = Samples::default();
        for (host, before) in fleet.hosts.iter().zip(before) {
            of_hosts.add(count(usize::try_from(wire::counted(host)? - before)?));
        }
        cpu.add(used.mean());
        wall.add_span(took);
        bytes.add(of_hosts.largest());
    }
    table.ratio("code-only rollout: CPU of a host; floor: the app's boot", 1.5, Unit::CpuSeconds, cpu.median(), boot.cpu.median());
    table.ratio("code-only rollout: time on 4 hosts; floor: a bare restart of all", 1.3, Unit::Seconds, wall.median(), boot.wall.median());
    table.at_most("code-only rollout: bytes between a host and the controller, both ways", BYTES_MAX, Unit::Bytes, bytes.median());
    Ok(())
}

/// The old instances are gone: they boot again.
fn later_rollback(fleet: &Fleet, versions: [&str; 2], boot: &floors::Boot, table: &mut Table) -> Result<()> {
    step("rollbacks after the bake");
    let mut wall = Samples::default();
    for round in 0..ROUNDS {
        let to = versions[round % 2];
        let (took, _) = floors::cost(fleet, || Ok(fleet.desk.roadstead(&["rollback", "staging", "--to", to]).map(drop)?))?;
        expect_serving(fleet, to)?;
        step(&format!("  {}", steps(fleet)?));
        wall.add_span(took);
    }
    table.ratio(
        "rollback after the bake: time on 4 hosts; floor: a bare restart of all",
        1.3,
        Unit::Seconds,
        wall.median(),
        boot.wall.median(),
    );
    Ok(())
}

/// The old instances are warm: the traffic moves by a rename.
fn rollback_within_the_bake(fleet: &Fleet, version: &str, table: &mut Table) -> Result<()> {
    step("rollbacks within the bake");
    at_once(fleet, "10m")?;
    let (mut traffic, mut all) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let before = fleet.serving()?;
        fleet.desk.roadstead(&["deploy", "staging", version, "--no-wait"])?;
        wait_until("the rollout to bake", SOON, || phase(fleet).is_ok_and(|phase| phase == "baking"))?;
        expect_serving(fleet, version)?;
        let began = Instant::now();
        let mut command = fleet.desk.begin(&["rollback", "staging"])?;
        let said = command.stderr.take().map(BufReader::new).ok_or("the command has no stderr")?;
        let mut lines = said.lines().map_while(std::io::Result::ok);
        lines.find(|line| line.contains("the traffic is back on 4 hosts")).ok_or("the command did not say that the traffic is back")?;
        traffic.add_span(began.elapsed());
        // To its end: a pipe that nobody reads would hold it up.
        lines.for_each(drop);
        let ended = command.wait_with_output()?;
        all.add_span(began.elapsed());
        if !ended.status.success() {
            return Err(format!("the rollback ended with {}", ended.status).into());
        }
        step(&format!("  {}", steps(fleet)?));
        if fleet.serving()? != before {
            return Err("the rollback did not bring the release before back".into());
        }
    }
    let what = "rollback within the bake: from the command's start until 4 hosts have shown who has their traffic";
    table.at_most(what, 1.0, Unit::Seconds, traffic.median());
    table.told("rollback within the bake: to its end, workers and beat included", Unit::Seconds, all.median());
    Ok(())
}

fn at_once(fleet: &Fleet, bake: &str) -> Result<()> {
    Ok(fleet.apply(&format!("[strategy]\nkind = \"all-at-once\"\nbake = \"{bake}\"\n"))?)
}

fn deploy(fleet: &Fleet, version: &str) -> Result<()> {
    Ok(fleet.desk.roadstead(&["deploy", "staging", version]).map(drop)?)
}

fn phase(fleet: &Fleet) -> Result<String> {
    let rollouts = fleet.desk.json(&["rollout", "list", "--limit", "1"])?;
    Ok(rollouts[0]["phase"].as_str().unwrap_or_default().to_owned())
}

/// The steps of the newest rollout, each with the longest time of any host: where the time went.
fn steps(fleet: &Fleet) -> Result<String> {
    let rollouts = fleet.desk.json(&["rollout", "list", "--limit", "1"])?;
    let id = rollouts[0]["rollout"].as_str().unwrap_or_default().to_owned();
    let shown = fleet.desk.json(&["rollout", "show", &id])?;
    let mut longest: Vec<(String, u64)> = Vec::new();
    for host in shown["hosts"].as_array().into_iter().flatten() {
        for step in host["steps"].as_array().into_iter().flatten() {
            let (name, took) = (step["step"].as_str().unwrap_or_default(), step["took_ms"].as_u64().unwrap_or_default());
            match longest.iter_mut().find(|(known, _)| known == name) {
                Some((_, longest)) => *longest = took.max(*longest),
                None => longest.push((name.to_owned(), took)),
            }
        }
    }
    Ok(longest.into_iter().map(|(name, took)| format!("{name} {took} ms")).collect::<Vec<_>>().join(", "))
}

fn expect_serving(fleet: &Fleet, version: &str) -> Result<()> {
    let serving = fleet.serving()?;
    if serving.iter().all(|found| found == version) { Ok(()) } else { Err(format!("{serving:?} serve, not {version}").into()) }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
