//! Environments: applying their policy, saying what that would do, removing them, and showing what they run.

use roadstead_driver::{Event, Removal};
use roadstead_model::{AppName, ApprovalRule, Configuration, EnvironmentName, EnvironmentSpec, Millis, limits};
use roadstead_proto::v1;
use roadstead_rollout::{Phase, State};
use std::collections::BTreeSet;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, not_removed, stored};
use super::Admin;
use super::configurations::{refuse_code_in, refuse_secrets};
use super::homes;
use super::warnings::{self, Around};
use crate::clock;
use crate::settings::Roles;
use crate::store::{Applied, EnvironmentRecord, HostRecord};

pub(super) async fn apply(
    context: &Context,
    admin: &Admin,
    request: v1::ApplyEnvironmentRequest,
) -> Result<v1::ApplyEnvironmentResponse, Status> {
    let spec = read(context, &request)?;
    keep_secrets_out(context, &spec).await?;
    let applied = context.store.apply(spec.clone(), admin.actor(), clock::now()).await.map_err(stored)?.map_err(invalid)?;
    context.driver.tell(Event::EnvironmentsChanged).await;
    told(context, &spec, applied).await
}

/// What applying it would do: read, checked and compared as if.
pub(super) async fn diff(context: &Context, request: v1::ApplyEnvironmentRequest) -> Result<v1::ApplyEnvironmentResponse, Status> {
    let spec = read(context, &request)?;
    keep_secrets_out(context, &spec).await?;
    let newest = context.store.newest_configuration(&spec.name, &spec.app).await.map_err(stored)?;
    Configuration::new(&spec, newest.map(|newest| newest.content.set).unwrap_or_default()).map_err(invalid)?;
    let applied = context.store.foresee(&spec).await.map_err(stored)?;
    told(context, &spec, applied).await
}

async fn keep_secrets_out(context: &Context, spec: &EnvironmentSpec) -> Result<(), Status> {
    let known = context.store.environment(&spec.name, &spec.app).await.map_err(stored)?;
    let said = Configuration::new(spec, Vec::new()).map_err(invalid)?;
    for layer in &said.applied {
        refuse_secrets(context, known.as_ref().and_then(|known| known.current.as_ref()), &spec.app, &layer.values).await?;
    }
    Ok(())
}

fn read(context: &Context, request: &v1::ApplyEnvironmentRequest) -> Result<EnvironmentSpec, Status> {
    if request.spec.len() as u64 > limits::CONFIG_FILE_BYTES_MAX {
        return Err(invalid("the environment is larger than any such document"));
    }
    let spec = serde_json::from_slice(&request.spec).map_err(invalid)?;
    check(&spec)?;
    check_gates(&spec, &context.roles)?;
    Ok(spec)
}

async fn told(context: &Context, spec: &EnvironmentSpec, applied: Applied) -> Result<v1::ApplyEnvironmentResponse, Status> {
    let (result, changes) = match applied {
        Applied::Created => ("created", Vec::new()),
        Applied::Changed(changes) => ("changed", changes),
        Applied::Unchanged => ("unchanged", Vec::new()),
    };
    let mut hosts = context.store.hosts(Some(&spec.name)).await.map_err(stored)?;
    hosts.retain(|host| host.revoked_at.is_none());
    let admins = context.store.admins().await.map_err(stored)?.into_iter().filter(|(_, revoked)| !revoked).map(|(name, _)| name).collect();
    let knows_first = match &spec.gates.after {
        Some(after) => context.store.environment(&after.environment, &spec.app).await.map_err(stored)?.is_some(),
        None => true,
    };
    let around = Around { hosts: &hosts, admins: &admins, roles: &context.roles, knows_first, now: clock::now() };
    let warnings = warnings::of(spec, &around);
    Ok(v1::ApplyEnvironmentResponse { result: result.to_owned(), changes, warnings })
}

pub(super) async fn remove(
    context: &Context,
    admin: &Admin,
    request: v1::RemoveEnvironmentRequest,
) -> Result<v1::RemoveEnvironmentResponse, Status> {
    let removal = Removal {
        environment: EnvironmentName::parse(&request.environment).map_err(invalid)?,
        app: AppName::parse(&request.app).map_err(invalid)?,
        by: admin.actor(),
        at: clock::now(),
        dry_run: request.dry_run,
    };
    context.driver.remove(removal).await.map_err(not_removed)?;
    context.driver.tell(Event::EnvironmentsChanged).await;
    Ok(v1::RemoveEnvironmentResponse {})
}

fn check(spec: &EnvironmentSpec) -> Result<(), Status> {
    spec.strategy.check().map_err(invalid)?;
    if spec.traffic.is_none() && spec.strategy.steps.iter().any(|step| step.traffic.is_some()) {
        return Err(invalid("a step has its part of the traffic, and nobody shares it out: say in [traffic] who the balancers are"));
    }
    if spec.traffic.is_none() && spec.strategy.sets.is_some() {
        return Err(invalid("blue-green switches the traffic, and nobody shares it out: say in [traffic] who the balancers are"));
    }
    if let Some(analysis) = &spec.analysis {
        analysis.check().map_err(invalid)?;
    }
    let said = Configuration::new(spec, Vec::new()).map_err(invalid)?;
    refuse_code_in(&said.applied)?;
    let timeouts = spec.timeouts;
    if !(1..=limits::GATES_SPAN_MAX.0).contains(&timeouts.gates.0) {
        return Err(invalid(format!(
            "timeouts.gates = {}: it is more than nothing and at most {}",
            timeouts.gates,
            limits::GATES_SPAN_MAX
        )));
    }
    if spec.database.contract_after.is_some_and(|after| after > timeouts.gates) {
        return Err(invalid(format!(
            "database.contract_after is longer than timeouts.gates = {}: such a rollout would end before its gate opens",
            timeouts.gates
        )));
    }
    let spans = [
        ("timeouts.prepare", timeouts.prepare, 1),
        ("timeouts.migrate", timeouts.migrate, 1),
        ("timeouts.activate", timeouts.activate, 1),
        ("timeouts.confirm", timeouts.confirm, 1),
        ("timeouts.away", timeouts.away, 1),
        ("timeouts.decide", timeouts.decide, 1),
        ("gates.after.healthy_for", spec.gates.after.as_ref().map_or(Millis(0), |after| after.healthy_for), 0),
        ("bake", spec.bake, 0),
        ("database.contract_after", spec.database.contract_after.unwrap_or(Millis(0)), 0),
        ("strategy.batch_bake", spec.strategy.batch_bake, 0),
        ("traffic.drain", spec.traffic.as_ref().map_or(Millis(0), |traffic| traffic.drain), 0),
    ];
    let steps = spec.strategy.steps.iter().map(|step| ("strategy.steps.bake", step.bake, 0));
    match spans.into_iter().chain(steps).find(|(_, span, least)| !(*least..=limits::SPAN_MAX.0).contains(&span.0)) {
        Some((name, span, _)) => Err(invalid(format!("{name} = {span}: it is more than nothing and at most a week"))),
        None => Ok(()),
    }
}

/// Whether the gates can ever open.
fn check_gates(spec: &EnvironmentSpec, roles: &Roles) -> Result<(), Status> {
    let gates = &spec.gates;
    gates.check(&spec.name).map_err(invalid)?;
    roadstead_driver::check_time_zone(gates).map_err(invalid)?;
    let restores = spec.database.restore_approvals.clone().unwrap_or_default();
    roadstead_model::Gates { approvals: restores.clone(), ..roadstead_model::Gates::default() }.check(&spec.name).map_err(invalid)?;
    for ApprovalRule { role, count } in gates.approvals.iter().chain(&restores) {
        let members = roles.get(role).map_or(0, BTreeSet::len);
        if u32::try_from(members).unwrap_or(u32::MAX) < *count {
            return Err(invalid(format!(
                "{count} of the role {role} are to approve, and {members} have it: [roles] in the controller's settings says who"
            )));
        }
    }
    Ok(())
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
    let homes = homes::of(context, &record).await?;
    let mut ids = Vec::new();
    for known in [record.current, record.previous] {
        ids.push(known.map(|known| known.release.id.to_string()).unwrap_or_default());
    }
    let previous = ids.pop().unwrap_or_default();
    let current = ids.pop().unwrap_or_default();
    let unfinished = context.store.unfinished_rollouts().await.map_err(stored)?;
    let here = |state: &&State| state.plan.environment == spec.name && state.plan.app == spec.app;
    // The one that has its turn; else the one that waits at the gates.
    let active = unfinished.iter().map(|r| &r.state).filter(here).min_by_key(|state| matches!(state.phase, Phase::Gated { .. }));
    let hosts = context.store.hosts(Some(&spec.name)).await.map_err(stored)?;
    let lock = context.store.lock(&spec.name, &spec.app).await.map_err(stored)?.filter(|lock| clock::now() < lock.until);
    let balancers = balancers(context, spec, &hosts);
    let taking_part = hosts.iter().filter(|host| host.revoked_at.is_none() && spec.hosts.matches(&host.labels));
    Ok(v1::Environment {
        name: spec.name.to_string(),
        app: spec.app.to_string(),
        spec: serde_json::to_vec(spec).map_err(internal)?,
        applied_at_ms: record.applied_at.0,
        applied_by: record.applied_by,
        current,
        previous,
        active_rollout: active.map_or(0, |state| state.plan.rollout.0),
        active_phase: active.map(|state| if state.hold.is_some() { "on hold" } else { state.phase.word() }.to_owned()).unwrap_or_default(),
        hosts: taking_part.map(|host| host.name.to_string()).collect(),
        locked_until_ms: lock.as_ref().map_or(0, |lock| lock.until.0),
        lock_reason: lock.as_ref().map(|lock| lock.reason.clone()).unwrap_or_default(),
        balancers,
        homes,
        locked_by: lock.map(|lock| lock.by).unwrap_or_default(),
    })
}

/// The hosts that share out the traffic, and what they say of it.
fn balancers(context: &Context, spec: &EnvironmentSpec, hosts: &[HostRecord]) -> Vec<v1::Balancer> {
    let Some(traffic) = &spec.traffic else { return Vec::new() };
    let are = hosts.iter().filter(|host| host.revoked_at.is_none() && traffic.balancers.matches(&host.labels));
    let shown = |host: &HostRecord| {
        let seen = context.driver.balancer(&host.id, &spec.app).map(v1::TrafficSeen::from).unwrap_or_default();
        let connected = context.sessions.is_open(&host.id);
        v1::Balancer { host: host.name.to_string(), connected, servers: seen.servers, problem: seen.problem }
    };
    are.map(shown).collect()
}
