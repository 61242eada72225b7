//! What runs only once follows to another host when its own falls silent: never two of it, and every tick of it is looked at.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use std::time::Duration;

const MANIFEST: &str = "\
[app]
name = \"kinds\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[env]
REDIS_URL = { required = true }

[services.ticker]
kind = \"command\"
command = [\"python\", \"-m\", \"kinds.ticker\"]
singleton = true
stop-timeout = \"2s\"
";

/// Ticks until it is stopped, and would go on after that if it could.
const TICKER: &str = "\
import os
import time

import redis

store = redis.from_url(os.environ['REDIS_URL'])
who = f\"{os.uname().nodename}:{os.getpid()}\"
while True:
    store.rpush('ticks', who)
    time.sleep(0.1)
";

const LEASED: &str = "hosts = \"role=web\"\nfailover = \"30s\"\n[strategy]\nkind = \"all-at-once\"\nmax-unavailable = \"100%\"\nbake = \"1s\"\nfailure-budget = 2\n[timeouts]\naway = \"5s\"\n";
const FREE: &str = "hosts = \"role=web\"\n[strategy]\nkind = \"all-at-once\"\nmax-unavailable = \"100%\"\nbake = \"1s\"\nfailure-budget = 2\n[timeouts]\naway = \"5s\"\n";

/// A span, the margin, the time to stop, a look, and a rollout that brings one host level.
const FOLLOWS: Duration = Duration::from_secs(180);

#[test]
fn what_runs_once_follows_and_never_runs_twice() {
    let fleet = Fleet::new("leases", &FleetOptions::default().hosts(3)).unwrap();
    fleet.controller.write("/etc/roadstead/controller.toml", "heartbeat-seconds = 2\n").unwrap();
    fleet.controller.systemctl(&["restart", "roadstead-controller"]).unwrap();
    fleet.wait_for_all().unwrap();
    let project = Project::new("kinds").unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    project.write("kinds/ticker.py", TICKER).unwrap();
    let redis = format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip());
    fleet.welcome(&project, LEASED, &redis).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    project.release(&fleet, "1.1.0").unwrap();
    let roadstead = |words: &[&str]| fleet.desk.roadstead(&[words, &["--app", "kinds"]].concat()).unwrap();
    let [one, two, three] = &fleet.hosts[..] else { panic!("three hosts") };

    roadstead(&["deploy", "staging", "1.0.0"]);
    ticks_on(&fleet, one, SOON);
    let leash = one.sh("systemctl list-timers --all --no-legend 'roadstead-lease-kinds-*.timer'").unwrap();
    assert_eq!(leash.lines().count(), 1, "what ends it is armed, once:\n{leash}");
    assert_eq!(unit_file_state(one), "linked", "it does not start with the machine");

    // the controller is away for less than a lease: nothing happens; releases change as ever
    fleet.controller.systemctl(&["stop", "roadstead-controller"]).unwrap();
    let before = ticks(&fleet).len();
    wait_until("ticks without a controller", SOON, || ticks(&fleet).len() > before + 50).unwrap();
    fleet.controller.systemctl(&["start", "roadstead-controller"]).unwrap();
    fleet.wait_for_all().unwrap();
    roadstead(&["deploy", "staging", "1.1.0"]);
    ticks_on(&fleet, one, SOON);

    // the home is cut off from the controller alone: it stops by itself, another follows, and nothing changes when it is back
    one.cut_from(&fleet.controller).unwrap();
    ticks_on(&fleet, two, FOLLOWS);
    assert_eq!(unit_state(one), "inactive", "its own host has stopped it, which the controller could not see");
    one.heal_from(&fleet.controller).unwrap();
    fleet.wait_for_all().unwrap();
    nothing_is_under_way(&fleet);

    // the next home loses its power, and another follows; it comes back to find that it is nobody's home any more
    two.power_cut().unwrap();
    ticks_on(&fleet, one, FOLLOWS);
    two.boot().unwrap();
    fleet.wait_for_all().unwrap();
    assert_ne!(unit_state(two), "active");
    nothing_is_under_way(&fleet);

    // a home that is back before anybody followed starts it again by itself
    one.power_cut().unwrap();
    one.boot().unwrap();
    ticks_on(&fleet, one, SOON);

    // the agent dies for good and its host lives on: systemd ends what the agent cannot
    one.systemctl(&["mask", "--runtime", "roadstead-agent"]).unwrap();
    one.kill_unit("roadstead-agent").unwrap();
    ticks_on(&fleet, two, FOLLOWS);
    assert_ne!(unit_state(one), "active");
    assert!(three.is_running());
    one.systemctl(&["unmask", "--runtime", "roadstead-agent"]).unwrap();
    one.systemctl(&["start", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    nothing_is_under_way(&fleet);

    let history = fleet.desk.roadstead(&["history", "--limit", "400"]).unwrap();
    assert_eq!(history.matches("follows to").count(), 3, "{history}");

    // nobody wants failover any more: it stays where it is, and starts with its machine
    fleet.apply_for("kinds", FREE).unwrap();
    wait_until("the service to start with the machine again", SOON, || unit_file_state(two) == "enabled").unwrap();
    two.power_cut().unwrap();
    two.boot().unwrap();
    ticks_on(&fleet, two, SOON);

    never_two(&ticks(&fleet));
}

/// Who ticked, in order.
fn ticks(fleet: &Fleet) -> Vec<String> {
    fleet.data.sh("redis-cli -n 1 lrange ticks 0 -1").unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until no rollout is under way: one that loses its host would be waited for first.
fn nothing_is_under_way(fleet: &Fleet) {
    let rests = || fleet.desk.roadstead(&["status"]).is_ok_and(|status| !status.contains(" r-"));
    wait_until("nothing to be under way", SOON, rests).unwrap();
}

/// Waits until only this host ticks.
fn ticks_on(fleet: &Fleet, host: &Host, within: Duration) {
    let name = format!("{}:", host.name());
    let newest = || ticks(fleet).into_iter().rev().take(3).filter(|tick| tick.starts_with(&name)).count() == 3;
    wait_until(&format!("what runs once to run on {}", host.name()), within, newest).unwrap();
}

/// Every process ticks in one row: one that ticked between two others would have run beside one of them.
fn never_two(ticks: &[String]) {
    let mut rows: Vec<(&str, usize)> = Vec::new();
    for tick in ticks {
        match rows.last_mut() {
            Some((who, count)) if who == tick => *count += 1,
            _ => rows.push((tick, 1)),
        }
    }
    let mut names: Vec<&str> = rows.iter().map(|(who, _)| *who).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "two ran at a time: {rows:?}");
    println!("{} ticks, in rows: {rows:?}", ticks.len());
}

fn unit(host: &Host) -> String {
    let current = host.sh("basename $(readlink /srv/roadstead/kinds/current)").unwrap();
    format!("kinds-ticker@{}.service", current.trim())
}

fn unit_state(host: &Host) -> String {
    host.unit_property(&unit(host), "ActiveState").unwrap()
}

fn unit_file_state(host: &Host) -> String {
    let state = host.try_sh(&format!("systemctl is-enabled '{}'", unit(host))).unwrap();
    state.stdout.trim().to_owned()
}
