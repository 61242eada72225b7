//! Tending a database: one host makes a backup or looks at one, and nobody else hears of it.

use roadstead_model::*;

use super::fleet::*;
use crate::*;

fn backup(check: BackupCheck) -> Safeguard {
    Safeguard::Made(Box::new(Backup { check, ..samples::backup("erp-r-7-5") }))
}

fn tending(tending: Tending) -> Fleet {
    let environment = environment(Share::Count(1), Share::Count(1), Share::Count(1));
    let serves = release("1.0");
    let only = candidates(1, Some(&serves));
    let plan = Plan::new(RolloutId(7), RolloutKind::Tend, &environment, serves.clone(), Some(serves), only, true).unwrap();
    Fleet::new(Plan { tending: Some(tending), ..plan })
}

fn backing_up() -> Fleet {
    tending(Tending::Backup(BackupDemand::default()))
}

fn order(fleet: &Fleet) -> Order {
    orders(&fleet.state, 1).remove(&host_id(0)).unwrap()
}

fn said(fleet: &mut Fleet, step: StepName, safeguard: Safeguard) {
    let state = StepState::Succeeded { took: Millis(1), note: "made".to_owned(), safeguard: Some(safeguard) };
    let report = Report::Step(StepReport { key: order(fleet).key(), step, state });
    fleet.event(Event::Report { host: host_id(0), report });
}

fn done(fleet: &mut Fleet) {
    let outcome = OrderOutcome::Done { current: Some(release("1.0").id) };
    let key = order(fleet).key();
    fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
}

fn abort() -> Event {
    Event::Steered { steer: Steer::Abort, by: "ada".to_owned(), reason: "test".to_owned() }
}

#[test]
fn a_backup_is_one_order_of_one_host() {
    let mut fleet = backing_up();
    assert!(!fleet.state.plan.migrate && fleet.state.plan.traffic.is_none());
    assert!(matches!(order(&fleet).kind, OrderKind::Backup { .. }));
    assert_eq!(waiting(&fleet.state).unwrap().what, "web-0 to back the database up");
    said(&mut fleet, StepName::Backup, backup(BackupCheck::Restored));
    done(&mut fleet);
    assert_eq!((fleet.state.outcome(), &fleet.state.failure), (Some(Outcome::Done), &None));
    assert_eq!(fleet.state.safeguard, Some(backup(BackupCheck::Restored)));
}

#[test]
fn what_was_not_looked_at_as_it_was_asked_for_is_not_done() {
    for told in [None, Some(backup(BackupCheck::Listed))] {
        let mut fleet = backing_up();
        if let Some(told) = told {
            said(&mut fleet, StepName::Backup, told);
        }
        done(&mut fleet);
        assert_eq!(fleet.state.outcome(), Some(Outcome::Failed));
        assert!(fleet.state.failure.is_some());
    }
    let another = Tending::Recheck { backup: BackupName::parse("erp-r-6-5").unwrap(), demand: BackupDemand::default() };
    let mut fleet = tending(another);
    assert!(matches!(order(&fleet).kind, OrderKind::Recheck { .. }));
    said(&mut fleet, StepName::Recheck, backup(BackupCheck::Restored));
    done(&mut fleet);
    assert_eq!(fleet.state.outcome(), Some(Outcome::Failed), "it looked at another one");
}

#[test]
fn whoever_wants_something_else_has_it_called_off() {
    for end in [abort(), Event::GiveWay { by: "bob".to_owned() }] {
        let mut fleet = backing_up();
        let begun = order(&fleet);
        fleet.event(end);
        assert!(matches!(fleet.state.phase, Phase::Reverting { .. }), "{:?}", fleet.state.phase);
        let called_off = order(&fleet);
        assert!(matches!(called_off.kind, OrderKind::Abandon { condemn: false, .. }));
        assert!(called_off.fence > begun.fence, "it comes behind what it ends");
        assert_eq!(fleet.run(), Outcome::Failed);
        assert_eq!(fleet.serves[&host_id(0)], Some(release("1.0").id));
    }
    let mut fleet = backing_up();
    let pause = Event::Steered { steer: Steer::Pause { within: Millis(1) }, by: "ada".to_owned(), reason: "test".to_owned() };
    assert!(decide(&fleet.state, pause, fleet.now).unwrap_err().to_string().contains("goes on to its end, or is aborted"));
    assert!(orders(&fleet.state, 1).len() == 1);
    fleet.now = waiting(&fleet.state).unwrap().until;
    fleet.event(Event::Tick);
    assert_eq!(fleet.state.outcome(), Some(Outcome::Failed), "a host that never answers ends it, too");
}

#[test]
fn a_host_that_is_away_works_on_and_one_that_fails_ends_it() {
    let mut fleet = backing_up();
    fleet.event(Event::HostGone { host: host_id(0) });
    fleet.now = fleet.now.plus(fleet.state.plan.timeouts.away).plus(Millis(1));
    fleet.event(Event::Tick);
    assert!(fleet.state.outcome().is_none());
    let key = order(&fleet).key();
    let failure = Failure::new(FailureKind::Check, "it lies", "look");
    let outcome = OrderOutcome::Failed { step: StepName::Backup, failure, current: Some(release("1.0").id) };
    fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
    assert_eq!(fleet.state.outcome(), Some(Outcome::Failed));
    assert!(fleet.state.failure.as_ref().unwrap().summary.contains("it lies"));
    assert!(!fleet.state.condemn, "it says nothing about the release");
}
