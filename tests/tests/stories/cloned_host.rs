//! A machine is copied with all that is on its disk, and both are switched on: neither is let in any more, both are told, the site serves
//! on both, and the operator's way out is the one that is printed.

use crate::SOON;
use roadstead_tests::fleet::{PlainFleet, TinyFleet, Twist, enroll};
use roadstead_tests::lab::{Host, HostOptions, wait_until};

/// What an agent says, and where it goes on.
const TOLD: [&str; 2] = ["two machines came with this identity", "roadstead-agent enroll --again"];

#[test]
fn two_machines_with_one_identity_are_locked_and_let_in_anew() {
    let tiny = TinyFleet::new("cloned", &HostOptions::default()).unwrap();
    let fleet = &tiny.fleet;
    tiny.push("1.0.0", &Twist::default()).unwrap();
    tiny.deploy("1.0.0").unwrap();
    let machines = [tiny.host().clone(), fleet.lab.host("copy").unwrap()];
    machines.iter().for_each(|machine| machine.shutdown().unwrap());
    let disk = machines[0].save_disk("copied").unwrap();
    machines[1].load_disk(&disk).unwrap();

    // Alone, either of them is the host, whichever was booted before.
    machines[1].boot().unwrap();
    fleet.wait_for_all().unwrap();
    machines[1].power_cut().unwrap();
    machines[0].boot().unwrap();
    fleet.wait_for_all().unwrap();
    assert!(fleet.desk.history("host-locked").unwrap().is_empty());

    machines[1].boot().unwrap();
    let locked = || fleet.desk.json(&["host", "list"]).is_ok_and(|hosts| hosts[0]["state"] == "locked");
    wait_until("the identity to be locked", SOON, locked).unwrap();
    for machine in &machines {
        let told = |machine: &Host| machine.journal("roadstead-agent").is_ok_and(|said| TOLD.iter().all(|words| said.contains(words)));
        machine.wait_until("the agent to say what happened", SOON, told).unwrap();
        serves(fleet, machine);
    }
    let history = fleet.desk.history("host-locked").unwrap();
    assert!(history.len() == 1 && history[0].1.contains("two machines have the identity of"), "{history:?}");
    let shown = fleet.desk.roadstead(&["host", "show", "tiny"]).unwrap();
    assert!(shown.contains("locked: two machines came with its identity"), "{shown}");
    assert!(!tiny.try_deploy("1.0.0").unwrap().success(), "there is no host to deploy to");
    machines.iter().for_each(|machine| serves(fleet, machine));

    as_printed(fleet, &machines);
    wait_until("both machines to be connected", SOON, || fleet.connected() == Some(2)).unwrap();
    tiny.push("1.1.0", &Twist::default()).unwrap();
    tiny.deploy("1.1.0").unwrap();
    for machine in &machines {
        assert_eq!(fleet.serving("tiny", machine).unwrap(), "1.1.0");
        serves(fleet, machine);
    }
    let doctor = fleet.desk.try_roadstead(&["doctor"]).unwrap().stdout;
    assert!(!doctor.contains("two machines"), "{doctor}");
    let states = fleet.desk.json(&["host", "list", "--revoked"]).unwrap();
    let of_state = |state: &str| states.as_array().unwrap().iter().filter(|host| host["state"] == state).count();
    assert_eq!((of_state("connected"), of_state("revoked")), (2, 1));
}

/// Follows what the doctor says, command by command.
fn as_printed(fleet: &PlainFleet, machines: &[Host]) {
    let doctor = fleet.desk.try_roadstead(&["doctor"]).unwrap().stdout;
    let hint = doctor.split_once("two machines came").and_then(|(_, rest)| rest.split_once("Hint: ")).unwrap().1;
    let hint = hint.split_once("(docs/recovery.md)").unwrap().0;
    let commands: Vec<Vec<&str>> = hint.split('`').skip(1).step_by(2).map(|command| command.split_whitespace().collect()).collect();
    let [token, join, restart, revoke] = &commands[..] else { panic!("{hint}") };
    assert_eq!(join[..2], ["roadstead-agent", "enroll"]);
    for machine in machines {
        let token = fleet.desk.roadstead(&token[1..]).unwrap();
        enroll(machine, fleet.desk.controller(), &token, &join[2..]).unwrap().checked(machine.name(), "enroll").unwrap();
        machine.exec(restart).unwrap();
    }
    fleet.desk.roadstead(&[&revoke[1..], &["--yes"]].concat()).unwrap();
}

fn serves(fleet: &PlainFleet, machine: &Host) {
    let answers = |machine: &Host| fleet.ask(machine, "/").is_ok_and(|answer| answer == (200, "fine".to_owned()));
    machine.wait_until("the app to answer", SOON, answers).unwrap();
}
