//! Three hosts behind three balancers: HAProxy, nginx, and a script of the team's. Under constant load, with long and streaming requests
//! in flight, releases come by every strategy, are aborted and go back. Nobody who uses the application notices any of it.

mod balancers;
mod constant_load;
mod ways_back;

use crate::SOON;
use balancers::Balancers;
use constant_load::{ConstantLoad, Row};
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::wait_until;
use serde_json::Value;
use ways_back::{end_of_abort, goes_back_from_behind_the_traffic, is_never_ready};

/// Longer than the longest request.
const TRAFFIC: &str = "[traffic]\nbalancers = \"role=balancer\"\ndrain = \"20s\"\n";
const ROLLING: &str = "[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"1s\"\n";
const CANARY: &str = "\
[strategy]
kind = \"canary\"
steps = [{ hosts = 1, traffic = \"10%\", promote = \"manual\" }]
batch = 1
max-unavailable = 1
bake = \"1s\"
";
const ALL_AT_ONCE: &str = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
const BLUE_GREEN: &str = "[strategy]\nkind = \"blue-green\"\nsets = \"color\"\nbake = \"1s\"\n";
/// Runs once, and a blue-green environment has two sets of hosts.
const BEAT: &str = "[services.beat]\nkind = \"celery-beat\"\napp = \"config.celery\"\n";
/// A policy in whose time a balancer that is away is missed.
const HASTY: &str = "[timeouts]\naway = \"5s\"\n";

/// A bake that no act waits for: what is done while it lasts is done in time.
const BAKES: &str = "bake = \"10m\"\n";
/// Asked of each release by agents, and by nobody else.
const CHECK: &str = "\n[[checks.health]]\nservice = \"web\"\npath = \"/checked\"\nwithin = \"30s\"\n";

/// Pages of the application that take their time, or come in parts; and one that is bad on hosts where the story says so.
const SLOW: &str = "\
import time
from pathlib import Path

from django.http import HttpResponse, StreamingHttpResponse

from config.version import VERSION


def slow(request):
    time.sleep(10)
    return HttpResponse(\"at last\")


def parts():
    for number in range(20):
        time.sleep(0.25)
        yield f\"{number}\\n\"


def stream(request):
    return StreamingHttpResponse(parts())


def checked(request):
    is_bad = (Path.home() / f\"bad-{VERSION}\").exists()
    return HttpResponse(\"bad\" if is_bad else \"fine\", status=503 if is_bad else 200)
";

#[test]
fn hosts_are_drained_at_every_balancer_and_no_request_is_dropped() {
    under_load("traffic", |fleet, balancers, load| {
        let mut rows = vec![load.during("rolling", || rolling(fleet))];
        rows.push(load.during("rollback", || roll_back(fleet, "2.0.0")));
        rows.push(load.during("rolling, a release that is never ready", || is_never_ready(fleet, load)));
        rows.push(load.during("rolling, found bad behind the traffic", || goes_back_from_behind_the_traffic(fleet)));
        rows.push(load.during("canary, aborted with 10 % of the traffic", || canary(fleet, balancers, "abort")));
        rows.push(load.during("canary, promoted with 10 % of the traffic", || canary(fleet, balancers, "promote")));
        rows.push(load.during("rolling, aborted while a host is drained", || abort_while_draining(fleet)));
        rows.push(load.during("HAProxy reloaded, the controller killed", || forgetful(fleet, balancers)));
        rows.push(load.during("a balancer's agent away", || away(fleet, balancers)));
        rows
    });
}

#[test]
fn sets_and_whole_fleets_move_and_go_back_and_no_request_is_dropped() {
    under_load("sets", |fleet, balancers, load| {
        let mut rows = vec![load.during("all at once", || all_at_once(fleet))];
        rows.push(load.during("all at once, aborted while hosts move", || ways_back::all_at_once_moves(fleet)));
        rows.push(load.during("all at once, aborted while it bakes", || ways_back::all_at_once_bakes(fleet)));
        fleet.apply(&format!("{ALL_AT_ONCE}{TRAFFIC}")).unwrap();
        rows.push(load.during("all at once, rolled back", || roll_back(fleet, "2.0.0")));
        rows.push(load.during("blue-green, aborted before the switch", || ways_back::blue_green_moves(fleet, balancers, load)));
        rows.push(load.during("blue-green", || blue_green(fleet, balancers)));
        rows.push(load.during("blue-green, back by a switch", || switch_back(fleet, balancers)));
        for (what, words) in [("aborted", &["rollout", "abort"][..]), ("rolled back", &["rollback", "staging"])] {
            let bakes = || ways_back::blue_green_bakes(fleet, balancers, load, words);
            rows.push(load.during(&format!("blue-green, {what} while it bakes"), bakes));
        }
        rows
    });
}

/// Three hosts serve 2.0.0 behind three balancers, and users are there all the while.
fn under_load(name: &str, acts: impl FnOnce(&Fleet, &Balancers<'_>, &ConstantLoad) -> Vec<Row>) {
    let colors = ["role=web,color=blue", "role=web,color=blue", "role=web,color=green"];
    let options = FleetOptions::default().hosts(3).labels(&colors).further(&["lb-1", "lb-2", "lb-3"]).policy(ROLLING);
    let fleet = Fleet::new(name, &options).unwrap();
    releases(&fleet);
    let balancers = Balancers::set_up(&fleet).unwrap();
    fleet.apply(&format!("{ROLLING}{TRAFFIC}")).unwrap();
    balancers.wait_until_they_serve();
    deploy(&fleet, "2.0.0");

    let load = ConstantLoad::begin(&fleet, &balancers);
    let rows = acts(&fleet, &balancers, &load);
    let failed = load.end();
    println!("{}", constant_load::table(&rows));
    assert_eq!(failed, 0);
}

fn releases(fleet: &Fleet) {
    fleet.push("1.0.0").unwrap();
    let project = Project::of_erp(fleet, "1.1.0").unwrap();
    project.write("core/slow.py", SLOW).unwrap();
    let health = "    path(\"healthz\", health.live, name=\"live\"),\n";
    let more = "    path(\"slow\", slow.slow),\n    path(\"stream\", slow.stream),\n    path(\"checked\", slow.checked),\n";
    project.edit("config/urls.py", health, &format!("{health}{more}")).unwrap();
    project.edit("config/urls.py", "from core import health\n", "from core import health, slow\n").unwrap();
    project.edit("roadstead.toml", "workers = 2\n", "workers = 2\nthreads = 8\n").unwrap();
    let path = project.repository().join("roadstead.toml");
    let text = std::fs::read_to_string(path).unwrap();
    project.write("roadstead.toml", &format!("{text}{CHECK}")).unwrap();
    for version in ["2.0.0", "2.1.0", ways_back::NEVER_READY, ways_back::BAD_LATER] {
        project.release(fleet, version).unwrap();
    }
    project.edit("roadstead.toml", BEAT, "").unwrap();
    for version in ["3.0.0", "3.1.0", "3.2.0"] {
        project.release(fleet, version).unwrap();
    }
}

fn deploy(fleet: &Fleet, version: &str) {
    let said = fleet.desk.roadstead(&["deploy", "staging", version]).unwrap();
    println!("{said}");
    assert_eq!(fleet.serving().unwrap(), [version; 3], "{said}");
}

/// One after the other is drained everywhere, moves, and has its traffic again; the history tells.
fn rolling(fleet: &Fleet) {
    deploy(fleet, "2.1.0");
    let drained: Vec<String> =
        fleet.desk.history("host").unwrap().into_iter().map(|(_, text)| text).filter(|text| text.ends_with(": drained")).collect();
    let rest: Vec<String> = ["web-1", "web-2", "web-3"].map(|host| format!("{host}: drained")).to_vec();
    assert!(drained.ends_with(&rest), "{drained:?}");
}

fn roll_back(fleet: &Fleet, version: &str) {
    println!("{}", fleet.desk.roadstead(&["rollback", "staging", "--reason", "a story"]).unwrap());
    assert_eq!(fleet.serving().unwrap(), [version; 3]);
}

/// One host has the release and a tenth of the traffic, at each balancer. Then all have it, or none.
fn canary(fleet: &Fleet, balancers: &Balancers, then: &str) {
    fleet.apply(&format!("{CANARY}{TRAFFIC}")).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "2.1.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "baked", SOON * 3).unwrap();
    println!("{}", fleet.desk.roadstead(&["env", "show", "staging"]).unwrap());
    println!("{}", fleet.desk.roadstead(&["status"]).unwrap());
    balancers.wait_for_shares(&[("2.1.0", 10), ("2.0.0", 90)]);
    if then == "abort" {
        end_of_abort(fleet, &rollout, "2.0.0");
        return balancers.wait_for_shares(&[("2.1.0", 0), ("2.0.0", 100)]);
    }
    fleet.desk.roadstead(&["rollout", then, &rollout, "--reason", "a story"]).unwrap();
    let watched = fleet.watch(&rollout).unwrap();
    assert!(watched.success(), "{}{}", watched.stdout, watched.stderr);
    assert_eq!(fleet.serving().unwrap(), ["2.1.0"; 3]);
}

/// Nobody else would be left: nobody is drained, and nothing is dropped.
fn all_at_once(fleet: &Fleet) {
    fleet.apply(&format!("{ALL_AT_ONCE}{TRAFFIC}")).unwrap();
    deploy(fleet, "2.1.0");
}

/// A host that is drained and does not move after all has its traffic again.
fn abort_while_draining(fleet: &Fleet) {
    fleet.apply(&format!("{ROLLING}{TRAFFIC}")).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    let mut shown = Value::Null;
    let drains = || {
        shown = fleet.rollout(&rollout).unwrap();
        shown["hosts"].as_array().unwrap().iter().any(|host| host["state"] == "draining")
    };
    wait_until("a host to be drained", SOON * 2, drains).unwrap();
    println!("{}", fleet.desk.roadstead(&["rollout", "show", &rollout]).unwrap());
    fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "a story"]).unwrap();
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["2.1.0"; 3]);
}

/// A process that comes back knows nothing of weights: the agent tells it again, and a host that was drained stays drained. The controller
/// is killed meanwhile, too.
fn forgetful(fleet: &Fleet, balancers: &Balancers) {
    let rollout = fleet.begin(&["deploy", "staging", "2.0.0"]).unwrap();
    let drains = || fleet.rollout(&rollout).unwrap()["hosts"].as_array().unwrap().iter().any(|host| host["state"] == "draining");
    wait_until("a host to be drained", SOON * 2, drains).unwrap();
    balancers.restart_haproxy();
    fleet.controller.systemctl(&["kill", "-s", "KILL", "roadstead-controller"]).unwrap();
    wait_until("the controller to answer again", SOON, || fleet.rollout(&rollout).is_ok()).unwrap();
    let watched = fleet.watch(&rollout).unwrap();
    assert!(watched.success(), "{}{}", watched.stdout, watched.stderr);
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
}

/// What a balancer does not say is not guessed: nobody moves, and the reason names it.
fn away(fleet: &Fleet, balancers: &Balancers) {
    fleet.apply(&format!("{ROLLING}{TRAFFIC}{HASTY}")).unwrap();
    let nginx = balancers.nginx();
    nginx.systemctl(&["stop", "roadstead-agent"]).unwrap();
    let gone =
        || fleet.desk.json(&["env", "show", "staging"]).unwrap()["balancers"].as_array().unwrap().iter().any(|b| b["connected"] == false);
    wait_until("the balancer to be missed", SOON, gone).unwrap();
    let failed = fleet.desk.try_roadstead(&["deploy", "staging", "2.1.0"]).unwrap();
    assert_eq!(failed.code, Some(1), "{}", failed.stdout);
    let why = format!("{}{}", failed.stdout, failed.stderr);
    assert!(why.contains("lb-2 does not say that it could take web-1 out of the traffic"), "{why}");
    assert_eq!(fleet.serving().unwrap(), ["2.0.0"; 3]);
    nginx.systemctl(&["start", "roadstead-agent"]).unwrap();
    wait_until("every host to have its traffic", SOON, || all_full(fleet)).unwrap();
}

/// The set that has no traffic moves, is looked at, and has all of it then. The other one stays as it is.
fn blue_green(fleet: &Fleet, balancers: &Balancers) {
    fleet.apply(&format!("{BLUE_GREEN}{TRAFFIC}")).unwrap();
    let refused = fleet.desk.try_roadstead(&["deploy", "staging", "2.1.0"]).unwrap();
    assert!(refused.stderr.contains("beat of the app runs once: it would run in both sets"), "{}", refused.stderr);
    let said = fleet.desk.roadstead(&["deploy", "staging", "3.0.0"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["2.0.0", "2.0.0", "3.0.0"], "{said}");
    balancers.wait_for_shares(&[("3.0.0", 100)]);
    println!("{}", fleet.desk.roadstead(&["deploy", "staging", "3.1.0"]).unwrap());
    assert_eq!(fleet.serving().unwrap(), ["3.1.0", "3.1.0", "3.0.0"]);
    balancers.wait_for_shares(&[("3.1.0", 100)]);
    println!("{}", fleet.desk.roadstead(&["status"]).unwrap());
}

/// No host does anything.
fn switch_back(fleet: &Fleet, balancers: &Balancers) {
    let said = fleet.desk.roadstead(&["rollback", "staging", "--reason", "a story"]).unwrap();
    println!("{said}");
    balancers.wait_for_shares(&[("3.0.0", 100)]);
    println!("{}", fleet.desk.roadstead(&["status"]).unwrap());
    assert_eq!(fleet.serving().unwrap(), ["3.1.0", "3.1.0", "3.0.0"]);
}

/// Whether every balancer says that every host has all of its share.
fn all_full(fleet: &Fleet) -> bool {
    let shown = fleet.desk.json(&["env", "show", "staging"]).unwrap();
    let balancers = shown["balancers"].as_array().unwrap();
    let full = |balancer: &Value| {
        let servers = balancer["servers"].as_array().unwrap();
        servers.len() == 3 && servers.iter().all(|server| server["percent"] == 100 && server["up"] == true)
    };
    balancers.len() == 3 && balancers.iter().all(full)
}
