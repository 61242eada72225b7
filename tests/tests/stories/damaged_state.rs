//! What an agent wrote down is torn or altered: it starts all the same, says which file and what to do, and never guesses.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Journals};
use roadstead_tests::lab::{Host, wait_until};
use std::fs;
use std::path::{Path, PathBuf};

const AGENT: &str = "roadstead-agent";

#[test]
fn an_agent_lives_with_torn_files_and_refuses_to_guess_from_altered_ones() {
    let fleet = Fleet::new("damage", &FleetOptions::default()).unwrap();
    let web = &fleet.hosts[0];
    let journals = Journals::of(web);
    for version in ["1.0.0", "1.1.0"] {
        fleet.deploy(version).unwrap();
    }

    // the last record is torn, as by a power cut while it was written: it was never acted upon, and is written again
    let torn = journals.newest().unwrap();
    let whole = fs::read(&torn).unwrap();
    while_stopped(&fleet, web, || fs::write(&torn, &whole[..whole.len() - 10]).unwrap());
    wait_until("the order to end again", SOON, || journals.last().is_some_and(|moment| moment.record == "ended")).unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "1.0.0"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);

    // one altered byte in the middle
    let path = journals.newest().unwrap();
    let altered = alter(&fs::read(&path).unwrap());
    while_stopped(&fleet, web, || fs::write(&path, altered).unwrap());
    refused_until_moved(&fleet, web, &path, "is damaged at line");

    // what the agent remembers of the app, half written
    let state = web.root_path().join("var/lib/roadstead-agent/apps/erp/state.json");
    let half = fs::read(&state).unwrap();
    while_stopped(&fleet, web, || fs::write(&state, &half[..half.len() / 2]).unwrap());
    refused_until_moved(&fleet, web, &state, "state.json");
}

/// Something happens to the agent's files between two of its lives.
fn while_stopped(fleet: &Fleet, web: &Host, work: impl FnOnce()) {
    web.systemctl(&["stop", AGENT]).unwrap();
    work();
    web.systemctl(&["start", AGENT]).unwrap();
    web.wait_for_unit(AGENT, "active", SOON).unwrap();
    fleet.wait_for_all().unwrap();
}

fn alter(bytes: &[u8]) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    altered
}

/// The app takes no release and serves on, until someone moves the file away as the message says.
fn refused_until_moved(fleet: &Fleet, web: &Host, path: &Path, clue: &str) {
    let before = fleet.serving().unwrap();
    let next = if before == ["1.0.0"] { "1.1.0" } else { "1.0.0" };
    let done = fleet.desk.try_roadstead(&["deploy", "staging", next]).unwrap();
    println!("{}{}\n", done.stdout, done.stderr);
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    let inside = PathBuf::from("/").join(path.strip_prefix(web.root_path()).unwrap());
    let file = inside.display().to_string();
    for clue in [clue, "web-1", "move the file away", &file] {
        assert!(said.contains(clue), "{clue:?} is not said: {said}");
    }
    assert_eq!(fleet.serving().unwrap(), before);
    web.exec(&["mv", &file, "/root/"]).unwrap();
    fleet.desk.roadstead(&["deploy", "staging", next]).unwrap();
    assert_eq!(fleet.serving().unwrap(), [next]);
}
