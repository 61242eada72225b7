//! The long part of a migration of data is a job of its own: it tells how far it is, outlives its agent, gives way to a deployment, and goes on
//! where it stopped when it is asked for again.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::wait_until;

use crate::SOON;

/// Fills what is empty, row by row; in the middle it waits for as long as somebody holds it up.
const BACKFILL: &str = "import time\n\nfrom customers.models import Customer\nfrom django.core.management.base import BaseCommand\n\n\n\
class Command(BaseCommand):\n    def handle(self, **_):\n        total = Customer.objects.count()\n        \
while todo := list(Customer.objects.filter(vat_id=\"\").order_by(\"pk\")[:10]):\n            for customer in todo:\n                \
customer.vat_id, customer.discount_percent = f\"DE{customer.pk}\", customer.discount_percent + 1\n                customer.save()\n            \
left = Customer.objects.filter(vat_id=\"\").count()\n            print(f\"roadstead-progress {total - left} {total} customers\", flush=True)\n            \
while left < total / 2 and Customer.objects.filter(city=\"HOLD\").exists():\n                time.sleep(0.1)\n        print(\"all have a number\")\n";

#[test]
fn a_long_migration_of_data_runs_beside_the_release() {
    let policy = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
    let fleet = Fleet::new("jobs", &FleetOptions::default().policy(policy)).unwrap();
    let web = &fleet.hosts[0];
    fleet.deploy("1.1.0").unwrap();
    let none = fleet.desk.try_roadstead(&["job", "run", "staging", "backfill", "--reason", "a story"]).unwrap();
    assert!(none.code == Some(1) && none.stderr.contains("declares no job backfill: it declares none"), "{none:?}");
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.write("customers/management/__init__.py", "").unwrap();
    project.write("customers/management/commands/__init__.py", "").unwrap();
    project.write("customers/management/commands/backfill.py", BACKFILL).unwrap();
    let job = "[jobs.backfill]\ncommand = [\"python\", \"manage.py\", \"backfill\"]\ntimeout = \"2h\"\n\n[static]";
    project.edit("roadstead.toml", "[static]", job).unwrap();
    project.release(&fleet, "1.2.0").unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.2.0"]).unwrap();
    let listed = fleet.desk.roadstead(&["job", "list", "staging"]).unwrap();
    assert!(listed.contains("python manage.py backfill") && listed.contains("2 h"), "{listed}");
    let customers = "INSERT INTO customers_customer (number, name, vat_id, street, postcode, city, country, billing_email, discount_percent, \
         active, created_at, loyalty_tier) SELECT 'C' || n, 'Customer ' || n, '', '', '', 'HOLD', 'DE', 'c@example.org', 0, true, now(), 'standard' \
         FROM generate_series(1, 200) n";
    fleet.data.sql("erp", customers).unwrap();

    let rollout = begin(&fleet);
    wait_until("the job to be half done", SOON, || filled(&fleet) >= 101).unwrap();
    let shown = || fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap();
    wait_until("rollout show to tell how far it is", SOON, || shown().contains("customers")).unwrap();
    println!("{}", shown());
    assert!(shown().contains("job backfill of erp 1.2.0-") && shown().contains("web-1 to run the job backfill"), "{}", shown());
    assert_eq!(fleet.serving().unwrap(), ["1.2.0"], "everything serves meanwhile");

    // the agent dies, and its successor follows what it began
    let process = || web.sh("pgrep -f '^[^ ]*python[^ ]* manage.py backfill'").unwrap_or_default().trim().to_owned();
    let before = process();
    assert!(!before.is_empty());
    web.systemctl(&["kill", "--signal=KILL", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    assert_eq!(process(), before, "the job is the same process");

    // a deployment comes first
    project.release(&fleet, "1.3.0").unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.3.0"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.3.0"]);
    let ended = fleet.rollout(&rollout).unwrap();
    assert_eq!(ended["phase"], "failed", "{ended:#}");
    assert!(ended["failure"]["summary"].as_str().unwrap().contains("gave way"), "{ended:#}");
    assert_eq!(process(), "", "it is gone before anything else works on the database");
    assert!(filled(&fleet) < 200);

    // and it goes on where it stopped
    fleet.data.sql("erp", "UPDATE customers_customer SET city = ''").unwrap();
    let done = fleet.desk.roadstead(&["job", "run", "staging", "backfill", "--reason", "once more"]).unwrap();
    println!("{done}");
    assert_eq!(filled(&fleet), 200);
    let twice = fleet.data.sql("erp", "SELECT count(*) FROM customers_customer WHERE discount_percent <> 1").unwrap();
    assert_eq!(twice.trim(), "0", "nothing was done twice");
    let again = fleet.desk.json(&["rollout", "list", "--env", "staging", "--limit", "1"]).unwrap();
    let logs = fleet.desk.roadstead(&["logs", again[0]["rollout"].as_str().unwrap(), "--step", "job"]).unwrap();
    assert!(logs.contains("all have a number"), "{logs}");
}

fn begin(fleet: &Fleet) -> String {
    let words = ["job", "run", "staging", "backfill", "--no-wait", "--reason", "numbers for all"];
    fleet.desk.json(&words).unwrap()["rollout"].as_str().unwrap().to_owned()
}

fn filled(fleet: &Fleet) -> u64 {
    fleet.data.sql("erp", "SELECT count(*) FROM customers_customer WHERE vat_id <> ''").unwrap().trim().parse().unwrap()
}
