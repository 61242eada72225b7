//! A migration drops a column with data, and that is noticed when others have been writing for a while: the backup of before is restored, what that
//! loses is told before and counted after, and whatever is in the way is told before anything stops.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Execution, Host, wait_until};
use std::process::Child;

use crate::SOON;

const TOKEN: &str = "0123456789012345678901234567890123456789";
const DROPS: &str = "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    \
    dependencies = [(\"customers\", \"0003_customer_loyalty_tier\")]\n    operations = [migrations.RemoveField(\"customer\", \"vat_id\")]\n";

#[test]
fn a_dropped_column_comes_back_and_what_that_loses_is_told() {
    let policy = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n[database]\nrestore-approvals = [{ role = \"dba\" }]\n";
    let options = FleetOptions::default().hosts(2).policy(policy).settings("roles = { dba = [\"ada\", \"bob\"] }\n");
    let fleet = Fleet::new("restore", &options).unwrap();
    let web = &fleet.hosts[0];
    let key = fleet.data.sh("age-keygen 2>/dev/null").unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    web.write("/etc/roadstead/agent.toml", format!("[backup.erp]\nrecipients = [\"{public}\"]\n")).unwrap();
    web.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    fleet.deploy("1.1.0").unwrap();
    fill(&fleet);
    drops_a_column(&fleet, "1.2.0");

    let mut writer = write(&fleet, web);
    fleet.desk.roadstead(&["deploy", "staging", "1.2.0"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.2.0", "1.2.0"]);
    let backup = fleet.desk.json(&["db", "list", "staging"]).unwrap()[0]["name"].as_str().unwrap().to_owned();
    println!("{}", fleet.desk.roadstead(&["db", "list", "staging"]).unwrap());
    let after = accepted(&fleet);
    wait_until("others to have written for a while", SOON, || accepted(&fleet) >= after + 40).unwrap();
    edit(&fleet);

    refused(&fleet, web, &backup, &key);
    let survey = restore(&fleet, &backup, &["--survey"]);
    assert_eq!(survey.code, Some(0), "{survey:?}");
    println!("{}", survey.stdout);
    for says in ["public.customers_contact", "at least", "column vat_id of public.customers_customer comes back", "customers.0004_drop"] {
        assert!(survey.stdout.contains(says), "{says}: {survey:?}");
    }
    assert_eq!(fleet.serving().unwrap(), ["1.2.0", "1.2.0"], "a look stops nothing");
    typed(&fleet, &backup, "production", Some(3));
    assert_eq!(fleet.serving().unwrap(), ["1.2.0", "1.2.0"], "another name stops nothing");

    let done = std::thread::scope(|scope| {
        let another = scope.spawn(|| approve(&fleet));
        let done = typed(&fleet, &backup, "staging", Some(0));
        another.join().unwrap();
        done
    });
    println!("{done}");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0", "1.1.0"]);
    let written = accepted(&fleet);
    wait_until("others to write again", SOON, || accepted(&fleet) > written).unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    lost(&fleet);
    goes_on(&fleet);
}

/// Customers with a VAT number, and a token with which others write.
fn fill(fleet: &Fleet) {
    for sql in [
        "INSERT INTO customers_customer (number, name, vat_id, street, postcode, city, country, billing_email, discount_percent, active, created_at, \
         loyalty_tier) SELECT 'C' || n, 'Customer ' || n, 'DE' || n, '', '', '', 'DE', 'c@example.org', 0, true, now(), 'standard' FROM generate_series(1, 200) n",
        "INSERT INTO customers_contact (customer_id, name, role, email, phone) SELECT id, 'Somebody', '', '', '' FROM customers_customer LIMIT 30",
        "INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined) \
         VALUES ('!', true, 'writer', '', '', '', false, true, now())",
        "INSERT INTO authtoken_token (key, created, user_id) SELECT '0123456789012345678901234567890123456789', now(), id FROM auth_user",
    ] {
        fleet.data.sql("erp", sql).unwrap();
    }
}

fn drops_a_column(fleet: &Fleet, version: &str) {
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    project.write("customers/migrations/0004_drop.py", DROPS).unwrap();
    project.edit("customers/models.py", "    vat_id = models.CharField(\"VAT id\", max_length=20, blank=True)\n", "").unwrap();
    project.edit("customers/api.py", "            \"vat_id\",\n", "").unwrap();
    project.edit("customers/admin.py", ", \"vat_id\"", "").unwrap();
    project.release(fleet, version).unwrap();
}

/// Contacts are posted through the app, one behind the other; those that it accepts are counted.
fn write(fleet: &Fleet, web: &Host) -> Child {
    let url = format!("http://{}/api/contacts/", web.ip());
    let script = format!(
        "while :; do curl -s -o /dev/null -m 5 -w '%{{http_code}}\\n' -H 'Authorization: Token {TOKEN}' -d customer=7 -d name=Later {url} \
         >>/tmp/written; sleep 0.05; done"
    );
    fleet.data.exec_in_background(&["sh", "-c", &script]).unwrap()
}

fn accepted(fleet: &Fleet) -> u64 {
    fleet.data.sh("grep -c '^201$' /tmp/written || true").unwrap().trim().parse().unwrap_or(0)
}

/// What was there when the backup was made is changed and removed, too.
fn edit(fleet: &Fleet) {
    fleet.data.sql("erp", "UPDATE customers_customer SET name = name || ' GmbH' WHERE number IN ('C1', 'C2', 'C3')").unwrap();
    fleet
        .data
        .sql("erp", "DELETE FROM customers_contact WHERE name = 'Somebody' AND id = (SELECT min(id) FROM customers_contact)")
        .unwrap();
}

fn restore(fleet: &Fleet, backup: &str, more: &[&str]) -> Execution {
    let words = ["db", "restore", backup, "--reason", "1.2.0 dropped the VAT numbers"];
    fleet.desk.try_roadstead(&[&words[..], more].concat()).unwrap()
}

/// The restore as somebody at a terminal asks for it, who types this name.
fn typed(fleet: &Fleet, backup: &str, name: &str, code: Option<i32>) -> String {
    let program = fleet.desk.program().display().to_string();
    let command = format!("NO_COLOR=1 {program} db restore {backup} --reason 'the VAT numbers are gone'");
    let script = format!("printf '{name}\\n' | script -qefc \"{command}\" /dev/null");
    let done = fleet.desk.run(&["sh", "-c", &script]).unwrap();
    assert_eq!(done.code, code, "{done:?}");
    done.stdout
}

/// Nothing stops before somebody else approves it.
fn approve(fleet: &Fleet) {
    let bob = fleet.desk.of_admin("bob").unwrap();
    let mut rollout = String::new();
    wait_until("the restore to wait for an approval", SOON * 4, || {
        let newest = bob.json(&["rollout", "list"]).unwrap()[0].clone();
        newest["rollout"].as_str().unwrap_or_default().clone_into(&mut rollout);
        let shown = fleet.rollout(&rollout).unwrap();
        shown["waiting"]["for"].as_str().is_some_and(|awaited| awaited.contains("the approval of one of dba (not of admin:ada"))
    })
    .unwrap();
    println!("{}", fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap());
    let own = fleet.desk.try_roadstead(&["rollout", "approve", &rollout, "--reason", "my own"]).unwrap();
    assert!(own.code == Some(3) && own.stderr.contains("whoever asked for a rollout does not approve it"), "{own:?}");
    assert_eq!(fleet.serving().unwrap(), ["1.2.0", "1.2.0"], "it stops nothing");
    bob.roadstead(&["rollout", "approve", &rollout, "--reason", "the loss is worth it"]).unwrap();
}

/// What is in the way is told by name, with exit status 1, before anything stops.
fn refused(fleet: &Fleet, web: &Host, backup: &str, key: &str) {
    let says = |what: &str| {
        let done = restore(fleet, backup, &["--yes-lose-data"]);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(done.code == Some(1) && said.contains(what), "it is to say {what:?}: {said}");
    };
    let unasked = restore(fleet, backup, &[]);
    assert!(unasked.code == Some(2) && unasked.stderr.contains("--yes-lose-data"), "{unasked:?}");
    says("the secret key /run/roadstead-identity/erp.txt is not there");
    web.sh("install -d -m 700 /run/roadstead-identity").unwrap();
    web.write("/run/roadstead-identity/erp.txt", key).unwrap();
    web.sh("chmod 600 /run/roadstead-identity/erp.txt").unwrap();
    let file = format!("/var/lib/roadstead-backups/erp/{backup}.dump.age");
    web.sh(&format!("cp -a {file} /root/kept && printf x | dd of={file} bs=1 seek=3000 conv=notrunc 2>/dev/null")).unwrap();
    says("its digest differs");
    web.sh(&format!("cp -a /root/kept {file}")).unwrap();
    fleet.data.sql("postgres", "ALTER ROLE erp NOCREATEDB").unwrap();
    says("may not make databases");
    fleet.data.sql("postgres", "ALTER ROLE erp CREATEDB").unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.2.0", "1.2.0"]);
    let stops = web.sh("journalctl -o cat -u 'erp-web@1.2.0*' | grep -c Stopped || true").unwrap();
    assert_eq!(stops.trim(), "0", "nothing stopped for what was refused");
}

/// What the restore says that it lost is what is in the one database and not in the other.
fn lost(fleet: &Fleet) {
    let shown = fleet.desk.json(&["rollout", "list", "--env", "staging", "--limit", "1"]).unwrap()[0].clone();
    let loss = &shown["restore"]["loss"];
    println!("{loss:#}");
    let table = |name: &str| {
        let tables = loss["tables"].as_array().unwrap();
        tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("{name} differs: {loss:#}")).clone()
    };
    let kept = loss["kept_as"].as_str().unwrap();
    let ids = |database: &str| -> Vec<u64> {
        let text = fleet.data.sql(database, "SELECT id FROM customers_contact ORDER BY id").unwrap();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    };
    let (contacts, had, mut has) = (table("public.customers_contact"), ids(kept), ids("erp"));
    // what was written behind the restore has higher numbers
    has.truncate(usize::try_from(contacts["then"].as_u64().unwrap()).unwrap());
    let lost = had.iter().filter(|id| !has.contains(id)).count() as u64;
    let back = has.iter().filter(|id| !had.contains(id)).count() as u64;
    assert!(lost >= 40, "{lost} of {} contacts", had.len());
    assert_eq!((contacts["lost"].as_u64(), contacts["returned"].as_u64(), back), (Some(lost), Some(1), 1), "{contacts}");
    assert_eq!(contacts["now"].as_u64(), Some(had.len() as u64));
    assert_eq!(table("public.customers_customer")["changed"].as_u64(), Some(3));
    let shape = loss["shape"].to_string();
    assert!(shape.contains("vat_id") && shape.contains("is back, with 200 values"), "{shape}");
    assert_eq!(loss["migrations"], serde_json::json!(["customers.0004_drop"]));
    let numbers = fleet.data.sql("erp", "SELECT count(*) FROM customers_customer WHERE vat_id LIKE 'DE%'").unwrap();
    assert_eq!(numbers.trim(), "200");
    let delete = format!("su postgres -c \"psql -Atc 'DELETE FROM customers_contact' {kept}\" 2>&1 || true");
    let read_only = fleet.data.sh(&delete).unwrap();
    assert!(read_only.contains("read-only transaction"), "{read_only}");
}

/// The environment is as any other: the release that did it is above the floor again, and goes out with its migration.
fn goes_on(fleet: &Fleet) {
    let plan = fleet.desk.roadstead(&["plan", "staging", "1.2.0"]).unwrap();
    assert!(plan.contains("customers.0004_drop"), "{plan}");
    let environment = fleet.desk.json(&["env", "show", "staging"]).unwrap().to_string();
    assert!(environment.contains("\"current\":\"1.1.0-"), "{environment}");
    let told = fleet.desk.roadstead(&["history", "--limit", "200"]).unwrap();
    for kind in ["restore-started", "loss-accepted", "exchanged"] {
        assert!(told.contains(kind), "{kind}: {told}");
    }
}
