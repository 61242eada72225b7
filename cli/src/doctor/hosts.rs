//! Hosts: heard or not, level or not, with room on their disks, and believing those who sign.

use roadstead_model::{Finding, Millis};
use roadstead_proto::v1::{Environment, Host, HostFacts};

use super::fleet::{Fleet, Signed, are, is_moving, names};
use crate::commands::status::runs;
use crate::output::size;
use crate::remote::{drift, moment, rollout_view::span};

/// A host that was not heard for so long will hardly come back by itself.
const STALE: Millis = Millis::from_secs(7 * 24 * 3600);
/// A certificate of a host renews itself long before so little of it is left.
const CERTIFICATE_SHORT: Millis = Millis::from_secs(3 * 3600);
const DISK_WARNING: u64 = 2 << 30;
const DISK_FAILED: u64 = 512 << 20;
const INODES_WARNING: u64 = 50_000;

/// All hosts: one finding for each thing, with the names of those of which it is true.
pub(super) fn all(fleet: &Fleet, now: u64) -> Vec<Finding> {
    let hosts: Vec<&Host> = fleet.hosts.iter().filter(|host| !host.revoked).collect();
    let mut findings: Vec<Finding> = fleet.hosts.iter().filter(|host| host.locked).map(locked).collect();
    if hosts.is_empty() {
        let hint = "install the agent, then let it in: `roadstead host token --env NAME` (docs/install.md)";
        findings.push(Finding::warning("hosts", "there is no host yet", hint));
        return findings;
    }
    findings.extend(heard(&hosts, now));
    findings.extend(disks(&hosts));
    findings.extend(levels(fleet, &hosts));
    findings.extend(drifted(&hosts));
    findings.extend(believed(fleet, &hosts));
    findings.extend(versions(fleet, &hosts));
    findings.extend(outranked(&hosts));
    findings
}

/// One host, more closely.
pub(super) fn one(fleet: &Fleet, host: &Host, now: u64) -> Vec<Finding> {
    if host.locked {
        return vec![locked(host)];
    }
    if host.revoked {
        let hint = "to have it back: `roadstead host token`, then `roadstead-agent enroll --again` on the host";
        return vec![Finding::failed("host", format!("{} ({}) was cut off", host.name, host.id), hint)];
    }
    let facts = host.facts.clone().unwrap_or_default();
    let says = format!("{} ({}) of {}: {}, {}", host.name, host.id, host.environment, facts.operating_system, facts.architecture);
    let mut findings = vec![Finding::ok("host", says)];
    let hosts = [host];
    findings.extend(heard(&hosts, now));
    let pythons: Vec<&str> = facts.pythons.iter().map(|python| python.version.as_str()).collect();
    findings.push(if pythons.is_empty() {
        Finding::failed("python", "it has no Python", "install the one that your apps name: `apt install python3`")
    } else {
        Finding::ok("python", pythons.join(", "))
    });
    let none = disks(&hosts).is_empty();
    findings.extend(disks(&hosts));
    if none {
        findings.push(Finding::ok("disk", format!("{} free", size(facts.disk_free_bytes))));
    }
    for app in &facts.apps {
        let bad = if app.bad.is_empty() { String::new() } else { format!(", known to be bad: {}", app.bad.join(", ")) };
        let current = if app.current.is_empty() { "nothing" } else { &app.current };
        findings.push(Finding::ok("app", format!("{} serves {current}; {} on disk{bad}", app.app, app.releases.len())));
    }
    findings.extend(levels(fleet, &hosts));
    findings.extend(believed(fleet, &hosts));
    findings.extend(versions(fleet, &hosts));
    findings.extend(outranked(&hosts));
    findings
}

/// A host of which there were two.
fn locked(host: &Host) -> Finding {
    let labels: String = host.labels.iter().map(|label| format!(" --label {label}")).collect();
    let says = format!("two machines came with the identity of {} ({}): it is locked, and what they serve goes on", host.name, host.id);
    let hint = format!(
        "let each that is to stay in as a host of its own: `roadstead host token --env {}{labels}`, then there `roadstead-agent enroll \
         --again` and `systemctl restart roadstead-agent`; at last `roadstead host revoke {} --reason copied` (docs/recovery.md)",
        host.environment, host.id
    );
    Finding::failed("hosts", says, hint)
}

fn heard(hosts: &[&Host], now: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let silent = |host: &Host| Millis(now.saturating_sub(host.last_seen_ms));
    let away: Vec<&Host> = hosts.iter().copied().filter(|host| !host.connected).collect();
    if hosts.len() > away.len() {
        let connected = are(hosts.len() - away.len());
        findings.push(Finding::ok("hosts", format!("{connected} connected")));
    }
    for host in &away {
        let since = format!("{} was last heard {} ({} ago)", host.name, moment(host.last_seen_ms), span(silent(host).0));
        let ended = host.certificate_not_after_ms != 0 && host.certificate_not_after_ms < now;
        findings.push(if ended {
            let hint = "its certificate ended meanwhile: `roadstead host token`, then `roadstead-agent enroll --again` on the host; \
                        or `roadstead host revoke` when it is gone for good";
            Finding::failed("hosts", since, hint)
        } else if silent(host) > STALE {
            Finding::warning("hosts", since, format!("when it is gone for good: `roadstead host revoke {} --reason gone`", host.name))
        } else {
            Finding::warning("hosts", since, "is it up? On the host: `systemctl status roadstead-agent`, `roadstead-agent doctor`")
        });
    }
    let short = |host: &&Host| host.connected && Millis(host.certificate_not_after_ms.saturating_sub(now)) < CERTIFICATE_SHORT;
    for host in hosts.iter().copied().filter(short) {
        let hint = "it should have renewed itself by now: see `journalctl -u roadstead-agent` on the host";
        findings.push(Finding::warning(
            "certificates",
            format!("that of {} ends {}", host.name, moment(host.certificate_not_after_ms)),
            hint,
        ));
    }
    findings
}

fn disks(hosts: &[&Host]) -> Vec<Finding> {
    let hint = "make room below /srv/roadstead and /var/lib/roadstead-agent, or lower keep in the environment";
    let found = hosts.iter().filter_map(|host| {
        let facts: &HostFacts = host.facts.as_ref()?;
        let (bytes, inodes) = (facts.disk_free_bytes, facts.disk_free_inodes);
        let says = format!("{} has {} and {inodes} inodes left", host.name, size(bytes));
        if bytes < DISK_FAILED {
            Some(Finding::failed("disk", says, hint))
        } else if bytes < DISK_WARNING || inodes < INODES_WARNING {
            Some(Finding::warning("disk", says, hint))
        } else {
            None
        }
    });
    found.collect()
}

/// Hosts of an environment, and whether each serves what the environment says is current.
fn levels(fleet: &Fleet, hosts: &[&Host]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for environment in fleet.environments.iter().filter(|environment| !environment.current.is_empty()) {
        let of_environment = members(environment, hosts);
        let behind: Vec<&Host> =
            of_environment.iter().copied().filter(|host| runs(host, &environment.app) != environment.current).collect();
        let resting: Vec<&Host> = behind.iter().copied().filter(|host| !is_moving(fleet, host)).collect();
        if !resting.is_empty() {
            let says = format!("{} not on {} {}: {}", are(resting.len()), environment.app, environment.current, names(&resting));
            let hint = format!(
                "a host that is away comes level when it returns; others: `roadstead deploy {} {}`",
                environment.name, environment.current
            );
            findings.push(Finding::warning("level", says, hint));
        } else if behind.is_empty() && !of_environment.is_empty() {
            findings.push(Finding::ok(
                "level",
                format!("{} on {} {} in {}", are(of_environment.len()), environment.app, environment.current, environment.name),
            ));
        }
    }
    findings
}

/// Hosts that somebody changed since they were deployed to.
fn drifted(hosts: &[&Host]) -> Option<Finding> {
    let differs = |host: &&&Host| {
        let apps = host.facts.as_ref().map(|facts| facts.apps.as_slice()).unwrap_or_default();
        apps.iter().any(|app| drift::of_app(app).is_some_and(|drift| !drift.is_level()))
    };
    let found: Vec<&Host> = hosts.iter().filter(differs).copied().collect();
    let first = found.first()?;
    let says = format!("{} no longer as deployed: {}", are(found.len()), names(&found));
    let hint =
        format!("see what differs: `roadstead host show {}`; put it right: `roadstead host repair {} --reason …`", first.name, first.name);
    Some(Finding::warning("drift", says, hint))
}

fn members<'a>(environment: &Environment, hosts: &[&'a Host]) -> Vec<&'a Host> {
    hosts.iter().copied().filter(|host| host.environment == environment.name && environment.hosts.contains(&host.name)).collect()
}

/// Whether hosts believe those who signed what they serve, and what may come next.
fn believed(fleet: &Fleet, hosts: &[&Host]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = hosts.iter().filter_map(|host| believes_nobody(host)).collect();
    let mut checked = 0;
    for environment in &fleet.environments {
        for signed in fleet.signed.iter().filter(|signed| signed.app == environment.app) {
            let members = members(environment, hosts);
            let strangers: Vec<&Host> = members.iter().copied().filter(|host| !believes(host, signed)).collect();
            checked += members.len();
            if !strangers.is_empty() {
                findings.push(Finding::failed(
                    "release keys",
                    format!("{} not to be convinced by the signatures of {} {}: {}", are(strangers.len()), signed.app, signed.release, names(&strangers)),
                    "compare /etc/roadstead/release-keys.toml on the hosts with `roadstead key show`, or sign the release with the other key, too",
                ));
            }
        }
    }
    if findings.is_empty() && checked > 0 {
        findings.push(Finding::ok("release keys", "hosts believe those who signed the current and the newest release"));
    }
    findings
}

fn believes_nobody(host: &Host) -> Option<Finding> {
    let keys = host.facts.as_ref()?.release_keys.as_ref()?;
    let hint = "write the public keys on the host, as root: `roadstead key show` prints them";
    (!keys.problem.is_empty()).then(|| Finding::failed("release keys", format!("{}: {}", host.name, keys.problem), hint))
}

/// A host that does not say whom it believes, or believes nobody (which is told elsewhere), counts as convinced.
fn believes(host: &Host, signed: &Signed) -> bool {
    let Some(keys) = host.facts.as_ref().and_then(|facts| facts.release_keys.as_ref()).filter(|keys| keys.problem.is_empty()) else {
        return true;
    };
    let found = keys.ids.iter().filter(|id| signed.keys.contains(id)).count();
    found >= usize::try_from(keys.threshold).unwrap_or(usize::MAX)
}

fn versions(fleet: &Fleet, hosts: &[&Host]) -> Vec<Finding> {
    let version = |host: &Host| host.facts.as_ref().map(|facts| facts.agent_version.clone()).unwrap_or_default();
    let other: Vec<&Host> = hosts.iter().copied().filter(|host| version(host) != fleet.controller_version).collect();
    if other.is_empty() {
        return vec![Finding::ok("agents", format!("version {}, as the controller", fleet.controller_version))];
    }
    let hint = "upgrade the package on these hosts: apps go on running";
    vec![Finding::warning("agents", format!("{} of another version than the controller: {}", are(other.len()), names(&other)), hint)]
}

/// Hosts that have heard of more than the controller knows, which is what the controller says of them.
fn outranked(hosts: &[&Host]) -> Option<Finding> {
    let later: Vec<&Host> = hosts.iter().copied().filter(|host| host.ahead).collect();
    let says = || {
        format!(
            "{} ahead of this controller, whose database is older than the fleet; nothing moves them: {}",
            are(later.len()),
            names(&later)
        )
    };
    let hint = "after restoring a backup, stop the controller, run `roadstead-controller restored` there, and start it; a host that does not \
                belong to this fleet: `roadstead host revoke`";
    (!later.is_empty()).then(|| Finding::failed("history", says(), hint))
}
