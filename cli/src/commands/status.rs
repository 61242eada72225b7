//! `roadstead status`: what runs where, at a glance.

use roadstead_proto::v1::{Environment, Host, ListEnvironmentsRequest, ListHostsRequest};

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::Controller;

/// Shows what runs where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this environment.
    #[arg(default_value = "")]
    environment: String,
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
    let rows: Vec<_> = environments.iter().flat_map(|environment| rows(environment, &hosts)).collect();
    output.result(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>(), || {
        table(["ENVIRONMENT", "APP", "HOST", "RUNS", "LEVEL", "STATE"], rows.clone())
    });
    Ok(())
}

fn rows(environment: &Environment, hosts: &[Host]) -> Vec<[String; 6]> {
    let row = |name: &String| {
        let host = hosts.iter().find(|host| host.name == *name && !host.revoked)?;
        let apps = host.facts.as_ref().map(|facts| facts.apps.as_slice()).unwrap_or_default();
        let current = apps.iter().find(|app| app.app == environment.app).map(|app| app.current.clone()).unwrap_or_default();
        let level = if environment.active_rollout != 0 {
            format!("moving (r-{})", environment.active_rollout)
        } else if current == environment.current {
            "level".to_owned()
        } else {
            format!("not level: {} is current", environment.current)
        };
        let state = if host.connected { "connected" } else { "away" };
        Some([environment.name.clone(), environment.app.clone(), host.name.clone(), current, level, state.to_owned()])
    };
    environment.hosts.iter().filter_map(row).collect()
}
