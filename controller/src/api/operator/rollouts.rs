//! Rollouts: starting, steering, going back, watching.

use roadstead_model::{AppName, Digest, DigestStart, EnvironmentName, HostId, Millis, ReleaseId, RoleName, RolloutId, StepName, limits};
use roadstead_proto::v1;
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, not_now, refused, stored, unknown};
use super::releases::{meant, reason};
use super::{Admin, Lines, put};
use crate::floor::{WAYS_OUT, below, breaking};
use crate::view::view_of;
use roadstead_bundle::walk::migration_facts;
use roadstead_driver::{ReleaseRecord, RolloutRecord, StartRequest, Verb};
use roadstead_rollout::{Exchange, Phase, Plan, PlannedHost, RolloutKind, State, Steer};

/// Rollouts whose migrations may still be what the schema is.
const LOOKED_BACK: u32 = 50;
/// Rollouts that one answer shows.
const SHOWN_MAX: u32 = 200;
/// A key of a request.
const KEY_BYTES_MAX: usize = 128;

pub(super) async fn place(context: &Context, environment: &str, app: &str) -> Result<(EnvironmentName, AppName), Status> {
    let environment = EnvironmentName::parse(environment).map_err(invalid)?;
    if !app.is_empty() {
        return Ok((environment, AppName::parse(app).map_err(invalid)?));
    }
    // Without an app, the one that the environment has is meant.
    let records = context.store.environments(environment.as_str()).await.map_err(stored)?;
    match records.as_slice() {
        [only] => Ok((environment, only.spec.app.clone())),
        [] => Err(unknown(format!("there is no environment {environment}"), "see `roadstead env list`")),
        several => {
            let apps: Vec<&str> = several.iter().map(|r| r.spec.app.as_str()).collect();
            Err(invalid(format!("{environment} has several apps: name one of {}", apps.join(", "))))
        }
    }
}

pub(super) async fn start(context: &Context, admin: &Admin, request: v1::StartRolloutRequest) -> Result<v1::Rollout, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    if request.idempotency_key.len() > KEY_BYTES_MAX {
        return Err(invalid("the idempotency key is too long"));
    }
    let release = wanted(context, &environment, &app, &request.release).await?;
    let plan = match request.plan.as_str() {
        "" => None,
        text => Some(DigestStart::parse(text).map_err(invalid)?),
    };
    if !request.despite_schema {
        keep_above_floor(context, &environment, &app, Some(&release)).await?;
    }
    let contracts = match request.despite_schema {
        true => Vec::new(),
        false => contracts_of(context, &environment, &app, &release).await?,
    };
    let start = StartRequest {
        contracts,
        environment,
        app,
        release,
        reason: reason(&request.reason)?,
        by: admin.actor(),
        idempotency_key: request.idempotency_key,
        plan,
    };
    ask(context, Verb::Start(start)).await
}

/// The release that a person means: as [`meant`], `current` for the one that runs, or an id with the configuration to run it with.
pub(super) async fn wanted(context: &Context, environment: &EnvironmentName, app: &AppName, text: &str) -> Result<ReleaseId, Status> {
    if text == "current" {
        let known = context.store.environment(environment, app).await.map_err(stored)?;
        let runs = known.and_then(|known| known.current).map(|current| current.release.id.bare());
        let next = format!("deploy a release first: `roadstead deploy {environment} RELEASE`");
        return runs.ok_or_else(|| unknown(format!("{environment} runs no release of {app}"), &next));
    }
    let with = ReleaseId::parse(text).ok().and_then(|id| Some((id.bare(), id.configuration()?)));
    match with {
        Some((bare, configuration)) => Ok(meant(context, Some(app), bare.as_str()).await?.id().with(Some(&configuration))),
        None => Ok(meant(context, Some(app), text).await?.id()),
    }
}

/// Refuses a release that the database no longer allows; `None` is the one that served before. A rollout that is under way, and that is ended by
/// that, goes back to what served when it began, which has passed its checks with the new schema.
async fn keep_above_floor(context: &Context, environment: &EnvironmentName, app: &AppName, to: Option<&ReleaseId>) -> Result<(), Status> {
    let under_way = context.store.unfinished_rollouts().await.map_err(stored)?;
    let of_place = |record: &&RolloutRecord| record.state.plan.environment == *environment && record.state.plan.app == *app;
    // Beside one that brings a release there are those that bring hosts level and those that tend the database: a rollback ends them, and
    // goes back to what served before.
    let begun =
        |record: &RolloutRecord| record.state.plan.kind == RolloutKind::Rollout && !matches!(record.state.phase, Phase::Gated { .. });
    if to.is_none() && under_way.iter().filter(of_place).any(begun) {
        return Ok(());
    }
    match floor_of(context, environment, app, to).await? {
        Some(why) => Err(not_now(why, WAYS_OUT)),
        None => Ok(()),
    }
}

/// Why a release is below the rollback floor of an environment, or nothing.
pub(super) async fn floor_of(
    context: &Context,
    environment: &EnvironmentName,
    app: &AppName,
    to: Option<&ReleaseId>,
) -> Result<Option<String>, Status> {
    let Some(record) = context.store.environment(environment, app).await.map_err(stored)? else { return Ok(None) };
    let target = match (to, &record.previous) {
        (Some(id), _) => context.store.release_by_id(app, id).await.map_err(stored)?,
        (None, Some(previous)) => context.store.release(&previous.release.manifest).await.map_err(stored)?,
        (None, None) => None,
    };
    let current = match &record.current {
        Some(current) => context.store.release(&current.release.manifest).await.map_err(stored)?,
        None => None,
    };
    let Some(target) = target else { return Ok(None) };
    if record.current.as_ref().is_some_and(|current| current.release.manifest == target.digest) {
        // It serves: it has passed its checks with whatever was done to the schema since.
        return Ok(None);
    }
    let mut made = current.map(|current| BTreeMap::from([(current.digest, current)])).unwrap_or_default();
    made.append(&mut that_migrated(context, environment, app).await?);
    made.remove(&target.digest);
    let blobs = context.blobs.clone();
    let reading = tokio::task::spawn_blocking(move || {
        made.values().find_map(|release| {
            // What cannot be read tells nothing: going back is not refused for that.
            let facts = || migration_facts(&blobs, &release.manifest).ok().flatten();
            below(&release.manifest, facts, (&target.id(), &target.manifest), target.published_at > release.published_at)
        })
    });
    reading.await.map_err(internal)
}

/// Migrations of a release that take away what earlier ones need, as far as the release that runs has them not; asked for where the
/// environment wants to know.
pub(super) async fn contracts_of(
    context: &Context,
    environment: &EnvironmentName,
    app: &AppName,
    release: &ReleaseId,
) -> Result<Vec<String>, Status> {
    let known = context.store.environment(environment, app).await.map_err(stored)?;
    let Some(known) = known.filter(|known| known.spec.database.contract_after.is_some()) else { return Ok(Vec::new()) };
    let Some(runs) = known.current else { return Ok(Vec::new()) };
    let current = context.store.release(&runs.release.manifest).await.map_err(stored)?;
    let target = context.store.release_by_id(app, release).await.map_err(stored)?;
    let (Some(current), Some(target)) = (current, target) else { return Ok(Vec::new()) };
    // What went back since is applied all the same.
    let applied = that_migrated(context, environment, app).await?;
    let blobs = context.blobs.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let facts = migration_facts(&blobs, &target.manifest).ok().flatten();
        let mut found = breaking(&target.manifest, &current.manifest, facts.as_ref());
        found.retain(|name| !applied.values().any(|release| release.digest != target.digest && release.manifest.migrations.contains(name)));
        found
    });
    reading.await.map_err(internal)
}

/// Releases whose migrations were begun by the newest rollouts of an environment, the ones that went back among them: the schema stayed.
async fn that_migrated(context: &Context, environment: &EnvironmentName, app: &AppName) -> Result<BTreeMap<Digest, ReleaseRecord>, Status> {
    let mut releases = BTreeMap::new();
    // What a restore has undone since: all from the rollout that made the backup on.
    let mut undone_from = RolloutId(u64::MAX);
    let removed = context.store.removed_up_to(environment, app).await.map_err(stored)?;
    for record in context.store.asked_for(environment, LOOKED_BACK).await.map_err(stored)? {
        let plan = &record.state.plan;
        let migrated = record
            .state
            .hosts
            .values()
            .any(|host| host.times.iter().any(|(step, ..)| matches!(step, StepName::Backup | StepName::Migrate)));
        let of_place = plan.app == *app && plan.rollout > removed;
        let is_undone = plan.rollout >= undone_from;
        if let (true, Some(from)) = (of_place, restored_from(&record.state)) {
            undone_from = undone_from.min(from);
        }
        if of_place
            && !is_undone
            && migrated
            && !releases.contains_key(&plan.release.manifest)
            && let Some(release) = context.store.release(&plan.release.manifest).await.map_err(stored)?
        {
            releases.insert(release.digest, release);
        }
    }
    Ok(releases)
}

/// The rollout before which the database is as it was again, of a restore that came about.
fn restored_from(state: &State) -> Option<RolloutId> {
    let restore = state.plan.restore.as_ref().filter(|_| state.recovery.exchange == Exchange::Done)?;
    restore.backup.rollout()
}

pub(super) async fn ask(context: &Context, verb: Verb) -> Result<v1::Rollout, Status> {
    let record = context.driver.ask(verb).await.map_err(refused)?;
    Ok(view_of(&record))
}

pub(super) async fn steer(context: &Context, admin: &Admin, request: v1::SteerRolloutRequest) -> Result<v1::Rollout, Status> {
    use v1::steer_rollout_request::Steer as Asked;
    let rollout = RolloutId(request.rollout);
    if request.reason.trim().is_empty() {
        return Err(invalid("the history keeps why a rollout is steered: give a reason"));
    }
    let asked = request.steer.ok_or_else(|| invalid("the request does not say what is to be done with the rollout"))?;
    let record = context.store.rollout(rollout).await.map_err(stored)?;
    let record = record.ok_or_else(|| no_rollout(request.rollout))?;
    let plan = &record.state.plan;
    let steer = match asked {
        Asked::Abort(_) => Steer::Abort,
        Asked::Accept(_) => Steer::Accept,
        Asked::Approve(approve) => Steer::Approve { roles: roles_of(context, admin, &approve.role)? },
        Asked::Pause(v1::steer_rollout_request::Pause { within_ms: 0 }) => Steer::Pause { within: plan.timeouts.decide },
        Asked::Pause(pause) if pause.within_ms > limits::SPAN_MAX.0 => return Err(invalid("a rollout is paused for at most a week")),
        Asked::Pause(pause) => Steer::Pause { within: Millis(pause.within_ms) },
        Asked::Resume(_) => Steer::Resume,
        Asked::Promote(promote) => Steer::Promote { all: promote.all },
        Asked::Retry(host) => Steer::Retry(host_of(plan, &host)?),
        Asked::Ignore(host) => Steer::Ignore(host_of(plan, &host)?),
        Asked::Exclude(host) => Steer::Exclude(host_of(plan, &host)?),
    };
    ask(context, Verb::Steer { rollout, steer, reason: reason(&request.reason)?, by: admin.actor() }).await
}

/// What an admin may approve as: the role that is named, if they have it, or all that they have.
fn roles_of(context: &Context, admin: &Admin, named: &str) -> Result<Vec<RoleName>, Status> {
    let has = |role: &RoleName| context.roles.get(role).is_some_and(|members| members.contains(&admin.name));
    if named.is_empty() {
        return Ok(context.roles.keys().filter(|role| has(role)).cloned().collect());
    }
    let role = RoleName::parse(named).map_err(invalid)?;
    if !has(&role) {
        return Err(invalid(format!("{} has not the role {role}: roles stand in the controller's settings", admin.name)));
    }
    Ok(vec![role])
}

/// The host of a plan that is meant, by its id or its name.
fn host_of(plan: &Plan, text: &str) -> Result<HostId, Status> {
    let meant = |(id, planned): &(&HostId, &PlannedHost)| id.as_str() == text || planned.name.as_str() == text;
    let mut found = plan.hosts.iter().filter(meant).map(|(id, _)| id);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => {
            let text: String = text.chars().take(100).collect();
            let hint = format!("see `roadstead rollout show {}`", plan.rollout);
            Err(unknown(format!("{text:?} is no host of {}", plan.rollout), &hint))
        }
        (Some(_), Some(_)) => Err(invalid(format!("{text} is the name of several hosts: give the id"))),
    }
}

fn no_rollout(rollout: u64) -> Status {
    unknown(format!("there is no rollout r-{rollout}"), "see `roadstead rollout list`")
}

pub(super) async fn rollback(context: &Context, admin: &Admin, request: v1::RollbackRequest) -> Result<v1::Rollout, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    let to: Option<ReleaseId> = match request.to.as_str() {
        "" => None,
        text => Some(wanted(context, &environment, &app, text).await?),
    };
    if !request.despite_schema {
        keep_above_floor(context, &environment, &app, to.as_ref()).await?;
    }
    ask(context, Verb::Rollback { environment, app, to, reason: reason(&request.reason)?, by: admin.actor() }).await
}

pub(super) async fn list(context: &Context, request: v1::ListRolloutsRequest) -> Result<v1::ListRolloutsResponse, Status> {
    let limit = if request.limit == 0 { SHOWN_MAX } else { request.limit.min(SHOWN_MAX) };
    let records = context.store.rollouts(&request.environment, limit).await.map_err(stored)?;
    Ok(v1::ListRolloutsResponse { rollouts: records.iter().map(view_of).collect() })
}

pub(super) async fn get(context: &Context, rollout: u64) -> Result<v1::Rollout, Status> {
    if let Some(running) = context.announcements.follow(RolloutId(rollout)) {
        return Ok(running.borrow().as_ref().clone());
    }
    let record = context.store.rollout(RolloutId(rollout)).await.map_err(stored)?;
    let record = record.ok_or_else(|| no_rollout(rollout))?;
    Ok(view_of(&record))
}

/// The rollout now, then again whenever it changes, until it has ended.
pub(super) async fn watch(context: Arc<Context>, rollout: u64, lines: Lines<v1::Rollout>) -> Result<(), Status> {
    let Some(mut changes) = context.announcements.follow(RolloutId(rollout)) else {
        return put(&lines, get(&context, rollout).await?).await;
    };
    loop {
        let now = changes.borrow_and_update().as_ref().clone();
        let ended = now.ended_at_ms != 0;
        put(&lines, now).await?;
        if ended {
            return Ok(());
        }
        if changes.changed().await.is_err() {
            // It ended meanwhile: its last state is what was saved.
            return put(&lines, get(&context, rollout).await?).await;
        }
    }
}
