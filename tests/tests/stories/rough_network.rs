//! Hosts at the end of bad lines, one kind each, take a release that brings one picture. What arrives late or in pieces arrives; who cannot be
//! reached is named, serves on, and comes level once the line is whole. Nobody who uses the site notices any of it.

use crate::SOON;
use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::{Cable, Execution, Fault, Host, wait_until};
use roadstead_tests::load::{Load, RunningLoad};
use serde_json::Value;
use std::time::{Duration, Instant};

/// All at once: no host waits for one at the end of a bad line.
const POLICY: &str = "\
[strategy]
kind = \"all-at-once\"
max-unavailable = \"100%\"
failure-budget = 6
bake = \"1s\"

[timeouts]
away = \"15s\"
";

/// Each host's line. The first host's is good.
const LINES: [(&str, Fault); 6] = [
    ("slow", Fault::Slow(64)),
    ("lossy", Fault::Lossy(20)),
    ("resets", Fault::Resetting(70_000)),
    ("drips", Fault::Dripping(48)),
    ("deaf", Fault::Deaf),
    ("cut", Fault::Cut),
];
/// Lines over which nothing can come.
const UNREACHED: [&str; 2] = ["deaf", "cut"];

/// A rollout over lines that carry something at all.
const ROLLOUT: Duration = Duration::from_secs(120);
/// A host that returns dials again after a while that has grown with its absence.
const RETURN: Duration = Duration::from_secs(120);

#[test]
fn a_release_comes_over_every_line_that_carries_anything() {
    let fleet = TinyFleet::with_more("rough", &LINES.map(|(name, _)| name)).unwrap();
    let (desk, controller) = (&fleet.fleet.desk, &fleet.fleet.controller);
    controller.write("/etc/roadstead/controller.toml", "heartbeat-seconds = 5\n").unwrap();
    controller.systemctl(&["restart", "roadstead-controller"]).unwrap();
    fleet.fleet.policy("tiny", POLICY).unwrap();
    let changed = [("picture.txt", picture())];
    let changed = changed.each_ref().map(|(name, text)| (*name, text.as_str()));
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.push("1.1.0", &Twist { files: &changed, ..Twist::default() }).unwrap();
    fleet.fleet.wait_for_all().unwrap();
    fleet.deploy("1.0.0").unwrap();
    let loads: Vec<RunningLoad> = fleet.fleet.hosts.iter().map(|host| load(&fleet, host)).collect();

    let [_, ends @ ..] = &fleet.fleet.hosts[..] else { panic!("no hosts") };
    let cable = |(host, (_, fault)): (&Host, (&str, Fault))| Cable::between(host, controller, fault).unwrap();
    let cables: Vec<Cable> = ends.iter().zip(LINES).map(cable).collect();
    let began = Instant::now();
    let deploy = desk.begin(&["deploy", "tiny", "1.1.0"]).unwrap();
    let ended = Execution::of(&deploy.wait_with_output().unwrap());
    println!("over bad lines, in {:.1} s:\n{}{}", began.elapsed().as_secs_f64(), ended.stdout, ended.stderr);
    assert!(began.elapsed() < ROLLOUT, "the rollout took {:?}", began.elapsed());
    let shown = newest_rollout(&fleet);
    for host in shown["hosts"].as_array().unwrap() {
        println!("{}: {}", host["host"], host["state"]);
    }
    assert!(ended.success(), "{shown:#}");
    for (host, version) in ends.iter().map(|host| (host, serving(&fleet, host))) {
        let wanted = if UNREACHED.contains(&host.name()) { "1.0.0" } else { "1.1.0" };
        assert_eq!(version, wanted, "{}: {shown:#}", host.name());
    }
    for name in UNREACHED {
        assert!(ended.stderr.contains(name), "who was not reached is named: {}", ended.stderr);
    }

    let healed = Instant::now();
    for cable in cables {
        cable.heal().unwrap();
    }
    let level = || fleet.fleet.hosts.iter().all(|host| serving(&fleet, host) == "1.1.0");
    wait_until("every host to serve the same", RETURN, level).unwrap();
    wait_until("the last rollout to be done", SOON, || newest_rollout(&fleet)["phase"] == "done").unwrap();
    println!("level {:.1} s after the lines were whole", healed.elapsed().as_secs_f64());
    for load in loads {
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report}");
        assert!(report.releases.contains_key("1.1.0"), "{report}");
    }
}

/// A file of letters that hardly compress: what a new picture weighs, and several connections of a line that resets them.
fn picture() -> String {
    let mut letters = fastrand::Rng::with_seed(7);
    (0..160_000).map(|_| letters.alphanumeric()).collect()
}

fn load(fleet: &TinyFleet, host: &Host) -> RunningLoad {
    Load::on(format!("{}:80", host.ip())).clients(1).pause(Duration::from_millis(50)).start(&fleet.fleet.lab.network())
}

fn serving(fleet: &TinyFleet, host: &Host) -> String {
    fleet.fleet.serving("tiny", host).unwrap()
}

fn newest_rollout(fleet: &TinyFleet) -> Value {
    let rollouts = fleet.fleet.desk.json(&["rollout", "list", "--limit", "1"]).unwrap();
    fleet.fleet.desk.json(&["rollout", "show", rollouts[0]["rollout"].as_str().unwrap()]).unwrap()
}
