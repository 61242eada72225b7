//! Holding what runs only once to its lease: what this host may not run ends, and what it may is ended by systemd at its moment.

use roadstead_model::{Failure, Millis, ReleaseId, ServiceName};
use roadstead_worker::state::{AppMemory, States};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

use super::release::Release;
use super::stage::{Other, Stage};
use crate::facts;
use crate::host::leash;

/// An instance of what may run only once.
pub(super) struct Single {
    pub(super) instance: Other,
    pub(super) name: ServiceName,
    pub(super) stop_timeout: Millis,
}

/// Only these services run from now on, and they end at that moment: now, when it has passed. Without one they need no lease. Whether one
/// of them that the serving release was prepared for does not run because somebody stopped it.
pub(crate) async fn run(
    stage: &Stage<'_>,
    states: &States,
    services: &BTreeSet<ServiceName>,
    until: Option<Instant>,
) -> Result<bool, Failure> {
    let is_over = until.is_some_and(|until| until <= Instant::now());
    let instances = singles(stage).await?;
    for single in instances.iter().filter(|single| is_over || !services.contains(&single.name)) {
        stage.stop(&single.instance.unit, single.stop_timeout).await?;
    }
    match until {
        Some(until) if !services.is_empty() => {
            leash::tie(&stage.host.systemd, stage.app, services, until).await.map_err(|error| error.failure())?;
        }
        Some(_) | None => leash::untie(&stage.host.systemd, stage.app).await.map_err(|error| error.failure())?,
    }
    let memory = states.update(stage.app, |memory| forget_others(stage, memory, services))?;
    let ours = ours(stage, &memory, services);
    if until.is_some() {
        let known: Vec<&str> = instances.iter().map(|single| single.instance.unit.as_str()).collect();
        start_no_more_at_boot(stage, &known).await?;
    } else if !ours.is_empty() {
        let files: Vec<PathBuf> = ours.iter().map(|unit| stage.layout.units().join(unit)).filter(|path| path.exists()).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        stage.host.systemd.enable(&files).await.map_err(|error| error.failure())?;
    }
    if is_over { Ok(false) } else { is_any_stopped(stage, &ours).await }
}

/// What of the app may run only once, of whatever release.
pub(super) async fn singles(stage: &Stage<'_>) -> Result<Vec<Single>, Failure> {
    let mut singles = Vec::new();
    for instance in stage.others(None).await? {
        let Ok(name) = ServiceName::parse(&instance.service) else { continue };
        let Ok(release) = Release::load(stage.layout, stage.app, &instance.release, None) else { continue };
        if let Some(service) = release.manifest.spec.services.get(&name).filter(|service| service.kind.is_singleton()) {
            singles.push(Single { instance, name, stop_timeout: service.stop_timeout });
        }
    }
    Ok(singles)
}

/// Units stay known, and are not started with the machine any more.
async fn start_no_more_at_boot(stage: &Stage<'_>, units: &[&str]) -> Result<(), Failure> {
    let mut enabled = Vec::new();
    for unit in units {
        if stage.host.systemd.file_state(unit).await.map_err(|error| error.failure())? == "enabled" {
            enabled.push(*unit);
        }
    }
    if enabled.is_empty() {
        return Ok(());
    }
    stage.host.systemd.disable(&enabled).await.map_err(|error| error.failure())?;
    let files: Vec<_> = enabled.iter().map(|unit| stage.layout.units().join(unit)).filter(|path| path.exists()).collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    if files.is_empty() { Ok(()) } else { stage.host.systemd.link(&files).await.map_err(|error| error.failure()) }
}

/// Another host runs the other services: no release here was prepared for them any more.
fn forget_others(stage: &Stage<'_>, memory: &mut AppMemory, services: &BTreeSet<ServiceName>) {
    for (id, listed) in &mut memory.singletons {
        let is_another_hosts = |name: &ServiceName| !services.contains(name) && is_single(stage, id, name);
        listed.retain(|name| !is_another_hosts(name));
    }
}

fn is_single(stage: &Stage<'_>, release: &ReleaseId, name: &ServiceName) -> bool {
    let Ok(release) = Release::load(stage.layout, stage.app, release, None) else { return false };
    release.manifest.spec.services.get(name).is_some_and(|service| service.kind.is_singleton())
}

/// The units of those services that the serving release was prepared to run here.
fn ours(stage: &Stage<'_>, memory: &AppMemory, services: &BTreeSet<ServiceName>) -> Vec<String> {
    let Some(current) = facts::current(stage.layout, stage.app) else { return Vec::new() };
    let Ok(release) = Release::load(stage.layout, stage.app, &current, None) else { return Vec::new() };
    let listed = memory.singletons.get(&current).map_or(&[][..], Vec::as_slice);
    let ours = listed.iter().filter(|name| services.contains(*name) && is_single(stage, &current, name));
    ours.map(|name| release.unit(name)).collect()
}

async fn is_any_stopped(stage: &Stage<'_>, units: &[String]) -> Result<bool, Failure> {
    for unit in units {
        let state = stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        // What fails is started again by systemd, but for one that failed while it was stopped.
        if state.is_down() {
            return Ok(true);
        }
    }
    Ok(false)
}
