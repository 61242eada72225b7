//! Crashes between any two records, and between an act and its record.

use proptest::prelude::*;
use roadstead_model::{FailureKind, Millis, OrderKind, OrderOutcome, Report, StepName};

use super::world::{World, failure, header, kinds, some_steps};
use crate::{FoldError, Next, Phase, Record, Reversibility, fold, next, reversibility};

fn kind() -> impl Strategy<Value = OrderKind> {
    proptest::sample::select(kinds())
}

proptest! {
    #[test]
    fn a_crash_after_any_record_leads_to_the_same_end(kind in kind(), fails in some_steps(), undo_fails in some_steps(), acted: bool) {
        let fresh = World { fails, undo_fails, ..World::default() };
        let (mut world, mut journal) = (fresh.clone(), header(kind));
        let end = world.carry_on(&mut journal);
        for crash in 1..=journal.len() {
            // What the world looked like at the crash: everything that the prefix announced was tried.
            let mut again = fresh.clone();
            let mut prefix = journal[..crash].to_vec();
            for record in &prefix {
                match record {
                    Record::Started { step } if acted || prefix.last() != Some(record) => { again.act(Next::Run(*step)); }
                    Record::UndoStarted { step } if acted || prefix.last() != Some(record) => { again.act(Next::Undo(*step)); }
                    _ => {}
                }
            }
            let resumed = again.carry_on(&mut prefix);
            prop_assert_eq!(&resumed, &end, "crash after record {}", crash);
            prop_assert_eq!(&again.effects, &world.effects, "crash after record {}", crash);
        }
    }

    #[test]
    fn replaying_the_journal_gives_the_state_at_every_moment(kind in kind(), fails in some_steps(), undo_fails in some_steps()) {
        let mut world = World { fails, undo_fails, ..World::default() };
        let mut journal = header(kind);
        world.carry_on(&mut journal);
        let mut status = fold(&journal[..1]).unwrap();
        for (index, record) in journal.iter().enumerate().skip(1) {
            status.apply(record).unwrap();
            prop_assert_eq!(&fold(&journal[..=index]).unwrap(), &status);
        }
    }

    #[test]
    fn irreversible_steps_stay_and_a_failure_leaves_nothing_undoable(kind in kind(), fails in some_steps()) {
        let mut world = World { fails, ..World::default() };
        let end = world.carry_on(&mut header(kind));
        prop_assert!(world.undone.iter().all(|step| reversibility(*step) == Reversibility::Undoable));
        if matches!(end.outcome(), Some(OrderOutcome::Failed { .. })) {
            prop_assert!(world.effects.iter().all(|step| reversibility(*step) != Reversibility::Undoable));
        }
    }

    #[test]
    fn records_out_of_place_are_refused_and_change_nothing(kind in kind(), cut in 1..10usize, step in proptest::sample::select(&StepName::ALL[..])) {
        let mut journal = header(kind);
        World::default().carry_on(&mut journal);
        journal.truncate(cut.min(journal.len()));
        let mut status = fold(&journal).unwrap();
        let before = status.clone();
        for record in [
            journal[0].clone(),
            Record::UndoFinished { step },
            Record::UndoStarted { step },
            Record::UndoFailed { step, failure: failure(FailureKind::Host) },
        ] {
            let refused = matches!(status.apply(&record), Err(FoldError::Impossible { .. }));
            prop_assert!(refused);
            prop_assert_eq!(&status, &before);
        }
    }

    #[test]
    fn calling_an_order_off_undoes_it_from_wherever_it_stands(cut in 1..10usize) {
        let mut journal = header(kinds()[2].clone());
        let mut world = World::default();
        world.carry_on(&mut journal);
        journal.truncate(cut.min(journal.len() - 1));
        let status = fold(&journal).unwrap();
        if let Some(step) = status.present_step() {
            journal.push(Record::Failed { step, failure: failure(FailureKind::Cancelled), took: Millis(0) });
            let end = world.carry_on(&mut journal);
            let failed = matches!(end.outcome(), Some(OrderOutcome::Failed { failure, .. }) if failure.kind == FailureKind::Cancelled);
            prop_assert!(failed);
            // Everything that had been started was undone.
            for record in &journal[..cut.min(journal.len())] {
                if let Record::Started { step } = record && reversibility(*step) == Reversibility::Undoable {
                    prop_assert!(world.undone.contains(step), "{} in {:?}", step, journal);
                }
            }
        }
    }
}

#[test]
fn an_activation_that_fails_its_health_goes_back() {
    let mut world = World { fails: [StepName::Health].into(), ..World::default() };
    let end = world.carry_on(&mut header(kinds()[2].clone()));
    assert_eq!(world.undone, [StepName::Cutover, StepName::Candidate]);
    assert!(matches!(end.outcome(), Some(OrderOutcome::Failed { step: StepName::Health, .. })));
}

#[test]
fn an_undo_that_fails_is_stuck_and_touches_nothing_more() {
    let mut world = World { fails: [StepName::Proof].into(), undo_fails: [StepName::Cutover].into(), ..World::default() };
    let end = world.carry_on(&mut header(kinds()[2].clone()));
    assert_eq!(world.undone, [StepName::Cutover]);
    assert!(matches!(end.outcome(), Some(OrderOutcome::Stuck { step: StepName::Cutover, .. })));
    assert!(world.effects.contains(&StepName::Candidate), "no guessing");
}

#[test]
fn a_failed_revert_is_stuck_and_a_failed_migration_is_not() {
    let end = |kind: OrderKind, step| {
        let mut world = World { fails: [step].into(), ..World::default() };
        let end = world.carry_on(&mut header(kind));
        assert_eq!(world.undone, []);
        end.outcome().cloned()
    };
    assert!(matches!(end(kinds()[4].clone(), StepName::Revert), Some(OrderOutcome::Stuck { .. })));
    assert!(matches!(end(kinds()[1].clone(), StepName::Migrate), Some(OrderOutcome::Failed { .. })));
}

#[test]
fn a_lapse_undoes_what_had_ended_well_and_is_reported_as_such() {
    let mut world = World::default();
    let mut journal = header(kinds()[2].clone());
    world.carry_on(&mut journal);
    journal.push(Record::Lapsed { why: failure(FailureKind::Deadline) });
    let end = world.carry_on(&mut journal);
    assert_eq!(world.undone, [StepName::Cutover, StepName::Candidate]);
    assert!(matches!(end.report(), Some(Report::WentBack { .. })));
    assert_eq!(next(&end), Next::Idle);
    let mut again = end;
    assert!(again.apply(&Record::Lapsed { why: failure(FailureKind::Deadline) }).is_err(), "only once");
}

#[test]
fn only_activations_lapse() {
    for kind in kinds().into_iter().filter(|kind| !matches!(kind, OrderKind::Activate { .. })) {
        let mut journal = header(kind);
        let mut end = World::default().carry_on(&mut journal);
        assert!(end.apply(&Record::Lapsed { why: failure(FailureKind::Deadline) }).is_err());
    }
}

#[test]
fn journals_of_a_newer_format_or_without_header_are_refused() {
    let mut journal = header(kinds()[0].clone());
    if let Record::Header { format, .. } = &mut journal[0] {
        *format += 1;
    }
    assert!(matches!(fold(&journal), Err(FoldError::Newer { .. })));
    assert_eq!(fold(&[]), Err(FoldError::NoHeader));
    assert_eq!(fold(&[Record::Started { step: StepName::Fetch }]), Err(FoldError::NoHeader));
}

#[test]
fn records_read_back() {
    let mut world = World { fails: [StepName::Proof].into(), undo_fails: [StepName::Candidate].into(), ..World::default() };
    let mut journal = header(kinds()[2].clone());
    let end = world.carry_on(&mut journal);
    let text: Vec<String> = journal.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    let back: Vec<Record> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(back, journal);
    assert!(matches!(end.phase, Phase::Ended { .. }));
}
