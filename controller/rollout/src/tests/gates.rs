//! Gates: what opens them, and that nobody hears of a rollout before.

use roadstead_model::*;

use super::fleet::*;
use crate::*;

fn gated(rules: &[(&str, u32)]) -> Fleet {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::Count(0));
    environment.gates.approvals =
        rules.iter().map(|(role, count)| ApprovalRule { role: RoleName::parse(role).unwrap(), count: *count }).collect();
    let plan = plan(RolloutKind::Rollout, &environment, 2);
    let mut fleet = Fleet::new(plan.clone());
    fleet.state = State::gated(plan, fleet.now, |_| Contact::AtRest);
    fleet.state.requested_by = "ada".to_owned();
    fleet
}

fn see(fleet: &mut Fleet, closed: &[&str]) {
    let closed = closed.iter().map(|why| Closed { why: (*why).to_owned(), way: "wait".to_owned() }).collect();
    fleet.event(Event::GatesSeen { closed, currents: Currents::new() });
}

fn approve(fleet: &mut Fleet, by: &str, roles: &[&str]) -> Result<(), Rejected> {
    let roles = roles.iter().map(|role| RoleName::parse(role).unwrap()).collect();
    let event = Event::Steered { steer: Steer::Approve { roles }, by: by.to_owned(), reason: "a test".to_owned() };
    let decision = decide(&fleet.state, event.clone(), fleet.now);
    fleet.event(event);
    decision.map(drop)
}

#[test]
fn nobody_hears_of_a_rollout_before_its_gates_are_open() {
    let mut fleet = gated(&[]);
    assert_eq!((orders(&fleet.state, 1).len(), fleet.state.phase.word()), (0, "gated"));
    assert_eq!(waiting(&fleet.state).unwrap().what, "its gates to be looked at");
    see(&mut fleet, &["it is night"]);
    assert_eq!(waiting(&fleet.state).unwrap().what, "it is night (wait)");
    assert_eq!(orders(&fleet.state, 1).len(), 0);
    see(&mut fleet, &[]);
    assert_eq!((orders(&fleet.state, 1).len(), fleet.run()), (2, Outcome::Done));
}

#[test]
fn so_many_people_of_each_role_approve_and_never_who_asked() {
    let mut fleet = gated(&[("dba", 1), ("ops", 2)]);
    let why = |result: Result<(), Rejected>| result.unwrap_err().to_string();
    assert!(why(approve(&mut fleet, "ada", &["dba"])).ends_with("whoever asked for a rollout does not approve it"));
    assert!(why(approve(&mut fleet, "bob", &["office"])).ends_with("bob is not one of those who are asked: it waits for dba, ops"));
    assert!(why(approve(&mut fleet, "bob", &["dba", "ops"])).ends_with("bob could approve it as dba or ops: say as which, with --as"));
    approve(&mut fleet, "bob", &["dba"]).unwrap();
    assert!(why(approve(&mut fleet, "bob", &["ops"])).ends_with("bob has approved it already"), "nobody counts twice");
    see(&mut fleet, &[]);
    let what = waiting(&fleet.state).unwrap().what;
    assert_eq!(what, "the approval of 2 of ops (not of ada, who asked for it, nor of bob, who approved it: roadstead rollout approve r-7)");
    approve(&mut fleet, "cyd", &["ops"]).unwrap();
    see(&mut fleet, &[]);
    assert!(waiting(&fleet.state).unwrap().what.contains("one of ops (not of ada, who asked for it, nor of bob and cyd, who approved it"));
    assert_eq!(fleet.state.phase.word(), "gated");
    approve(&mut fleet, "dan", &["dba", "ops"]).unwrap();
    assert!(why(approve(&mut fleet, "eve", &["ops"])).ends_with("no approval is missing"));
    see(&mut fleet, &[]);
    assert!(why(approve(&mut fleet, "eve", &["ops"])).ends_with("its gates are open, and it has begun"));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn gates_that_do_not_open_end_it_and_nothing_was_changed() {
    let mut fleet = gated(&[("dba", 1)]);
    see(&mut fleet, &["it is night"]);
    assert_eq!(fleet.run(), Outcome::Failed);
    let summary = &fleet.state.failure.as_ref().unwrap().summary;
    assert_eq!(summary, "its gates did not open within 7 days: the approval of one of dba; it is night");
    assert!(!fleet.state.condemn && fleet.state.hosts.values().all(|host| host.stage == Stage::Abandoned));
}

#[test]
fn it_can_be_aborted_at_its_gates_and_steered_in_no_other_way() {
    let mut fleet = gated(&[("dba", 1)]);
    for steer in [Steer::Resume, Steer::Promote { all: true }, Steer::Pause { within: Millis(1) }, Steer::Retry(host_id(0))] {
        assert!(fleet.steer(steer).unwrap_err().to_string().ends_with("it waits at its gates, and has not begun"));
    }
    fleet.steer(Steer::Abort).unwrap();
    assert!(orders(&fleet.state, 1).is_empty() && fleet.state.outcome() == Some(Outcome::Failed));
}

/// Days may pass at the gates, and hosts may have come level meanwhile.
#[test]
fn what_hosts_serve_is_what_they_serve_when_it_begins() {
    let mut fleet = gated(&[]);
    let newer = release("1.0.1");
    let currents = Currents::from([(host_id(0), Some(newer.clone())), (host_id(1), None)]);
    fleet.event(Event::GatesSeen { closed: Vec::new(), currents });
    fleet.until(|state| state.phase.word() == "moving");
    let order = orders(&fleet.state, 1).remove(&host_id(0)).unwrap();
    assert!(matches!(order.kind, OrderKind::Activate { expected: Some(expected), .. } if expected == newer.id));
    assert_eq!(fleet.state.plan.hosts[&host_id(1)].current, None);
}

/// What was approved is the step from what hosts served then.
#[test]
fn what_was_approved_does_not_begin_from_another_release() {
    let seen = |currents: &[(usize, &str)]| {
        let mut fleet = gated(&[("dba", 1)]);
        approve(&mut fleet, "bob", &["dba"]).unwrap();
        let currents = currents.iter().map(|(host, version)| (host_id(*host), Some(release(version)))).collect();
        fleet.event(Event::GatesSeen { closed: Vec::new(), currents });
        fleet
    };
    let mut fleet = seen(&[(0, "1.0"), (1, "0.9")]);
    assert_eq!(fleet.run(), Outcome::Failed);
    let summary = &fleet.state.failure.as_ref().unwrap().summary;
    let told = "what hosts serve has changed since it was planned, and that was approved: ";
    assert!(summary.starts_with(told) && summary.contains(" → 0.9-"), "{summary}");
    assert!(!fleet.state.condemn && fleet.state.hosts.values().all(|host| host.stage == Stage::Abandoned));

    assert_eq!(seen(&[(0, "1.0"), (1, "1.0")]).run(), Outcome::Done);
    assert_eq!(seen(&[(0, "1.1")]).run(), Outcome::Done, "it came to the release another way");
}

#[test]
fn whoever_goes_back_waits_at_no_gate() {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::Count(0));
    environment.gates.approvals = vec![ApprovalRule { role: RoleName::parse("dba").unwrap(), count: 1 }];
    for kind in [RolloutKind::Rollback, RolloutKind::Level] {
        assert!(plan(kind, &environment, 2).gates.is_empty(), "{kind:?}");
    }
}
