//! Candidate: the web instances of the release run beside the old ones and answer on their private sockets. They have no traffic yet.

use futures_util::future::{BoxFuture, try_join_all};
use roadstead_bundle::spec::{HttpCheck, Service};
use roadstead_model::{Failure, FailureKind, OrderKind, ServiceName};

use super::StepContext;
use super::configure;
use super::release::{Release, Role, role};
use super::renew;
use super::serve::start_time;
use super::stage::Stage;
use super::util::disk;
use super::verdict;
use crate::host::probe::Address;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Activate { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    expect_current(context)?;
    verdict::refuse(&context.layout, &context.order.app, &release.id, "started")?;
    // `/run` is empty after a boot.
    let (layout, folders, app) = (context.layout.clone(), release.clone(), context.order.app.clone());
    disk(move || configure::make_folders(&layout, &folders, &super::account::of(&layout, &app)?)).await?;
    if context.current().as_ref() == Some(&release.id) {
        // Its instances run already: from what lay here when they started.
        tokio::select! {
            () = context.cancelled.cancelled() => return context.go_on().map(|()| String::new()),
            renewed = renew::web(context, &release) => renewed?,
        };
    }
    let stage = context.stage();
    let mut tries: Vec<BoxFuture<'_, _>> = Vec::new();
    for (name, service) in release.services() {
        tries.push(Box::pin(attempt(&stage, &release, name, service)));
    }
    let attempts = tokio::select! {
        () = context.cancelled.cancelled() => return context.go_on().map(|()| String::new()),
        tried = try_join_all(tries) => tried?,
    };
    let checks: usize = attempts.iter().flatten().sum();
    match attempts.iter().flatten().count() {
        0 => Ok("no web service to try".to_owned()),
        1 => Ok(format!("1 instance is up, {checks} checks passed")),
        instances => Ok(format!("{instances} instances are up, {checks} checks passed")),
    }
}

/// Starts and checks the web instances that do not run: they may be gone since they were tried, with the power, or killed by somebody.
/// How many there were.
pub(crate) async fn start_again(context: &StepContext, release: &Release) -> Result<usize, Failure> {
    let mut started = 0;
    for (name, service) in release.services().filter(|(_, service)| role(service) == Role::WebUnix) {
        started += usize::from(start_if_down(context, release, name, service).await?);
    }
    Ok(started)
}

/// Starts and checks one web instance, if it does not run. Whether that was so.
pub(crate) async fn start_if_down(
    context: &StepContext,
    release: &Release,
    name: &ServiceName,
    service: &Service,
) -> Result<bool, Failure> {
    let (stage, unit) = (context.stage(), release.unit(name));
    if stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?.is_active() {
        return Ok(false);
    }
    let account = super::account::of(&context.layout, &context.order.app)?;
    configure::make_folders(&context.layout, release, &account)?;
    stage.start(&unit, service).await?;
    check(&stage, release, name, service, &unit).await.map(|_| true)
}

/// Stops what was tried, unless it serves.
pub(crate) async fn undo(context: &StepContext) -> Result<(), Failure> {
    let OrderKind::Activate { release, .. } = &context.order.kind else { return Ok(()) };
    if context.current().as_ref() == Some(&release.id) {
        return Ok(());
    }
    let release = context.release(release)?;
    let stage = context.stage();
    for (name, service) in release.services() {
        match role(service) {
            Role::WebUnix => drop(stage.stop(&release.unit(name), service.stop_timeout).await?),
            Role::WebTcp(_) => drop(stage.stop(&release.trial(name), service.stop_timeout).await?),
            Role::Worker | Role::Single | Role::Own => {}
        }
    }
    Ok(())
}

/// The order holds only for the host that it was made for: the release that it expects serves, or the order's own does already.
pub(crate) fn expect_current(context: &StepContext) -> Result<(), Failure> {
    let OrderKind::Activate { release, expected, .. } = &context.order.kind else { return Ok(()) };
    let current = context.current();
    if current == *expected || current.as_ref() == Some(&release.id) {
        return Ok(());
    }
    let words = |id: Option<&roadstead_model::ReleaseId>| id.map_or_else(|| "no release".to_owned(), ToString::to_string);
    let summary = format!("{} serves here, the order expects {}", words(current.as_ref()), words(expected.as_ref()));
    Err(Failure::new(FailureKind::Host, summary, "the host changed since the plan was made: start a new rollout"))
}

/// Tries one service; how many checks it passed, or `None` for what cannot be tried beforehand.
async fn attempt(stage: &Stage<'_>, release: &Release, name: &ServiceName, service: &Service) -> Result<Option<usize>, Failure> {
    let (unit, trial) = match role(service) {
        Role::WebUnix => (release.unit(name), false),
        Role::WebTcp(_) => (release.trial(name), true),
        Role::Worker | Role::Single | Role::Own => return Ok(None),
    };
    stage.start(&unit, service).await?;
    let checked = check(stage, release, name, service, &unit).await;
    if trial {
        stage.stop(&unit, service.stop_timeout).await?;
    }
    checked.map(Some)
}

/// All checks of a service on its private socket. The first waits for the app's boot.
pub(crate) async fn check(
    stage: &Stage<'_>,
    release: &Release,
    name: &ServiceName,
    service: &Service,
    unit: &str,
) -> Result<usize, Failure> {
    check_at(stage, release, &stage.private_address(release, name), name, service, unit).await
}

/// The same on another socket.
pub(crate) async fn check_at(
    stage: &Stage<'_>,
    release: &Release,
    address: &Address,
    name: &ServiceName,
    service: &Service,
    unit: &str,
) -> Result<usize, Failure> {
    let checks = &release.manifest.spec.checks;
    let of_service: Vec<&HttpCheck> = checks.health.iter().chain(&checks.smoke).filter(|check| check.service == *name).collect();
    if of_service.is_empty() {
        stage.answers(Some(unit), address, name, start_time(service)).await?;
        return Ok(1);
    }
    for (index, check) in of_service.iter().enumerate() {
        let within = check.within.to_duration();
        let within = if index == 0 { within.max(start_time(service)) } else { within };
        stage.check(Some(unit), address, check, within).await?;
    }
    Ok(of_service.len())
}
