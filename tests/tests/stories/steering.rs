//! A fleet moves by halves; an operator ends rollouts while hosts prepare, while the database moves, between batches and during the
//! bake, and steers others to their end. Nobody who uses the application notices any of it.

mod by_hand;

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::{Load, RunningLoad};
use serde_json::Value;
use std::time::Duration;

const HALVES: &str = "[strategy]\nbatch = \"50%\"\nmax-unavailable = \"50%\"\n";
/// Long enough to end a rollout while it runs, as the lock of a large table may be.
const SLOW: &str = "\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [(\"customers\", \"0003_customer_loyalty_tier\")]
    operations = [migrations.RunSQL(\"SELECT pg_sleep(6)\", migrations.RunSQL.noop)]
";

#[test]
fn a_rollout_is_steered_and_ended_in_each_of_its_phases() {
    let fleet =
        Fleet::new("steering", &FleetOptions::default().hosts(4).policy(&format!("{HALVES}bake = \"1s\"\n")).settings(by_hand::ROLES))
            .unwrap();
    fleet.deploy("1.0.0").unwrap();
    by_halves(&fleet);
    fleet.push("1.1.0").unwrap();
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.write("customers/migrations/0004_slow.py", SLOW).unwrap();
    project.release(&fleet, "1.3.0").unwrap();
    let loads: Vec<RunningLoad> = fleet.hosts.iter().map(|host| load(&fleet, host)).collect();

    while_hosts_prepare(&fleet);
    while_the_database_moves(&fleet);
    between_batches(&fleet);
    during_the_bake(&fleet);
    by_hand::a_rollout_is_steered_to_its_end(&fleet);

    for load in loads {
        load.wait_for_more(50, SOON).unwrap();
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report}");
    }
}

/// When each host moved, from its own journal: the second half begins when the first is through.
fn by_halves(fleet: &Fleet) {
    let shown = fleet.rollout("r-1").unwrap();
    let batch_of = |host: &Host| hosts(&shown).find(|shown| shown["host"] == host.name()).unwrap()["batch"].as_u64().unwrap();
    let mut moves: Vec<(f64, f64, u64)> = fleet.hosts.iter().map(|host| moved(host, batch_of(host))).collect();
    moves.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(moves.iter().map(|(_, _, batch)| *batch).collect::<Vec<_>>(), [1, 1, 2, 2], "{moves:?}");
    let through = moves[0].1.max(moves[1].1);
    assert!(moves[2..].iter().all(|(began, _, _)| *began >= through), "{moves:?}");
}

/// From when to when a host carried out its `activate`, in seconds of the machine's clock.
fn moved(host: &Host, batch: u64) -> (f64, f64, u64) {
    let said = host.sh("journalctl -u roadstead-agent -o short-unix --no-pager | grep verb=activate").unwrap();
    let at = |text: &str| {
        let line = said.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in {said}"));
        line.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_else(|| panic!("no time in {line}"))
    };
    (at("order accepted"), at("order ended"), batch)
}

fn while_hosts_prepare(fleet: &Fleet) {
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    assert_eq!(fleet.rollout(&rollout).unwrap()["phase"], "preparing");
    abort(fleet, &rollout, &[]);
    let shown = fleet.rollout(&rollout).unwrap();
    assert!(hosts(&shown).all(|host| host["state"] == "abandoned"), "{shown:#}");
    assert_eq!(applied(fleet), Vec::<String>::new(), "the database was not touched");
}

/// A migration that is cut off in the middle may leave half of what it did: it is let through, and then nobody moves.
fn while_the_database_moves(fleet: &Fleet) {
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    let asleep = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6)%' AND pid <> pg_backend_pid()";
        fleet.data.sql("erp", sql).is_ok_and(|count| count.trim() == "1")
    };
    wait_until("the slow migration to run", SOON * 2, asleep).unwrap();
    abort(fleet, &rollout, &["--no-wait"]);
    let shown = fleet.rollout(&rollout).unwrap();
    assert_eq!(shown["phase"], "migrating", "{shown:#}");
    assert!(shown["waiting"]["then"].as_str().unwrap().contains("goes back"), "{shown:#}");
    let watched = fleet.watch(&rollout).unwrap();
    assert_eq!(watched.code, Some(1), "{}{}", watched.stdout, watched.stderr);
    assert!(watched.stderr.contains("aborted by admin:ada: not today"), "{}", watched.stderr);
    assert_eq!(applied(fleet), ["0003_customer_loyalty_tier", "0004_slow"], "it was let through");
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"; 4]);
}

fn between_batches(fleet: &Fleet) {
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    let some_moved = || fleet.serving().is_ok_and(|serving| serving.contains(&"1.3.0".to_owned()));
    wait_until("a host to serve the release", SOON * 2, some_moved).unwrap();
    let said = abort(fleet, &rollout, &[]);
    assert!(said.contains("the traffic is back on"), "{said}");
    assert_eq!(fleet.rollout(&rollout).unwrap()["phase"], "rolled-back");
}

fn during_the_bake(fleet: &Fleet) {
    fleet.apply(&format!("{HALVES}bake = \"30m\"\n")).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.3.0"; 4]);
    let said = abort(fleet, &rollout, &[]);
    assert!(said.contains("the traffic is back on 4 hosts"), "{said}");
    let shown = fleet.rollout(&rollout).unwrap();
    assert!(shown["phase"] == "rolled-back" && hosts(&shown).all(|host| host["state"] == "reverted"), "{shown:#}");
}

/// Ends a rollout; afterwards everybody serves what served before.
fn abort(fleet: &Fleet, rollout: &str, further: &[&str]) -> String {
    let words = ["rollout", "abort", rollout, "--reason", "not today"];
    let done = fleet.desk.try_roadstead(&[&words[..], further].concat()).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(done.success(), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"; 4], "{said}");
    said
}

fn hosts(rollout: &Value) -> impl Iterator<Item = &Value> {
    rollout["hosts"].as_array().into_iter().flatten()
}

/// The migrations of 1.1.0 and 1.3.0 that the database has.
fn applied(fleet: &Fleet) -> Vec<String> {
    let sql = "SELECT name FROM django_migrations WHERE app = 'customers' AND name > '0003' ORDER BY name";
    fleet.data.sql("erp", sql).unwrap().lines().map(str::to_owned).collect()
}

fn load(fleet: &Fleet, host: &Host) -> RunningLoad {
    Load::on(format!("{}:80", host.ip())).path("/healthz").clients(1).pause(Duration::from_millis(20)).start(&fleet.client())
}
