//! Databases of environments, as operators ask for them: a backup is made, looked at again, restored.

use roadstead_model::{AppName, BackupCheck, BackupDemand, BackupName, EnvironmentName, Safeguard, StepName};
use roadstead_proto::v1;
use roadstead_rollout::{Host, State, Tending};
use tonic::Status;

use super::super::Context;
use super::super::status::{invalid, not_now, stored, unknown};
use super::Admin;
use super::releases::reason;
use super::rollouts::{ask, place, wanted};
use roadstead_driver::{RestoreRequest, RolloutRecord, TendRequest, Verb};

pub(super) async fn back_up(context: &Context, admin: &Admin, request: v1::BackUpDatabaseRequest) -> Result<v1::Rollout, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    let reason = why(&request.reason, "a backup is made")?;
    let demand = demanded(context, &environment, &app, &request.check).await?;
    let host = Some(request.host).filter(|host| !host.is_empty());
    let tend = TendRequest { environment, app, host, tending: Tending::Backup(demand), reason, by: admin.actor() };
    ask(context, Verb::Tend(tend)).await
}

pub(super) async fn recheck(context: &Context, admin: &Admin, request: v1::RecheckBackupRequest) -> Result<v1::Rollout, Status> {
    let backup = BackupName::parse(&request.backup).map_err(invalid)?;
    let reason = why(&request.reason, "a backup is looked at again")?;
    let record = here(context, &backup).await?;
    let plan = &record.state.plan;
    let host = Some(kept_by(&record.state, &backup, request.host)?);
    let (environment, app) = (plan.environment.clone(), plan.app.clone());
    let demand = demanded(context, &environment, &app, &request.check).await?;
    let tending = Tending::Recheck { backup, demand };
    ask(context, Verb::Tend(TendRequest { environment, app, host, tending, reason, by: admin.actor() })).await
}

/// How a backup is looked at: as is said, or else as its environment demands it of one before migrations. Who asks for one wants one, whatever
/// migrations need.
async fn demanded(context: &Context, environment: &EnvironmentName, app: &AppName, said: &str) -> Result<BackupDemand, Status> {
    let demand = match said {
        "" => {
            let known = context.store.environment(environment, app).await.map_err(stored)?;
            known.map_or(BackupDemand::None, |known| known.spec.database.backup)
        }
        text => text.parse().map_err(invalid)?,
    };
    Ok(if demand.wants_one() { demand } else { BackupDemand::AtLeast(BackupCheck::Restored) })
}

pub(super) async fn restore(context: &Context, admin: &Admin, request: v1::RestoreDatabaseRequest) -> Result<v1::Rollout, Status> {
    let backup = BackupName::parse(&request.backup).map_err(invalid)?;
    let reason = why(&request.reason, "a database is restored")?;
    let record = here(context, &backup).await?;
    let (state, plan) = (&record.state, &record.state.plan);
    let release = match (request.release.as_str(), &plan.previous) {
        ("", Some(previous)) => previous.id.bare(),
        ("", None) => {
            let text = format!("nothing served in {} when {backup} was made", plan.environment);
            return Err(not_now(text, "say which release belongs to it, with --release"));
        }
        (text, _) => wanted(context, &plan.environment, &plan.app, text).await?,
    };
    let host = kept_by(state, &backup, request.host)?;
    let restore = RestoreRequest {
        environment: plan.environment.clone(),
        app: plan.app.clone(),
        backup,
        host,
        release,
        only_survey: request.only_survey,
        reason,
        by: admin.actor(),
    };
    ask(context, Verb::Restore(restore)).await
}

/// Why something is done, which the history keeps.
pub(super) fn why(text: &str, what: &str) -> Result<String, Status> {
    if text.trim().is_empty() {
        return Err(invalid(format!("the history keeps why {what}: give a reason")));
    }
    reason(text)
}

/// The rollout that made a backup, of an environment that is there.
async fn here(context: &Context, backup: &BackupName) -> Result<RolloutRecord, Status> {
    let record = made_by(context, backup).await?;
    let plan = &record.state.plan;
    if plan.rollout <= context.store.removed_up_to(&plan.environment, &plan.app).await.map_err(stored)? {
        let text = format!("{backup} is of an environment {} that was removed", plan.environment);
        return Err(not_now(text, "docs/recovery.md says how to restore a backup by hand"));
    }
    Ok(record)
}

/// The host that is said to have a backup, or the one that made it.
fn kept_by(state: &State, backup: &BackupName, said: String) -> Result<String, Status> {
    if !said.is_empty() {
        return Ok(said);
    }
    keeper(state).ok_or_else(|| not_now(format!("nobody knows which host has {backup}"), "say which, with --on"))
}

/// The rollout that made a backup.
async fn made_by(context: &Context, backup: &BackupName) -> Result<RolloutRecord, Status> {
    let nobody = || unknown(format!("no rollout made a backup {backup}"), "see `roadstead db list ENVIRONMENT`");
    let rollout = backup.rollout().ok_or_else(nobody)?;
    let record = context.store.rollout(rollout).await.map_err(stored)?.ok_or_else(nobody)?;
    match &record.state.safeguard {
        Some(Safeguard::Made(made)) if made.name == backup.as_str() => Ok(record),
        _ => Err(nobody()),
    }
}

/// The host that made a rollout's backup.
fn keeper(state: &State) -> Option<String> {
    let made = |host: &Host| host.times.iter().any(|(step, ..)| *step == StepName::Backup);
    state.hosts.iter().find(|(_, host)| made(host)).map(|(id, _)| id.to_string())
}
