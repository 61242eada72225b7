//! One runner changes the database, and its end is known: a reader who never ends holds up neither the app nor, once it is gone, the
//! migration; who holds it up is named; a session of an older order is dead before anything is changed; a server that goes down in the
//! middle of it leaves every migration done once; what was committed is not repeated, whatever fails behind it, and not by a run whose
//! place another one took; and what a migration that is not atomic left behind is told with what removes it.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, PASSWORD, Project};
use roadstead_tests::lab::{Execution, Host, wait_until};
use roadstead_tests::load::Load;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The lock of migrations, as the runner takes it.
const KEY: u64 = 0x524F_4144_5354_4541;
/// What a statement waits for a lock when nothing else is said.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// What a request may take beyond that on a busy machine.
const GENEROUS: Duration = Duration::from_secs(5);

const COLUMN: &str = "migrations.RunSQL('ALTER TABLE catalog_product ADD COLUMN story integer', migrations.RunSQL.noop)";
const SLOW: &str = "migrations.RunSQL('CREATE TABLE story_once (id serial PRIMARY KEY)', migrations.RunSQL.noop), \
                    migrations.RunSQL('INSERT INTO story_once DEFAULT VALUES', migrations.RunSQL.noop), \
                    migrations.RunSQL('SELECT pg_sleep(4)', migrations.RunSQL.noop)";
const ENDLESS: &str = "migrations.RunSQL('CREATE TABLE story_never (id integer)', migrations.RunSQL.noop), \
                       migrations.RunSQL('SELECT pg_sleep(600)', migrations.RunSQL.noop)";
const HALF: &str = "migrations.RunSQL('CREATE TABLE story_half (name text)', migrations.RunSQL.noop), \
                    migrations.RunSQL(\"INSERT INTO story_half VALUES ('twice'), ('twice')\", migrations.RunSQL.noop), \
                    migrations.RunSQL('CREATE UNIQUE INDEX CONCURRENTLY story_names ON story_half (name)', migrations.RunSQL.noop)";

const COMMITTED: &str = "migrations.RunSQL('BEGIN; CREATE TABLE story_own (id serial); INSERT INTO story_own DEFAULT VALUES; COMMIT', \
                         migrations.RunSQL.noop), \
                         migrations.RunPython(lambda apps, editor: transaction.on_commit(lambda: 1 / 0), migrations.RunPython.noop)";
const LATE: &str = "migrations.RunSQL('ALTER TABLE catalog_product ADD COLUMN late integer', migrations.RunSQL.noop)";

#[test]
fn a_migration_has_one_runner_and_a_known_end() {
    let fleet = Fleet::new("runner", &FleetOptions::default()).unwrap();
    fleet.deploy("1.1.0").unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    a_reader_holds_it_up(&fleet, &project);
    an_older_session_ends_and_the_server_goes_down(&fleet, &project);
    what_is_half_done_is_told(&fleet, &project);
    what_was_committed_is_not_repeated(&fleet, &project);
    one_is_killed_and_one_is_called_off(&fleet, &project);
}

fn a_reader_holds_it_up(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.0.0", "0004_column", "0003_customer_loyalty_tier", COLUMN, true);
    let address = format!("{}:80", fleet.hosts[0].ip());
    let load = Load::on(address).clients(2).pause(Duration::from_millis(20)).start(&fleet.client());
    load.wait_for_more(20, SOON).unwrap();
    let reader = session(&fleet.data, "BEGIN; SELECT count(*) FROM catalog_product WHERE name = 'a secret';");

    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    let mut shown = String::new();
    let told = |shown: &str| {
        let named = ["migrate waits: for a lock on catalog_product held by pid ", "(psql, user erp, ", "idle in transaction for "];
        named.iter().all(|words| shown.contains(words)) && shown.contains("SELECT count(*) FROM catalog_product WHERE name =…")
    };
    let mut look = |words: &str| {
        shown = fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap();
        told(&shown) && shown.contains(words)
    };
    wait_until("rollout show to name the reader", SOON * 2, || look("")).unwrap();
    wait_until("a second lock timeout", SOON, || look("(try 2 of 20)")).unwrap();
    assert!(!shown.contains("a secret"), "{shown}");
    println!("{shown}");
    load.wait_for_more(20, SOON).unwrap();
    assert_eq!(applied(fleet), Vec::<String>::new());

    end(reader);
    let watched = fleet.watch(&rollout).unwrap();
    assert!(watched.success(), "{}{}", watched.stdout, watched.stderr);
    assert_eq!(applied(fleet), ["0004_column"]);
    let report = load.stop().unwrap();
    println!("requests on the table while its migration waited: {report}");
    assert_eq!(report.failed(), 0, "{report}");
    assert!(report.percentile(100.0) < LOCK_TIMEOUT + GENEROUS, "{report}");
}

fn an_older_session_ends_and_the_server_goes_down(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.1.0", "0005_slow", "0004_column", SLOW, true);
    let older = session(&fleet.data, &format!("SET application_name = 'roadstead-migrate erp 0.9.9'; SELECT pg_advisory_lock({KEY});"));
    let holds = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    wait_until("the older session to hold the lock", SOON, || fleet.data.sql("erp", holds).unwrap() == "1").unwrap();

    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    let mut seen = String::new();
    for act in ["", "pg_ctlcluster --skip-systemctl-redirect 15 main stop -m immediate; systemctl restart postgresql@15-main"] {
        seen = sleeper(fleet, &seen);
        if act.is_empty() {
            fleet.data.sql("erp", &format!("SELECT pg_terminate_backend({seen})")).unwrap();
        } else {
            fleet.data.sh(act).unwrap();
        }
    }
    let watched = fleet.watch(&rollout).unwrap();
    let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
    println!("{logs}");
    assert!(watched.success(), "{}{}{logs}", watched.stdout, watched.stderr);
    end(older);
    assert!(logs.contains("(roadstead-migrate erp 0.9.9): it is terminated before anything is changed"), "{logs}");
    assert_eq!(logs.matches("customers.0005_slow is not recorded: it was rolled back").count(), 2, "{logs}");
    assert_eq!(fleet.data.sql("erp", "SELECT count(*) FROM story_once").unwrap(), "1");
    assert_eq!(applied(fleet), ["0004_column", "0005_slow"]);
}

fn what_is_half_done_is_told(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.2.0", "0006_half", "0005_slow", HALF, false);
    let told = deploy(fleet, "2.2.0");
    let said = format!("{}{}", told.stdout, told.stderr);
    println!("{said}");
    assert_eq!(told.code, Some(1), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "customers.0006_half failed and is not atomic: 2 statements had succeeded before CREATE UNIQUE INDEX CONCURRENTLY story_names",
        "index public.story_names of story_half is INVALID",
        "DROP INDEX CONCURRENTLY public.story_names;",
    ] {
        assert!(words.contains(part), "{part} in {said}");
    }
    assert_eq!(fleet.serving().unwrap(), ["2.1.0"]);

    // With what is told the operator gets out of it.
    for sql in ["DROP INDEX CONCURRENTLY public.story_names", "DROP TABLE story_half"] {
        fleet.data.sql("erp", sql).unwrap();
    }
    project.edit("customers/migrations/0006_half.py", "('twice'), ('twice')", "('once'), ('twice')").unwrap();
    project.release(fleet, "2.2.1").unwrap();
    let done = deploy(fleet, "2.2.1");
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    assert_eq!(applied(fleet), ["0004_column", "0005_slow", "0006_half"]);
    assert_eq!(fleet.data.sql("erp", "SELECT count(*) FROM roadstead_migrating").unwrap(), "0");
}

/// One with a transaction of its own is applied as Django does it; when a function for after its commit fails, it stays committed. A run
/// that another one came and went by does nothing more.
fn what_was_committed_is_not_repeated(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.3.0", "0007_committed", "0006_half", COMMITTED, true);
    let told = deploy(fleet, "2.3.0");
    let said = format!("{}{}", told.stdout, told.stderr);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.code == Some(1) && words.contains("customers.0007_committed is committed and recorded, but what is done behind"),
        "{said}"
    );
    assert_eq!(fleet.data.sql("erp", "SELECT count(*) FROM story_own").unwrap(), "1");
    assert_eq!(applied(fleet), ["0004_column", "0005_slow", "0006_half", "0007_committed"]);

    release(fleet, project, "2.3.1", "0008_late", "0007_committed", LATE, true);
    let reader = session(&fleet.data, "BEGIN; SELECT count(*) FROM catalog_product;");
    let rollout = fleet.begin(&["deploy", "staging", "2.3.1"]).unwrap();
    wait_until("a lock timeout", SOON * 2, || fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap().contains("(try 1 of 20)"))
        .unwrap();
    // As another run would leave it that ended this one's session, migrated, and is over.
    for sql in [
        "INSERT INTO django_migrations (app, name, applied) VALUES ('customers', '0009_newer', now())",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'roadstead-migrate %'",
    ] {
        fleet.data.sql("erp", sql).unwrap();
    }
    let watched = fleet.watch(&rollout).unwrap();
    let said = format!("{}{}", watched.stdout, watched.stderr);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(watched.code == Some(1) && words.contains("is superseded: meanwhile another run recorded customers.0009_newer"), "{said}");
    end(reader);

    fleet.data.sql("erp", "DELETE FROM django_migrations WHERE name = '0009_newer'").unwrap();
    let done = deploy(fleet, "2.3.1");
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    assert_eq!(applied(fleet), ["0004_column", "0005_slow", "0006_half", "0007_committed", "0008_late"]);
}

/// A run that is killed leaves its session in the database; the next one ends it. One that is told to end cancels what runs.
fn one_is_killed_and_one_is_called_off(fleet: &Fleet, project: &Project) {
    release(fleet, project, "2.4.0", "0009_endless", "0008_late", ENDLESS, true);
    let mut seen = String::new();
    for (act, told) in [
        (&["kill", "-s", "KILL", "roadstead-erp-migrate-*"][..], "was killed by signal"),
        (
            &["stop", "roadstead-erp-migrate-*"],
            "called off during customers.0009_endless: its statement was cancelled and it was rolled back",
        ),
    ] {
        let rollout = fleet.begin(&["deploy", "staging", "2.4.0"]).unwrap();
        seen = sleeper(fleet, &seen);
        fleet.hosts[0].systemctl(act).unwrap();
        let watched = fleet.watch(&rollout).unwrap();
        let said = format!("{}{}", watched.stdout, watched.stderr);
        assert!(watched.code == Some(1) && said.contains(told), "{told}: {said}");
        let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
        let ended = logs.contains(": it is terminated before anything is changed");
        assert_eq!(ended, act[0] == "stop", "the second run ends what the first one left: {logs}");
    }
    assert_eq!(fleet.data.sql("erp", "SELECT count(*) FROM pg_tables WHERE tablename = 'story_never'").unwrap(), "0");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'roadstead-%'";
    wait_until("all sessions to be gone", SOON, || fleet.data.sql("erp", left).is_ok_and(|count| count == "0")).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["2.3.1"]);
}

/// Waits until a migration sleeps in another session than the one that was seen.
fn sleeper(fleet: &Fleet, seen: &str) -> String {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'roadstead-migrate %' AND query LIKE '%pg_sleep(%' \
               AND state = 'active'";
    let mut pid = String::new();
    wait_until("a slow migration to run in a new session", SOON * 2, || {
        pid = fleet.data.sql("erp", sql).unwrap_or_default();
        !pid.is_empty() && pid.lines().count() == 1 && pid != seen
    })
    .unwrap();
    pid
}

fn deploy(fleet: &Fleet, version: &str) -> Execution {
    fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap()
}

/// A version with one migration more.
fn release(fleet: &Fleet, project: &Project, version: &str, name: &str, after: &str, operations: &str, atomic: bool) {
    let atomic = if atomic { "True" } else { "False" };
    let text = format!(
        "from django.db import migrations, transaction\n\n\nclass Migration(migrations.Migration):\n    atomic = {atomic}\n    \
         dependencies = [(\"customers\", \"{after}\")]\n    operations = [{operations}]\n"
    );
    project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    project.release(fleet, version).unwrap();
}

/// A psql of the app's role that has done this and stays.
fn session(data: &Host, sql: &str) -> Child {
    let address = format!("postgresql://erp:{PASSWORD}@{}/erp", data.ip());
    let mut psql = data.command(&["psql", "-q", "-o", "/dev/null", &address]).unwrap();
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    psql.stdin.as_mut().unwrap().write_all(format!("{sql}\n").as_bytes()).unwrap();
    psql
}

/// Ends it, however it stands.
fn end(mut psql: Child) {
    drop(psql.stdin.take());
    psql.wait().unwrap();
}

/// The story's migrations that the database has.
fn applied(fleet: &Fleet) -> Vec<String> {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003_z' ORDER BY id";
    fleet.data.sql("erp", sql).unwrap().lines().map(str::to_owned).collect()
}
