//! Health: the checks pass on the public address, the workers stay up, and the hooks after the cutover have run.

use roadstead_bundle::spec::{HttpCheck, Service, ServiceKind, UnitCutover};
use roadstead_model::{Failure, OrderKind, StepName};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::StepContext;
use super::commands::{self, Task};
use super::release::{Release, Role, role};
use super::serve::start_time;
use super::stage::Stage;
use crate::host::proof::processes;
use crate::host::tasks_left::APP_LOADED;

/// How long a worker, or what was started again, has to live to count as up: what cannot be imported is dead by then.
const SETTLE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Activate { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let stage = context.stage();
    let passed = tokio::select! {
        () = context.cancelled.cancelled() => return context.go_on().map(|()| String::new()),
        checked = checks(&stage, &release, Duration::MAX) => checked?,
    };
    workers_stay(&stage, &release).await?;
    let hooks = &release.manifest.spec.hooks.after_cutover;
    for (index, hook) in hooks.iter().enumerate() {
        let within = release.manifest.spec.steps.command_timeout;
        let task = Task {
            step: StepName::Health,
            name: format!("hook{index}"),
            within,
            writable: Vec::new(),
            binds: Vec::new(),
            environment_files: Vec::new(),
            anew: false,
        };
        commands::hook(context, &release, hook, &task).await?;
    }
    web_stayed(&stage, &release).await?;
    Ok(match hooks.len() {
        0 => format!("{passed} checks passed"),
        hooks => format!("{passed} checks passed, {hooks} hooks ran"),
    })
}

/// The health checks on the public addresses. Each has the time that it asks for, but not more than so much.
pub(crate) async fn checks(stage: &Stage<'_>, release: &Release, at_most: Duration) -> Result<usize, Failure> {
    let mut passed = 0;
    for (name, service, address) in release.listening(stage.layout) {
        let unit = release.unit(name);
        let unit = (role(service) != Role::Own).then_some(unit.as_str());
        let of_service: Vec<&HttpCheck> = release.manifest.spec.checks.health.iter().filter(|check| check.service == *name).collect();
        if of_service.is_empty() {
            stage.answers(unit, &address, name, start_time(service).min(at_most)).await?;
            passed += 1;
        }
        for check in of_service {
            stage.check(unit, &address, check, check.within.to_duration().min(at_most)).await?;
            passed += 1;
        }
    }
    Ok(passed)
}

/// A web instance that answers now may have died a moment ago, and systemd has started it again: it would die again.
async fn web_stayed(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    for (name, _) in release.services().filter(|(_, service)| matches!(role(service), Role::WebUnix | Role::WebTcp(_))) {
        let unit = release.unit(name);
        let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
        if !state.is_active() || (state.restarts > 0 && state.up_for() < SETTLE) {
            return Err(stage.does_not_stay(&unit).await);
        }
    }
    Ok(())
}

/// Workers answer no request: they are up when they stay up. The team's own units may be any of the two.
async fn workers_stay(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    for (name, service) in release.services() {
        match (&service.kind, role(service)) {
            (ServiceKind::Units { units, .. }, _) => {
                for unit in units {
                    stays(stage, service, unit).await?;
                }
            }
            (_, Role::Worker | Role::Single) => stays(stage, service, &release.unit(name)).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn stays(stage: &Stage<'_>, service: &Service, unit: &str) -> Result<(), Failure> {
    // A unit that was only reloaded has been up and has counted its restarts for longer than this release lives.
    let reloaded = matches!(service.kind, ServiceKind::Units { cutover: UnitCutover::Reload, .. });
    let looked_at = Instant::now();
    loop {
        let state = stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        if !state.is_active() || (state.restarts > 0 && !reloaded) {
            return Err(stage.does_not_stay(unit).await);
        }
        let lived = if reloaded { looked_at.elapsed() } else { state.up_for() };
        let is_up = if matches!(service.kind, ServiceKind::CeleryWorker { .. }) {
            // It forks its processes once it has imported the app, which may take long on a busy host. Where it forks none, it says so.
            let forks = processes(&stage.host.root, &state.control_group).len() > 1;
            forks || (state.status_text == APP_LOADED && lived >= SETTLE) || lived >= start_time(service)
        } else {
            lived >= SETTLE
        };
        if is_up {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}
