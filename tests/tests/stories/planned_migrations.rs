//! Before a release goes anywhere, its plan tells what it does to the database: each new migration with its class, its locks and its
//! SQL, which is what Django itself prints beside the real database.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project, run};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// A column that the old release does not fill, and an index that stops writes.
const WAITING: &str = "\
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [(\"customers\", \"0003_customer_loyalty_tier\")]
    operations = [
        migrations.AddField(\"customer\", \"newsletter\", models.BooleanField(default=False)),
        migrations.AddIndex(\"customer\", models.Index(fields=[\"city\"], name=\"customer_city\")),
    ]
";
/// A constraint is made again, whose name the database would be asked for; and code without a way back.
const KEYS: &str = "\
from django.db import migrations, models


def fill(apps, schema_editor):
    apps.get_model(\"customers\", \"Customer\").objects.filter(city=\"\").update(newsletter=False)


class Migration(migrations.Migration):
    dependencies = [(\"customers\", \"0004_newsletter\")]
    operations = [
        migrations.AlterField(\"contact\", \"customer\", models.ForeignKey(\"customers.customer\", models.CASCADE, null=True, related_name=\"contacts\")),
        migrations.RunPython(fill),
    ]
";

/// What a build meets: an operation of the team's own, one that fails, megabytes of SQL, and one that Django refuses.
const ODD: &str = r#"
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
import uuid


class Odd(Operation):
    reversible = False

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        schema_editor.execute("SELECT odd()")

    def describe(self):
        return "does \x1b[31modd\x1b[0m things to %r" % object()


class Fails(Odd):
    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        raise SystemExit("in %s" % __file__)


class Migration(migrations.Migration):
    dependencies = [("customers", "BEFORE")]
    operations = [OPERATION]
"#;
const ODDITIES: [(&str, &str); 5] = [
    ("0006_odd", "Odd(), migrations.AddField('customer', 'token', models.UUIDField(default=uuid.uuid4))"),
    ("0007_fails", "Fails()"),
    ("0008_large", "migrations.RunSQL('SELECT 1; ' * 1_200_000, migrations.RunSQL.noop)"),
    ("0009_concurrently", "AddIndexConcurrently('customer', models.Index(fields=['name'], name='customer_name'))"),
    ("0010_after", "migrations.AddField('customer', 'note', models.TextField(null=True))"),
];

#[test]
fn a_plan_tells_what_it_does_to_the_database() {
    let fleet = Fleet::new("planned", &FleetOptions::default()).unwrap();
    fleet.deploy("1.1.0").unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.write("customers/migrations/0004_newsletter.py", WAITING).unwrap();
    project.write("customers/migrations/0005_keys.py", KEYS).unwrap();
    let bundle = project.bundle(&fleet, "1.4.0").unwrap();
    fleet.desk.roadstead(&["push", &bundle]).unwrap();

    let shown = fleet.desk.roadstead(&["plan", "staging", "1.4.0"]).unwrap();
    println!("{shown}");
    for told in [
        "2 new migrations: customers.0004_newsletter (contract), customers.0005_keys (irreversible)",
        "Backup     before it, if the database has tables: restored and compared",
        "customers_customer is locked (SHARE) while an index is built: writes wait. Instead: AddIndexConcurrently",
        "The release that runs cannot insert into customers_customer: newsletter is NOT NULL",
        "    ALTER TABLE \"customers_customer\" ADD COLUMN \"newsletter\" boolean DEFAULT false NOT NULL;",
        "migrate cannot take it back",
    ] {
        assert!(shown.contains(told), "{told}");
    }
    println!("{}", fleet.desk.roadstead(&["plan", "staging", "1.4.0", "--sql"]).unwrap());
    println!("{}", fleet.desk.roadstead(&["bundle", "inspect", &bundle]).unwrap());
    println!("{}", fleet.desk.roadstead(&["bundle", "diff", &fleet.erp.bundle("1.1.0"), &bundle]).unwrap());
    let plan = fleet.desk.json(&["plan", "staging", "1.4.0"]).unwrap();
    assert_eq!(plan["plan"]["migration"]["backup"], "restored");
    let new = plan["plan"]["migration"]["new"].as_array().unwrap().clone();

    a_contract_waits(&fleet);
    fleet.desk.roadstead(&["deploy", "staging", "1.4.0"]).unwrap();
    let host = &fleet.hosts[0];
    let lacks = "test -z \"$(find /var/lib/roadstead-agent/blobs -type f -size -64k -exec grep -l '\"engine\":\"postgresql\"' {} +)\"";
    host.sh(lacks).unwrap();
    for name in ["0004_newsletter", "0005_keys"] {
        let told = new.iter().find(|one| one["name"] == format!("customers.{name}")).unwrap();
        let printed = host.sh(&format!(
            "cd /srv/roadstead/erp/current && set -a && . /etc/roadstead/apps/erp.env && \
             DJANGO_SETTINGS_MODULE=config.settings.production .venv/bin/python manage.py sqlmigrate customers {name}"
        ));
        assert_eq!(statements(told["sql"].as_str().unwrap()), statements(&printed.unwrap()), "{name}");
    }
    let names: Vec<&Value> = new.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["customers.0004_newsletter", "customers.0005_keys"], "in the order in which they run");
    what_is_odd_is_told(&fleet, &project);
    the_schema_is_a_floor(&fleet);
}

/// What breaks the release that runs waits where the environment says so, until that has served for a time; whoever knows better says so.
fn a_contract_waits(fleet: &Fleet) {
    let policy = |more: &str| format!("[strategy]\nbake = \"1s\"\n{more}");
    fleet.apply(&policy("[database]\ncontract-after = \"1h\"\n")).unwrap();
    let plan = fleet.desk.json(&["plan", "staging", "1.4.0"]).unwrap();
    let why = plan["gates"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("customers.0004_newsletter takes away what earlier releases need") && why.ends_with("for 1 h"), "{why}");
    let rollout = fleet.begin(&["deploy", "staging", "1.4.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "gated", crate::SOON).unwrap();
    fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "a story"]).unwrap();
    fleet.apply(&policy("")).unwrap();
}

/// The older release cannot insert any more: it comes back only for who says that they know.
fn the_schema_is_a_floor(fleet: &Fleet) {
    for words in [&["rollback", "staging"][..], &["deploy", "staging", "1.1.0"]] {
        let done = fleet.desk.try_roadstead(words).unwrap();
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(done.stderr.contains("1.1.0") && done.stderr.contains("customers.0004_newsletter"), "{}", done.stderr);
        assert!(done.stderr.contains("roadstead db list") && done.stderr.contains("--despite-schema"), "{}", done.stderr);
    }
    let plan = fleet.desk.try_roadstead(&["plan", "staging", "1.1.0", "--output", "json"]).unwrap();
    assert_eq!(plan.code, Some(3), "{}", plan.stdout);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert!(plan["obstacles"].as_array().unwrap().iter().any(|obstacle| obstacle["kind"] == "below-floor"), "{plan}");
    assert_eq!(fleet.serving().unwrap(), ["1.4.0"]);
    fleet.desk.roadstead(&["rollback", "staging", "--despite-schema"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
}

/// A build goes on whatever a migration does, says what it could not get, and repeats.
fn what_is_odd_is_told(fleet: &Fleet, project: &Project) {
    let mut before = "0005_keys";
    for (name, operation) in ODDITIES {
        let text = ODD.replace("BEFORE", before).replace("OPERATION", operation);
        project.write(&format!("customers/migrations/{name}.py"), &text).unwrap();
        before = name;
    }
    let bundle = project.bundle(fleet, "1.5.0").unwrap();
    let again = format!("{bundle}.again");
    let mut build = Command::new(fleet.desk.program());
    build.args(["build", "--commit", "v1.5.0", "--key", &fleet.erp.key(), "--out", &again]).arg(project.repository());
    run(&mut build).unwrap();
    assert!(fs::read(&bundle).unwrap() == fs::read(&again).unwrap(), "a build repeats byte for byte");

    let shown = fleet.desk.roadstead(&["bundle", "diff", &fleet.erp.bundle("1.1.0"), &bundle]).unwrap();
    println!("{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains("What customers.migrations.0006_odd.Odd does is not known"), "{shown}");
    fleet.desk.roadstead(&["push", &bundle]).unwrap();
    let plan = fleet.desk.json(&["plan", "staging", "1.5.0"]).unwrap();
    let new = plan["plan"]["migration"]["new"].as_array().unwrap();
    let told: Vec<String> = new.iter().map(|one| format!("{} {} {}", one["class"], one["sql"].is_string(), one["without_sql"])).collect();
    println!("{told:#?}");
    let large = &new[2];
    assert!(large["sql_bytes"].as_u64().unwrap() > 10_000_000 && large["sql"].as_str().unwrap().len() <= 256 * 1024);
    assert_eq!(large["class"], "unknown", "what was not read is not judged");
    assert!(told[1].contains("SystemExit: in …/customers/migrations/0007_fails.py"), "{}", told[1]);
    assert!(told[3].contains("cannot be executed inside a transaction"), "{}", told[3]);
    assert!(told[4].starts_with("\"expand\" true"), "what comes behind is told: {}", told[4]);
    let odd = new[0]["sql"].as_str().unwrap();
    assert!(odd.contains("<what uuid.uuid4 gives>") && odd.contains("SELECT odd();") && !odd.contains(" at 0x"), "{odd}");
}

/// SQL without its comments.
fn statements(sql: &str) -> Vec<&str> {
    sql.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--")).collect()
}
