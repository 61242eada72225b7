//! Ways back from every strategy: of a release that fails, and of one that an operator aborts or rolls back in the middle.

use super::balancers::Balancers;
use super::constant_load::ConstantLoad;
use super::{ALL_AT_ONCE, BAKES, BLUE_GREEN, ROLLING, TRAFFIC, all_full};
use crate::SOON;
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::{Host, wait_until};

/// Releases that are tried once: each is found bad.
pub(super) const NEVER_READY: &str = "2.2.0";
pub(super) const BAD_LATER: &str = "2.3.0";

/// A policy that is not over while somebody wants to go back.
fn bakes(policy: &str) -> String {
    policy.replace("bake = \"1s\"\n", BAKES)
}

/// Makes the agents' own check of a release fail on a host, from now on; users are answered all the same.
fn spoil(host: &Host, version: &str) {
    host.sh(&format!("touch /var/lib/roadstead/erp/bad-{version}")).unwrap();
}

fn mend(host: &Host, version: &str) {
    host.sh(&format!("rm /var/lib/roadstead/erp/bad-{version}")).unwrap();
}

/// Aborts a rollout, which goes back to what served: all of it, with all of its traffic.
pub(super) fn end_of_abort(fleet: &Fleet, rollout: &str, before: &str) {
    println!("{}", fleet.desk.roadstead(&["rollout", "abort", rollout, "--reason", "a story"]).unwrap());
    is_as_before(fleet, rollout, before);
}

fn is_as_before(fleet: &Fleet, rollout: &str, before: &str) {
    fleet.wait_for_phase(rollout, "rolled-back", SOON).unwrap();
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
    assert_eq!(fleet.serving().unwrap(), [before; 3]);
}

/// Waits until hosts are so far, in the order of their names.
fn wait_for_states(fleet: &Fleet, rollout: &str, wanted: &[&str]) {
    let mut seen = Vec::new();
    let fits = || {
        let shown = fleet.rollout(rollout).unwrap();
        seen = shown["hosts"].as_array().unwrap().iter().map(|host| host["state"].as_str().unwrap().to_owned()).collect();
        seen == wanted
    };
    wait_until(&format!("hosts to be {wanted:?}"), SOON * 2, fits).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
}

/// The first host is drained, its new instance does not pass, and it has its traffic again; nobody has met the release.
pub(super) fn is_never_ready(fleet: &Fleet, load: &ConstantLoad) {
    let web = &fleet.hosts[0];
    spoil(web, NEVER_READY);
    let failed = fleet.desk.try_roadstead(&["deploy", "staging", NEVER_READY]).unwrap();
    println!("{}{}", failed.stdout, failed.stderr);
    assert_eq!(failed.code, Some(1));
    assert!(format!("{}{}", failed.stdout, failed.stderr).contains("/checked"), "the operator reads why");
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"; 3]);
    assert_eq!(load.answers_of(NEVER_READY), 0);
    mend(web, NEVER_READY);
}

/// All have the release and users meet it when one host finds it bad: that host goes back by itself, and then the others do.
pub(super) fn goes_back_from_behind_the_traffic(fleet: &Fleet) {
    fleet.apply(&format!("{}{TRAFFIC}", bakes(ROLLING))).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", BAD_LATER]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 3).unwrap();
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
    assert_eq!(fleet.serving().unwrap(), [BAD_LATER; 3]);
    let web = &fleet.hosts[2];
    spoil(web, BAD_LATER);
    let watched = fleet.watch(&rollout).unwrap();
    println!("{}{}", watched.stdout, watched.stderr);
    assert_eq!(watched.code, Some(1));
    is_as_before(fleet, &rollout, "2.0.0");
    mend(web, BAD_LATER);
}

/// Two hosts have moved, and the third one is in the middle of it.
pub(super) fn all_at_once_moves(fleet: &Fleet) {
    fleet.apply(&format!("{}{TRAFFIC}", bakes(ALL_AT_ONCE))).unwrap();
    let web = &fleet.hosts[1];
    spoil(web, "2.0.0");
    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    wait_for_states(fleet, &rollout, &["healthy", "moving", "healthy"]);
    end_of_abort(fleet, &rollout, "2.1.0");
    mend(web, "2.0.0");
}

pub(super) fn all_at_once_bakes(fleet: &Fleet) {
    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"; 3]);
    end_of_abort(fleet, &rollout, "2.1.0");
}

/// The set without traffic moves, and clears up; nobody has met the release.
pub(super) fn blue_green_moves(fleet: &Fleet, balancers: &Balancers, load: &ConstantLoad) {
    fleet.apply(&format!("{}{TRAFFIC}", bakes(BLUE_GREEN))).unwrap();
    let web = &fleet.hosts[2];
    spoil(web, "3.0.0");
    let rollout = fleet.begin(&["deploy", "staging", "3.0.0"]).unwrap();
    wait_for_states(fleet, &rollout, &["moving"]);
    fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "a story"]).unwrap();
    fleet.wait_for_phase(&rollout, "rolled-back", SOON).unwrap();
    balancers.wait_for_shares(&[("2.0.0", 100)]);
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"; 3]);
    assert_eq!(load.answers_of("3.0.0"), 0);
    mend(web, "3.0.0");
}

/// All of the traffic is switched, and switched back. What the set served before that, and goes back to, is met by nobody.
pub(super) fn blue_green_bakes(fleet: &Fleet, balancers: &Balancers, load: &ConstantLoad, words: &[&str]) {
    fleet.apply(&format!("{}{TRAFFIC}", bakes(BLUE_GREEN))).unwrap();
    let old = load.answers_of("3.1.0");
    let rollout = fleet.begin(&["deploy", "staging", "3.2.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    balancers.wait_for_shares(&[("3.2.0", 100)]);
    assert_eq!(fleet.serving().unwrap(), ["3.2.0", "3.2.0", "3.0.0"]);
    let which: &[&str] = if words[0] == "rollback" { &[] } else { &[&rollout] };
    println!("{}", fleet.desk.roadstead(&[words, which, &["--reason", "a story"]].concat()).unwrap());
    fleet.wait_for_phase(&rollout, "rolled-back", SOON).unwrap();
    balancers.wait_for_shares(&[("3.0.0", 100)]);
    assert_eq!(fleet.serving().unwrap(), ["3.1.0", "3.1.0", "3.0.0"]);
    assert_eq!(load.answers_of("3.1.0"), old, "a host went back before its traffic had left it");
}
