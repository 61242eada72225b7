//! Environments: applying their policy, and showing what they run.

use roadstead_model::{EnvironmentSpec, limits};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, stored};
use super::Admin;
use crate::clock;
use crate::store::{Applied, EnvironmentRecord};

pub(super) async fn apply(
    context: &Context,
    admin: &Admin,
    request: v1::ApplyEnvironmentRequest,
) -> Result<v1::ApplyEnvironmentResponse, Status> {
    if request.spec.len() as u64 > limits::CONFIG_FILE_BYTES_MAX {
        return Err(invalid("the environment is larger than any such document"));
    }
    let spec: EnvironmentSpec = serde_json::from_slice(&request.spec).map_err(invalid)?;
    check(&spec)?;
    let applied = context.store.apply(spec, admin.actor(), clock::now()).await.map_err(stored)?;
    let (result, changes) = match applied {
        Applied::Created => ("created", Vec::new()),
        Applied::Changed(changes) => ("changed", changes),
        Applied::Unchanged => ("unchanged", Vec::new()),
    };
    Ok(v1::ApplyEnvironmentResponse { result: result.to_owned(), changes })
}

fn check(spec: &EnvironmentSpec) -> Result<(), Status> {
    spec.strategy.check().map_err(invalid)?;
    if spec.variables.len() > limits::VARIABLES_MAX {
        return Err(invalid(format!("{} variables are more than an environment may have", spec.variables.len())));
    }
    if let Some((name, _)) = spec.variables.iter().find(|(_, value)| value.len() > limits::VARIABLE_VALUE_BYTES_MAX) {
        return Err(invalid(format!("the value of {name} is too large")));
    }
    let timeouts = spec.timeouts;
    let spans = [
        ("timeouts.prepare", timeouts.prepare, 1),
        ("timeouts.migrate", timeouts.migrate, 1),
        ("timeouts.activate", timeouts.activate, 1),
        ("timeouts.confirm", timeouts.confirm, 1),
        ("timeouts.away", timeouts.away, 1),
        ("timeouts.decide", timeouts.decide, 1),
        ("bake", spec.bake, 0),
        ("strategy.batch_bake", spec.strategy.batch_bake, 0),
    ];
    let steps = spec.strategy.steps.iter().map(|step| ("strategy.steps.bake", step.bake, 0));
    match spans.into_iter().chain(steps).find(|(_, span, least)| !(*least..=limits::SPAN_MAX.0).contains(&span.0)) {
        Some((name, span, _)) => Err(invalid(format!("{name} = {span}: it is more than nothing and at most a week"))),
        None => Ok(()),
    }
}

pub(super) async fn list(context: &Context, request: v1::ListEnvironmentsRequest) -> Result<v1::ListEnvironmentsResponse, Status> {
    let records = context.store.environments(&request.name).await.map_err(stored)?;
    let mut environments = Vec::with_capacity(records.len());
    for record in records {
        environments.push(shown(context, record).await?);
    }
    Ok(v1::ListEnvironmentsResponse { environments })
}

async fn shown(context: &Context, record: EnvironmentRecord) -> Result<v1::Environment, Status> {
    let spec = &record.spec;
    let mut ids = Vec::new();
    for digest in [record.current, record.previous] {
        let release = match digest {
            Some(digest) => context.store.release(&digest).await.map_err(stored)?,
            None => None,
        };
        ids.push(release.map(|release| release.id().to_string()).unwrap_or_default());
    }
    let previous = ids.pop().unwrap_or_default();
    let current = ids.pop().unwrap_or_default();
    let unfinished = context.store.unfinished_rollouts().await.map_err(stored)?;
    let active = unfinished.iter().map(|r| &r.state.plan).find(|p| p.environment == spec.name && p.app == spec.app);
    let hosts = context.store.hosts(Some(&spec.name)).await.map_err(stored)?;
    let taking_part = hosts.iter().filter(|host| host.revoked_at.is_none() && spec.hosts.matches(&host.labels));
    Ok(v1::Environment {
        name: spec.name.to_string(),
        app: spec.app.to_string(),
        spec: serde_json::to_vec(spec).map_err(internal)?,
        applied_at_ms: record.applied_at.0,
        applied_by: record.applied_by,
        current,
        previous,
        active_rollout: active.map_or(0, |plan| plan.rollout.0),
        hosts: taking_part.map(|host| host.name.to_string()).collect(),
    })
}
