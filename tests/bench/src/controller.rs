//! The controller: its memory with and without agents, and how fast its history grows durably.

use crate::host::memory;
use crate::table::{Table, Unit};
use crate::{Result, step};
use roadstead_tests::fleet::{Agents, Fleet};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;
const UNIT: &str = "roadstead-controller";
/// Simulated agents, beside the fleet's own.
const AGENTS: u32 = 1000;

/// Measures the fleet's controller.
pub(crate) fn measure(fleet: &Fleet, table: &mut Table) -> Result<()> {
    step("durable lines of history");
    let said = fleet.controller.exec(&["roadstead-controller", "measure"])?;
    let rate =
        said.split(' ').next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("it does not begin with a number: {said}"))?;
    table.at_least("controller: lines of history made durable by its writer", 20_000.0, Unit::PerSecond, rate);

    // Started again, it holds what any day begins with.
    fleet.controller.systemctl(&["restart", UNIT])?;
    fleet.wait_for_all()?;
    let resting = memory(&fleet.controller, UNIT, "VmRSS")?;
    table.at_most("controller: resident memory at rest, with the fleet's agents", 40.0 * MIB, Unit::Bytes, resting);
    step(&format!("{AGENTS} simulated agents"));
    let identities = Agents::enroll(&fleet.desk, "staging", usize::try_from(AGENTS)?)?;
    // Their enrollment is long over when they are connected.
    fleet.controller.systemctl(&["restart", UNIT])?;
    fleet.controller.wait_for_unit(UNIT, "active", SOON)?;
    let agents = Agents::start(&fleet.desk, identities);
    agents.wait_for_all(SOON)?;
    let connected = fleet.connected()?;
    let with_agents = memory(&fleet.controller, UNIT, "VmRSS")?;
    agents.close()?;
    if connected < usize::try_from(AGENTS)? {
        return Err(format!("only {connected} agents were connected").into());
    }
    let each = (with_agents - resting) / f64::from(AGENTS);
    table.at_most("controller: resident memory for each of 1,000 connected agents", 56.0 * 1024.0, Unit::Bytes, each);
    Ok(())
}
