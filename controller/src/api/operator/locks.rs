//! Locks of environments.

use roadstead_driver::{Event, LockRecord};
use roadstead_model::{AppName, EnvironmentName, Millis, limits};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{invalid, not_now, stored, unknown};
use super::Admin;
use super::releases::reason;
use super::rollouts::place;
use crate::clock;

pub(super) async fn lock(
    context: &Context,
    admin: &Admin,
    request: v1::LockEnvironmentRequest,
) -> Result<v1::LockEnvironmentResponse, Status> {
    let place = existing(context, &request.environment, &request.app).await?;
    let why = given(&request.reason)?;
    if !(1..=limits::SPAN_MAX.0).contains(&request.for_ms) {
        return Err(invalid("an environment is locked for more than nothing and at most a week"));
    }
    let at = clock::now();
    let until = at.plus(Millis(request.for_ms));
    let lock = LockRecord { by: admin.actor(), reason: why, at, until };
    context.store.set_lock(place.clone(), lock, request.r#break).await.map_err(stored)?.map_err(|lock| held(&place, &lock))?;
    Ok(v1::LockEnvironmentResponse { until_ms: until.0 })
}

pub(super) async fn unlock(
    context: &Context,
    admin: &Admin,
    request: v1::UnlockEnvironmentRequest,
) -> Result<v1::UnlockEnvironmentResponse, Status> {
    let place = existing(context, &request.environment, &request.app).await?;
    let why = given(&request.reason)?;
    let ended = context.store.end_lock(place.clone(), admin.actor(), why, clock::now(), request.r#break).await.map_err(stored)?;
    let owner = ended.map_err(|lock| held(&place, &lock))?;
    context.driver.tell(Event::LookAtGates).await;
    Ok(v1::UnlockEnvironmentResponse { owner: owner.unwrap_or_default() })
}

async fn existing(context: &Context, environment: &str, app: &str) -> Result<(EnvironmentName, AppName), Status> {
    let (environment, app) = place(context, environment, app).await?;
    match context.store.environment(&environment, &app).await.map_err(stored)? {
        Some(_) => Ok((environment, app)),
        None => Err(unknown(format!("there is no environment {environment} of {app}"), "see `roadstead env list`")),
    }
}

fn given(text: &str) -> Result<String, Status> {
    if text.trim().is_empty() {
        return Err(invalid("whoever waits wants to know why: give a reason"));
    }
    reason(text)
}

fn held((environment, _): &(EnvironmentName, AppName), lock: &LockRecord) -> Status {
    let left = lock.until.since(clock::now());
    not_now(format!("{environment} is locked by {} for {left} more: {}", lock.by, lock.reason), "ask them, or take it with --break")
}
