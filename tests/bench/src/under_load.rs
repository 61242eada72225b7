//! What users notice of a cutover: requests that fail, and how much longer the slowest take.

use crate::Result;
use crate::table::{Table, Unit};
use roadstead_tests::fleet::Fleet;
use roadstead_tests::load::{Load, RunningLoad};
use std::time::Duration;

/// Before the rollout, for comparison.
const CALM: Duration = Duration::from_secs(10);
/// About fifty requests a second to each host.
const CLIENTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(38);

/// One host after the other moves under a constant load of all.
pub(crate) fn measure(fleet: &Fleet, version: &str, table: &mut Table) -> Result<()> {
    fleet.apply("[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"2s\"\n")?;
    let calm = start(fleet);
    std::thread::sleep(CALM);
    let (failed_before, p99_before) = stop(calm)?;
    let busy = start(fleet);
    fleet.desk.roadstead(&["deploy", "staging", version])?;
    let (failed, p99) = stop(busy)?;
    if failed_before > 0 {
        return Err(format!("{failed_before} requests failed before the rollout began").into());
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    table.at_most("upgrade under load: failed requests", 0.0, Unit::Requests, failed as f64);
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    table.beyond("upgrade under load: p99 of all requests", 100.0, Unit::Milliseconds, millis(p99), millis(p99_before));
    Ok(())
}

fn start(fleet: &Fleet) -> Vec<RunningLoad> {
    let load = |ip: String| Load::on(format!("{ip}:80")).path("/healthz").clients(CLIENTS).pause(PAUSE).start(&fleet.client());
    fleet.hosts.iter().map(|host| load(host.ip())).collect()
}

/// How many requests failed, and the longest p99 of any host.
fn stop(loads: Vec<RunningLoad>) -> Result<(u64, Duration)> {
    let mut seen = (0, Duration::ZERO);
    for load in loads {
        let report = load.stop()?;
        for failure in report.failures.iter().take(5) {
            crate::step(&format!("  failed at {:.2} s: {}", failure.at.as_secs_f64(), failure.what));
        }
        seen = (seen.0 + report.failed(), seen.1.max(report.percentile(99.0)));
    }
    Ok(seen)
}
