//! `roadstead status`: what runs where, at a glance.

use roadstead_model::{Drift, EnvironmentSpec};
use roadstead_proto::v1::{Environment, Home, Host, ListEnvironmentsRequest, ListHostsRequest};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::output::{Output, count, table};
use crate::remote::{Controller, drift, moment, traffic};

/// Shows what runs where.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead status\n  roadstead status production --output json")]
pub(crate) struct Arguments {
    /// Only this environment.
    #[arg(default_value = "", hide_default_value = true)]
    environment: String,
}

/// Where one app stands on one host.
#[derive(Debug, Serialize)]
struct Row {
    environment: String,
    app: String,
    host: String,
    runs: String,
    level: bool,
    active_rollout: Option<String>,
    active_phase: String,
    current: String,
    /// It is of the set of a blue-green environment that has no traffic.
    idle: bool,
    state: &'static str,
    /// Where it differs from what was deployed; absent while nobody has looked.
    drift: Option<Drift>,
    /// What balancers give it; empty where there are none.
    traffic: String,
    /// Where what runs only once runs in its environment.
    runs_once: Vec<RunsOnce>,
}

/// A service that runs only once.
#[derive(Debug, Clone, Serialize)]
struct RunsOnce {
    service: String,
    /// Its host; empty: none was chosen yet.
    host: String,
    /// Why it does not run there now, or perhaps not; empty: nothing is known that keeps it from it.
    problem: String,
}

/// Prints one row per host and app.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let (environments, hosts) = controller.call(async |mut client| {
        let name = arguments.environment.clone();
        let environments = client.list_environments(ListEnvironmentsRequest { name: name.clone() }).await?.into_inner().environments;
        let hosts = client.list_hosts(ListHostsRequest { environment: name }).await?.into_inner().hosts;
        Ok((environments, hosts))
    })?;
    if environments.is_empty() && !arguments.environment.is_empty() {
        let failure = Failure::failed(format!("there is no environment {:?}", arguments.environment));
        return Err(failure.hint("`roadstead env list` shows them all"));
    }
    let rows: Vec<Row> = environments.iter().flat_map(|environment| rows(environment, &hosts)).collect();
    output.result(&rows, || {
        if rows.is_empty() {
            return "nothing yet: `roadstead apply` makes an environment, `roadstead host token` lets hosts in".to_owned();
        }
        let mut text = if environments.iter().all(|environment| environment.balancers.is_empty()) {
            table(["ENVIRONMENT", "APP", "HOST", "RUNS", "LEVEL", "STATE"], rows.iter().map(cells))
        } else {
            table(["ENVIRONMENT", "APP", "HOST", "RUNS", "LEVEL", "STATE", "TRAFFIC"], rows.iter().map(cells_with_traffic))
        };
        for row in &rows {
            if let Some(drift) = row.drift.as_ref().filter(|drift| !drift.is_level()) {
                text.push_str(&format!("\n{} was changed since {} was deployed: {}", row.host, row.app, drift.summary()));
            }
        }
        for balancer in environments.iter().flat_map(|environment| &environment.balancers) {
            if !balancer.connected || balancer.problem.is_some() {
                text.push_str(&format!("\nbalancer {}", traffic::told(balancer)));
            }
        }
        for environment in &environments {
            for home in environment.homes.iter().filter(|home| !home.problem.is_empty()) {
                text.push_str(&format!(
                    "\n{} of {} in {} runs only once: {}",
                    home.service, environment.app, environment.name, home.problem
                ));
            }
        }
        for environment in environments.iter().filter(|environment| !environment.locked_by.is_empty()) {
            let Environment { name, locked_by, lock_reason, locked_until_ms, .. } = environment;
            text.push_str(&format!("\n{name} is locked by {locked_by} until {}: {lock_reason}", moment(*locked_until_ms)));
        }
        text
    });
    Ok(())
}

fn rows(environment: &Environment, hosts: &[Host]) -> Vec<Row> {
    let spec: Option<EnvironmentSpec> = serde_json::from_slice(&environment.spec).ok();
    let switches = spec.is_some_and(|spec| spec.strategy.sets.is_some());
    let row = |name: &String| {
        let host = hosts.iter().find(|host| host.name == *name && host.environment == environment.name && !host.revoked)?;
        let runs = runs(host, &environment.app);
        let traffic = traffic::of_host(&environment.balancers, &host.name);
        Some(Row {
            environment: environment.name.clone(),
            app: environment.app.clone(),
            host: host.name.clone(),
            level: runs == environment.current,
            runs,
            active_rollout: (environment.active_rollout != 0).then(|| format!("r-{}", environment.active_rollout)),
            active_phase: environment.active_phase.clone(),
            current: environment.current.clone(),
            idle: switches && traffic == "drained",
            state: if host.connected { "connected" } else { "away" },
            traffic,
            runs_once: environment.homes.iter().map(runs_once).collect(),
            drift: drift::of_host(host, &environment.app),
        })
    };
    environment.hosts.iter().filter_map(row).collect()
}

fn runs_once(home: &Home) -> RunsOnce {
    RunsOnce { service: home.service.clone(), host: home.host.clone(), problem: home.problem.clone() }
}

/// The release of an app that a host says it serves.
pub(crate) fn runs(host: &Host, app: &str) -> String {
    let apps = host.facts.as_ref().map(|facts| facts.apps.as_slice()).unwrap_or_default();
    apps.iter().find(|state| state.app == app).map(|state| state.current.clone()).unwrap_or_default()
}

fn cells_with_traffic(row: &Row) -> [String; 7] {
    let [environment, app, host, runs, level, state] = cells(row);
    [environment, app, host, runs, level, state, row.traffic.clone()]
}

fn cells(row: &Row) -> [String; 6] {
    let level = match (&row.active_rollout, row.level) {
        (Some(rollout), _) => format!("{rollout}: {}", row.active_phase),
        (None, _) if row.idle => "the other set, without traffic".to_owned(),
        (None, true) if row.current.is_empty() => "nothing deployed".to_owned(),
        (None, true) => match row.drift.as_ref().map_or(0, Drift::wrong) {
            0 => "level".to_owned(),
            wrong => format!("level, but {}", count(wrong, "difference")),
        },
        (None, false) if row.current.is_empty() => "nothing deployed since the database was restored".to_owned(),
        (None, false) => format!("not level: {} is current", row.current),
    };
    [row.environment.clone(), row.app.clone(), row.host.clone(), row.runs.clone(), level, row.state.to_owned()]
}
