//! What is demanded before a database is migrated, and what is said of it.

use roadstead_model::{
    Backup, BackupCheck, BackupDemand, Failure, FailureKind, Millis, OrderKey, OrderOutcome, Report, Safeguard, Share, StepName,
    StepReport, StepState, samples,
};

use super::fleet::{Fleet, environment, host_id, plan};
use crate::{Event, Outcome, Phase, RolloutKind, orders};

fn backup(check: BackupCheck) -> Safeguard {
    Safeguard::Made(Box::new(Backup { check, ..samples::backup("erp-r-1-5") }))
}

/// A fleet whose one host was told to migrate, and the key of that order.
fn migrating(demand: BackupDemand) -> (Fleet, OrderKey) {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::Count(0));
    environment.database.backup = demand;
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &environment, 1));
    fleet.until(|state| state.phase.word() == "migrating");
    let key = orders(&fleet.state, 1).remove(&host_id(0)).unwrap().key();
    (fleet, key)
}

fn said(fleet: &mut Fleet, key: OrderKey, safeguard: Safeguard) {
    let state = StepState::Succeeded { took: Millis(1), note: "made".to_owned(), safeguard: Some(safeguard) };
    let report = Report::Step(StepReport { key, step: StepName::Backup, state });
    fleet.event(Event::Report { host: host_id(0), report });
}

fn done(fleet: &mut Fleet, key: OrderKey) {
    let outcome = OrderOutcome::Done { current: fleet.serves[&host_id(0)].clone() };
    fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
}

#[test]
fn a_migration_with_the_backup_that_is_demanded_goes_on() {
    let (mut fleet, key) = migrating(BackupDemand::AtLeast(BackupCheck::Listed));
    said(&mut fleet, key, backup(BackupCheck::Restored));
    done(&mut fleet, key);
    assert!(matches!(fleet.state.phase, Phase::Moving { .. }), "{:?}", fleet.state.phase);
    assert_eq!(fleet.state.safeguard, Some(backup(BackupCheck::Restored)));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn what_cannot_lose_anything_needs_none() {
    let (mut fleet, key) = migrating(BackupDemand::default());
    said(&mut fleet, key, Safeguard::NotNeeded { why: "the database has no tables yet".to_owned() });
    done(&mut fleet, key);
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn a_migration_without_evidence_of_its_backup_goes_no_further() {
    for (safeguard, says) in [(None, "said nothing of a backup"), (Some(backup(BackupCheck::Taken)), "only taken, not checked")] {
        let (mut fleet, key) = migrating(BackupDemand::default());
        if let Some(safeguard) = safeguard {
            said(&mut fleet, key, safeguard);
        }
        done(&mut fleet, key);
        let failure = fleet.state.failure.clone().unwrap();
        assert!(failure.summary.contains(says), "{failure}");
        assert_eq!(fleet.run(), Outcome::Failed);
        assert_eq!(fleet.serves[&host_id(0)].as_ref().map(ToString::to_string).unwrap().split('-').next(), Some("1.0"));
    }
}

#[test]
fn evidence_that_comes_with_the_next_hello_counts() {
    let (mut fleet, key) = migrating(BackupDemand::default());
    let current = fleet.serves[&host_id(0)].clone();
    let state = StepState::Succeeded { took: Millis(1), note: "made".to_owned(), safeguard: Some(backup(BackupCheck::Restored)) };
    let steps = vec![StepReport { key, step: StepName::Backup, state }];
    let outcomes = vec![(key, OrderOutcome::Done { current: current.clone() })];
    fleet.event(Event::HostGone { host: host_id(0) });
    fleet.event(Event::HostSeen { host: host_id(0), current, outcomes, steps });
    assert!(matches!(fleet.state.phase, Phase::Moving { .. }), "{:?}", fleet.state.phase);
}

#[test]
fn a_failure_names_its_step_whatever_it_begins_with() {
    for (summary, told) in [
        ("backups of mysql are not built in", "backup: backups of mysql are not built in"),
        ("backup: it was called off", "backup: it was called off"),
    ] {
        let (mut fleet, key) = migrating(BackupDemand::default());
        let failure = Failure::new(FailureKind::Unfit, summary, "name a command");
        let outcome = OrderOutcome::Failed { step: StepName::Backup, failure, current: fleet.serves[&host_id(0)].clone() };
        fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
        assert_eq!(fleet.state.failure.as_ref().map(|failure| failure.summary.as_str()), Some(told));
    }
}
