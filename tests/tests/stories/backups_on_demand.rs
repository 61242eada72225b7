//! Backups that somebody asks for: made while everything serves, by several jobs, looked at again, found bad when they are, restored, and called
//! off by whatever is more urgent.

use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::lab::{Execution, Host, wait_until};
use serde_json::Value;

use crate::SOON;

const DUMP: &str = "/usr/lib/postgresql/15/bin/pg_dump";
/// What a row of `fill` takes with its place in the index.
const ROW_BYTES: u64 = 230;
const SHELF: &str = "/var/lib/roadstead-backups/erp";

#[test]
fn backups_are_made_and_looked_at_whenever_somebody_wants() {
    let policy = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
    let fleet = Fleet::new("on-demand", &FleetOptions::default().policy(policy)).unwrap();
    let web = &fleet.hosts[0];
    let early = db(&fleet, &["backup", "staging"]);
    assert_eq!(early.code, Some(3), "nothing runs yet: {early:?}");
    assert!(early.stderr.contains("nobody knows the way to its database"), "{early:?}");
    fleet.deploy("1.0.0").unwrap();
    fleet.deploy("1.1.0").unwrap();
    let customers = "INSERT INTO customers_customer (number, name, vat_id, street, postcode, city, country, billing_email, discount_percent, \
         active, created_at, loyalty_tier) SELECT 'C' || n, 'Customer ' || n, '', '', '', '', 'DE', 'c@example.org', 0, true, now(), 'standard' \
         FROM generate_series(1, 500) n";
    fleet.data.sql("erp", customers).unwrap();

    let plain = made(&fleet, &[]);
    assert_eq!((plain["check"].as_str(), plain["encrypted"].as_bool()), (Some("restored"), Some(false)), "{plain:#}");
    assert!(plain["database_bytes"].as_u64().unwrap() > 1_000_000, "{plain:#}");
    fill(&fleet);
    by_jobs(&fleet, web);
    large(&fleet);
    damaged(&fleet, web, plain["name"].as_str().unwrap());
    encrypted(&fleet, web);
    called_off(&fleet, web);
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);
}

/// Rows that do not pack well: a few megabytes of them, or as many as `ROADSTEAD_DATABASE_MB` says.
fn fill(fleet: &Fleet) {
    let megabytes: u64 = std::env::var("ROADSTEAD_DATABASE_MB").map_or(8, |text| text.parse().unwrap());
    let rows = megabytes * 1_000_000 / ROW_BYTES;
    for table in ["story_a", "story_b", "story_c"] {
        let made = format!("CREATE TABLE {table} (id bigint PRIMARY KEY, text text NOT NULL)");
        let filled = format!(
            "INSERT INTO {table} SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) || md5((n * 17)::text) || \
             md5((n * 19)::text) FROM generate_series(1, {}) n",
            rows / 3
        );
        let owned = format!("ALTER TABLE {table} OWNER TO erp; ANALYZE {table}");
        [made, filled, owned].iter().for_each(|sql| drop(fleet.data.sql("erp", sql).unwrap()));
    }
    println!("the database has {}", fleet.data.sql("erp", "SELECT pg_size_pretty(pg_database_size('erp'))").unwrap());
}

fn db(fleet: &Fleet, words: &[&str]) -> Execution {
    let words: Vec<&str> = ["db"].iter().chain(words).chain(&["--reason", "a story"]).copied().collect();
    fleet.desk.try_roadstead(&words).unwrap()
}

/// Makes one, which has to go well; its evidence.
fn made(fleet: &Fleet, words: &[&str]) -> Value {
    let words: Vec<&str> = ["backup", "staging"].iter().chain(words).copied().collect();
    let done = db(fleet, &words);
    assert_eq!(done.code, Some(0), "{done:?}");
    println!("{}", done.stdout);
    newest(fleet)
}

fn newest(fleet: &Fleet) -> Value {
    fleet.desk.json(&["db", "list", "staging"]).unwrap()[0].clone()
}

fn settings(fleet: &Fleet, web: &Host, lines: &str) {
    web.write("/etc/roadstead/agent.toml", format!("[backup.erp]\n{lines}")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
}

/// Several jobs write a folder, which is one file; it is looked at again, and restored.
fn by_jobs(fleet: &Fleet, web: &Host) {
    settings(fleet, web, "jobs = 3\n");
    let backup = made(fleet, &[]);
    let (name, place) = (backup["name"].as_str().unwrap(), backup["place"].as_str().unwrap());
    assert!(place.ends_with(".tar"), "{backup:#}");
    assert!(web.sh(&format!("tar -tf {place}")).unwrap().contains("toc.dat"));
    let again = db(fleet, &["verify", name]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(newest(fleet)["rechecked"]["check"], "restored");
    let listed = fleet.desk.roadstead(&["db", "list", "staging"]).unwrap();
    println!("{listed}");
    assert_eq!(listed.matches("restored and compared").count(), 4, "one was looked at twice: {listed}");
    assert_eq!(web.sh(&format!("ls -A {SHELF}/../.work/erp 2>/dev/null || true")).unwrap().trim(), "", "nothing is left of it");

    fleet.data.sql("erp", "DELETE FROM customers_customer").unwrap();
    let restored = db(fleet, &["restore", name, "--yes-lose-data"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(fleet.data.sql("erp", "SELECT count(*) FROM customers_customer").unwrap().trim(), "500");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"], "what served when it was made");
}

/// A database that is larger than what is to be restored is read back, and that is said.
fn large(fleet: &Fleet) {
    let backup = made(fleet, &["--check", "restored up to 1 MB"]);
    assert_eq!(backup["check"], "listed", "{backup:#}");
    assert!(backup["seen"].as_str().unwrap().contains("is larger than what is restored up to 1 MB"), "{backup:#}");
    let refused = db(fleet, &["backup", "staging", "--check", "restored up to 1 parsec"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("restored up to 50 GB"), "{refused:?}");
}

/// One that is no longer what it was is found bad, and nobody vouches for it any more.
fn damaged(fleet: &Fleet, web: &Host, name: &str) {
    web.sh(&format!("printf x | dd of={SHELF}/{name}.dump bs=1 seek=3000 conv=notrunc status=none")).unwrap();
    let looked = db(fleet, &["verify", name]);
    assert!(looked.code == Some(1) && looked.stderr.contains("its digest differs"), "{looked:?}");
    let evidence: Value = serde_json::from_str(&web.sh(&format!("cat {SHELF}/{name}.json")).unwrap()).unwrap();
    assert!(evidence["bad"].as_str().unwrap().contains("its digest differs"), "{evidence:#}");
    let listed = fleet.desk.roadstead(&["db", "list", "staging"]).unwrap();
    assert!(listed.lines().any(|line| line.starts_with(name) && line.contains("FOUND BAD: ")), "{listed}");
    let nothing = db(fleet, &["verify", "erp-r-9999-1"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("no rollout made a backup"), "{nothing:?}");
}

/// Without its key what is encrypted is weighed, and with it looked into.
fn encrypted(fleet: &Fleet, web: &Host) {
    let key = fleet.data.sh("age-keygen 2>/dev/null").unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    settings(fleet, web, &format!("recipients = [\"{public}\"]\n"));
    let backup = made(fleet, &[]);
    let name = backup["name"].as_str().unwrap();
    assert_eq!((backup["check"].as_str(), backup["encrypted"].as_bool()), (Some("restored"), Some(true)), "{backup:#}");
    let weighed = db(fleet, &["verify", name]);
    assert!(weighed.code == Some(0) && weighed.stdout.contains("its secret key is not here"), "{weighed:?}");
    let evidence: Value = serde_json::from_str(&web.sh(&format!("cat {SHELF}/{name}.json")).unwrap()).unwrap();
    assert_eq!(evidence["check"], "restored", "a lighter look takes nothing back");
    web.sh("install -d -m 700 /run/roadstead-identity").unwrap();
    web.write("/run/roadstead-identity/erp.txt", key).unwrap();
    web.sh("chmod 600 /run/roadstead-identity/erp.txt").unwrap();
    let looked = db(fleet, &["verify", name]);
    web.sh("rm -r /run/roadstead-identity").unwrap();
    assert!(looked.code == Some(0) && looked.stdout.contains("restored and compared"), "{looked:?}");
}

/// A rollback waits for no backup; what was called off leaves nothing behind.
fn called_off(fleet: &Fleet, web: &Host) {
    web.sh(&format!("mv {DUMP} {DUMP}.real")).unwrap();
    let waits = format!("#!/bin/bash\n[ \"$1\" = --version ] && exec {DUMP}.real --version\nexec -a waiting-dump sleep infinity\n");
    web.write(DUMP, waits).unwrap();
    web.sh(&format!("chmod 755 {DUMP}")).unwrap();
    let begun = fleet.desk.json(&["db", "backup", "staging", "--reason", "a story", "--no-wait"]).unwrap();
    let rollout = begun["rollout"].as_str().unwrap().to_owned();
    let dumps = || web.sh("pgrep -f '^waiting-dump'").is_ok();
    wait_until("the backup to be under way", SOON, dumps).unwrap();
    let another = db(fleet, &["backup", "staging"]);
    assert!(another.code == Some(3) && another.stderr.contains(&format!("{rollout} of erp to staging has not ended")), "{another:?}");
    fleet.desk.roadstead(&["rollback", "staging", "--reason", "1.1.0 is slow"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);
    let shown = fleet.rollout(&rollout).unwrap();
    assert_eq!(shown["phase"], "failed", "{shown:#}");
    assert!(shown["failure"]["summary"].as_str().unwrap().contains("gave way"), "{shown:#}");
    wait_until("the dump to be gone", SOON, || !dumps()).unwrap();
    web.sh(&format!("mv {DUMP}.real {DUMP}")).unwrap();
    let files = |what: &str| web.sh(&format!("ls {SHELF} | grep -c {what} || true")).unwrap().trim().parse::<usize>().unwrap();
    assert_eq!(files("json"), files("facts"), "what was called off is no backup");
}
