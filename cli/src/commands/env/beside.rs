//! `roadstead env diff`: one environment beside another.

use roadstead_model::differences;
use roadstead_proto::v1::{Environment, GetReleaseRequest, Host, HostFacts, ListEnvironmentsRequest, ListHostsRequest, Release};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::failure::{Failure, Result};
use crate::output::{Output, table};
use crate::remote::Controller;

/// Characters of a value that a table shows.
const SHOWN_MAX: usize = 60;

/// An environment with all that is compared.
#[derive(Debug, Default)]
struct Side {
    environment: Environment,
    release: Option<Release>,
    /// Those that take part.
    hosts: Vec<Host>,
}

/// Something that differs; a side on which it is not there has nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    field: String,
    left: Option<String>,
    right: Option<String>,
}

/// What is compared by its name.
type Values = BTreeMap<String, String>;

/// Compares, and prints what differs.
pub(super) fn run(left: &str, right: &str, app: &str, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let (of_left, of_right) = pair(named(&controller, left)?, named(&controller, right)?, (left, right), app)?;
    let app = of_left.app.clone();
    let rows = rows(&side(&controller, of_left)?, &side(&controller, of_right)?)?;
    let json = serde_json::json!({ "app": app, "left": left, "right": right, "differences": rows });
    output.result(&json, || text(left, right, &app, &rows));
    Ok(())
}

fn named(controller: &Controller, name: &str) -> Result<Vec<Environment>> {
    let request = ListEnvironmentsRequest { name: name.to_owned() };
    controller.call(async |mut client| Ok(client.list_environments(request).await?.into_inner().environments))
}

/// The two that are meant: of the app that was named, or of the only one that both have.
fn pair(left: Vec<Environment>, right: Vec<Environment>, names: (&str, &str), app: &str) -> Result<(Environment, Environment)> {
    for (found, name) in [(&left, names.0), (&right, names.1)] {
        if found.is_empty() {
            return Err(Failure::failed(format!("there is no environment {name:?}")).hint("`roadstead env list` shows them all"));
        }
    }
    let apps = |side: &[Environment]| side.iter().map(|environment| environment.app.clone()).collect::<Vec<_>>().join(", ");
    let (of_left, of_right) = (apps(&left), apps(&right));
    let mut pairs: Vec<(Environment, Environment)> = left
        .into_iter()
        .filter(|one| app.is_empty() || one.app == app)
        .filter_map(|one| right.iter().find(|other| other.app == one.app).cloned().map(|other| (one, other)))
        .collect();
    let several = pairs.len() > 1;
    match pairs.pop() {
        Some(only) if !several => Ok(only),
        Some(_) => {
            let both = format!("{} and {} are environments of several apps", names.0, names.1);
            Err(Failure::usage(both).hint(format!("name one with --app: {} has {of_left}; {} has {of_right}", names.0, names.1)))
        }
        None => {
            let what = if app.is_empty() { "no app is".to_owned() } else { format!("{app:?} is not") };
            let failure = Failure::failed(format!("{what} in both environments"));
            Err(failure.cause(format!("{} has {of_left}; {} has {of_right}", names.0, names.1)))
        }
    }
}

fn side(controller: &Controller, environment: Environment) -> Result<Side> {
    let (app, name) = (environment.app.clone(), environment.name.clone());
    let release = match environment.current.as_str() {
        "" => None,
        id => {
            let request = GetReleaseRequest { app, release: id.to_owned() };
            controller.call(async |mut client| Ok(client.get_release(request).await?.into_inner().release))?
        }
    };
    let request = ListHostsRequest { environment: name };
    let mut hosts = controller.call(async |mut client| Ok(client.list_hosts(request).await?.into_inner().hosts))?;
    hosts.retain(|host| !host.revoked && environment.hosts.contains(&host.name));
    Ok(Side { environment, release, hosts })
}

/// What differs: the release, the policy field by field, variables by their values, and the hosts.
fn rows(left: &Side, right: &Side) -> Result<Vec<Row>> {
    let mut rows = named_rows(&release(left), &release(right));
    rows.extend(policy(left, right)?);
    rows.extend(named_rows(&hosts(&left.hosts), &hosts(&right.hosts)));
    Ok(rows)
}

/// What differs of two sets of named values.
fn named_rows(left: &Values, right: &Values) -> Vec<Row> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let row = |name: &String| Row { field: name.clone(), left: left.get(name).cloned(), right: right.get(name).cloned() };
    names.into_iter().map(row).filter(|row| row.left != row.right).collect()
}

/// What it runs.
fn release(side: &Side) -> Values {
    let Some(release) = &side.release else { return Values::new() };
    let values = [("release", &release.id), ("release.version", &release.version), ("release.commit", &release.commit)];
    values.map(|(name, value)| (name.to_owned(), value.clone())).into()
}

/// Fields of the two policies as they are stored, whatever they are: a newer controller may know more of them.
fn policy(left: &Side, right: &Side) -> Result<Vec<Row>> {
    let read = |side: &Side| serde_json::from_slice::<serde_json::Value>(&side.environment.spec);
    let odd = |error| Failure::failed("cannot read the policy that the controller has stored").because(&error);
    let found = differences(&read(left).map_err(odd)?, &read(right).map_err(odd)?).map_err(odd)?;
    // They are named to be compared, and of the same app.
    let of_policy = found.into_iter().filter(|difference| difference.field != "name");
    Ok(of_policy.map(|difference| Row { field: difference.field, left: difference.before, right: difference.after }).collect())
}

/// How many hosts there are, which labels they have, and on what they run; several values are joined.
fn hosts(hosts: &[Host]) -> Values {
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for host in hosts {
        for (key, value) in host.labels.iter().filter_map(|label| label.split_once('=')) {
            all.entry(format!("hosts.labels.{key}")).or_default().insert(value);
        }
        for (name, value) in host.facts.iter().flat_map(facts) {
            all.entry(format!("hosts.{name}")).or_default().insert(value);
        }
    }
    let joined = |values: BTreeSet<&str>| values.into_iter().collect::<Vec<_>>().join(", ");
    let mut values: Values = all.into_iter().map(|(name, values)| (name, joined(values))).collect();
    values.insert("hosts.number".to_owned(), hosts.len().to_string());
    values
}

/// What of a host's facts an app may notice.
fn facts(facts: &HostFacts) -> Vec<(&'static str, &str)> {
    let pythons = facts.pythons.iter().map(|python| ("python", python.version.as_str()));
    pythons.chain([("system", facts.operating_system.as_str()), ("architecture", facts.architecture.as_str())]).collect()
}

fn text(left: &str, right: &str, app: &str, rows: &[Row]) -> String {
    if rows.is_empty() {
        return format!("{left} and {right} of {app} do not differ");
    }
    let cell = |value: &Option<String>| match value {
        None => "–".to_owned(),
        Some(value) if value.chars().count() > SHOWN_MAX => value.chars().take(SHOWN_MAX).chain(['…']).collect(),
        Some(value) => value.clone(),
    };
    table(["", left, right], rows.iter().map(|row| [row.field.clone(), cell(&row.left), cell(&row.right)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::Python;

    fn host(name: &str, labels: &[&str], python: &str) -> Host {
        let pythons = vec![Python { version: python.into(), path: "/usr/bin/python3".into() }];
        let system = "Debian GNU/Linux 12 (bookworm)".into();
        let facts = HostFacts { pythons, operating_system: system, architecture: "x86_64".into(), ..Default::default() };
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Host { name: name.into(), labels, facts: Some(facts), ..Default::default() }
    }

    fn side(name: &str, spec: serde_json::Value, version: &str, hosts: Vec<Host>) -> Side {
        let spec = serde_json::to_vec(&spec).unwrap();
        let environment = Environment { name: name.into(), app: "erp".into(), spec, ..Default::default() };
        let release =
            Release { id: format!("{version}-0123456789ab"), version: version.into(), commit: "c0ffee".repeat(6), ..Default::default() };
        Side { environment, release: (!version.is_empty()).then_some(release), hosts }
    }

    #[test]
    fn what_differs_stands_side_by_side() {
        let spec = |name: &str, bake: u64, debug: &str| {
            serde_json::json!({
                "name": name, "app": "erp", "bake": bake, "strategy": { "batch": "34%" }, "later": [bake],
                "variables": { "DEBUG": debug, "SAME": "1", "LONG": debug.repeat(90) },
            })
        };
        let left = side("staging", spec("staging", 60_000, "1"), "1.5.0", vec![host("s-1", &["role=web"], "3.12")]);
        let hosts = vec![host("p-1", &["role=web", "zone=a"], "3.11"), host("p-2", &["role=worker", "zone=b"], "3.12")];
        let right = side("production", spec("production", 300_000, "0"), "", hosts);
        let found = rows(&left, &right).unwrap();
        insta::assert_snapshot!(text("staging", "production", "erp", &found));
        insta::assert_snapshot!(serde_json::to_string_pretty(&found[..2]).unwrap());
        assert_eq!(text("a", "b", "erp", &rows(&left, &left).unwrap()), "a and b of erp do not differ");
    }

    #[test]
    fn the_app_that_both_have_is_meant() {
        let of = |apps: &[&str]| -> Vec<Environment> {
            apps.iter().map(|app| Environment { app: (*app).into(), ..Default::default() }).collect()
        };
        let told = |left: &[&str], right: &[&str], app: &str| match pair(of(left), of(right), ("staging", "production"), app) {
            Ok((left, right)) => format!("{} and {}", left.app, right.app),
            Err(failure) => format!("{failure}\nexit code {}", failure.kind.code()),
        };
        assert_eq!(told(&["erp"], &["crm", "erp"], ""), "erp and erp");
        assert_eq!(told(&["crm", "erp"], &["crm", "erp"], "crm"), "crm and crm");
        let wrong = [
            told(&["crm", "erp"], &["crm", "erp"], ""),
            told(&["erp"], &["crm"], ""),
            told(&["erp"], &["crm", "erp"], "shop"),
            told(&["erp"], &[], ""),
        ];
        insta::assert_snapshot!(wrong.join("\n\n"));
    }
}
