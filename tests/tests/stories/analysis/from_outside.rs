//! Hosts are fine by all that they check themselves, and the controller, which asks each of them from outside, finds otherwise: in the
//! canary, and when everybody serves the release.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, Project};
use roadstead_tests::lab::{Execution, Host, wait_until};
use serde_json::Value;

/// The last bake is the watch over the release, and only what fails ends it within this story.
const POLICY: &str = r#"
[strategy]
kind = "canary"
steps = [{ hosts = 1, bake = "1s" }]
batch = "100%"
max-unavailable = "100%"
bake = "30m"

[analysis]
every = "1s"
checks = [{ name = "opening hours", url = "http://$host/hours", contains = "open with $version" }]
"#;

/// A page that no check of a host asks for; it is wrong where this file is.
const CLOSED: &str = "/etc/closed";
const HOURS: &str = r#"
import os

from django.http import HttpResponse

from config.version import VERSION


class Hours:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path != "/hours":
            return self.get_response(request)
        return HttpResponse("closed" if os.path.exists("/etc/closed") else f"open with {VERSION}")
"#;

/// Everybody serves 1.1.3, before and after it.
pub(super) fn a_host_cannot_vouch_for_itself(fleet: &Fleet) {
    fleet.apply(POLICY).unwrap();
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    project.write("core/hours.py", HOURS).unwrap();
    let last = "    \"django_prometheus.middleware.PrometheusAfterMiddleware\",\n";
    project.edit("config/settings/base.py", last, &format!("{last}    \"core.hours.Hours\",\n")).unwrap();
    ["1.1.4", "1.1.5"].iter().for_each(|version| project.release(fleet, version).unwrap());
    in_the_canary(fleet);
    within_the_watch(fleet);
}

/// The others hear no more of it than its preparation.
fn in_the_canary(fleet: &Fleet) {
    let canary = &fleet.hosts[0];
    canary.write(CLOSED, "").unwrap();
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.1.4"]).unwrap();
    let shown = went_back(fleet, &done, canary, "opening hours fails on 1 of 1: web-1 ", "(batch 1 of 2)");
    let others = shown["hosts"].as_array().unwrap().iter().filter(|host| host["host"] != canary.name());
    let states: Vec<(&Value, bool)> = others.map(|host| (&host["state"], took(host, "candidate"))).collect();
    assert_eq!(states, [(&"abandoned".into(), false), (&"abandoned".into(), false)], "they never started it");
    canary.exec(&["rm", CLOSED]).unwrap();
}

/// All hosts serve it, and nothing was wrong until now: the release before is warm, and is back.
fn within_the_watch(fleet: &Fleet) {
    let rollout = fleet.begin(&["deploy", "staging", "1.1.5"]).unwrap();
    let newest = || fleet.rollout(&rollout).unwrap();
    let everywhere = || fleet.serving().is_ok_and(|serving| serving == ["1.1.5"; 3]) && newest()["phase"] == "baking";
    wait_until("every host to serve it", 2 * SOON, everywhere).unwrap();
    let passes = || newest()["analysis"]["looks"][0]["value"] == "good on 3";
    wait_until("everything to pass", SOON, passes).unwrap();
    let last = &fleet.hosts[2];
    last.write(CLOSED, "").unwrap();
    let done = fleet.watch(&rollout).unwrap();
    went_back(fleet, &done, last, "opening hours fails on 1 of 3: web-3 ", "(batch 2 of 2)");
}

/// Everybody serves what served, the reader learns why, and no host has said anything against itself.
fn went_back(fleet: &Fleet, done: &Execution, failed: &Host, clue: &str, place: &str) -> Value {
    let said = format!("{}{}", done.stdout, done.stderr);
    println!("{said}");
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains(&format!("analysis: {clue}")) && said.contains(place), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["1.1.3"; 3]);
    let newest = &fleet.desk.json(&["rollout", "list", "--limit", "1"]).unwrap()[0];
    let shown = fleet.rollout(newest["rollout"].as_str().unwrap()).unwrap();
    assert_eq!(shown["phase"], "rolled-back");
    let hosts = shown["hosts"].as_array().unwrap();
    assert!(hosts.iter().all(|host| host["failure"] == Value::Null), "{shown:#}");
    let failed = hosts.iter().find(|host| host["host"] == failed.name()).unwrap();
    assert!(took(failed, "health") && failed["state"] == "reverted", "its own checks have passed: {failed:#}");
    shown
}

/// Whether a host has gone through a step.
fn took(host: &Value, step: &str) -> bool {
    host["steps"].as_array().unwrap().iter().any(|known| known["step"] == step)
}
