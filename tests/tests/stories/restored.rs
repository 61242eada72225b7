//! Books of another day: a host whose whole disk is put back to what it was some releases ago, and a controller whose database is. Neither
//! moves anything backwards; the one comes level by itself, the other once somebody has said that it was restored.

use crate::SOON;
use roadstead_tests::fleet::{Journals, Moment, TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions, wait_until};
use std::time::Duration;

/// Few releases stay on a host, so that what a restored disk serves is nowhere else any more.
const POLICY: &str = "\
keep = 1

[strategy]
bake = \"1s\"
";
/// A host that returns is brought level by a rollout of its own.
const RETURN: Duration = Duration::from_secs(120);
const STATE: &str = "/var/lib/roadstead-controller";

#[test]
fn what_was_restored_moves_nothing_backwards() {
    let fleet = TinyFleet::new("restored", &HostOptions::default()).unwrap();
    fleet.fleet.policy("tiny", POLICY).unwrap();
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    a_host_whose_disk_was_restored_comes_level(&fleet);
    a_database_that_was_restored_holds_the_fleet(&fleet);
}

/// The disk is of a moment in the middle of a rollout: its journal has an order that was not done, and everybody has moved on since.
fn a_host_whose_disk_was_restored_comes_level(fleet: &TinyFleet) {
    let (host, desk) = (fleet.host(), &fleet.fleet.desk);
    fleet.push("1.1.0", &Twist::default()).unwrap();
    let deploy = desk.begin(&["deploy", "tiny", "1.1.0"]).unwrap();
    Journals::of_app(host, "tiny").wait_for(|moment| *moment == Moment::within("candidate"), || false);
    host.power_cut().unwrap();
    let disk = host.save_disk("of-another-day").unwrap();
    host.boot().unwrap();
    println!("{}", Execution::of(&deploy.wait_with_output().unwrap()).stderr);
    for version in ["1.2.0", "1.3.0", "1.4.0", "1.5.0"] {
        fleet.push(version, &Twist::default()).unwrap();
        fleet.deploy(version).unwrap();
    }
    assert!(!host.sh("ls /srv/roadstead/tiny/releases").unwrap().contains("1.0.0-"), "what the old disk serves is pruned");
    let newest = desk.json(&["rollout", "list", "--limit", "1"]).unwrap()[0]["rollout"].clone();

    host.power_cut().unwrap();
    host.load_disk(&disk).unwrap();
    assert!(host.root_path().join("srv/roadstead/tiny/releases").read_dir().unwrap().flatten().all(|release| {
        let name = release.file_name().to_string_lossy().into_owned();
        !name.starts_with("1.5.0-")
    }));
    host.boot().unwrap();
    wait_until("the host to be level", RETURN, || fleet.answer().is_ok_and(|answer| answer == "200 1.5.0")).unwrap();
    let level = || desk.json(&["rollout", "list", "--limit", "1"]).unwrap()[0].clone();
    wait_until("the rollout that brought it level to be done", RETURN, || level()["phase"] == "done").unwrap();
    assert_eq!(level()["kind"], "level", "it was brought level by itself");
    assert_ne!(level()["rollout"], newest);
    // What the old journal says was done with before; the host has said honestly how far it had heard.
    let told = desk.history("host-restored").unwrap();
    assert!(told.len() == 1 && told[0].1.contains("its disk was restored"), "{told:?}");
    assert!(Journals::of_app(host, "tiny").last().is_some_and(|moment| moment.record == "ended"));
    assert!(desk.history("host-locked").unwrap().is_empty(), "one machine that was put back is no copy");
    fleet.push("1.6.0", &Twist::default()).unwrap();
    fleet.deploy("1.6.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.6.0");
}

/// As docs/operations.md has it copied and docs/recovery.md has it put back, but for the one command that matters, which comes late.
fn a_database_that_was_restored_holds_the_fleet(fleet: &TinyFleet) {
    let (control, desk) = (&fleet.fleet.controller, &fleet.fleet.desk);
    control.sh(&format!("sqlite3 {STATE}/roadstead.db \".backup '/var/backups/roadstead.db'\"")).unwrap();
    let bundle = fleet.tiny.build("1.7.0", &Twist::default()).unwrap();
    desk.roadstead(&["push", &bundle]).unwrap();
    fleet.deploy("1.7.0").unwrap();

    control.systemctl(&["stop", "roadstead-controller"]).unwrap();
    put_back(control);
    control.systemctl(&["start", "roadstead-controller"]).unwrap();
    let ahead = || desk.json(&["host", "list"]).is_ok_and(|hosts| hosts[0]["state"] == "connected" && hosts[0]["ahead"] == true);
    wait_until("the host to be found ahead", SOON, ahead).unwrap();
    let rollouts = desk.json(&["rollout", "list"]).unwrap();
    for (words, clue) in [(&["host", "list"][..], "connected, ahead"), (&["host", "show", "tiny"], "nothing moves it")] {
        let said = desk.roadstead(words).unwrap();
        assert!(said.contains(clue), "{said}");
    }
    assert_eq!(desk.history("host-ahead").unwrap().len(), 1);
    let doctor = desk.try_roadstead(&["doctor"]).unwrap();
    assert!(doctor.code == Some(1) && doctor.stdout.contains("database is older than the fleet"), "{}", doctor.stdout);
    for words in [&["deploy", "tiny", "1.5.0"][..], &["rollback", "tiny", "--reason", "a drill"]] {
        let refused = desk.try_roadstead(words).unwrap();
        assert!(!refused.success() && refused.stderr.contains("roadstead-controller restored"), "{words:?}: {}", refused.stderr);
    }
    assert_eq!(fleet.answer().unwrap(), "200 1.7.0");
    assert_eq!(desk.json(&["rollout", "list"]).unwrap(), rollouts, "no rollout was begun");

    // the way out
    control.systemctl(&["stop", "roadstead-controller"]).unwrap();
    let said = control.exec(&["roadstead-controller", "restored"]).unwrap();
    assert!(said.contains("hosts will obey this controller again"), "{said}");
    control.systemctl(&["start", "roadstead-controller"]).unwrap();
    let level = || desk.json(&["host", "list"]).is_ok_and(|hosts| hosts[0]["state"] == "connected" && hosts[0]["ahead"] == false);
    wait_until("the host to be taken as it is", SOON, level).unwrap();
    assert!(control.exec(&["roadstead-controller", "verify"]).is_ok());
    let doctor = desk.try_roadstead(&["doctor"]).unwrap().stdout;
    assert!(!doctor.contains("older than the fleet"), "{doctor}");
    assert_eq!(fleet.answer().unwrap(), "200 1.7.0", "it was not brought to what the database remembers");
    desk.roadstead(&["push", &bundle]).unwrap();
    fleet.deploy("1.7.0").unwrap();
    fleet.push("1.8.0", &Twist::default()).unwrap();
    fleet.deploy("1.8.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.8.0");
}

fn put_back(control: &Host) {
    let script = format!(
        "rm -f {STATE}/roadstead.db-wal {STATE}/roadstead.db-shm && cp /var/backups/roadstead.db {STATE}/roadstead.db && \
         chown -R roadstead:roadstead {STATE}"
    );
    control.sh(&script).unwrap();
}
