//! The database fails over to its standby in the middle of a release: while it is backed up, while a migration is at a statement, and while
//! its COMMIT is on the way, whether the standby has that or not. Every migration is done once, and none without its backup.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Execution, Pair, wait_until};
use std::io::Write as _;
use std::process::Child;

/// What a migration waits for while the story holds it, at its last statement.
const GATE: u64 = 4711;
const POLICY: &str = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n[database]\nbackup = \"listed\"\n";

#[test]
fn a_failover_leaves_every_migration_done_once() {
    let fleet = Fleet::new("failover", &FleetOptions::default().policy(POLICY)).unwrap();
    let mut pair = Pair::of(&fleet.data).unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.web_alone().unwrap();
    project.release(&fleet, "2.0.0").unwrap();
    well(&deploy(&fleet, "2.0.0"));

    during_the_backup(&fleet, &project, &mut pair);
    during_a_statement(&fleet, &mut pair);
    the_standby_has_the_commit(&fleet, &project, &mut pair);
    the_standby_lacks_the_commit(&fleet, &project, &mut pair);
    assert_eq!(fleet.serving().unwrap(), ["2.3.0"]);
}

/// What is dumped is gone in the middle of it: that is no backup, and so nothing is migrated.
fn during_the_backup(fleet: &Fleet, project: &Project, pair: &mut Pair) {
    release(fleet, project, "2.1.0", "0004_once", "0003_customer_loyalty_tier");
    let holder = holding(pair, "BEGIN; LOCK TABLE catalog_product;");
    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'erp' AND wait_event_type = 'Lock' AND query LIKE '%pg_class%'";
    pair.wait_until("the backup to be under way", waits).unwrap();
    pair.fail_over().unwrap();
    let watched = fleet.watch(&rollout).unwrap();
    let said = said(&watched);
    println!("{said}");
    assert_eq!(watched.code, Some(1), "{said}");
    assert!(said.contains("the database went away while it was backed up"), "{said}");
    assert_eq!(applied(pair), Vec::<String>::new());
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"]);
    end(holder);
    pair.follow().unwrap();
}

/// The statement is gone with the primary: the standby knows of no such migration, and it is run there.
fn during_a_statement(fleet: &Fleet, pair: &mut Pair) {
    let holder = holding(pair, &format!("SELECT pg_advisory_lock({GATE});"));
    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    at_the_gate(pair);
    pair.fail_over().unwrap();
    let logs = done(fleet, &rollout);
    assert_eq!(logs.matches("customers.0004_once is not recorded: it was rolled back, and is tried again (1 of 3)").count(), 1, "{logs}");
    once(pair, "0004_once", &["0004_once"]);
    end(holder);
    pair.follow().unwrap();
}

/// The COMMIT is never answered, but the standby has it: whoever asks finds it, and nothing is repeated.
fn the_standby_has_the_commit(fleet: &Fleet, project: &Project, pair: &mut Pair) {
    release(fleet, project, "2.2.0", "0005_there", "0004_once");
    let holder = holding(pair, &format!("SELECT pg_advisory_lock({GATE});"));
    // so that a COMMIT waits until the standby shows it, which it does not while its replay is paused
    for sql in ["ALTER SYSTEM SET synchronous_commit = 'remote_apply'", "SELECT pg_reload_conf()"] {
        pair.sql(sql).unwrap();
    }
    let rollout = fleet.begin(&["deploy", "staging", "2.2.0"]).unwrap();
    at_the_gate(pair);
    pair.standby("SELECT pg_wal_replay_pause()").unwrap();
    let paused = || pair.standby("SELECT pg_get_wal_replay_pause_state()").is_ok_and(|state| state == "paused");
    wait_until("the standby to replay nothing more", SOON, paused).unwrap();
    end(holder);
    commits(pair);
    pair.wait_until("the standby to have all of it", "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication").unwrap();
    pair.fail_over().unwrap();
    let logs = done(fleet, &rollout);
    assert!(logs.contains("customers.0005_there is recorded in django_migrations: it had been committed"), "{logs}");
    assert!(!logs.contains("tried again"), "{logs}");
    once(pair, "0005_there", &["0004_once", "0005_there"]);
    pair.follow().unwrap();
}

/// The COMMIT is never answered, and the standby has nothing of it: the migration is run there.
fn the_standby_lacks_the_commit(fleet: &Fleet, project: &Project, pair: &mut Pair) {
    release(fleet, project, "2.3.0", "0006_lost", "0005_there");
    let holder = holding(pair, &format!("SELECT pg_advisory_lock({GATE});"));
    let rollout = fleet.begin(&["deploy", "staging", "2.3.0"]).unwrap();
    at_the_gate(pair);
    pair.cut().unwrap();
    end(holder);
    commits(pair);
    // the primary has it, and shows it to nobody
    let lacks = "SELECT flush_lsn < pg_current_wal_flush_lsn() FROM pg_stat_replication";
    assert_eq!(pair.sql(lacks).unwrap(), "t");
    pair.fail_over().unwrap();
    let logs = done(fleet, &rollout);
    assert_eq!(logs.matches("customers.0006_lost is not recorded: it was rolled back, and is tried again (1 of 3)").count(), 1, "{logs}");
    once(pair, "0006_lost", &["0004_once", "0005_there", "0006_lost"]);
}

/// A version with one migration more, whose last statement waits for the story.
fn release(fleet: &Fleet, project: &Project, version: &str, name: &str, after: &str) {
    let statements = [
        format!("CREATE TABLE story_{name} (id serial PRIMARY KEY)"),
        format!("INSERT INTO story_{name} DEFAULT VALUES"),
        "ALTER TABLE catalog_product ADD COLUMN story integer; ALTER TABLE catalog_product DROP COLUMN story".to_owned(),
        "SET LOCAL lock_timeout = 0".to_owned(),
        format!("SELECT pg_advisory_xact_lock({GATE})"),
    ];
    let operations: Vec<_> = statements.iter().map(|sql| format!("migrations.RunSQL(\"{sql}\", migrations.RunSQL.noop)")).collect();
    let text = format!(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{after}\")]\n    \
         operations = [{}]\n",
        operations.join(", ")
    );
    project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    project.release(fleet, version).unwrap();
}

/// A session of the primary's that has done this, and keeps what it locked.
fn holding(pair: &Pair, sql: &str) -> Child {
    let mut session = pair.session().unwrap();
    session.stdin.as_mut().unwrap().write_all(format!("SET application_name = 'story'; {sql}\nSELECT 'held';\n").as_bytes()).unwrap();
    let held = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'story' AND query LIKE '%held%' AND state LIKE 'idle%'";
    pair.wait_until("the story to hold its lock", held).unwrap();
    session
}

/// Ends it, however it stands.
fn end(mut session: Child) {
    drop(session.stdin.take());
    session.wait().unwrap();
}

fn at_the_gate(pair: &Pair) {
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'roadstead-migrate %' AND wait_event = 'advisory'";
    pair.wait_until("the migration to be at its last statement", waits).unwrap();
}

fn commits(pair: &Pair) {
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'roadstead-migrate %' AND wait_event = 'SyncRep' \
                 AND query LIKE 'COMMIT%'";
    pair.wait_until("its COMMIT to wait for the standby", waits).unwrap();
}

/// The rollout ends well; what its migration said.
fn done(fleet: &Fleet, rollout: &str) -> String {
    let watched = fleet.watch(rollout).unwrap();
    let logs = fleet.desk.roadstead(&["logs", rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
    println!("{logs}");
    assert!(watched.success(), "{}{logs}", said(&watched));
    assert!(logs.contains("the connection was lost during customers."), "{logs}");
    logs
}

/// The new primary has what the migration did once, and this is recorded there.
fn once(pair: &Pair, name: &str, recorded: &[&str]) {
    assert_eq!(pair.sql(&format!("SELECT count(*) FROM story_{name}")).unwrap(), "1");
    assert_eq!(applied(pair), recorded);
}

/// The story's migrations that the primary has.
fn applied(pair: &Pair) -> Vec<String> {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003_z' ORDER BY id";
    pair.sql(sql).unwrap().lines().map(str::to_owned).collect()
}

fn deploy(fleet: &Fleet, version: &str) -> Execution {
    fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap()
}

fn said(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

fn well(done: &Execution) {
    assert!(done.success(), "{}", said(done));
}
