//! The agent on its host: size, memory, and what it uses when nothing happens.

use crate::samples::Samples;
use crate::table::{Table, Unit};
use crate::{Result, step};
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::Host;
use std::time::Duration;

const MIB: f64 = 1024.0 * 1024.0;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// What counts as nothing in that time: heartbeats and the watchdog, 1 of 1000.
const IDLE_CPU_MS: f64 = 60.0;

/// Measures the agents of all hosts after their deployments.
pub(crate) fn measure(fleet: &Fleet, table: &mut Table) -> Result<()> {
    step("agents at rest for a minute");
    let size = fleet.hosts[0].exec(&["stat", "-c", "%s", "/usr/bin/roadstead-agent"])?;
    table.at_most("agent: stripped program", 6.0 * MIB, Unit::Bytes, size.trim().parse()?);
    let before = fleet.hosts.iter().map(|host| cpu_ms(host, "roadstead-agent")).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(IDLE);
    let (mut used, mut resting, mut peak) = (Samples::default(), Samples::default(), Samples::default());
    for (host, before) in fleet.hosts.iter().zip(before) {
        used.add(cpu_ms(host, "roadstead-agent")? - before);
        resting.add(memory(host, "roadstead-agent", "VmRSS")?);
        peak.add(memory(host, "roadstead-agent", "VmHWM")?);
    }
    table.at_most("agent: resident memory at rest, after deployments", 8.0 * MIB, Unit::Bytes, resting.largest());
    table.at_most("agent: peak of its resident memory in all deployments", 32.0 * MIB, Unit::Bytes, peak.largest());
    table.at_most("agent: CPU in a minute at rest", IDLE_CPU_MS, Unit::CpuMilliseconds, used.largest());
    Ok(())
}

/// A line of the status of a unit's main process, in bytes: `VmRSS` (resident) or `VmHWM` (its peak).
pub(crate) fn memory(host: &Host, unit: &str, line: &str) -> Result<f64> {
    let status = host.read(&format!("/proc/{}/status", host.unit_property(unit, "MainPID")?))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kib: f64 = found.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).ok_or("the kernel does not tell memory")?;
    Ok(kib * 1024.0)
}

/// CPU that a unit's main process has used with all its threads, those that ended too, in milliseconds: to ten of them.
fn cpu_ms(host: &Host, unit: &str) -> Result<f64> {
    let stat = host.read(&format!("/proc/{}/stat", host.unit_property(unit, "MainPID")?))?;
    // After the name, which may hold anything: the state, then numbers. User and system time are the 12th and 13th of these.
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks: f64 = after.split(' ').skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks * 10.0)
}
