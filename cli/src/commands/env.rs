//! `roadstead env`: environments as they are declared and as they are.

use clap::Subcommand;
use roadstead_model::EnvironmentSpec;
use roadstead_proto::v1::{ApplyEnvironmentRequest, Environment, ListEnvironmentsRequest};
use std::path::PathBuf;

use crate::failure::{Failure, Result};
use crate::output::{Output, table};
use crate::remote::{Controller, environment_file, moment};

/// Declares environments, or looks at them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes an environment what its file says. Applying the same file again changes nothing.
    #[command(after_help = "Example:\n  roadstead env apply -f env/staging.toml")]
    Apply {
        /// The environment's file; may be given several times.
        #[arg(short, long = "file", required = true)]
        files: Vec<PathBuf>,
    },
    /// Lists the environments.
    List,
    /// Shows one environment.
    Show {
        /// Its name.
        name: String,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    match &arguments.action {
        Action::Apply { files } => apply(files, output),
        Action::List => {
            let found = environments("")?;
            let json: Vec<_> = found.iter().map(json).collect();
            output.result(&json, || table(["ENVIRONMENT", "APP", "CURRENT", "PREVIOUS", "HOSTS", "ROLLOUT"], found.iter().map(row)));
            Ok(())
        }
        Action::Show { name } => {
            let found = environments(name)?;
            let Some(first) = found.first() else {
                return Err(Failure::failed(format!("there is no environment {name:?}")).hint("`roadstead env list` shows them all"));
            };
            output.result(&json(first), || text(first));
            Ok(())
        }
    }
}

fn apply(files: &[PathBuf], output: &Output) -> Result<()> {
    // All files are read before the first is sent: a mistake in the last must not leave half of them applied.
    let read = |path: &PathBuf| environment_file::read(path).map_err(|error| Failure::usage(error.to_string()));
    let specs: Vec<EnvironmentSpec> = files.iter().map(read).collect::<Result<_>>()?;
    let controller = Controller::of_user()?;
    for spec in &specs {
        let bytes = serde_json::to_vec(spec).map_err(|error| Failure::failed("cannot encode the environment").because(&error))?;
        let request = ApplyEnvironmentRequest { spec: bytes };
        let applied = controller.call(async |mut client| Ok(client.apply_environment(request).await?.into_inner()))?;
        let json = serde_json::json!({ "environment": spec.name, "app": spec.app, "result": applied.result, "changes": applied.changes });
        output.result(&json, || {
            let head = format!("{} {} ({})", applied.result, spec.name, spec.app);
            std::iter::once(head).chain(applied.changes.iter().map(|change| format!("  {change}"))).collect::<Vec<_>>().join("\n")
        });
    }
    Ok(())
}

fn environments(name: &str) -> Result<Vec<Environment>> {
    let request = ListEnvironmentsRequest { name: name.to_owned() };
    Controller::of_user()?.call(async |mut client| Ok(client.list_environments(request).await?.into_inner().environments))
}

fn rollout(environment: &Environment) -> String {
    if environment.active_rollout == 0 { String::new() } else { format!("r-{}", environment.active_rollout) }
}

fn row(environment: &Environment) -> [String; 6] {
    [
        environment.name.clone(),
        environment.app.clone(),
        environment.current.clone(),
        environment.previous.clone(),
        environment.hosts.len().to_string(),
        rollout(environment),
    ]
}

fn text(environment: &Environment) -> String {
    let mut rows = vec![
        ["environment".to_owned(), environment.name.clone()],
        ["app".to_owned(), environment.app.clone()],
        ["current".to_owned(), environment.current.clone()],
        ["previous".to_owned(), environment.previous.clone()],
        ["hosts".to_owned(), environment.hosts.join(", ")],
        ["rollout".to_owned(), rollout(environment)],
        ["applied".to_owned(), format!("{} by {}", moment(environment.applied_at_ms), environment.applied_by)],
    ];
    if let Ok(spec) = serde_json::from_slice::<EnvironmentSpec>(&environment.spec) {
        let strategy = spec.strategy;
        rows.push(["selector".to_owned(), spec.hosts.to_string()]);
        rows.push([
            "strategy".to_owned(),
            format!("batches of {}, at most {} out, {} may fail", strategy.batch, strategy.max_unavailable, strategy.failure_budget),
        ]);
        rows.push(["bake".to_owned(), spec.bake.to_string()]);
    }
    table(["", ""], rows.into_iter().filter(|row| !row[1].is_empty()))
}

fn json(environment: &Environment) -> serde_json::Value {
    let spec: serde_json::Value = serde_json::from_slice(&environment.spec).unwrap_or_default();
    serde_json::json!({
        "environment": environment.name,
        "app": environment.app,
        "current": environment.current,
        "previous": environment.previous,
        "hosts": environment.hosts,
        "active_rollout": rollout(environment),
        "applied_at_ms": environment.applied_at_ms,
        "applied_by": environment.applied_by,
        "spec": spec,
    })
}
