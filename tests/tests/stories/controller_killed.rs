//! The controller is killed in every phase of one rollout: it comes back, carries on, and whoever watches sees the end.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::lab::wait_until;

const CONTROLLER: &str = "roadstead-controller";

#[test]
fn a_rollout_survives_its_controller() {
    let policy = "[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"15s\"\n";
    let fleet = Fleet::new("headless", &FleetOptions::default().hosts(2).policy(policy)).unwrap();
    fleet.push("1.0.0").unwrap();

    let deploy = fleet.desk.begin(&["deploy", "staging", "1.0.0"]).unwrap();
    for phase in ["preparing", "migrating", "moving", "baking"] {
        wait_until(&format!("the rollout to be {phase}"), SOON, || phase_of(&fleet).is_some_and(|seen| seen == phase)).unwrap();
        let process = fleet.controller.main_process(CONTROLLER).unwrap();
        process.kill();
        println!("killed while {phase}");
        wait_until("systemd to start the controller again", SOON, || {
            fleet.controller.main_process(CONTROLLER).is_ok_and(|next| next != process)
        })
        .unwrap();
        fleet.controller.wait_for_unit(CONTROLLER, "active", SOON).unwrap();
    }
    let done = roadstead_tests::lab::Execution::of(&deploy.wait_with_output().unwrap());
    println!("{}", done.stderr);
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("the controller does not answer"), "{}", done.stderr);
    assert_eq!(fleet.serving().unwrap(), ["1.0.0", "1.0.0"]);
    let said = fleet.controller.journal(CONTROLLER).unwrap();
    assert_eq!(said.matches("an unfinished rollout is taken up").count(), 4, "{said}");

    // nothing of the history was lost with the processes
    let rollout = fleet.desk.json(&["rollout", "show", "r-1"]).unwrap();
    println!("{rollout:#}");
    assert_eq!(rollout["phase"], "done");
    for host in rollout["hosts"].as_array().unwrap() {
        let steps: Vec<&str> = host["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
        let missing: Vec<&str> = EVERYWHERE.into_iter().filter(|step| !steps.contains(step)).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}: {steps:?}", host["host"]);
    }
}

/// What every host does, the one that migrates and the others.
const EVERYWHERE: [&str; 14] = [
    "preflight",
    "prune",
    "fetch",
    "verify",
    "unpack",
    "venv",
    "configure",
    "collectstatic",
    "publish",
    "candidate",
    "cutover",
    "proof",
    "health",
    "confirm",
];

fn phase_of(fleet: &Fleet) -> Option<String> {
    let shown = fleet.desk.json(&["rollout", "show", "r-1"]).ok()?;
    shown["phase"].as_str().map(str::to_owned)
}
