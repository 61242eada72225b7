//! Before a database is migrated it is backed up, and the backup is restored elsewhere and compared, while others go on writing. A backup
//! that lies stops the release, and so does a migration with which the release that serves does not get along.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Execution, Host};
use serde_json::Value;

const DUMP: &str = "/usr/lib/postgresql/15/bin/pg_dump";
/// What stands in for a `pg_dump` that lies: each does its work with the real one, and something besides.
const LIES: [(&str, &str, &str); 6] = [
    ("cut short", "\"$real\" \"$@\"; truncate -s -3000 \"$file\"", "cannot be restored"),
    (
        "of another database",
        "db=$(sed s/dbname=.erp./dbname=other/ <<<\"$db\"); \"$real\" --format=custom --file=\"$file\" --dbname=\"$db\"",
        "is missing",
    ),
    ("without the rows of a table", "\"$real\" \"$@\" --exclude-table-data=customers_customer", "table public.customers_customer had"),
    ("empty", ": >\"$file\"", "cannot be restored"),
    ("not there", "true", "cannot open"),
    ("refused", "echo 'pg_dump: error: permission denied' >&2; exit 1", "pg_dump ended with exit status 1"),
];

#[test]
fn no_migration_without_a_backup_that_was_restored_and_compared() {
    let fleet = Fleet::new("backups", &FleetOptions::default()).unwrap();
    let web = &fleet.hosts[0];
    let first = fleet.deploy("1.1.0").unwrap();
    assert!(first.contains("none needed: the database has no tables yet"), "{first}");
    let customers = "INSERT INTO customers_customer (number, name, vat_id, street, postcode, city, country, billing_email, discount_percent, \
         active, created_at) SELECT 'C' || n, 'Customer ' || n, '', '', '', '', 'DE', 'c@example.org', 0, true, now() FROM generate_series(1, 500) n";
    fleet.data.sql("erp", customers).unwrap();
    fleet.data.sql("postgres", "CREATE DATABASE other OWNER erp").unwrap();
    fleet.data.sql("other", "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO erp").unwrap();

    lies(&fleet, web);
    good(&fleet, web);
    lighter(&fleet, web);
    incompatible(&fleet);
}

/// A release with one more migration than the one before.
fn release(fleet: &Fleet, version: &str, name: &str, after: &str, sql: &str) {
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    for (name, after, sql) in MADE.iter().take_while(|(made, ..)| *made != name).chain([&(name, after, sql)]) {
        let text = format!(
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{after}\")]\n    \
             operations = [migrations.RunSQL(\"{sql}\", migrations.RunSQL.noop)]\n"
        );
        project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
    }
    project.release(fleet, version).unwrap();
}

/// Every migration of the story, its parent and its SQL.
const MADE: [(&str, &str, &str); 4] = [
    ("0004_note", "0003_customer_loyalty_tier", "CREATE TABLE customers_note (id serial PRIMARY KEY)"),
    ("0005_mark", "0004_note", "ALTER TABLE customers_note ADD COLUMN mark text"),
    ("0006_flag", "0005_mark", "ALTER TABLE customers_note ADD COLUMN flag text"),
    ("0007_products", "0006_flag", "ALTER TABLE catalog_product RENAME TO catalog_article"),
];

fn deploy(fleet: &Fleet, version: &str) -> Execution {
    fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap()
}

fn applied(fleet: &Fleet) -> String {
    fleet.data.sql("erp", "SELECT max(name) FROM django_migrations WHERE app = 'customers'").unwrap().trim().to_owned()
}

fn newest(fleet: &Fleet) -> Value {
    fleet.desk.json(&["rollout", "list", "--env", "staging", "--limit", "1"]).unwrap()[0].clone()
}

/// Each lie stops the release before anything is migrated.
fn lies(fleet: &Fleet, web: &Host) {
    let (name, after, sql) = MADE[0];
    release(fleet, "1.2.0", name, after, sql);
    web.sh(&format!("mv {DUMP} {DUMP}.real")).unwrap();
    for (what, does, says) in LIES {
        let script = format!(
            "#!/bin/bash\nreal={DUMP}.real\nfor word in \"$@\"; do\n  case $word in\n    --version) exec $real --version ;;\n    --file=*) file=${{word#--file=}} ;;\n    \
             --dbname=*) db=${{word#--dbname=}} ;;\n  esac\ndone\n{does}\n"
        );
        web.write(DUMP, script).unwrap();
        web.sh(&format!("chmod 755 {DUMP}")).unwrap();
        let done = deploy(fleet, "1.2.0");
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(1), "a backup that is {what}: {said}");
        assert!(said.contains(says), "a backup that is {what} is to say {says:?}: {said}");
        assert_ne!(applied(fleet), name, "a backup that is {what}");
        assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
    }
    web.write(DUMP, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.4'\n").unwrap();
    let done = deploy(fleet, "1.2.0");
    assert!(done.stderr.contains("postgresql-client-15") || done.stdout.contains("postgresql-client-15"), "{done:?}");
    web.sh(&format!("mv {DUMP}.real {DUMP}")).unwrap();
    assert_eq!(web.sh("ls /var/lib/roadstead-backups/erp").unwrap().trim(), "", "what lied is not kept");
}

/// A good one passes while others write, is encrypted to the team's key, and gives everything back to who has that.
fn good(fleet: &Fleet, web: &Host) {
    let key = fleet.data.sh("age-keygen 2>/dev/null").unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    web.write("/etc/roadstead/agent.toml", format!("[backup.erp]\nrecipients = [\"{public}\"]\nkeep = 2\n")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    let write = "while psql -q -d erp -c \"UPDATE customers_customer SET name = name || '.' WHERE id % 7 = 0; INSERT INTO customers_contact \
         (customer_id, name, email, phone) SELECT id, 'x', '', '' FROM customers_customer LIMIT 5\" 2>/dev/null; do :; done";
    let mut writer = fleet.data.exec_in_background(&["su", "postgres", "-c", write]).unwrap();
    let done = deploy(fleet, "1.2.0");
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(applied(fleet), "0004_note");
    let backup = newest(fleet)["backup"].clone();
    println!("{backup:#}");
    assert_eq!(
        (backup["check"].as_str(), backup["encrypted"].as_bool(), backup["host"].as_str()),
        (Some("restored"), Some(true), Some("web-1"))
    );
    assert!(backup["database"].as_str().unwrap().contains("database erp on"), "{backup}");
    assert!(backup["seen"].as_str().unwrap().contains("rows counted"), "{backup}");
    let place = backup["place"].as_str().unwrap();
    assert_eq!(web.sh(&format!("stat -c %a:%U {place}")).unwrap().trim(), "600:root");
    assert!(web.sh(&format!("head -c 40 {place}")).unwrap().starts_with("age-encryption.org/v1"));
    assert_eq!(web.sh("ls -A /var/lib/roadstead-backups/.work/erp 2>/dev/null || true").unwrap().trim(), "", "nothing in clear is left");
    let listed = fleet.desk.roadstead(&["db", "list", "staging"]).unwrap();
    assert!(listed.contains("restored and compared") && listed.contains("encrypted"), "{listed}");

    // as a team would, with its key, elsewhere
    let bytes = std::fs::read(web.root_path().join(place.trim_start_matches('/'))).unwrap();
    fleet.data.write("/tmp/backup.age", bytes).unwrap();
    fleet.data.write("/tmp/key", key).unwrap();
    fleet.data.sh("age -d -i /tmp/key -o /tmp/backup.dump /tmp/backup.age && chmod 644 /tmp/backup.dump").unwrap();
    fleet.data.sql("postgres", "CREATE DATABASE again").unwrap();
    fleet.data.sh("su postgres -c 'pg_restore --exit-on-error -d again /tmp/backup.dump'").unwrap();
    let customers = fleet.data.sql("again", "SELECT count(*) FROM customers_customer").unwrap();
    assert_eq!(customers.trim(), "500");
}

/// A lighter check is named as such, a host may insist on more, and a command may do it all.
fn lighter(fleet: &Fleet, web: &Host) {
    let (name, after, sql) = MADE[1];
    release(fleet, "1.3.0", name, after, sql);
    fleet.apply("[strategy]\nbake = \"1s\"\n[database]\nbackup = \"listed\"\n").unwrap();
    let plan = fleet.desk.roadstead(&["plan", "staging", "1.3.0"]).unwrap();
    assert!(plan.contains("read back, not restored"), "{plan}");
    let done = deploy(fleet, "1.3.0");
    assert_eq!(done.code, Some(0), "{done:?}");
    let backup = newest(fleet)["backup"].clone();
    assert_eq!(backup["check"], "listed", "{backup}");

    let (name, after, sql) = MADE[2];
    release(fleet, "1.4.0", name, after, sql);
    fleet.apply("[strategy]\nbake = \"1s\"\n[database]\nbackup = \"none\"\n").unwrap();
    let snapshot = "#!/bin/sh\necho taking $ROADSTEAD_BACKUP of $ROADSTEAD_APP\necho place s3://backups/$ROADSTEAD_BACKUP\n${CHECK:-echo check listed}\n";
    web.write("/usr/local/sbin/snapshot", snapshot).unwrap();
    web.sh("chmod 755 /usr/local/sbin/snapshot").unwrap();
    let command = "command = [\"/usr/local/sbin/snapshot\"]\n";
    web.write("/etc/roadstead/agent.toml", format!("[backup.erp]\nat-least = \"restored\"\n{command}")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    let done = deploy(fleet, "1.4.0");
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("its backup was read back, not restored, and one that was restored and compared is demanded"), "{said}");
    assert_eq!(applied(fleet), "0005_mark");
    web.write("/etc/roadstead/agent.toml", format!("[backup.erp]\nat-least = \"listed\"\n{command}")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    let done = deploy(fleet, "1.4.0");
    assert_eq!(done.code, Some(0), "{done:?}");
    let backup = newest(fleet)["backup"].clone();
    assert!(backup["place"].as_str().unwrap().starts_with("s3://backups/erp-"), "{backup}");
    assert_eq!(backup["seen"], "as the command says");
}

/// What serves does not get along with the new schema: nothing moves, and it is said what to do.
fn incompatible(fleet: &Fleet) {
    let (name, after, sql) = MADE[3];
    release(fleet, "1.5.0", name, after, sql);
    let done = deploy(fleet, "1.5.0");
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("does not pass its checks with the migrated database"), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["1.4.0"]);
    assert_eq!(newest(fleet)["hosts"][0]["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "cutover").count(), 0);
}
