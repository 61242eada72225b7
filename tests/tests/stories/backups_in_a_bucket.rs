//! A backup goes to a bucket, encrypted, before a migration begins; nothing of it stays on its host but what is known of it. Without the bucket
//! there is no migration, and a restore brings it back, also where nothing is known of it any more. Nobody sees the keys.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Execution, Host};

use crate::s3_server::{self, PROVIDER, SECRET};

const BUCKET: &str = "/srv/s3/backups/production/erp";
const SHELF: &str = "/var/lib/roadstead-backups/erp";

#[test]
fn a_backup_leaves_its_host_and_comes_back() {
    let fleet = Fleet::new("bucket", &FleetOptions::default()).unwrap();
    let web = &fleet.hosts[0];
    fleet.deploy("1.1.0").unwrap();
    fleet.data.sql("postgres", "ALTER ROLE erp CREATEDB").unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    let text = "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \
                \"0003_customer_loyalty_tier\")]\n    operations = [migrations.RunSQL(\"CREATE TABLE customers_note (id serial PRIMARY KEY)\", \
                migrations.RunSQL.noop)]\n";
    project.write("customers/migrations/0004_note.py", text).unwrap();
    project.release(&fleet, "1.2.0").unwrap();
    let key = set_up(&fleet, web);

    // Without its bucket nothing is migrated, and it is said what to do.
    let said = words(&deploy(&fleet, Some(1)));
    assert!(said.contains("cannot look into s3://backups/production/erp/ at 127.0.0.1:9000"), "{said}");
    assert!(said.contains("see whether the server runs") && said.contains("nothing is migrated"), "{said}");
    assert_eq!(migrated(&fleet), "0003_customer_loyalty_tier");
    assert_eq!(web.sh(&format!("ls -A {SHELF}")).unwrap().trim(), "", "what went nowhere is not kept");

    // With it, all of it is there before anything is migrated, for nobody to read but the team.
    s3_server::start(web);
    deploy(&fleet, Some(0));
    assert_eq!(migrated(&fleet), "0004_note");
    let backup = fleet.desk.json(&["db", "list", "staging"]).unwrap()[0].clone();
    println!("{backup:#}\n{}", fleet.desk.roadstead(&["db", "list", "staging"]).unwrap());
    let name = backup["name"].as_str().unwrap();
    assert_eq!(backup["place"], format!("s3://backups/production/erp/{name}.dump.age").as_str());
    assert_eq!((backup["check"].as_str(), backup["encrypted"].as_bool()), (Some("restored"), Some(true)));
    let there = format!("{name}.dump.age\n{name}.facts\n{name}.json");
    assert_eq!(web.sh(&format!("ls {BUCKET}")).unwrap().trim(), there);
    assert!(web.sh(&format!("head -c 40 {BUCKET}/{name}.dump.age")).unwrap().starts_with("age-encryption.org/v1"));
    assert_eq!(web.sh(&format!("ls -A {SHELF}")).unwrap().trim(), format!("{name}.facts\n{name}.json"));
    assert_eq!(web.sh(&format!("ls -A {SHELF}/../.work/erp 2>/dev/null || true")).unwrap().trim(), "", "nothing in clear is left");

    // It comes back, also to a host that knows nothing of it, and is not taken for what it is not.
    web.sh(&format!("rm {SHELF}/*")).unwrap();
    web.sh("install -d -m 700 /run/roadstead-identity").unwrap();
    web.write("/run/roadstead-identity/erp.txt", key).unwrap();
    web.sh("chmod 600 /run/roadstead-identity/erp.txt").unwrap();
    let file = format!("{BUCKET}/{name}.dump.age");
    web.sh(&format!("cp -a {file} /root/kept && printf x | dd of={file} bs=1 seek=3000 conv=notrunc 2>/dev/null")).unwrap();
    let said = words(&restore(&fleet, name, Some(1)));
    assert!(said.contains("its digest differs"), "{said}");
    // Whoever asks the bucket from another host hears what was found out about what lies there.
    let verify = || fleet.desk.try_roadstead(&["db", "verify", name, "--reason", "a story"]).unwrap();
    let evidence = || web.read(&format!("{BUCKET}/{name}.json")).unwrap();
    let bad = verify();
    assert!(bad.code == Some(1) && evidence().contains("its digest differs"), "{bad:?}{}", evidence());
    web.sh(&format!("cp -a /root/kept {file}")).unwrap();
    let good = verify();
    assert!(good.code == Some(0) && !evidence().contains("its digest differs"), "{good:?}{}", evidence());
    let restored = words(&restore(&fleet, name, Some(0)));
    println!("{restored}");
    assert_eq!(migrated(&fleet), "0003_customer_loyalty_tier");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
    let left = web.sh(&format!("ls -A {SHELF}")).unwrap();
    assert_eq!(
        left.trim(),
        format!("{name}.adopted\n{name}.facts\n{name}.json"),
        "what was brought is gone, and it is known to be another's"
    );

    nobody_sees_the_keys(&fleet, web, &[said, restored]);
}

/// A server that does not run yet, the host's settings for it, and whoever is called with its key written down. Gives the team's secret key.
fn set_up(fleet: &Fleet, web: &Host) -> String {
    s3_server::install(web, "backups");
    let key = fleet.data.sh("age-keygen 2>/dev/null").unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let bucket = s3_server::section("backups", "production/erp");
    let settings = format!("{PROVIDER}[backup.erp]\nrecipients = [\"{public}\"]\n[backup.erp.bucket]\n{bucket}");
    web.write("/etc/roadstead/agent.toml", settings).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    let watch = "while :; do for one in /proc/[0-9]*/cmdline; do if grep -aqsf /etc/roadstead/keys/bucket/secret $one; then tr '\\0' ' ' <$one; \
                 echo; fi; done; sleep 0.05; done >/root/called";
    drop(web.exec_in_background(&["sh", "-c", watch]).unwrap());
    key
}

fn nobody_sees_the_keys(fleet: &Fleet, web: &Host, said: &[String]) {
    let called = web.sh("sort -u /root/called").unwrap();
    assert!(called.lines().all(|line| line.contains("s3s-fs")) && !called.is_empty(), "somebody else is called with the key: {called}");
    web.write("/root/sought", format!("{SECRET}\n")).unwrap();
    let found = web.sh("journalctl -o export | grep -acf /root/sought || true; grep -rlf /root/sought /var/lib /run || true").unwrap();
    assert_eq!(found.trim(), "0", "the key is in the journal, or on the disk");
    let shown = fleet.desk.roadstead(&["rollout", "show", "r-2"]).unwrap();
    for text in said.iter().chain([&shown]) {
        assert!(!text.contains("canary"), "{text}");
    }
}

fn deploy(fleet: &Fleet, code: Option<i32>) -> Execution {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.2.0"]).unwrap();
    assert_eq!(done.code, code, "{done:?}");
    done
}

fn restore(fleet: &Fleet, name: &str, code: Option<i32>) -> Execution {
    let done = fleet.desk.try_roadstead(&["db", "restore", name, "--reason", "a look", "--yes-lose-data"]).unwrap();
    assert_eq!(done.code, code, "{done:?}");
    done
}

fn words(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

fn migrated(fleet: &Fleet) -> String {
    fleet.data.sql("erp", "SELECT max(name) FROM django_migrations WHERE app = 'customers'").unwrap().trim().to_owned()
}
