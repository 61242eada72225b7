//! Restores: everything stops before a backup is restored, whatever fails leads back to the database of before, and behind the exchange there is
//! only the way forward.

use proptest::prelude::{Just, ProptestConfig, Strategy as _, prop, prop_oneof, proptest};
use roadstead_model::*;
use std::collections::BTreeSet;

use super::fleet::*;
use super::waits::check_wait;
use crate::*;

pub(crate) fn loss() -> Safeguard {
    Safeguard::Loss(Box::new(Loss { kept_as: "erp_before".to_owned(), ..samples::loss(samples::backup("erp-r-6-5")) }))
}

fn restore(hosts: usize, approvals: u32) -> Fleet {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::Count(1));
    if approvals > 0 {
        environment.gates.approvals = vec![ApprovalRule { role: RoleName::parse("dba").unwrap(), count: approvals }];
        environment.gates.windows = vec![Window::try_from("mon 01:00-02:00".to_owned()).unwrap()];
    }
    let (old, new) = (release("1.0"), release("1.1"));
    let plan =
        Plan::new(RolloutId(7), RolloutKind::Restore, &environment, old, Some(new.clone()), candidates(hosts, Some(&new)), true).unwrap();
    let backup = BackupName::parse("erp-r-6-5").unwrap();
    let mut fleet = Fleet::new(Plan { restore: Some(PlannedRestore { backup, host: host_id(0), only_survey: false }), ..plan });
    fleet.state.requested_by = "ada".to_owned();
    fleet
}

fn steered(fleet: &mut Fleet, steer: Steer, by: &str) -> Result<(), Rejected> {
    let event = Event::Steered { steer, by: by.to_owned(), reason: "test".to_owned() };
    let decided = decide(&fleet.state, event, fleet.now)?;
    fleet.state = decided.state;
    Ok(())
}

fn accepted(hosts: usize) -> Fleet {
    let mut fleet = restore(hosts, 0);
    fleet.until(|state| matches!(state.phase, Phase::Deciding { .. }));
    assert!(fleet.state.recovery.survey.is_some());
    steered(&mut fleet, Steer::Accept, "ada").unwrap();
    fleet
}

fn sequence(fleet: &Fleet, verb: Verb, host: usize) -> (HostId, u32) {
    let _ = fleet;
    let key = |place: u32| OrderKey { rollout: RolloutId(7), sequence: (1 << 20) + place };
    let found = (1..9).map(key).find(|key| Verb::of(*key) == Some(verb)).unwrap();
    (host_id(host), found.sequence)
}

#[test]
fn everything_stops_before_the_backup_is_restored_and_the_release_of_then_serves() {
    let mut fleet = accepted(3);
    fleet.until(|state| matches!(state.phase, Phase::Restoring { .. }));
    assert!(fleet.serves.values().all(Option::is_none), "nobody serves: {:?}", fleet.serves);
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.0").id)));
    assert_eq!((fleet.state.recovery.exchange, fleet.state.recovery.loss.is_some()), (Exchange::Done, true));
}

#[test]
fn nothing_stops_before_it_is_accepted_and_approved() {
    let mut fleet = restore(2, 2);
    let early = steered(&mut fleet, Steer::Accept, "ada").unwrap_err().to_string();
    assert!(early.contains("not known yet what it would lose"), "{early}");
    fleet.until(|state| matches!(state.phase, Phase::Deciding { .. }));
    assert!(fleet.state.plan.gates.windows.is_empty(), "a restore waits for people, not for a window");
    assert!(steered(&mut fleet, Steer::Accept, "bob").unwrap_err().to_string().contains("ada asked for it"));
    steered(&mut fleet, Steer::Accept, "ada").unwrap();
    let dba = || Steer::Approve { roles: vec![RoleName::parse("dba").unwrap()] };
    assert!(steered(&mut fleet, dba(), "ada").is_err(), "never who asked for it");
    steered(&mut fleet, dba(), "bob").unwrap();
    assert!(matches!(fleet.state.phase, Phase::Deciding { .. }), "one of two");
    let waits = waiting(&fleet.state).unwrap();
    assert!(waits.what.contains("the approval of one of dba") && !waits.what.contains("accept"), "{waits:?}");
    steered(&mut fleet, dba(), "eve").unwrap();
    assert!(matches!(fleet.state.phase, Phase::Halting { .. }));
}

#[test]
fn nobody_who_decides_ends_it_and_nothing_was_changed() {
    let mut fleet = restore(2, 0);
    assert_eq!(fleet.run(), Outcome::RolledBack);
    let failure = fleet.state.failure.clone().unwrap();
    assert!(failure.summary.contains("ada did not accept the loss within 4 h"), "{failure:?}");
    assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.1").id)));
}

#[test]
fn whatever_fails_before_the_exchange_leads_back() {
    for (verb, host) in [(Verb::Prepare, 1), (Verb::Survey, 0), (Verb::Halt, 1), (Verb::Restore, 0), (Verb::Exchange, 0)] {
        for behaviour in [Behaviour::Fails, Behaviour::StaysSilent] {
            let mut fleet = restore(2, 0);
            let place = sequence(&fleet, verb, host);
            fleet.behaviour.insert(place, behaviour);
            fleet.until(|state| state.outcome().is_some() || matches!(state.phase, Phase::Deciding { .. }));
            if fleet.state.outcome().is_none() {
                steered(&mut fleet, Steer::Accept, "ada").unwrap();
            }
            let outcome = fleet.run();
            let unknown = verb == Verb::Exchange && behaviour == Behaviour::StaysSilent;
            if unknown {
                assert_eq!((outcome, fleet.state.recovery.exchange), (Outcome::Failed, Exchange::Unknown));
                assert!(fleet.serves.values().all(Option::is_none), "nothing is started while nobody knows what is there");
                continue;
            }
            assert_ne!(outcome, Outcome::Done, "{verb:?} {behaviour:?}");
            assert_eq!(fleet.state.recovery.exchange, Exchange::NotDone);
            // One that says nothing any more is brought level when it does.
            let left = |id: &HostId| fleet.state.hosts[id].stage == Stage::Left;
            let back = fleet.serves.iter().filter(|(id, _)| !left(id)).all(|(_, serves)| *serves == Some(release("1.1").id));
            assert!(back, "{verb:?} {behaviour:?}: {:?}", fleet.serves);
        }
    }
}

#[test]
fn a_stuck_exchange_starts_nothing() {
    let mut fleet = accepted(2);
    let place = sequence(&fleet, Verb::Exchange, 0);
    fleet.behaviour.insert(place, Behaviour::GetsStuck);
    assert_eq!(fleet.run(), Outcome::Failed);
    assert_eq!(fleet.state.recovery.exchange, Exchange::Unknown);
    assert!(fleet.state.failure.clone().unwrap().hint.contains("docs/recovery.md"));
}

/// An agent that exchanged, and lost what it wrote of that, refuses the order when it is sent again; one that never heard of it is silent.
#[test]
fn a_refused_or_unanswered_exchange_is_unknown_and_starts_nothing() {
    let mut fleet = accepted(2);
    fleet.until(|state| matches!(state.phase, Phase::Exchanging { .. }));
    let (host, order) = orders(&fleet.state, 1).pop_first().unwrap();
    let report = Report::Refused { key: order.key(), highest: None, why: "its journal cannot be read".to_owned() };
    fleet.event(Event::Report { host, report });
    assert_eq!((fleet.run(), fleet.state.recovery.exchange), (Outcome::Failed, Exchange::Unknown));

    let mut fleet = accepted(2);
    let place = sequence(&fleet, Verb::Exchange, 0);
    fleet.behaviour.insert(place, Behaviour::StaysSilent);
    assert_eq!((fleet.run(), fleet.state.recovery.exchange), (Outcome::Failed, Exchange::Unknown));
    assert!(orders(&fleet.state, 1).is_empty(), "nobody is asked for anything any more");
}

#[test]
fn an_abort_starts_everything_again_and_is_refused_once_the_databases_are_exchanged() {
    let mut fleet = accepted(2);
    fleet.until(|state| matches!(state.phase, Phase::Restoring { .. }));
    steered(&mut fleet, Steer::Abort, "bob").unwrap();
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.1").id)));

    let mut fleet = accepted(2);
    fleet.until(|state| matches!(state.phase, Phase::Exchanging { .. }));
    let refused = steered(&mut fleet, Steer::Abort, "bob").unwrap_err().to_string();
    assert!(refused.contains("it goes on to its end"), "{refused}");
    fleet.until(|state| matches!(state.phase, Phase::Starting { .. }));
    assert!(steered(&mut fleet, Steer::Abort, "bob").is_err());
    assert!(steered(&mut fleet, Steer::Pause { within: Millis(1) }, "bob").unwrap_err().to_string().contains("it is a restore"));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn a_host_that_does_not_start_is_told_of_and_the_others_serve() {
    let mut fleet = accepted(2);
    let place = sequence(&fleet, Verb::Start, 1);
    fleet.behaviour.insert(place, Behaviour::Fails);
    assert_eq!(fleet.run(), Outcome::Failed);
    let failure = fleet.state.failure.clone().unwrap();
    assert!(failure.summary.contains("the database is restored, and 1 of 2 hosts do not serve"), "{failure:?}");
    assert_eq!(fleet.serves[&host_id(0)], Some(release("1.0").id));
}

#[test]
fn a_look_alone_stops_nothing_and_ends_well() {
    let mut fleet = restore(2, 1);
    fleet.state.plan.restore.as_mut().unwrap().only_survey = true;
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(fleet.state.recovery.survey.is_some() && fleet.state.recovery.exchange == Exchange::NotDone);
    assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.1").id)));
}

#[derive(Debug, Clone)]
enum Move {
    CarryOut(usize),
    Gone(usize),
    Seen(usize),
    Revoked(usize),
    Accept,
    Abort,
    GiveWay,
    Sleep,
    Resumed(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn one_host_restores_while_nobody_serves_and_it_ends(
        hosts in 1..5usize,
        behaviours in prop::collection::vec((0..5usize, 1..=8u32, prop_oneof![Just(Behaviour::Fails), Just(Behaviour::GetsStuck), Just(Behaviour::StaysSilent)]), 0..3),
        moves in prop::collection::vec(prop_oneof![
            14 => (0..64usize).prop_map(Move::CarryOut),
            2 => (0..64usize).prop_map(Move::Gone),
            3 => (0..64usize).prop_map(Move::Seen),
            1 => (0..64usize).prop_map(Move::Revoked),
            3 => Just(Move::Accept),
            1 => Just(Move::Abort),
            1 => Just(Move::GiveWay),
            1 => Just(Move::Sleep),
            1 => (0..48u64).prop_map(Move::Resumed),
        ], 0..80),
    ) {
        let mut fleet = restore(hosts, 0);
        fleet.behaviour.extend(behaviours.into_iter().map(|(n, place, behaviour)| ((host_id(n), (1 << 20) + place), behaviour)));
        let mut restorers = BTreeSet::new();
        for step in moves {
            let before = fleet.state.clone();
            let host = |n: usize| host_id(n % hosts);
            match step {
                Move::CarryOut(n) => drop(fleet.carry_out(n)),
                Move::Gone(n) => fleet.event(Event::HostGone { host: host(n) }),
                Move::Seen(n) => {
                    let current = fleet.serves[&host(n)].clone();
                    fleet.event(Event::HostSeen { host: host(n), current, outcomes: Vec::new(), steps: Vec::new() });
                }
                Move::Revoked(n) => fleet.event(Event::HostRevoked { host: host(n) }),
                Move::Accept => drop(steered(&mut fleet, Steer::Accept, "ada")),
                Move::Abort => drop(steered(&mut fleet, Steer::Abort, "bob")),
                Move::GiveWay => fleet.event(Event::GiveWay { by: "bob".to_owned() }),
                Move::Sleep => fleet.sleep(),
                Move::Resumed(hour) => {
                    fleet.now = Timestamp(hour * 3_600_000);
                    fleet.event(Event::Resumed);
                }
            }
            check(&fleet, &before, &mut restorers);
        }
        for n in 0..hosts {
            let current = fleet.serves[&host_id(n)].clone();
            fleet.event(Event::HostSeen { host: host_id(n), current, outcomes: Vec::new(), steps: Vec::new() });
        }
        let before = fleet.state.clone();
        fleet.run();
        check(&fleet, &before, &mut restorers);
    }
}

fn check(fleet: &Fleet, before: &State, restorers: &mut BTreeSet<HostId>) {
    let state = &fleet.state;
    let outstanding = orders(state, 1);
    for (id, order) in &outstanding {
        if matches!(order.kind, OrderKind::Restore { .. } | OrderKind::Exchange { .. }) {
            restorers.insert(id.clone());
            // A host that was cut off is not this fleet's any more.
            let serving = fleet.serves.iter().find(|(id, serves)| serves.is_some() && state.hosts[*id].stage != Stage::Left);
            assert!(serving.is_none(), "{serving:?} serves while a database is restored");
        }
        let starts = Verb::of(order.key()) == Some(Verb::Start);
        assert!(!starts || state.recovery.exchange == Exchange::Done, "nothing of then starts before the database is that of then");
        let goes_back = Verb::of(order.key()) == Some(Verb::Revert);
        assert!(!goes_back || state.recovery.exchange == Exchange::NotDone, "nothing goes back behind the exchange");
        let halts = matches!(order.kind, OrderKind::Halt { .. });
        assert!(!halts || state.recovery.accepted.is_some(), "nothing stops that nobody accepted");
    }
    assert!(restorers.len() <= 1, "one host restores, ever: {restorers:?}");
    if before.outcome().is_some() {
        assert_eq!(state.phase, before.phase, "over is over");
    }
    match state.outcome() {
        Some(_) => assert!(outstanding.is_empty(), "an ended restore asks for nothing"),
        None => check_wait(state),
    }
    let bytes = serde_json::to_vec(state).unwrap();
    assert_eq!(serde_json::from_slice::<State>(&bytes).unwrap(), *state, "what is stored is what was decided");
}
