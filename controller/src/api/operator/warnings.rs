//! What there is to say of an environment that is no mistake in itself, and will hold or refuse each rollout as things are: labels that no host
//! has, approvers who are no admins, windows that do not open in time. Hosts may enroll later, people too, so nothing of this is refused.

use roadstead_driver::opens_in;
use roadstead_model::{AdminName, ApprovalRule, EnvironmentSpec, LabelKey, RoleName, Selector, Timestamp};
use std::collections::BTreeSet;

use crate::settings::Roles;
use crate::store::HostRecord;

/// Labels, or names, that a warning names.
const NAMED_MAX: usize = 12;

/// What an environment is compared with.
#[derive(Debug)]
pub(super) struct Around<'a> {
    /// Hosts that enrolled for it and are not cut off.
    pub(super) hosts: &'a [HostRecord],
    /// Admins who are not cut off.
    pub(super) admins: &'a BTreeSet<AdminName>,
    /// Who has which role.
    pub(super) roles: &'a Roles,
    /// Whether the environment that has to run a release first is known.
    pub(super) knows_first: bool,
    /// The time.
    pub(super) now: Timestamp,
}

/// All there is to say.
pub(super) fn of(spec: &EnvironmentSpec, around: &Around<'_>) -> Vec<String> {
    let taking_part: Vec<&HostRecord> = around.hosts.iter().filter(|host| spec.hosts.matches(&host.labels)).collect();
    let mut all: Vec<String> = without_hosts(spec, around.hosts).into_iter().collect();
    // Where nobody is, each label is missing.
    if !taking_part.is_empty() {
        all.extend(unmatched(spec, around.hosts, &taking_part));
        all.extend(domains(spec, &taking_part));
        all.extend(sets(spec, &taking_part));
    }
    all.extend(approvers(spec, around));
    all.extend(calendar(spec, around.now));
    if let Some(after) = spec.gates.after.as_ref().filter(|_| !around.knows_first) {
        let (first, app) = (&after.environment, &spec.app);
        all.push(format!("gates.after: there is no environment {first} of {app}: rollouts wait until there is one that runs the release"));
    }
    all
}

/// What there is to say when no host takes part.
fn without_hosts(spec: &EnvironmentSpec, enrolled: &[HostRecord]) -> Option<String> {
    let name = &spec.name;
    if enrolled.is_empty() {
        return Some(format!("no host has enrolled for {name} yet: `roadstead host token --env {name}` lets one in"));
    }
    if enrolled.iter().any(|host| spec.hosts.matches(&host.labels)) {
        return None;
    }
    let (hosts, count) = (spec.hosts.to_string(), enrolled.len());
    Some(format!("no host of {name} matches {hosts:?} ({count} enrolled): {}", labels_there(enrolled.iter())))
}

fn labels_there<'a>(hosts: impl Iterator<Item = &'a HostRecord>) -> String {
    let labels: BTreeSet<String> = hosts.flat_map(|host| host.labels.iter().map(|(key, value)| format!("{key}={value}"))).collect();
    if labels.is_empty() { "they have no labels".to_owned() } else { format!("their labels are {}", listed(labels.iter())) }
}

fn listed(names: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let more = names.len() > NAMED_MAX;
    let mut named: Vec<String> = names.take(NAMED_MAX).map(|name| name.to_string()).collect();
    named.extend(more.then(|| "…".to_owned()));
    named.join(", ")
}

/// Selectors that nobody fits.
fn unmatched(spec: &EnvironmentSpec, enrolled: &[HostRecord], taking_part: &[&HostRecord]) -> Vec<String> {
    let fits = |selector: &Selector, hosts: &[&HostRecord]| hosts.iter().any(|host| selector.matches(&host.labels));
    let everybody: Vec<&HostRecord> = enrolled.iter().collect();
    let mut all = Vec::new();
    let mut look = |place: &str, selector: &Selector, hosts: &[&HostRecord], then: &str| {
        if !fits(selector, hosts) {
            let there = labels_there(hosts.iter().copied());
            all.push(format!("{place}: no host of {} matches {:?}, {then}: {there}", spec.name, selector.to_string()));
        }
    };
    if let Some(traffic) = &spec.traffic {
        look("traffic.balancers", &traffic.balancers, &everybody, "and rollouts are refused without a balancer");
        look("traffic.hosts", &traffic.hosts, taking_part, "so nobody is behind the balancers");
    }
    for layer in &spec.overrides {
        look("overrides", &layer.hosts, taking_part, "so what it sets is told to nobody");
    }
    all
}

/// A label for failure domains that nobody has.
fn domains(spec: &EnvironmentSpec, taking_part: &[&HostRecord]) -> Option<String> {
    let label = &spec.strategy.domain.as_ref()?.label;
    let lacking = taking_part.iter().filter(|host| value(host, label).is_none()).count();
    let who = match lacking {
        0 => return None,
        _ if lacking == taking_part.len() => format!("all {lacking}"),
        _ => format!("{lacking} of {}", taking_part.len()),
    };
    let (name, label, there) = (&spec.name, label.as_str(), labels_there(taking_part.iter().copied()));
    Some(format!("strategy.domain: {who} hosts of {name} have no label {label}, and count as one domain: {there}"))
}

/// Sets that are not two.
fn sets(spec: &EnvironmentSpec, taking_part: &[&HostRecord]) -> Option<String> {
    let label = spec.strategy.sets.as_ref()?;
    let values: BTreeSet<String> = taking_part.iter().filter_map(|host| value(host, label)).collect();
    let lacking = taking_part.iter().filter(|host| value(host, label).is_none()).count();
    if values.len() == 2 && lacking == 0 {
        return None;
    }
    let there = if values.is_empty() { "none".to_owned() } else { listed(values.iter()) };
    let without = if lacking == 0 { String::new() } else { format!(", and {lacking} without it") };
    let label = label.as_str();
    Some(format!(
        "strategy.sets: blue-green is two sets of hosts by {label}, and there are {there}{without}: rollouts are refused until there are two"
    ))
}

fn value(host: &HostRecord, label: &LabelKey) -> Option<String> {
    host.labels.get(label.as_str()).map(ToOwned::to_owned)
}

/// Approvals that nobody is there to give.
fn approvers(spec: &EnvironmentSpec, around: &Around<'_>) -> Vec<String> {
    let restores = spec.database.restore_approvals.iter().flatten();
    let rules: BTreeSet<(&RoleName, u32)> =
        spec.gates.approvals.iter().chain(restores).map(|ApprovalRule { role, count }| (role, *count)).collect();
    let told = |(role, count): &(&RoleName, u32)| {
        let members = around.roles.get(*role)?;
        let absent: Vec<&AdminName> = members.difference(around.admins).collect();
        let there = members.len() - absent.len();
        if u32::try_from(there).unwrap_or(u32::MAX) < *count {
            let who = listed(absent.iter());
            return Some(format!(
                "approvals: {count} of {role} are to approve, and {there} of them can: {who} {} no admin here (`roadstead admin token NAME` lets one in)",
                if absent.len() == 1 { "is" } else { "are" }
            ));
        }
        // Nobody approves what they asked for.
        let exactly = u32::try_from(there).is_ok_and(|there| there == *count);
        exactly.then(|| {
            format!("approvals: all {count} of {role} who can approve are asked to, so what one of them asks for is approved by nobody")
        })
    };
    rules.iter().filter_map(told).collect()
}

/// Windows and freezes that do not open as long as a rollout waits.
fn calendar(spec: &EnvironmentSpec, now: Timestamp) -> Option<String> {
    let within = spec.timeouts.gates;
    match opens_in(&spec.gates, now) {
        None => Some("gates: windows and freezes never let a rollout begin from now on".to_owned()),
        Some(opens) if opens > within => Some(format!(
            "gates: windows and freezes let no rollout begin before {} from now, and rollouts wait for {within} (timeouts.gates): those of today end \
             before",
            opens
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_driver::samples;
    use roadstead_model::{EnvironmentName, FailureDomain, Gates, Labels, Layer, Millis, Traffic, Values};

    /// 2026-11-27, noon.
    const NOW: Timestamp = Timestamp(1_795_780_800_000);

    fn host(number: usize, labels: &[&str]) -> HostRecord {
        HostRecord { labels: Labels::parse(labels.iter().copied()).unwrap(), ..samples::host_record(number) }
    }

    fn told(spec: &EnvironmentSpec, hosts: &[HostRecord], roles: &[(&str, &[&str])], admins: &[&str]) -> Vec<String> {
        let name = |name: &&str| AdminName::parse(name).unwrap();
        let roles: Roles =
            roles.iter().map(|(role, members)| (RoleName::parse(role).unwrap(), members.iter().map(name).collect())).collect();
        let admins = admins.iter().map(name).collect();
        of(spec, &Around { hosts, admins: &admins, roles: &roles, knows_first: false, now: NOW })
    }

    fn freeze(until: &str) -> Gates {
        let text = format!("{{\"freezes\":[{{\"from\":\"2026-11-01\",\"until\":{until:?}}}]}}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn labels_that_nobody_has_are_named_where_they_stand() {
        let hosts = [host(1, &["role=web", "color=blue"]), host(2, &["role=web"])];
        let selector = |text: &str| Selector::parse(text).unwrap();
        let mut spec = EnvironmentSpec { hosts: selector("role=web"), ..samples::environment() };
        spec.traffic = Some(Traffic { balancers: selector("role=lb"), hosts: selector("role=api"), drain: Millis(1000) });
        spec.overrides = vec![Layer { hosts: selector("zone=c"), values: Values::default() }];
        spec.strategy.domain = Some(FailureDomain { label: LabelKey::try_from("zone".to_owned()).unwrap(), order: Default::default() });
        spec.strategy.sets = LabelKey::try_from("color".to_owned()).ok();
        let all = told(&spec, &hosts, &[], &[]);
        let there = "their labels are color=blue, role=web";
        let expected = [
            format!("traffic.balancers: no host of staging matches \"role=lb\", and rollouts are refused without a balancer: {there}"),
            format!("traffic.hosts: no host of staging matches \"role=api\", so nobody is behind the balancers: {there}"),
            format!("overrides: no host of staging matches \"zone=c\", so what it sets is told to nobody: {there}"),
            format!("strategy.domain: all 2 hosts of staging have no label zone, and count as one domain: {there}"),
            "strategy.sets: blue-green is two sets of hosts by color, and there are blue, and 1 without it: rollouts are refused until there are two"
                .to_owned(),
        ];
        assert_eq!(all, expected);
        assert_eq!(told(&EnvironmentSpec { hosts: selector("role=web"), ..samples::environment() }, &hosts, &[], &[]), [""; 0]);
    }

    #[test]
    fn approvals_that_nobody_can_give_are_told() {
        let mut spec = samples::environment();
        spec.gates.approvals = vec![ApprovalRule { role: RoleName::parse("dba").unwrap(), count: 2 }];
        spec.gates.after = Some(roadstead_model::After { environment: EnvironmentName::parse("stagin").unwrap(), healthy_for: Millis(0) });
        let hosts = [host(1, &[])];
        let all = |members: &[&str], admins: &[&str]| told(&spec, &hosts, &[("dba", members)], admins).join("\n");
        let first = "gates.after: there is no environment stagin of erp: rollouts wait until there is one that runs the release";
        let absent =
            "approvals: 2 of dba are to approve, and 1 of them can: bob, cyd are no admin here (`roadstead admin token NAME` lets one in)";
        assert_eq!(all(&["ada", "bob", "cyd"], &["ada"]), format!("{absent}\n{first}"));
        let few = "approvals: all 2 of dba who can approve are asked to, so what one of them asks for is approved by nobody";
        assert_eq!(all(&["ada", "bob"], &["ada", "bob", "eve"]), format!("{few}\n{first}"));
        assert_eq!(all(&["ada", "bob", "cyd"], &["ada", "bob", "cyd"]), first);
    }

    #[test]
    fn gates_that_do_not_open_in_time_are_told() {
        let hosts = [host(1, &[])];
        let all = |until: &str| told(&EnvironmentSpec { gates: freeze(until), ..samples::environment() }, &hosts, &[], &[]).join("\n");
        assert_eq!(all("9999-12-31"), "gates: windows and freezes never let a rollout begin from now on");
        let late = "gates: windows and freezes let no rollout begin before 36 days 12 h from now, and rollouts wait for 7 days (timeouts.gates): those of today end before";
        assert_eq!(all("2027-01-03"), late);
        assert_eq!(all("2026-11-30"), "");
    }
}
