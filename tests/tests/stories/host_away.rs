//! A host that is away holds up nobody, and comes level by itself when it returns.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Moment};
use roadstead_tests::lab::{Execution, Host, wait_until};
use std::process::Child;
use std::time::Duration;

/// One host of two may be away, and is waited for a few seconds only.
const POLICY: &str = "\
[strategy]
kind = \"all-at-once\"
max-unavailable = \"100%\"
failure-budget = 1
bake = \"3s\"

[timeouts]
away = \"5s\"
";

/// A host that returns dials again after a while that has grown with its absence.
const RETURN: Duration = Duration::from_secs(180);

#[test]
fn a_host_that_was_away_comes_level_by_itself() {
    let fleet = Fleet::new("away", &FleetOptions::default().hosts(2).policy(POLICY)).unwrap();
    notice_silence_soon(&fleet);
    for version in ["1.0.0", "1.1.0"] {
        fleet.push(version).unwrap();
    }
    fleet.deploy("1.0.0").unwrap();
    let [near, far] = &fleet.hosts[..] else { panic!("two hosts") };

    // the cable is pulled while it prepares
    let deploy = fleet.desk.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    Journals::of(far).wait_for(|moment| *moment == Moment::within("preflight"), || false);
    far.cut().unwrap();
    done(deploy);
    assert_eq!(fleet.ask(near, "/healthz").unwrap(), (200, "1.1.0".to_owned()));
    assert_eq!(serves_itself(far), "1.0.0", "who cannot be reached serves on");
    assert_eq!(fleet.connected().unwrap(), 1);
    far.heal().unwrap();
    comes_level(&fleet, "1.1.0");

    // off before the rollout begins, and switched on when it is over
    far.power_cut().unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.0.0"]).unwrap();
    assert_eq!(fleet.ask(near, "/healthz").unwrap(), (200, "1.0.0".to_owned()));
    far.boot().unwrap();
    comes_level(&fleet, "1.0.0");

    // the plug is pulled after the cutover: it serves the release when it returns, but nobody has confirmed that yet
    let deploy = fleet.desk.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    let journals = Journals::of(far);
    journals.wait_for(|moment| *moment == Moment::within("health"), || false);
    journals.wait_for(|moment| moment.record == "ended", || false);
    far.power_cut().unwrap();
    done(deploy);
    far.boot().unwrap();
    comes_level(&fleet, "1.1.0");
    wait_until("the release to be confirmed on the host that returned", RETURN, || confirmed(&journals)).unwrap();
}

/// Heartbeats every second, so that a silent host counts as away after three.
fn notice_silence_soon(fleet: &Fleet) {
    fleet.controller.write("/etc/roadstead/controller.toml", "heartbeat-seconds = 1\n").unwrap();
    fleet.controller.systemctl(&["restart", "roadstead-controller"]).unwrap();
    fleet.wait_for_all().unwrap();
}

fn done(deploy: Child) {
    let done = Execution::of(&deploy.wait_with_output().unwrap());
    println!("{}", done.stderr);
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
}

/// What a host without a cable answers to itself.
fn serves_itself(host: &Host) -> String {
    host.sh("curl -s -o /dev/null -m 10 -w '%header{x-release}' http://127.0.0.1/healthz").unwrap()
}

fn comes_level(fleet: &Fleet, version: &str) {
    wait_until("every host to serve the same", RETURN, || fleet.serving().is_ok_and(|serving| serving == [version, version])).unwrap();
    // the rollout that brought it level has ended too
    let idle = || fleet.desk.json(&["rollout", "list", "--limit", "1"]).is_ok_and(|list| list[0]["phase"] == "done");
    wait_until("the last rollout to be done", SOON, idle).unwrap();
}

/// The newest order is a confirmation, and it ended.
fn confirmed(journals: &Journals) -> bool {
    let newest = journals.newest().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    newest.contains("\"confirm\"") && journals.last().is_some_and(|moment| moment.record == "ended")
}
