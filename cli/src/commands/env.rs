//! `roadstead env`: environments as they are declared and as they are.

use clap::Subcommand;
use roadstead_model::EnvironmentSpec;
use roadstead_proto::v1::{ApplyEnvironmentRequest, ApplyEnvironmentResponse, Environment, ListEnvironmentsRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::failure::{self, Failure, Result};
use crate::output::{Output, count, table};
use crate::remote::{Controller, environment_file, moment};

/// Declares environments, or looks at them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead env apply -f env/staging.toml\n  roadstead env list\n  roadstead env show staging")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes an environment what its file says. Applying the same file again changes nothing.
    ///
    /// Prints what is different now. All files are read before the first is applied: a mistake in one of them changes nothing.
    #[command(after_help = "Examples:\n  roadstead env apply -f env/staging.toml\n  roadstead env apply -f env/")]
    Apply {
        /// An environment's file, or a folder of such files (*.toml); may be given several times.
        #[arg(short, long = "file", required = true, value_name = "FILE|FOLDER")]
        files: Vec<PathBuf>,
    },
    /// Lists the environments.
    #[command(after_help = "Example:\n  roadstead env list --output json")]
    List,
    /// Shows one environment: its policy and what it runs.
    #[command(after_help = "Example:\n  roadstead env show staging")]
    Show {
        /// Its name.
        name: String,
        /// The app, where an environment of this name exists for several.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
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
        Action::Show { name, app } => {
            let found = one(environments(name)?, name, app)?;
            output.result(&json(&found), || text(&found));
            Ok(())
        }
    }
}

/// The environment that is meant.
fn one(mut found: Vec<Environment>, name: &str, app: &str) -> Result<Environment> {
    found.retain(|environment| app.is_empty() || environment.app == app);
    let apps: Vec<String> = found.iter().map(|environment| environment.app.clone()).collect();
    match (found.pop(), apps.as_slice()) {
        (Some(only), [_]) => Ok(only),
        (None, _) => Err(Failure::failed(format!("there is no environment {name:?}")).hint("`roadstead env list` shows them all")),
        (Some(_), several) => {
            let hint = format!("name one with --app: {}", several.join(", "));
            Err(Failure::usage(format!("{name} is an environment of several apps")).hint(hint))
        }
    }
}

fn apply(paths: &[PathBuf], output: &Output) -> Result<()> {
    // All files are read before the first is sent: a mistake in the last must not leave half of them applied.
    let specs = read_all(paths)?;
    let controller = Controller::of_user()?;
    let mut all = Vec::new();
    for spec in &specs {
        let bytes = serde_json::to_vec(spec).map_err(|error| Failure::failed("cannot encode the environment").because(&error))?;
        let request = ApplyEnvironmentRequest { spec: bytes };
        let applied = controller.call(async |mut client| Ok(client.apply_environment(request).await?.into_inner()))?;
        if !output.is_json() {
            output.stdout(&told(spec, &applied));
        }
        all.push(serde_json::json!({ "environment": spec.name, "app": spec.app, "result": applied.result, "changes": applied.changes }));
    }
    if output.is_json() {
        output.result(&all, String::new);
    }
    Ok(())
}

/// Reads files, and the files of folders; every mistake is told at once.
fn read_all(paths: &[PathBuf]) -> Result<Vec<EnvironmentSpec>> {
    let (mut specs, mut mistakes, mut seen) = (Vec::new(), Vec::new(), BTreeMap::new());
    for file in files(paths)? {
        match environment_file::read(&file) {
            Ok(spec) => {
                let place = (spec.name.clone(), spec.app.clone());
                if let Some(other) = seen.insert(place, file.clone()) {
                    mistakes.push(format!("{} and {} both say what {} of {} is", other.display(), file.display(), spec.name, spec.app));
                }
                specs.push(spec);
            }
            Err(error) => mistakes.push(error.to_string()),
        }
    }
    if mistakes.is_empty() {
        Ok(specs)
    } else {
        Err(Failure::usage(mistakes.join("\n")).hint("nothing was applied: see docs/configuration.md"))
    }
}

/// The files that are meant, those of a folder by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |error| failure::file("list", path, &error);
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(Failure::usage(format!("{} holds no *.toml", path.display())));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn told(spec: &EnvironmentSpec, applied: &ApplyEnvironmentResponse) -> String {
    let head = format!("{} of {}: {}", spec.name, spec.app, applied.result);
    std::iter::once(head).chain(applied.changes.iter().map(|change| format!("  {change}"))).collect::<Vec<_>>().join("\n")
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
        rows.push(["keeps".to_owned(), format!("{} beside current and previous", count(spec.keep as usize, "release"))]);
        let timeouts = spec.timeouts;
        rows.push([
            "timeouts".to_owned(),
            format!(
                "prepare {}, migrate {}, activate {}, confirm {}, away {}",
                timeouts.prepare, timeouts.migrate, timeouts.activate, timeouts.confirm, timeouts.away
            ),
        ]);
        let names: Vec<String> = spec.variables.keys().map(ToString::to_string).collect();
        rows.push(["variables".to_owned(), names.join(", ")]);
    }
    table(["", ""], rows.into_iter().filter(|row| !row[1].is_empty()))
}

/// For programs.
pub(crate) fn json(environment: &Environment) -> serde_json::Value {
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

#[cfg(test)]
mod tests;
