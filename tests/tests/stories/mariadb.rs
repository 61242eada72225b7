//! The ERP on MariaDB. What Roadstead has built in is for PostgreSQL; here a command of the team's makes the backups, without which nothing is
//! migrated, and a lock of the server's keeps a second runner away. An agent that is killed meanwhile changes nothing.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, PASSWORD, Project, secrets};
use roadstead_tests::lab::{Execution, Host, wait_until};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Child, Stdio};

const POLICY: &str = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
/// Django asks for mysqlclient; PyMySQL says that it is one.
const SPOOF: &str = "import pymysql\n\npymysql.version_info = (2, 2, 7, \"final\", 0)\npymysql.install_as_MySQLdb()\n\n";
/// A team's own way: dumps, restores that elsewhere, compares both table by table, and says so.
const DUMP: &str = "#!/bin/bash
set -euo pipefail
own=--defaults-extra-file=/etc/roadstead/erp-dump.cnf
file=/var/backups/$ROADSTEAD_BACKUP.sql
mariadb-dump $own --single-transaction erp >\"$file\"
tail -n 1 \"$file\" | grep -q '^-- Dump completed'
mariadb $own -e 'DROP DATABASE IF EXISTS erp_check; CREATE DATABASE erp_check'
mariadb $own erp_check <\"$file\"
tables=$(mariadb $own -N -e \"SELECT table_name FROM information_schema.tables WHERE table_schema = 'erp' ORDER BY 1\")
for table in $tables; do
  [ \"$(mariadb $own -N -e \"CHECKSUM TABLE $table\" erp | cut -f2)\" = \"$(mariadb $own -N -e \"CHECKSUM TABLE $table\" erp_check | cut -f2)\" ]
done
mariadb $own -e 'DROP DATABASE erp_check'
echo \"place $file\"
echo \"bytes $(stat -c %s \"$file\")\"
echo check restored
echo \"seen $(wc -w <<<\"$tables\") tables\"
";
/// Runs what a process runs once more, as its user, in its folder and with its variables.
const AGAIN: &str = "
import os, sys
here = f'/proc/{sys.argv[1]}'
read = lambda name: open(f'{here}/{name}', 'rb').read().split(b'\\0')[:-1]
words, variables, user = read('cmdline'), dict(word.split(b'=', 1) for word in read('environ')), os.stat(here)
os.chdir(os.readlink(f'{here}/cwd'))
os.setgroups([]), os.setgid(user.st_gid), os.setuid(user.st_uid)
os.execvpe(words[0], words, variables)
";

#[test]
fn on_mariadb_one_runner_migrates_behind_the_teams_own_backup() {
    let fleet = Fleet::new("mariadb", &FleetOptions::default().policy(POLICY)).unwrap();
    let web = &fleet.hosts[0];
    fleet.data.start_mariadb("erp", PASSWORD).unwrap();
    let variables = secrets(&fleet.data.ip()).replace("postgres://", "mysql://").replace(":5432/", ":3306/");
    web.write("/etc/roadstead/apps/erp.env", variables).unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.web_alone().unwrap();
    project.edit("requirements.txt", "psycopg[binary]==3.2.13", "PyMySQL==1.2.4").unwrap();
    project.edit("config/__init__.py", "from config.celery", &format!("{SPOOF}from config.celery")).unwrap();
    project.release(&fleet, "2.0.0").unwrap();
    let first = deploy(&fleet, "2.0.0");
    assert!(first.success() && said(&first).contains("none needed: the database has no tables yet"), "{}", said(&first));
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"]);
    assert_eq!(fleet.data.mariadb("erp", "SELECT count(*) > 30 FROM django_migrations").unwrap(), "1");

    release(&fleet, &project);
    without_a_command(&fleet);
    by_a_command(&fleet, web);
    ended_while_it_waits(&fleet, web);
    one_runner_and_a_killed_agent(&fleet, web);
}

/// No backup, no migration.
fn without_a_command(fleet: &Fleet) {
    let refused = deploy(fleet, "2.1.0");
    println!("{}", said(&refused));
    assert_eq!(refused.code, Some(1), "{}", said(&refused));
    assert!(words(&refused).contains("backup: backups of mysql are not built in"), "{}", said(&refused));
    assert!(words(&refused).contains("name a `command` under [backup.APP] in agent.toml"), "{}", said(&refused));
    assert_eq!(applied(fleet), "");
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"]);
}

/// What the command says is told as its claim; to look at it again or to restore it is its own business.
fn by_a_command(fleet: &Fleet, web: &Host) {
    let login = format!("[client]\nhost = {}\nuser = erp\npassword = {PASSWORD}\n", fleet.data.ip());
    web.write("/etc/roadstead/erp-dump.cnf", login).unwrap();
    web.write("/usr/local/sbin/dump-erp", DUMP).unwrap();
    web.sh("chmod 600 /etc/roadstead/erp-dump.cnf && chmod 755 /usr/local/sbin/dump-erp").unwrap();
    web.write("/etc/roadstead/agent.toml", "[backup.erp]\ncommand = [\"/usr/local/sbin/dump-erp\"]\n").unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();

    let made = db(fleet, &["backup", "staging"]);
    assert!(made.success(), "{}", said(&made));
    let backup = newest(fleet);
    println!("{backup:#}");
    let place = backup["place"].as_str().unwrap();
    assert_eq!(backup["check"], "restored", "{backup:#}");
    assert_eq!(backup["bytes"].as_u64().unwrap(), web.sh(&format!("stat -c %s {place}")).unwrap().trim().parse::<u64>().unwrap());
    assert!(backup["seen"].as_str().unwrap().starts_with("as the command says: "), "{backup:#}");
    assert!(backup["database"].as_str().unwrap().contains("database erp on"), "{backup:#}");
    let name = backup["name"].as_str().unwrap();
    for refused in [db(fleet, &["verify", name]), db(fleet, &["restore", name, "--yes-lose-data"])] {
        println!("{}", said(&refused));
        assert_eq!(refused.code, Some(1), "{}", said(&refused));
        assert!(
            words(&refused).contains(&format!("{name} was made by the command of agent.toml, and lies at {place}")),
            "{}",
            said(&refused)
        );
    }
    assert_eq!(newest(fleet), backup);
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"]);
}

/// Another session holds the lock: that is told. An abort lets a migration end; this one is ended on its host, and has done nothing.
fn ended_while_it_waits(fleet: &Fleet, web: &Host) {
    let holder = holding(fleet, "roadstead-migrate");
    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    waits(fleet, &rollout);
    fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "not today", "--no-wait"]).unwrap();
    let shown = fleet.rollout(&rollout).unwrap();
    assert!(shown["phase"] == "migrating" && shown["waiting"]["then"].as_str().unwrap().contains("goes back"), "{shown:#}");
    web.systemctl(&["stop", "roadstead-erp-migrate-*"]).unwrap();
    let watched = fleet.watch(&rollout).unwrap();
    assert_eq!(watched.code, Some(1), "{}", said(&watched));
    assert!(words(&watched).contains("aborted by admin:ada: not today"), "{}", said(&watched));
    let logs = logs(fleet, &rollout);
    assert!(logs.contains("called off before it had the database's migration lock: nothing was changed"), "{logs}");
    end(holder);
    assert_eq!(applied(fleet), "");
}

/// The migration goes on when the lock is there; whoever comes second waits, and finds all of it done. The agent dies meanwhile.
fn one_runner_and_a_killed_agent(fleet: &Fleet, web: &Host) {
    let (holder, gate) = (holding(fleet, "roadstead-migrate"), holding(fleet, "story"));
    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    waits(fleet, &rollout);
    end(holder);
    let at_the_gate = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock' AND user = 'erp'";
    let migrates = || fleet.data.mariadb("erp", at_the_gate).is_ok_and(|count| count == "1");
    wait_until("the migration to be at its last statement", SOON, migrates).unwrap();

    let process = "systemctl show --value -p MainPID $(systemctl list-units --plain --no-legend 'roadstead-erp-migrate-*' | cut -d' ' -f1)";
    let process = web.sh(process).unwrap();
    web.write("/tmp/again.py", AGAIN).unwrap();
    let again = format!("exec python3 /tmp/again.py {} >/tmp/again.log 2>&1", process.trim());
    let mut second = web.exec_in_background(&["sh", "-c", &again]).unwrap();
    let heard = |words: &str| web.read("/tmp/again.log").is_ok_and(|log| log.contains(words));
    wait_until("the second runner to wait", SOON, || heard("roadstead waits: for another migration on this database server")).unwrap();

    let agent = web.main_process("roadstead-agent").unwrap();
    web.systemctl(&["kill", "-s", "KILL", "roadstead-agent"]).unwrap();
    wait_until("the agent to be gone", SOON, || !agent.is_alive()).unwrap();
    fleet.wait_for_all().unwrap();
    assert!(migrates(), "the migration did not notice");
    end(gate);
    let watched = fleet.watch(&rollout).unwrap();
    assert!(watched.success(), "{}{}", said(&watched), logs(fleet, &rollout));
    let second = second.wait().unwrap();
    let told = web.read("/tmp/again.log").unwrap();
    println!("{told}");
    assert!(second.success() && told.contains("No migrations to apply"), "{told}");

    assert_eq!(fleet.data.mariadb("erp", "SELECT count(*) FROM story_once").unwrap(), "1");
    assert_eq!(applied(fleet), "0004_once\n0005_next");
    assert_eq!(fleet.serving().unwrap(), ["2.1.0"]);
    let backup = fleet.rollout(&rollout).unwrap()["backup"].clone();
    assert!(backup["check"] == "restored" && backup["place"].as_str().unwrap().starts_with("/var/backups/erp-"), "{backup:#}");
}

/// A version with two migrations more, the first of which waits for the story.
fn release(fleet: &Fleet, project: &Project) {
    let once = [
        "CREATE TABLE story_once (id integer AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO story_once VALUES ()",
        "SELECT GET_LOCK('story', 600)",
        "SELECT RELEASE_LOCK('story')",
    ];
    let next = ["ALTER TABLE story_once ADD COLUMN next integer"];
    for (name, after, statements) in [("0004_once", "0003_customer_loyalty_tier", &once[..]), ("0005_next", "0004_once", &next[..])] {
        let operations: Vec<_> = statements.iter().map(|sql| format!("migrations.RunSQL(\"{sql}\", migrations.RunSQL.noop)")).collect();
        let text = format!(
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{after}\")]\n    \
             operations = [{}]\n",
            operations.join(", ")
        );
        project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    }
    project.release(fleet, "2.1.0").unwrap();
}

/// A session of somebody else's that holds a lock of the server's.
fn holding(fleet: &Fleet, lock: &str) -> Child {
    let mut command = fleet.data.command(&["mariadb", "--skip-column-names", "mysql"]).unwrap();
    let mut session = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    session.stdin.as_mut().unwrap().write_all(format!("SELECT GET_LOCK('{lock}', 600);\n").as_bytes()).unwrap();
    let held = || fleet.data.mariadb("mysql", &format!("SELECT IS_FREE_LOCK('{lock}')")).is_ok_and(|free| free == "0");
    wait_until("the story to hold its lock", SOON, held).unwrap();
    session
}

/// Ends it, however it stands.
fn end(mut session: Child) {
    drop(session.stdin.take());
    session.wait().unwrap();
}

/// The migration waits for the lock of the server, and the rollout says so.
fn waits(fleet: &Fleet, rollout: &str) {
    let told = "migrate waits: for another migration on this database server";
    let shown = || fleet.desk.roadstead(&["rollout", "show", rollout]).is_ok_and(|shown| shown.contains(told));
    wait_until("rollout show to say that the migration waits", SOON * 2, shown).unwrap();
}

fn deploy(fleet: &Fleet, version: &str) -> Execution {
    fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap()
}

fn db(fleet: &Fleet, words: &[&str]) -> Execution {
    let words: Vec<&str> = ["db"].iter().chain(words).chain(&["--reason", "a story"]).copied().collect();
    fleet.desk.try_roadstead(&words).unwrap()
}

fn newest(fleet: &Fleet) -> Value {
    fleet.desk.json(&["db", "list", "staging"]).unwrap()[0].clone()
}

fn logs(fleet: &Fleet, rollout: &str) -> String {
    fleet.desk.roadstead(&["logs", rollout, "--host", "web-1", "--step", "migrate"]).unwrap()
}

/// The story's migrations that the database has.
fn applied(fleet: &Fleet) -> String {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003_z' ORDER BY id";
    fleet.data.mariadb("erp", sql).unwrap()
}

fn said(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

/// What was said, however its lines are broken.
fn words(done: &Execution) -> String {
    said(done).split_whitespace().collect::<Vec<_>>().join(" ")
}
