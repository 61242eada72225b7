//! An operator takes a release back by hand: while the old instances are warm, after they are gone, to a release by its name, and in the
//! middle of a rollout. None of it needs the controller's blobs, and nobody who uses the application notices.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::lab::{Execution, Host, wait_until};
use roadstead_tests::load::{Load, RunningLoad};
use serde_json::Value;
use std::time::Duration;

const BLOBS: &str = "/var/lib/roadstead-controller/blobs";
/// A bake that no step of a story outlasts.
const LONG_BAKE: &str = "[strategy]\nbake = \"30m\"\n";
const SHORT_BAKE: &str = "[strategy]\nbake = \"1s\"\n";

#[test]
fn a_release_is_taken_back_by_hand() {
    let fleet = Fleet::new("rollback", &FleetOptions::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    fleet.push("1.1.0").unwrap();
    let web = &fleet.hosts[0];
    let load = Load::on(format!("{}:80", web.ip())).path("/healthz").clients(2).pause(Duration::from_millis(5)).start(&fleet.client());
    load.wait_for_release("1.0.0", SOON).unwrap();

    within_the_bake(&fleet, web, &load);
    in_the_middle_of_a_rollout(&fleet, &load);
    after_the_bake_without_any_blob(&fleet, web, &load);
    to_a_release_that_cannot_serve(&fleet);

    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
}

/// The old instance never stopped: the same process serves again.
fn within_the_bake(fleet: &Fleet, web: &Host, load: &RunningLoad) {
    let process = web_process(web, "1.0.0");
    fleet.apply(LONG_BAKE).unwrap();
    let rollout = begin(fleet, "1.1.0");
    wait_for_phase(fleet, &rollout, "baking");
    load.wait_for_release("1.1.0", SOON).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);

    let said = fleet.desk.roadstead(&["rollback", "staging", "--reason", "wrong prices"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"], "{said}");
    assert_eq!(web_process(web, "1.0.0"), process, "the instance that was warm serves");
    let shown = show(fleet, &rollout);
    assert_eq!(shown["phase"], "rolled-back");
    let revert = shown["hosts"][0]["steps"].as_array().unwrap().iter().find(|step| step["step"] == "revert");
    assert!(revert.unwrap()["note"].as_str().unwrap().contains("warm"), "{shown:#}");
}

/// An abort goes back as well, and the release may be deployed again: nobody found it bad.
fn in_the_middle_of_a_rollout(fleet: &Fleet, load: &RunningLoad) {
    let rollout = begin(fleet, "1.1.0");
    wait_until("the rollout to be under way", SOON, || show(fleet, &rollout)["phase"] != "preparing").unwrap();
    let said = fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "not today"]).unwrap();
    assert!(said.contains("not today"), "{said}");
    assert_ne!(show(fleet, &rollout)["ended_at_ms"], 0, "the command waited for the end");
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);
    let late = refused(fleet, &["rollout", "abort", &rollout, "--reason", "once more"]);
    assert!(late.stderr.contains("does not run"), "{}", late.stderr);
    load.wait_for_more(50, SOON).unwrap();
}

/// The old instances are gone and the controller has lost every blob: what is on the host is enough, in both directions.
fn after_the_bake_without_any_blob(fleet: &Fleet, web: &Host, load: &RunningLoad) {
    fleet.apply(SHORT_BAKE).unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.1.0"]).unwrap();
    let gone = |host: &Host| host.sh("systemctl list-units --plain --no-legend 'erp-web@1.0.0-*'").is_ok_and(|units| units.is_empty());
    web.wait_until("the old instance to be gone", SOON, gone).unwrap();
    fleet.controller.sh(&format!("mv {BLOBS} {BLOBS}.away && mkdir {BLOBS}")).unwrap();

    let back = json(fleet, &["rollback", "staging", "--reason", "slow pages"]);
    assert_eq!((back["kind"].as_str(), back["phase"].as_str()), (Some("rollback"), Some("done")), "{back:#}");
    assert_eq!(steps(&back), ["revert", "settle"], "nothing was fetched and nothing installed");
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);
    load.wait_for_more(50, SOON).unwrap();

    let forth = json(fleet, &["rollback", "staging", "--to", "1.1.0", "--reason", "it was the database"]);
    assert_eq!(steps(&forth), ["revert", "settle"], "{forth:#}");
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
    let here = refused(fleet, &["rollback", "staging", "--to", "1.1.0"]);
    assert!(here.stderr.contains("is what staging runs"), "{}", here.stderr);
    fleet.controller.sh(&format!("rmdir {BLOBS} && mv {BLOBS}.away {BLOBS}")).unwrap();
}

/// A release that was found bad, and one that never served here, are no way back.
fn to_a_release_that_cannot_serve(fleet: &Fleet) {
    fleet.push("1.2.0").unwrap();
    assert_eq!(fleet.desk.try_roadstead(&["deploy", "staging", "1.2.0"]).unwrap().code, Some(1));
    let bad = refused(fleet, &["rollback", "staging", "--to", "1.2.0"]);
    assert!(bad.stderr.contains("1.2.0") && bad.stderr.contains("not rolled out again"), "{}", bad.stderr);

    fleet.push("1.2.1").unwrap();
    let new = refused(fleet, &["rollback", "staging", "--to", "1.2.1"]);
    assert!(new.stderr.contains("never served staging") && new.stderr.contains("roadstead deploy"), "{}", new.stderr);
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
}

fn begin(fleet: &Fleet, version: &str) -> String {
    json(fleet, &["deploy", "staging", version, "--no-wait"])["rollout"].as_str().unwrap().to_owned()
}

fn show(fleet: &Fleet, rollout: &str) -> Value {
    json(fleet, &["rollout", "show", rollout])
}

fn json(fleet: &Fleet, words: &[&str]) -> Value {
    fleet.desk.json(words).unwrap()
}

fn refused(fleet: &Fleet, words: &[&str]) -> Execution {
    let done = fleet.desk.try_roadstead(words).unwrap();
    assert_eq!(done.code, Some(3), "{words:?}: {}{}", done.stdout, done.stderr);
    done
}

fn wait_for_phase(fleet: &Fleet, rollout: &str, phase: &str) {
    wait_until(&format!("{rollout} to be {phase}"), SOON, || show(fleet, rollout)["phase"] == phase).unwrap();
}

/// The steps that the first host of a rollout recorded.
fn steps(rollout: &Value) -> Vec<&str> {
    rollout["hosts"][0]["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

/// The main process of a version's web service.
fn web_process(host: &Host, version: &str) -> String {
    let units = host.sh(&format!("systemctl list-units --plain --no-legend 'erp-web@{version}-*' | cut -d ' ' -f 1")).unwrap();
    let process = host.unit_property(units.trim(), "MainPID").unwrap();
    assert_ne!(process, "0", "{units}");
    process
}
