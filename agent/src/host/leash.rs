//! A leash: a timer of systemd's own that stops units at a moment, whatever becomes of the agent.
//!
//! The moment is a point of `CLOCK_MONOTONIC`, counted from the start of systemd (`OnStartupSec`, systemd.timer(5)): however late the order
//! to arm it arrives, it means the same. A longer leash is there before the shorter one goes.

use nix::time::{ClockId, clock_gettime};
use roadstead_model::{AppName, ServiceName};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use zbus::Variant;

use super::systemd::{Property, Systemd, SystemdError};

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// How long systemd may take to arm a timer.
const WITHIN: Duration = Duration::from_secs(30);
/// How late the timer may be.
const ACCURACY: Duration = Duration::from_secs(1);

/// Units of these services of an app are stopped at a moment. Earlier leashes of the app go.
pub(crate) async fn tie(systemd: &Systemd, app: &AppName, services: &BTreeSet<ServiceName>, until: Instant) -> Result<(), SystemdError> {
    let known = leashes(systemd, app).await?;
    let number = known.iter().map(|(number, _)| number + 1).max().unwrap_or_default();
    let name = format!("{}{number}", prefix(app));
    let timer: Vec<Property> = vec![
        ("Description", Variant::from(format!("Ends what {app} runs only once, unless its lease is longer"))),
        ("TimersMonotonic", Variant::from(vec![("OnStartupSec", micros(systemd, until).await?)])),
        ("AccuracyUSec", Variant::from(u64::try_from(ACCURACY.as_micros()).unwrap_or(u64::MAX))),
        ("RemainAfterElapse", Variant::from(false)),
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    let mut words = vec![SYSTEMCTL.to_owned(), "stop".to_owned(), "--".to_owned()];
    words.extend(services.iter().map(|service| format!("{app}-{service}@*.service")));
    let stop: Vec<Property> = vec![
        ("Description", Variant::from(format!("Ends what {app} runs only once: its lease is over"))),
        ("Type", Variant::from("oneshot")),
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("ExecStart", Variant::from(vec![(SYSTEMCTL.to_owned(), words, false)])),
    ];
    systemd.start_transient_timer(&name, timer, stop, WITHIN).await?;
    untie_all(systemd, &known).await
}

/// Nothing is stopped by itself any more.
pub(crate) async fn untie(systemd: &Systemd, app: &AppName) -> Result<(), SystemdError> {
    let known = leashes(systemd, app).await?;
    untie_all(systemd, &known).await
}

async fn untie_all(systemd: &Systemd, leashes: &[(u64, String)]) -> Result<(), SystemdError> {
    for (_, timer) in leashes {
        systemd.stop(timer, WITHIN).await?;
    }
    Ok(())
}

/// The leashes of an app, with their numbers.
async fn leashes(systemd: &Systemd, app: &AppName) -> Result<Vec<(u64, String)>, SystemdError> {
    let prefix = prefix(app);
    let timers = systemd.units(&format!("{prefix}*.timer")).await?;
    // Another app's name may begin with this one's.
    let numbered = |timer: String| Some((timer.strip_prefix(&prefix)?.strip_suffix(".timer")?.parse().ok()?, timer));
    Ok(timers.into_iter().filter_map(numbered).collect())
}

fn prefix(app: &AppName) -> String {
    format!("roadstead-lease-{app}-")
}

/// A moment, in microseconds since systemd started.
async fn micros(systemd: &Systemd, until: Instant) -> Result<u64, SystemdError> {
    let started = systemd.started().await?;
    // The clock first: if this process stands still in between, the moment is earlier, never later.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    let moment = now + until.saturating_duration_since(Instant::now());
    Ok(u64::try_from(moment.saturating_sub(started).as_micros()).unwrap_or(u64::MAX))
}
