//! One service of every kind, on every way to listen: each starts, is replaced under load and goes back, warm and cold, and
//! no request of anybody fails: not the quick ones, not those that last, not an answer that is still on its way.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::{Load, RunningLoad};
use std::time::Duration;

/// nginx in front of the unix sockets, with kept connections as most teams write it.
const SITE: &str = "\
upstream uvi { server unix:/run/roadstead/kinds/uvi.sock; keepalive 8; }
upstream daph { server unix:/run/roadstead/kinds/daph.sock; keepalive 8; }
upstream guni { server unix:/run/roadstead/kinds/guni.sock; keepalive 8; }
proxy_http_version 1.1;
proxy_set_header Connection \"\";
proxy_set_header Host $host;
server { listen 81; location / { proxy_pass http://uvi; } }
server { listen 82; location / { proxy_pass http://daph; } }
server { listen 83; location / { proxy_pass http://guni; } }
";

/// Every web service and where it is asked from outside.
const WEB: [(&str, u16); 6] = [("uvi", 81), ("daph", 82), ("guni", 83), ("guni-tcp", 8001), ("uvi-tcp", 8002), ("daph-tcp", 8003)];
const OTHERS: [&str; 4] = ["loop", "only", "worker", "beat"];

const LONG_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbake = \"10m\"\n";
const SHORT_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbake = \"1s\"\n";

#[test]
fn every_kind_of_service_is_replaced_and_goes_back_and_nobody_notices() {
    let fleet = Fleet::new("kinds", &FleetOptions::default()).unwrap();
    let project = Project::new("kinds").unwrap();
    let redis = format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip());
    fleet.welcome(&project, SHORT_BAKE, &redis).unwrap();
    let host = &fleet.hosts[0];
    host.start_nginx(SITE).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    project.release(&fleet, "1.1.0").unwrap();

    fleet.desk.roadstead(&["deploy", "staging", "1.0.0", "--app", "kinds"]).unwrap();
    expect_release(&fleet, host, "1.0.0");
    expect_tasks(&fleet, "1.0.0");
    let loads: Vec<_> = WEB.iter().flat_map(|(name, port)| loads(&fleet, host, name, *port)).collect();
    for (what, load) in &loads {
        load.wait_for_release("1.0.0", SOON).unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    // while it bakes the old instances behind unix sockets are warm, and yet every new request comes to the new release
    fleet.apply_for("kinds", LONG_BAKE).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0", "--app", "kinds"]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    expect_release(&fleet, host, "1.1.0");
    fleet.desk.roadstead(&["rollback", "staging", "--app", "kinds", "--reason", "warm"]).unwrap();
    expect_release(&fleet, host, "1.0.0");

    fleet.apply_for("kinds", SHORT_BAKE).unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.1.0", "--app", "kinds"]).unwrap();
    expect_release(&fleet, host, "1.1.0");
    expect_tasks(&fleet, "1.1.0");
    let left = host.sh("systemctl list-units --plain --no-legend 'kinds-*@*' | cat").unwrap();
    assert!(!left.contains("@1.0.0-"), "old instances are gone after the bake:\n{left}");
    fleet.desk.roadstead(&["rollback", "staging", "--app", "kinds", "--reason", "cold"]).unwrap();
    expect_release(&fleet, host, "1.0.0");

    for (what, load) in &loads {
        load.wait_for_more(1, SOON).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    loads.iter().for_each(|(_, load)| load.wind_down());
    let mut failed = String::new();
    for (what, load) in loads {
        let report = load.stop().unwrap();
        println!("{what}: {report}");
        if report.failed() > 0 {
            failed.push_str(&format!("{what}: {report}\n"));
        }
    }
    assert_eq!(failed, "");
}

/// Quick requests over kept and over fresh connections, requests that last three seconds, and answers that take as long to come.
fn loads(fleet: &Fleet, host: &Host, name: &str, port: u16) -> Vec<(String, RunningLoad)> {
    let on = |path: &str| Load::on(format!("{}:{port}", host.ip())).path(path).clients(1).timeout(Duration::from_secs(30));
    let quick = || on("/").clients(2).pause(Duration::from_millis(10));
    let all = [("kept", quick()), ("fresh", quick().without_keep_alive()), ("slow", on("/slow")), ("stream", on("/stream"))];
    all.into_iter().map(|(what, load)| (format!("{name} {what}"), load.start(&fleet.client()))).collect()
}

/// Every service runs the release and nothing else answers a new request.
fn expect_release(fleet: &Fleet, host: &Host, version: &str) {
    for service in WEB.iter().map(|(name, _)| *name).chain(OTHERS) {
        let units = host.sh(&format!("systemctl list-units --state=active --plain --no-legend 'kinds-{service}@*' | cat")).unwrap();
        assert!(units.contains(&format!("kinds-{service}@{version}-")), "{service} of {version} runs:\n{units}");
    }
    for single in ["kinds.loop one", "beat --loglevel"] {
        assert_eq!(host.sh(&format!("pgrep -fc '[m] .*{single}'")).unwrap().trim(), "1", "one {single}");
    }
    for (name, port) in WEB {
        let fresh = Load::on(format!("{}:{port}", host.ip())).clients(1).at_most(20).start(&fleet.client()).finish().unwrap();
        assert_eq!(fresh.releases.keys().collect::<Vec<_>>(), [version], "{name}: {fresh}");
        assert_eq!(fresh.failed(), 0, "{name}: {fresh}");
    }
}

/// Beat asks for a task every second, and the worker runs it.
fn expect_tasks(fleet: &Fleet, version: &str) {
    let ran = || fleet.data.sh("redis-cli -n 1 lrange ran:tick -1 -1").unwrap_or_default();
    wait_until(&format!("a task of {version} to run"), SOON, || ran().trim() == version).unwrap();
}
