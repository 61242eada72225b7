//! Environments and rollouts as the controller tells them, and the hosts below them.

use roadstead_model::{Finding, Millis};
use roadstead_proto::v1::{
    Environment, GetReleaseRequest, Host, ListEnvironmentsRequest, ListHostsRequest, ListReleasesRequest, ListRolloutsRequest, Rollout,
};

use super::Checkup;
use super::controller::{Known, finding};
use super::hosts;
use crate::commands::host::meant;
use crate::failure::Result;
use crate::output::count;
use crate::remote::{now_ms, rollout_view::waiting};

/// Rollouts that are looked at.
const ROLLOUTS_MAX: u32 = 200;

/// All that is looked at.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) environments: Vec<Environment>,
    pub(super) hosts: Vec<Host>,
    /// Newest first.
    pub(super) rollouts: Vec<Rollout>,
    pub(super) signed: Vec<Signed>,
    pub(super) controller_version: String,
}

/// Which keys signed a release that hosts have to believe.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) app: String,
    pub(super) release: String,
    pub(super) keys: Vec<Vec<u8>>,
}

/// Looks at the fleet, or at one host of it.
pub(crate) fn look(checkup: &mut Checkup<'_>, known: &Known, host: Option<&str>) -> Result<()> {
    let fleet = match ask(known) {
        Ok(fleet) => fleet,
        Err(failure) => {
            checkup.tell(finding("fleet", &failure));
            return Ok(());
        }
    };
    let now = now_ms();
    let findings = match host {
        Some(name) => hosts::one(&fleet, meant(&fleet.hosts, name)?, now),
        None => all(&fleet, now),
    };
    findings.into_iter().for_each(|finding| checkup.tell(finding));
    Ok(())
}

fn ask(known: &Known) -> Result<Fleet> {
    known.controller.call(async |mut client| {
        let environments = client.list_environments(ListEnvironmentsRequest::default()).await?.into_inner().environments;
        let hosts = client.list_hosts(ListHostsRequest::default()).await?.into_inner().hosts;
        let newest = ListRolloutsRequest { environment: String::new(), limit: ROLLOUTS_MAX };
        let rollouts = client.list_rollouts(newest).await?.into_inner().rollouts;
        let mut signed: Vec<Signed> = Vec::new();
        for environment in &environments {
            let app = environment.app.clone();
            let newest = client.list_releases(ListReleasesRequest { app: app.clone(), limit: 1 }).await?.into_inner().releases;
            for release in newest.into_iter().map(|release| release.id).chain([environment.current.clone()]) {
                if release.is_empty() || signed.iter().any(|known| known.app == app && known.release == release) {
                    continue;
                }
                let found = client.get_release(GetReleaseRequest { app: app.clone(), release: release.clone() }).await?.into_inner();
                signed.push(Signed { app: app.clone(), release, keys: found.signatures.into_iter().map(|s| s.key_id).collect() });
            }
        }
        Ok(Fleet { environments, hosts, rollouts, signed, controller_version: known.says.controller_version.clone() })
    })
}

/// The whole fleet.
pub(super) fn all(fleet: &Fleet, now: u64) -> Vec<Finding> {
    let mut findings = environments(fleet);
    findings.extend(hosts::all(fleet, now));
    findings.extend(rollouts(fleet, now));
    findings
}

fn environments(fleet: &Fleet) -> Vec<Finding> {
    if fleet.environments.is_empty() {
        let hint = "declare one: `roadstead apply -f env/staging.toml` (docs/configuration.md)";
        return vec![Finding::warning("environments", "there is no environment yet", hint)];
    }
    let mut findings: Vec<Finding> =
        fleet.environments.iter().filter(|environment| environment.hosts.is_empty()).map(without_hosts).collect();
    let names: Vec<String> = fleet.environments.iter().map(|environment| format!("{} of {}", environment.name, environment.app)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("environments", names.join(", ")));
    }
    findings
}

fn without_hosts(environment: &Environment) -> Finding {
    let selector = serde_json::from_slice::<roadstead_model::EnvironmentSpec>(&environment.spec).map(|spec| spec.hosts.to_string());
    let selector = selector.ok().filter(|selector| !selector.is_empty());
    let label = selector.as_deref().map(|selector| format!(" --label {selector}")).unwrap_or_default();
    let which = selector.map(|selector| format!(" that matches {selector:?}")).unwrap_or_default();
    Finding::warning(
        "environments",
        format!("{} of {} has no host{which}", environment.name, environment.app),
        format!("let one in: `roadstead host token --env {}{label}`, or change hosts in its file", environment.name),
    )
}

/// Rollouts that run, and the end of the newest one of each environment.
fn rollouts(fleet: &Fleet, now: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for environment in &fleet.environments {
        let mut of_environment =
            fleet.rollouts.iter().filter(|rollout| rollout.environment == environment.name && rollout.app == environment.app);
        let Some(newest) = of_environment.next() else { continue };
        findings.push(rollout(newest, now));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("rollouts", "there was none yet"));
    }
    findings
}

fn rollout(rollout: &Rollout, now: u64) -> Finding {
    let name = format!("r-{} of {} {} to {}", rollout.id, rollout.app, rollout.release, rollout.environment);
    let stuck: Vec<&str> = rollout.hosts.iter().filter(|host| host.state == "stuck").map(|host| host.host_name.as_str()).collect();
    if !stuck.is_empty() {
        let hint =
            format!("look at what it could not undo: `roadstead rollout show r-{}`, then `roadstead-agent doctor` on the host", rollout.id);
        return Finding::failed("rollouts", format!("{name}: {} is stuck", stuck.join(", ")), hint);
    }
    let why = rollout.failure.as_ref().map(|failure| format!(": {}", failure.summary)).unwrap_or_default();
    match rollout.phase.as_str() {
        "done" => Finding::ok("rollouts", format!("{name} is done")),
        "rolled-back" | "failed" => {
            let hint = format!("`roadstead rollout explain r-{}` tells why", rollout.id);
            Finding::warning("rollouts", format!("{name}: {}{why}", rollout.phase), hint)
        }
        phase => {
            let waits = waiting(rollout, now).map(|waiting| format!(", waits for {waiting}")).unwrap_or_default();
            let text = format!("{name}: {phase} for {}{waits}{why}", Millis(now.saturating_sub(rollout.started_at_ms)));
            let hint = format!("follow it: `roadstead rollout watch r-{0}`; end it: `roadstead rollout abort r-{0}`", rollout.id);
            let late = rollout.waiting_until_ms != 0 && now > rollout.waiting_until_ms.saturating_add(60_000);
            if late || phase == "reverting" { Finding::warning("rollouts", text, hint) } else { Finding::ok("rollouts", text) }
        }
    }
}

/// Names of hosts, or how many when they are many.
pub(super) fn names(hosts: &[&Host]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = hosts.iter().take(SHOWN).map(|host| host.name.as_str()).collect();
    match hosts.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// `1 host is`, `2 hosts are`.
pub(super) fn are(number: usize) -> String {
    format!("{} {}", count(number, "host"), if number == 1 { "is" } else { "are" })
}

/// Whether a rollout has this host and still runs.
pub(super) fn is_moving(fleet: &Fleet, host: &Host) -> bool {
    fleet.rollouts.iter().any(|rollout| rollout.ended_at_ms == 0 && rollout.hosts.iter().any(|other| other.host_id == host.id))
}

#[cfg(test)]
mod tests;
