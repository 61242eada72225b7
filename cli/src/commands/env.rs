//! `roadstead env`: environments as they are, and one beside another.

mod beside;

use clap::Subcommand;
use roadstead_model::{After, CanaryStep, DomainOrder, EnvironmentSpec, FailureDomain, Gates, Millis, OnFailure, Promotion, Strategy};
use roadstead_proto::v1::{Environment, ListEnvironmentsRequest};

use crate::failure::{Failure, Result};
use crate::output::{Output, count, table};
use crate::remote::{Controller, moment, traffic};

/// Looks at environments; `roadstead apply` declares them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead env list\n  roadstead env show staging\n  roadstead env diff staging production")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
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
    /// Shows what differs between two environments: policy, variables, what they run, and their hosts.
    #[command(after_help = "Examples:\n  roadstead env diff staging production\n  roadstead env diff staging production --output json")]
    Diff {
        /// One of them.
        left: String,
        /// The other.
        right: String,
        /// The app, where both environments have several.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    match &arguments.action {
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
        Action::Diff { left, right, app } => beside::run(left, right, app, output),
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

fn environments(name: &str) -> Result<Vec<Environment>> {
    let request = ListEnvironmentsRequest { name: name.to_owned() };
    Controller::of_user()?.call(async |mut client| Ok(client.list_environments(request).await?.into_inner().environments))
}

fn rollout(environment: &Environment) -> String {
    if environment.active_rollout == 0 { String::new() } else { format!("r-{}", environment.active_rollout) }
}

fn locked(environment: &Environment) -> String {
    let Environment { locked_by, lock_reason, locked_until_ms, .. } = environment;
    if locked_by.is_empty() { String::new() } else { format!("by {locked_by} until {}: {lock_reason}", moment(*locked_until_ms)) }
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
        ["locked".to_owned(), locked(environment)],
    ];
    if let Ok(spec) = serde_json::from_slice::<EnvironmentSpec>(&environment.spec) {
        let strategy = &spec.strategy;
        rows.push(["selector".to_owned(), spec.hosts.to_string()]);
        rows.push([
            "strategy".to_owned(),
            format!("batches of {}, at most {} out, {} may fail", strategy.batch, strategy.max_unavailable, strategy.failure_budget),
        ]);
        rows.extend(strategy_rows(strategy));
        rows.extend(gate_rows(&spec.gates));
        rows.extend(traffic::rows(spec.traffic.as_ref(), &environment.balancers));
        rows.push(["bake".to_owned(), spec.bake.to_string()]);
        rows.push(["keeps".to_owned(), format!("{} beside current and previous", count(spec.keep as usize, "release"))]);
        let timeouts = spec.timeouts;
        rows.push([
            "timeouts".to_owned(),
            format!(
                "prepare {}, migrate {}, activate {}, confirm {}, away {}, decide {}",
                timeouts.prepare, timeouts.migrate, timeouts.activate, timeouts.confirm, timeouts.away, timeouts.decide
            ),
        ]);
        let names: Vec<String> = spec.variables.keys().map(ToString::to_string).collect();
        rows.push(["variables".to_owned(), names.join(", ")]);
    }
    table(["", ""], rows.into_iter().filter(|row| !row[1].is_empty()))
}

/// What a rollout waits for before it begins.
fn gate_rows(gates: &Gates) -> Vec<[String; 2]> {
    let mut texts: Vec<String> = gates.approvals.iter().map(|rule| format!("approved by {} of {}", rule.count, rule.role)).collect();
    if let Some(After { environment, healthy_for }) = &gates.after {
        texts.push(format!("well in {environment} for {healthy_for}"));
    }
    let zone = gates.time_zone.as_deref().unwrap_or_default();
    texts.extend(gates.windows.iter().map(|window| format!("{window} {zone}")));
    let because = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {reason}") };
    texts.extend(gates.freezes.iter().map(|freeze| format!("not from {} until {}{}", freeze.from, freeze.until, because(&freeze.reason))));
    texts.into_iter().map(|text| ["gate".to_owned(), text]).collect()
}

/// What a strategy has beyond its batches.
fn strategy_rows(strategy: &Strategy) -> Vec<[String; 2]> {
    let step = |step: &CanaryStep| {
        let traffic = step.traffic.map(|part| format!(" with {part} of the traffic")).unwrap_or_default();
        let promoted = if step.promote == Promotion::Manual { ", then promoted by an operator" } else { "" };
        ["step".to_owned(), format!("{} of the hosts{traffic}, baking {}{promoted}", step.hosts, step.bake)]
    };
    let mut rows: Vec<[String; 2]> = strategy.steps.iter().map(step).collect();
    if strategy.batch_bake > Millis(0) {
        rows.push(["batch bake".to_owned(), strategy.batch_bake.to_string()]);
    }
    if let Some(FailureDomain { label, order }) = &strategy.domain {
        let order = if *order == DomainOrder::Striped { "batches of all of them" } else { "one after the other" };
        rows.push(["domains".to_owned(), format!("by {}, {order}", label.as_str())]);
    }
    if strategy.on_failure == OnFailure::Ask {
        rows.push(["on failure".to_owned(), "an operator is asked".to_owned()]);
    }
    rows
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
        "locked_by": (!environment.locked_by.is_empty()).then_some(&environment.locked_by),
        "locked_until_ms": environment.locked_until_ms,
        "balancers": environment.balancers.iter().map(traffic::json).collect::<Vec<_>>(),
        "spec": spec,
    })
}

#[cfg(test)]
mod tests;
