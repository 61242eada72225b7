//! A migration stops half-way because the database does not let the app do something. The old release goes on, the operator
//! reads which migration and why, and the same release passes once the cause is gone. Meanwhile and afterwards the static files
//! of both releases are there, on hosts of either.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::Load;
use std::time::Duration;

/// One that works, and one that wants what only the database's administrator may do.
const MIGRATIONS: [(&str, &str, &str); 2] = [
    ("0004_note", "0003_customer_loyalty_tier", "CREATE TABLE customers_note (id serial PRIMARY KEY)"),
    ("0005_foreign_files", "0004_note", "CREATE EXTENSION IF NOT EXISTS file_fdw"),
];

#[test]
fn the_old_release_goes_on_and_the_second_attempt_succeeds() {
    let policy = "[strategy]\nbatch = 1\nbake = \"10m\"\n";
    let fleet = Fleet::new("migration", &FleetOptions::default().hosts(2)).unwrap();
    fleet.deploy("1.1.0").unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    for (name, after, sql) in MIGRATIONS {
        project.write(&format!("customers/migrations/{name}.py"), &migration(after, sql)).unwrap();
    }
    project.edit("static/css/layout.css", "{", "{ --story: 1;").unwrap();
    project.edit("roadstead.toml", "root = \"staticfiles\"", "root = \"staticfiles\"\ncollect = \"host\"").unwrap();
    project.release(&fleet, "1.3.0").unwrap();

    let old = hashed(&fleet.hosts[0], "1.1.0");
    let loads: Vec<_> = fleet.hosts.iter().flat_map(|host| [load(&fleet, host, &old), load(&fleet, host, "/healthz")]).collect();
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.3.0"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("customers.0005_foreign_files") && said.contains("permission denied"), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0", "1.1.0"]);
    assert_eq!(applied(&fleet), ["0004_note"], "what was done before it stopped stays done");

    fleet.data.sql("erp", "CREATE EXTENSION file_fdw").unwrap();
    fleet.apply(policy).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    let phase = || fleet.rollout(&rollout).map(|rollout| rollout["phase"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
    wait_until("hosts to move", SOON * 2, || ["moving", "baking"].contains(&phase().as_str())).unwrap();
    // whichever host has moved by now: a page of either release finds its files on both
    let new = hashed(&fleet.hosts[0], "1.3.0");
    assert_ne!(old, new);
    for host in &fleet.hosts {
        assert_eq!(fleet.ask(host, &new).unwrap().0, 200, "{new} on {}", host.name());
    }
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.3.0", "1.3.0"]);
    assert_eq!(applied(&fleet), ["0004_note", "0005_foreign_files"]);
    for load in loads {
        load.wait_for_more(20, SOON).unwrap();
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report}");
    }
}

fn migration(after: &str, sql: &str) -> String {
    format!(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{after}\")]\n    \
         operations = [migrations.RunSQL(\"{sql}\", migrations.RunSQL.noop)]\n"
    )
}

/// The address of a stylesheet in a version, with the digest of its content in its name.
fn hashed(host: &Host, version: &str) -> String {
    let found = host.sh(&format!("cd /srv/roadstead/erp/collected/{version}-*/css && ls layout.*.css")).unwrap();
    format!("/static/css/{}", found.trim())
}

fn load(fleet: &Fleet, host: &Host, path: &str) -> roadstead_tests::load::RunningLoad {
    Load::on(format!("{}:80", host.ip())).path(path).clients(1).pause(Duration::from_millis(20)).start(&fleet.client())
}

/// The story's migrations that the database has.
fn applied(fleet: &Fleet) -> Vec<String> {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003_z' ORDER BY name";
    fleet.data.sql("erp", sql).unwrap().lines().map(str::to_owned).collect()
}
