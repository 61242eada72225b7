//! Jobs: commands of the release that an environment runs, asked for by name.

use roadstead_bundle::spec::Job;
use roadstead_driver::{ReleaseRecord, TendRequest, Verb};
use roadstead_model::{AppName, EnvironmentName, JobName};
use roadstead_proto::v1;
use roadstead_rollout::Tending;
use tonic::Status;

use super::super::Context;
use super::super::status::{invalid, not_now, stored, unknown};
use super::Admin;
use super::databases::why;
use super::rollouts::{ask, place};

pub(super) async fn list(context: &Context, request: v1::ListJobsRequest) -> Result<v1::ListJobsResponse, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    let release = serving(context, &environment, &app).await?;
    let told =
        |(name, job): (&JobName, &Job)| v1::DeclaredJob { name: name.to_string(), command: job.command.clone(), timeout_ms: job.timeout.0 };
    let jobs = release.manifest.spec.jobs.iter().map(told).collect();
    Ok(v1::ListJobsResponse { release: release.id().to_string(), jobs })
}

pub(super) async fn run(context: &Context, admin: &Admin, request: v1::RunJobRequest) -> Result<v1::Rollout, Status> {
    let (environment, app) = place(context, &request.environment, &request.app).await?;
    let job = JobName::parse(&request.job).map_err(invalid)?;
    let reason = why(&request.reason, "a job runs")?;
    let release = serving(context, &environment, &app).await?;
    let jobs = &release.manifest.spec.jobs;
    let Some(declared) = jobs.get(&job) else {
        let names: Vec<&str> = jobs.keys().map(JobName::as_str).collect();
        let has = if names.is_empty() { "it declares none".to_owned() } else { format!("it declares {}", names.join(", ")) };
        return Err(unknown(format!("{} declares no job {job}: {has}", release.id()), "a job stands under [jobs.NAME] in roadstead.toml"));
    };
    let host = Some(request.host).filter(|host| !host.is_empty());
    let tending = Tending::Job { job, within: declared.timeout };
    ask(context, Verb::Tend(TendRequest { environment, app, host, tending, reason, by: admin.actor() })).await
}

/// The release that an environment runs.
async fn serving(context: &Context, environment: &EnvironmentName, app: &AppName) -> Result<ReleaseRecord, Status> {
    let known = context.store.environment(environment, app).await.map_err(stored)?;
    let nothing = || not_now(format!("{environment} runs no release of {app}"), "deploy one first");
    let runs = known.and_then(|known| known.current).ok_or_else(nothing)?;
    context.store.release(&runs.release.manifest).await.map_err(stored)?.ok_or_else(nothing)
}
