//! PgBouncer stands in front of the database. Where it lends a server process for a session everything is as without it; where it lends one
//! for a transaction, neither a backup is made nor anything migrated, and the reason is told.

use roadstead_tests::fleet::{Fleet, FleetOptions, PASSWORD, Project, secrets};
use roadstead_tests::lab::Execution;
use serde_json::Value;

const POLICY: &str = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";

#[test]
fn a_pooler_is_seen_and_does_where_it_lends_sessions() {
    let fleet = Fleet::new("poolers", &FleetOptions::default().policy(POLICY)).unwrap();
    let through = secrets(&fleet.data.ip()).replace(":5432/", ":6432/");
    fleet.hosts[0].write("/etc/roadstead/apps/erp.env", through).unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.web_alone().unwrap();

    pool(&fleet, "session");
    project.release(&fleet, "2.0.0").unwrap();
    well(&deploy(&fleet, "2.0.0"));
    by_sessions(&fleet, &project);
    pool(&fleet, "transaction");
    by_transactions(&fleet, &project);
    pool(&fleet, "session");
    well(&deploy(&fleet, "2.2.0"));
    assert_eq!(applied(&fleet), ["0004_first", "0005_second"]);
    assert_eq!(fleet.serving().unwrap(), ["2.2.0"]);
}

/// A migration with its backup, and a backup that somebody asks for.
fn by_sessions(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.1.0", "0004_first", "0003_customer_loyalty_tier");
    well(&deploy(fleet, "2.1.0"));
    assert_eq!(applied(fleet), ["0004_first"]);
    assert_eq!(newest(fleet)["check"], "restored");
    assert!(newest(fleet)["database"].as_str().unwrap().ends_with(":6432"), "through the pooler: {:#}", newest(fleet));
    let before = newest(fleet)["name"].clone();
    well(&backup(fleet));
    assert_ne!(newest(fleet)["name"], before);
    assert_eq!(newest(fleet)["check"], "restored");
}

/// The step that comes first says it; where no backup is demanded, the migration does.
fn by_transactions(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.2.0", "0005_second", "0004_first");
    let last = newest(fleet);
    let lends = "the database is reached through a pooler that lends its sessions for a transaction";
    for refused in [deploy(fleet, "2.2.0"), backup(fleet)] {
        println!("{}", said(&refused));
        assert_eq!(refused.code, Some(1), "{}", said(&refused));
        assert!(words(&refused).contains(lends) && words(&refused).contains("pool_mode = session"), "{}", said(&refused));
    }
    assert_eq!(newest(fleet), last, "no backup was made");

    fleet.apply(&format!("{POLICY}[database]\nbackup = \"none\"\n")).unwrap();
    let refused = deploy(fleet, "2.2.0");
    println!("{}", said(&refused));
    assert_eq!(refused.code, Some(1), "{}", said(&refused));
    let shares = "(web-1): the database is reached through a pooler that shares sessions";
    assert!(words(&refused).contains(shares) && words(&refused).contains("pool_mode = session"), "{}", said(&refused));
    assert_eq!(applied(fleet), ["0004_first"]);
    assert_eq!(fleet.serving().unwrap(), ["2.1.0"]);
    fleet.apply(POLICY).unwrap();
}

fn pool(fleet: &Fleet, pool_mode: &str) {
    fleet.data.start_pgbouncer("erp", PASSWORD, pool_mode).unwrap();
}

/// A version with one migration more.
fn release(fleet: &Fleet, project: &Project, version: &str, name: &str, after: &str) {
    let text = format!(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{after}\")]\n    \
         operations = [migrations.RunSQL(\"CREATE TABLE story_{name} (id serial PRIMARY KEY)\", migrations.RunSQL.noop)]\n"
    );
    project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    project.release(fleet, version).unwrap();
}

fn deploy(fleet: &Fleet, version: &str) -> Execution {
    fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap()
}

fn backup(fleet: &Fleet) -> Execution {
    fleet.desk.try_roadstead(&["db", "backup", "staging", "--reason", "a story"]).unwrap()
}

fn newest(fleet: &Fleet) -> Value {
    fleet.desk.json(&["db", "list", "staging"]).unwrap()[0].clone()
}

/// The story's migrations that the database has.
fn applied(fleet: &Fleet) -> Vec<String> {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003_z' ORDER BY id";
    fleet.data.sql("erp", sql).unwrap().lines().map(str::to_owned).collect()
}

fn said(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

/// What was said, however its lines are broken.
fn words(done: &Execution) -> String {
    said(done).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn well(done: &Execution) {
    assert!(done.success(), "{}", said(done));
}
