//! What an operator does to a rollout that goes on: a canary is paused, survives its controller and is promoted; hosts that are lost are
//! tried again, ignored, taken out.

use crate::SOON;
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::{Execution, Host, wait_until};
use serde_json::Value;
use std::time::Instant;

const CANARY: &str = "\
[strategy]
kind = \"canary\"
steps = [{ hosts = 1, promote = \"manual\" }]
batch = 3
max-unavailable = 3
bake = \"1s\"
";
/// Somebody is asked as soon as one host is lost, and a host that is away is waited for a few seconds.
const ASKING: &str = "\
[strategy]
kind = \"all-at-once\"
on-failure = \"ask\"
bake = \"1s\"
[timeouts]
away = \"5s\"
";

/// Who may approve.
pub(super) const ROLES: &str = "roles = { ops = [\"bob\"] }\n";
const GATED: &str = "\
[gates]
approvals = [{ role = \"ops\" }]
[strategy]
kind = \"all-at-once\"
bake = \"1s\"
";

/// The fleet serves 1.0.0 before, and 1.1.0 after it.
pub(super) fn a_rollout_is_steered_to_its_end(fleet: &Fleet) {
    a_canary_waits_for_its_promotion(fleet);
    fleet.apply(ASKING).unwrap();
    a_host_is_tried_again(fleet);
    a_host_is_taken_out(fleet);
    a_host_that_is_away_is_ignored(fleet);
    gates_are_opened_by_others(fleet);
}

fn a_canary_waits_for_its_promotion(fleet: &Fleet) {
    fleet.apply(CANARY).unwrap();
    println!("{}", fleet.desk.roadstead(&["plan", "staging", "1.3.0"]).unwrap());
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    fleet.wait_for_phase(&rollout, "baked", SOON * 2).unwrap();
    assert_eq!(serving(fleet, "1.3.0"), 1);
    show(fleet, &rollout);
    steer(fleet, &["pause", &rollout]);
    show(fleet, &rollout);
    let refused = try_steer(fleet, &["promote", &rollout]);
    assert!(refused.code == Some(3) && refused.stderr.contains("cannot be promoted: it is paused"), "{}", refused.stderr);

    fleet.controller.systemctl(&["kill", "-s", "KILL", "roadstead-controller"]).unwrap();
    let mut shown = Value::Null;
    let answers = || {
        shown = fleet.rollout(&rollout).unwrap_or_default();
        !shown.is_null()
    };
    wait_until("the controller to answer again", SOON, answers).unwrap();
    assert!(shown["on_hold"] == true && shown["phase"] == "baked", "{shown:#}");
    let awaited = shown["waiting"]["for"].as_str().unwrap();
    assert_eq!(awaited, "an operator to resume it: admin:ada paused it, a story");
    assert_eq!(serving(fleet, "1.3.0"), 1);

    steer(fleet, &["resume", &rollout]);
    steer(fleet, &["promote", &rollout]);
    done(fleet, &rollout);
    assert_eq!(serving(fleet, "1.3.0"), 4);
    for kind in ["rollout-paused", "rollout-resumed", "rollout-promoted"] {
        let told = fleet.desk.history(kind).unwrap();
        assert_eq!(told, [(rollout.clone(), "a story".to_owned())], "{kind}");
    }
}

/// Its secrets are gone, which is found out while it prepares: nobody moves until they are back.
fn a_host_is_tried_again(fleet: &Fleet) {
    let host = &fleet.hosts[1];
    host.sh("mv /etc/roadstead/apps/erp.env /root/").unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    let shown = asks(fleet, &rollout);
    assert_eq!((state(&shown, host), serving(fleet, "1.3.0")), ("failed".to_owned(), 4));
    host.sh("mv /root/erp.env /etc/roadstead/apps/").unwrap();
    steer(fleet, &["retry", &rollout, host.name()]);
    done(fleet, &rollout);
    let shown = fleet.rollout(&rollout).unwrap();
    assert_eq!((of(&shown, host)["attempt"].as_u64(), serving(fleet, "1.1.0")), (Some(2), 4), "{shown:#}");
}

/// It serves what it served, is not brought level behind its operator's back, and comes along with the next deployment.
fn a_host_is_taken_out(fleet: &Fleet) {
    let host = &fleet.hosts[2];
    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    steer(fleet, &["exclude", &rollout, host.name()]);
    done(fleet, &rollout);
    let shown = fleet.rollout(&rollout).unwrap();
    assert_eq!((&of(&shown, host)["standing"], serving(fleet, "1.3.0"), serving(fleet, "1.1.0")), (&"excluded".into(), 3, 1), "{shown:#}");
    // Hosts that are behind are looked for when one connects.
    let seen = || fleet.desk.history("host-connected").unwrap().len();
    let before = seen();
    host.systemctl(&["restart", "roadstead-agent"]).unwrap();
    wait_until("its agent to connect again", SOON, || seen() > before).unwrap();
    // What is asked for is answered when all that came before was decided.
    let answer = fleet.desk.try_roadstead(&["rollback", "staging", "--to", "1.3.0", "--reason", "a story"]).unwrap();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert_eq!(fleet.desk.json(&["rollout", "list", "--limit", "1"]).unwrap()[0]["rollout"], rollout.as_str());
    fleet.desk.roadstead(&["deploy", "staging", "1.3.0", "--reason", "all of them"]).unwrap();
    assert_eq!(serving(fleet, "1.3.0"), 4);
}

fn a_host_that_is_away_is_ignored(fleet: &Fleet) {
    let host = &fleet.hosts[3];
    host.systemctl(&["stop", "roadstead-agent"]).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    let shown = asks(fleet, &rollout);
    assert_eq!(state(&shown, host), "level-later", "{shown:#}");
    steer(fleet, &["ignore", &rollout, host.name()]);
    done(fleet, &rollout);
    assert_eq!((serving(fleet, "1.1.0"), serving(fleet, "1.3.0")), (3, 1));
    host.systemctl(&["start", "roadstead-agent"]).unwrap();
    wait_until("it to come level by itself", SOON * 2, || serving(fleet, "1.1.0") == 4).unwrap();
}

/// A second admin approves what the first one asked for, and waits for the first one's lock.
fn gates_are_opened_by_others(fleet: &Fleet) {
    let bob = fleet.desk.of_admin("bob").unwrap();
    fleet.apply(GATED).unwrap();

    let rollout = fleet.begin(&["deploy", "staging", "1.3.0"]).unwrap();
    let shown = fleet.rollout(&rollout).unwrap();
    let awaited = shown["waiting"]["for"].as_str().unwrap();
    assert!(awaited.contains("the approval of one of ops (not of admin:ada, who asked for it"), "{awaited}");
    println!("{}", fleet.desk.roadstead(&["plan", "staging", "1.3.0"]).unwrap_or_else(|error| error.to_string()));
    show(fleet, &rollout);
    let own = try_steer(fleet, &["approve", &rollout]);
    assert!(own.code == Some(3) && own.stderr.contains("whoever asked for a rollout does not approve it"), "{}", own.stderr);
    assert_eq!(serving(fleet, "1.1.0"), 4, "no host has heard of it");
    bob.roadstead(&["rollout", "approve", &rollout, "--reason", "looks good"]).unwrap();
    done(fleet, &rollout);
    assert_eq!(serving(fleet, "1.3.0"), 4);

    fleet.apply(ASKING).unwrap();
    fleet.desk.roadstead(&["lock", "staging", "--reason", "an incident"]).unwrap();
    let waits = bob.json(&["deploy", "staging", "1.1.0", "--no-wait"]).unwrap()["rollout"].as_str().unwrap().to_owned();
    let locked = || {
        fleet.rollout(&waits).unwrap()["waiting"]["for"]
            .as_str()
            .is_some_and(|text| text.starts_with("staging is locked by admin:ada: an incident"))
    };
    wait_until("the lock to be named", SOON, locked).unwrap();
    let broken = bob.try_roadstead(&["unlock", "staging", "--reason", "a hurry"]).unwrap();
    assert!(broken.code == Some(3) && broken.stderr.contains("locked by admin:ada"), "{}", broken.stderr);
    fleet.desk.roadstead(&["unlock", "staging", "--reason", "it is over"]).unwrap();
    done(fleet, &waits);
    assert_eq!(serving(fleet, "1.1.0"), 4);
}

fn try_steer(fleet: &Fleet, words: &[&str]) -> Execution {
    let asked = Instant::now();
    let done = fleet.desk.try_roadstead(&[&["rollout"], words, &["--reason", "a story"]].concat()).unwrap();
    println!("{} took {} ms, the start of the command included", words[0], asked.elapsed().as_millis());
    done
}

fn steer(fleet: &Fleet, words: &[&str]) {
    let done = try_steer(fleet, words);
    assert!(done.success(), "{words:?}: {}{}", done.stdout, done.stderr);
}

/// The rollout, once it waits for an operator.
fn asks(fleet: &Fleet, rollout: &str) -> Value {
    let mut shown = Value::Null;
    let asks = || {
        shown = fleet.rollout(rollout).unwrap();
        shown["on_hold"] == true
    };
    wait_until("the operator to be asked", SOON * 2, asks).unwrap();
    let awaited = shown["waiting"]["for"].as_str().unwrap();
    assert!(awaited.starts_with("an operator to retry, ignore or exclude hosts: 1 of 4 hosts lost, 0 may be"), "{awaited}");
    show(fleet, rollout);
    shown
}

/// What an operator sees now.
fn show(fleet: &Fleet, rollout: &str) {
    println!("{}", fleet.desk.roadstead(&["rollout", "show", rollout]).unwrap());
}

fn done(fleet: &Fleet, rollout: &str) {
    let watched = fleet.watch(rollout).unwrap();
    println!("{}", watched.stdout);
    assert!(watched.success(), "{}{}", watched.stdout, watched.stderr);
}

fn serving(fleet: &Fleet, version: &str) -> usize {
    fleet.serving().unwrap().iter().filter(|serves| *serves == version).count()
}

fn of<'a>(rollout: &'a Value, host: &Host) -> &'a Value {
    super::hosts(rollout).find(|shown| shown["host"] == host.name()).unwrap()
}

fn state(rollout: &Value, host: &Host) -> String {
    of(rollout, host)["state"].as_str().unwrap().to_owned()
}
