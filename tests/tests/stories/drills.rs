//! The drills of docs/recovery.md that are no stories of their own: a host that is lost, a release key that is replaced, a host that is
//! stuck. Each ends with a fleet that serves what it should.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Profile, packages};
use roadstead_tests::lab::Host;
use roadstead_tests::load::Load;
use std::path::Path;
use std::time::Duration;

const KEYS: &str = "/etc/roadstead/release-keys.toml";

#[test]
fn a_bad_day_ends_with_a_fleet_that_serves() {
    let fleet = Fleet::new("drills", &FleetOptions::default().hosts(2)).unwrap();
    fleet.deploy("1.0.0").unwrap();
    fleet.deploy("1.1.0").unwrap();
    let load = Load::on(format!("{}:80", fleet.hosts[0].ip())).path("/healthz").pause(Duration::from_millis(10)).start(&fleet.client());
    load.wait_for_release("1.1.0", SOON).unwrap();

    a_host_is_stuck(&fleet);
    a_key_is_replaced(&fleet);
    a_host_is_lost(&fleet);

    load.wait_for_more(50, SOON).unwrap();
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
}

/// What it should go back to was taken away under its feet: it can neither go back nor tell otherwise. It says so and serves on, and the
/// next deployment puts it right.
fn a_host_is_stuck(fleet: &Fleet) {
    let web = &fleet.hosts[0];
    web.sh("chattr -i -R /srv/roadstead/erp/releases/1.0.0-* 2>/dev/null; rm -rf /srv/roadstead/erp/releases/1.0.0-*").unwrap();
    let done = fleet.desk.try_roadstead(&["rollback", "staging", "--reason", "a drill"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("stuck") && said.contains("is not on this host any more") && said.contains("deploy it again"), "{said}");
    assert_eq!(fleet.ask(web, "/healthz").unwrap(), (200, "1.1.0".to_owned()), "it serves what it served");

    let status = web.exec(&["roadstead-agent", "status"]).unwrap();
    assert!(status.contains("1.1.0") && status.contains("is not on this host any more"), "{status}");
    let doctor = web.try_exec(&["roadstead-agent", "doctor"]).unwrap();
    assert!(doctor.code == Some(1) && doctor.stdout.contains("stuck at revert"), "{}{}", doctor.stdout, doctor.stderr);

    fleet.desk.roadstead(&["deploy", "staging", "1.0.0"]).unwrap();
    serves(fleet, web, "1.0.0");
    fleet.desk.roadstead(&["deploy", "staging", "1.1.0"]).unwrap();
    serves(fleet, web, "1.1.0");
}

/// As docs/security.md says it: both keys are believed for a while, then only the new one. What only the old one signed is refused
/// afterwards, but for a way back to what a host has verified before.
fn a_key_is_replaced(fleet: &Fleet) {
    let web = &fleet.hosts[0];
    let made = fleet.desk.roadstead(&["key", "generate", "--name", "next", "--out", "next.key"]).unwrap();
    let next = made.split_once("[[key]]").unwrap().1;
    let believe = |keys: &str| fleet.hosts.iter().for_each(|host| host.write(KEYS, keys).unwrap());
    believe(&format!("{}\n[[key]]{next}", fleet.erp.trust));
    let bundle = Path::new(fleet.desk.folder()).join("signed-anew.bundle").display().to_string();
    std::fs::copy(fleet.erp.bundle("1.2.1"), &bundle).unwrap();
    fleet.push("1.2.1").unwrap();

    // only the new one
    believe(&format!("threshold = 1\n\n[[key]]{next}"));
    let only_old = fleet.desk.try_roadstead(&["deploy", "staging", "1.2.1"]).unwrap();
    let said = format!("{}{}", only_old.stdout, only_old.stderr);
    assert!(only_old.code == Some(1) && said.contains("no trusted key signed the release"), "{said}");
    fleet.desk.roadstead(&["rollback", "staging", "--to", "1.0.0", "--reason", "a drill"]).unwrap();
    serves(fleet, web, "1.0.0");

    // The release fails its checks for another reason, which shows that it was believed.
    fleet.desk.roadstead(&["bundle", "sign", &bundle, "--key", "next.key"]).unwrap();
    fleet.desk.roadstead(&["push", &bundle]).unwrap();
    let signed = fleet.desk.try_roadstead(&["deploy", "staging", "1.2.1"]).unwrap();
    let said = format!("{}{}", signed.stdout, signed.stderr);
    assert!(signed.code == Some(1) && said.contains("/api/products/"), "{said}");
    serves(fleet, web, "1.0.0");
}

/// Its disk died. Another one takes its place, and comes to what the environment runs by itself.
fn a_host_is_lost(fleet: &Fleet) {
    let successor = fleet.lab.host("web-3").unwrap();
    fleet.hosts[1].power_cut().unwrap();
    fleet.desk.roadstead(&["host", "revoke", "web-2", "--reason", "its disk died", "--yes"]).unwrap();
    fleet.add(&successor, &packages(Profile::Dev).unwrap().agent).unwrap();
    serves(fleet, &successor, "1.0.0");
    let known = fleet.desk.json(&["host", "list", "--revoked"]).unwrap();
    let state = |name: &str| known.as_array().unwrap().iter().find(|host| host["host"] == name).unwrap()["state"].clone();
    assert_eq!((state("web-1"), state("web-2"), state("web-3")), ("connected".into(), "revoked".into(), "connected".into()));
}

fn serves(fleet: &Fleet, host: &Host, version: &str) {
    let answers = |host: &Host| fleet.ask(host, "/healthz").is_ok_and(|answer| answer == (200, version.to_owned()));
    host.wait_until(&format!("{version} to answer"), SOON * 2, answers).unwrap();
}
