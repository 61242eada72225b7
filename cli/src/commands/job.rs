//! `roadstead job`: commands of the release that an environment runs, such as the long part of a migration of data.

use clap::Subcommand;
use roadstead_model::Millis;
use roadstead_proto::v1::{DeclaredJob, ListJobsRequest, RunJobRequest};

use crate::args::Wait;
use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::Controller;
use crate::remote::watch::{self, Wanted};

/// Runs the jobs that a release declares, one at a time, while it serves.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead job list production\n  roadstead job run production backfill-totals --reason 'the totals of 2025'"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the jobs of the release that an environment runs.
    #[command(after_help = "Example:\n  roadstead job list production")]
    List {
        /// The environment.
        environment: String,
        /// The app, where the environment has several.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
    },
    /// Has one of them run on one host, as the app's user and with all that the release is told.
    ///
    /// It goes on when its agent is restarted, and begins again when its host was. Whatever else is asked for comes first: a deployment, a rollback
    /// or a restore ends it, and it goes on where it stopped when it is asked for again.
    #[command(after_help = "Examples:\n  roadstead job run production backfill-totals --reason 'the totals of 2025'\n  \
        roadstead job run production backfill-totals --on web-2 --no-wait --reason 'over night'")]
    Run {
        /// The environment.
        environment: String,
        /// The job.
        job: String,
        /// The app, where the environment has several.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
        /// The host that runs it; the first that serves what the environment runs when nothing is said.
        #[arg(long = "on", value_name = "HOST", default_value = "", hide_default_value = true)]
        host: String,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        wait: Wait,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::List { environment, app } => {
            let request = ListJobsRequest { environment: environment.clone(), app: app.clone() };
            let listed = controller.call(async |mut client| Ok(client.list_jobs(request).await?.into_inner()))?;
            let json: Vec<_> = listed.jobs.iter().map(json).collect();
            output.result(&json, || match listed.jobs.as_slice() {
                [] => format!("{} declares no jobs", listed.release),
                jobs => table(["JOB", "TIMEOUT", "COMMAND"], jobs.iter().map(row)),
            });
            Ok(())
        }
        Action::Run { environment, job, app, host, reason, wait } => {
            let request = RunJobRequest {
                environment: environment.clone(),
                app: app.clone(),
                job: job.clone(),
                host: host.clone(),
                reason: reason.clone(),
            };
            let begun = controller.call(async |mut client| Ok(client.run_job(request).await?.into_inner()))?;
            watch::begun(&controller, begun, *wait, Wanted::Done, output)
        }
    }
}

fn row(job: &DeclaredJob) -> [String; 3] {
    [job.name.clone(), Millis(job.timeout_ms).to_string(), job.command.join(" ")]
}

fn json(job: &DeclaredJob) -> serde_json::Value {
    serde_json::json!({ "name": job.name, "command": job.command, "timeout_ms": job.timeout_ms })
}
