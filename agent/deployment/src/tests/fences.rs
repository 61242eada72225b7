//! Fences, repeats, and the confirm watch.

use proptest::prelude::*;
use roadstead_model::{Millis, OrderKind, Report};

use super::world::{World, header, kinds, order};
use crate::{Admission, History, Record, Status, WatchState, fold, steps_of};

fn ended(term: u64, rollout: u64, sequence: u32, kind: OrderKind) -> Status {
    let mut journal = header(kind.clone());
    if let Record::Header { order: first, .. } = &mut journal[0] {
        *first = order(term, rollout, sequence, kind);
    }
    World::default().carry_on(&mut journal)
}

proptest! {
    #[test]
    fn no_fence_below_the_highest_is_ever_obeyed(numbers in proptest::collection::vec((1..3u64, 1..4u64, 1..4u32), 1..30)) {
        let mut history = History::default();
        let mut obeyed = Vec::new();
        for (term, rollout, sequence) in numbers {
            let order = order(term, rollout, sequence, kinds()[0].clone());
            let before = history.highest();
            match history.admit(&order) {
                Admission::Accept => {
                    prop_assert!(Some(order.fence) > before);
                    prop_assert!(!obeyed.contains(&order.key()), "no order is obeyed twice");
                    obeyed.push(order.key());
                    history.remember(Status::new(order));
                }
                Admission::Known => prop_assert!(obeyed.contains(&order.key())),
                Admission::Refuse { highest, .. } => prop_assert!(highest.is_some_and(|highest| order.fence <= highest)),
                Admission::Answer(_) => prop_assert!(false, "nothing ended"),
            }
            prop_assert!(history.highest() >= before);
        }
    }

    #[test]
    fn the_watch_goes_off_exactly_after_the_silence(within in 0..100_000u64, heartbeat in 0..20_000u64, heard in 0..u64::from(u32::MAX), later in 0..200_000u64) {
        let history = History::new(None, [ended(1, 1, 1, OrderKind::Activate {
            release: super::world::release(), expected: None, confirm_within: Millis(within),
        })]);
        let watch = history.watch().unwrap();
        let silence = within.max(heartbeat * 3);
        let expected = if later < silence {
            WatchState::Quiet { until: Millis(heard + silence) }
        } else {
            WatchState::WentBack { silent: Millis(later) }
        };
        prop_assert_eq!(watch.at(Millis(heard + later), Millis(heard), Millis(heartbeat)), expected);
    }
}

#[test]
fn a_repeat_is_answered_even_under_a_newer_term_and_not_run() {
    let kind = kinds()[2].clone();
    let history = History::new(None, [ended(1, 7, 2, kind.clone())]);
    assert!(matches!(history.admit(&order(1, 7, 2, kind.clone())), Admission::Answer(Report::Order { .. })));
    assert!(matches!(history.admit(&order(2, 7, 2, kind)), Admission::Answer(_)));
    let other = kinds()[3].clone();
    assert!(matches!(history.admit(&order(2, 7, 2, other)), Admission::Refuse { highest: None, .. }), "same number, another order");
}

#[test]
fn a_repeat_under_a_newer_term_ends_the_older_term() {
    let mut history = History::new(None, [ended(1, 7, 2, kinds()[2].clone())]);
    history.raise(order(2, 7, 2, kinds()[2].clone()).fence);
    assert!(matches!(history.admit(&order(1, 8, 1, kinds()[0].clone())), Admission::Refuse { highest: Some(_), .. }));
}

#[test]
fn a_fence_outlives_its_journal() {
    let mut history = History::new(None, (1..=5).map(|sequence| ended(1, 1, sequence, kinds()[0].clone())));
    assert_eq!(history.forget(2).len(), 3);
    assert_eq!(history.orders().count(), 2);
    assert!(matches!(history.admit(&order(1, 1, 1, kinds()[0].clone())), Admission::Refuse { .. }));
    let kept = History::new(history.highest(), []);
    assert!(matches!(kept.admit(&order(1, 1, 5, kinds()[0].clone())), Admission::Refuse { .. }));
    assert!(matches!(kept.admit(&order(1, 1, 6, kinds()[0].clone())), Admission::Accept));
}

#[test]
fn orders_that_have_not_ended_are_never_forgotten() {
    let running = Status::new(order(1, 1, 1, kinds()[0].clone()));
    let mut history = History::new(None, [running, ended(1, 1, 2, kinds()[0].clone()), ended(1, 1, 3, kinds()[0].clone())]);
    assert_eq!(history.forget(1).len(), 1);
    assert_eq!(history.unfinished().count(), 1);
}

#[test]
fn the_watch_is_armed_by_a_cutover_and_disarmed_by_what_settles_it() {
    let [prepare, _, activate, confirm, revert, _] = <[OrderKind; 6]>::try_from(kinds()).unwrap();
    let mut history = History::new(None, [ended(1, 1, 1, prepare.clone())]);
    assert_eq!(history.watch(), None);
    history.remember(Status::new(order(1, 1, 2, activate.clone())));
    assert_eq!(history.watch(), None, "not before the end");
    history.remember(ended(1, 1, 2, activate.clone()));
    assert_eq!(history.watch().unwrap().key, order(1, 1, 2, activate.clone()).key());
    history.remember(ended(1, 2, 1, prepare));
    assert!(history.watch().is_some(), "a preparation settles nothing");
    for settles in [confirm, revert, activate] {
        let mut settled = history.clone();
        settled.remember(Status::new(order(1, 3, 1, settles)));
        assert_eq!(settled.watch(), None, "from the moment of acceptance");
    }
}

#[test]
fn what_went_back_is_not_watched_again() {
    let mut journal = header(kinds()[2].clone());
    let mut world = World::default();
    world.carry_on(&mut journal);
    assert!(History::new(None, [fold(&journal).unwrap()]).watch().is_some());
    journal.push(Record::Lapsed { why: super::world::failure(roadstead_model::FailureKind::Deadline) });
    assert_eq!(History::new(None, [fold(&journal).unwrap()]).watch(), None);
    world.carry_on(&mut journal);
    assert_eq!(History::new(None, [fold(&journal).unwrap()]).watch(), None);
}

#[test]
fn what_is_done_of_the_newest_rollout_is_told_again_in_its_order() {
    let (prepare, activate) = (kinds()[0].clone(), kinds()[2].clone());
    let expected: Vec<_> = steps_of(&prepare).iter().chain(steps_of(&activate)).map(|step| (2, *step)).collect();
    let orders = [ended(1, 1, 1, prepare.clone()), ended(1, 2, 1, prepare), ended(1, 2, 3, activate)];
    let told = History::new(None, orders);
    let told =
        told.steps_done().filter_map(|report| if let Report::Step(step) = report { Some((step.key.rollout.0, step.step)) } else { None });
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
