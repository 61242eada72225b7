//! A look at an app whose cutover is not confirmed yet: its instances are up and were not started again since the last look, and its
//! checks pass. Nothing is changed.

use roadstead_bundle::spec::ServiceKind;
use roadstead_model::{AppName, Failure};
use roadstead_worker::leases::Leases;
use roadstead_worker::state::States;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::health;
use super::release::Release;
use super::stage::Stage;
use crate::facts::current;
use crate::host::Host;
use crate::layout::Layout;

/// How long an instance or a check may be wrong. Looks follow each other by half of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What was started again so short a time ago died after the last look.
const YOUNG: Duration = Duration::from_secs(6);
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Looks at the release that serves.
pub(crate) async fn run(host: &Host, layout: &Layout, states: &States, leases: &Arc<Leases>, app: &AppName) -> Result<(), Failure> {
    let Some(current) = current(layout, app) else { return Ok(()) };
    let release = Release::remembered(layout, states, app, &current)?.under(leases);
    let stage = Stage { host, layout, app, own_units: &[] };
    for (name, service) in release.services() {
        match &service.kind {
            ServiceKind::Units { units, .. } => {
                for unit in units {
                    stays_up(&stage, unit).await?;
                }
            }
            _ => stays_up(&stage, &release.unit(name)).await?,
        }
    }
    health::checks(&stage, &release, PATIENCE).await.map(drop)
}

/// An operator may restart a unit: that takes a moment, and does not count as a restart of systemd's.
async fn stays_up(stage: &Stage<'_>, unit: &str) -> Result<(), Failure> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let state = stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        let died = state.sub == "auto-restart" || (state.restarts > 0 && state.up_for() < YOUNG);
        if died || (!state.is_active() && Instant::now() >= give_up) {
            return Err(stage.does_not_stay(unit).await);
        }
        if state.is_active() {
            return Ok(());
        }
        sleep(ASK_EVERY).await;
    }
}
