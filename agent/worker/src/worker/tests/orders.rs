//! Orders: once, in order, the newest wins, each app by itself.

use roadstead_model::*;
use std::sync::Arc;
use tokio::time::{Duration, timeout};

use crate::clock::WallClock;
use crate::disk::RealDisk;
use crate::samples::*;
use crate::tasks::Tasks;
use crate::worker::Event;

fn root() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn failed_at(report: &Report) -> Option<(StepName, FailureKind)> {
    match report {
        Report::Order { outcome: OrderOutcome::Failed { step, failure, .. }, .. } => Some((*step, failure.kind)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_runs_its_steps_and_reports_them() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(1, 1, activate())).await;
    let report = rig.outcome().await;
    assert_eq!(report, Report::Order { key: order(1, 1, activate()).key(), outcome: OrderOutcome::Done { current: Some(release().id) } });
    assert_eq!(rig.hands.log(), ["run erp candidate", "run erp cutover", "run erp proof", "run erp health"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_order_is_answered_and_not_run_again_even_after_a_restart() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(1, 1, prepare())).await;
    let first = rig.outcome().await;
    rig.order(order(1, 1, prepare())).await;
    assert_eq!(rig.outcome().await, first);
    let steps = rig.hands.log().len();
    let hands = rig.stop().await;
    let rig = Rig::start(root.path(), hands).await;
    rig.order(order(1, 1, prepare())).await;
    assert_eq!(rig.outcome().await, first);
    assert_eq!(rig.hands.log().len(), steps + 1, "only brought up: {:?}", rig.hands.log());
    assert_eq!(rig.hello().await.outcomes, [first]);
}

#[tokio::test(start_paused = true)]
async fn an_older_fence_is_refused_even_after_a_restart() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(5, 2, prepare())).await;
    rig.outcome().await;
    let hands = rig.stop().await;
    std::fs::remove_dir_all(root.path().join("var/lib/roadstead-agent/journal")).unwrap();
    let rig = Rig::start(root.path(), hands).await;
    let before = rig.hands.log().len();
    for older in [order(5, 1, activate()), order(5, 2, prepare()), order(4, 9, activate())] {
        rig.order(older).await;
        let report = rig.outcome().await;
        assert!(matches!(report, Report::Refused { highest: Some(_), .. }), "{report:?}");
    }
    assert_eq!(rig.hands.log().len(), before);
    let facts = rig.hello().await.facts;
    assert_eq!(facts.apps[&order(5, 2, prepare()).app].highest, Some(order(5, 2, prepare()).fence));
}

/// As on a host that was off for long, or whose disk was put back to what it was long ago.
#[tokio::test(start_paused = true)]
async fn an_order_of_another_day_is_not_carried_on() {
    let time = order(1, 1, activate()).deadline.0;
    for (later, ends_as) in [(time / 2, None), (2 * time, Some((StepName::Proof, FailureKind::Cancelled)))] {
        let root = root();
        let world = World { waits: [StepName::Proof].into(), ..World::default() };
        let rig = Rig::start(root.path(), FakeHands::new(world)).await;
        rig.order(order(1, 1, activate())).await;
        rig.hands.saw("run erp proof").await;
        let hands = rig.kill().await;
        hands.release();
        let clock = WallClock::new(move || Timestamp(crate::clock::now().0 + later));
        let rig = Rig::start_on(Arc::new(RealDisk), clock, Tasks::default(), root.path(), hands).await;
        assert_eq!(failed_at(&rig.outcome().await), ends_as);
        let undone = rig.hands.log().iter().any(|line| line == "undo erp cutover");
        assert_eq!(undone, ends_as.is_some(), "{:?}", rig.hands.log());
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_back_of_another_day_is_finished() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World { waits: [StepName::Revert].into(), ..World::default() })).await;
    rig.order(order(1, 1, OrderKind::Revert { from: release(), to: None, condemn: true, everywhere: false })).await;
    rig.hands.saw("run erp revert").await;
    let hands = rig.kill().await;
    hands.release();
    let clock = WallClock::new(|| Timestamp(crate::clock::now().0 + 7 * 24 * 3600 * 1000));
    let rig = Rig::start_on(Arc::new(RealDisk), clock, Tasks::default(), root.path(), hands).await;
    assert_eq!(failed_at(&rig.outcome().await), None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_undone_backwards() {
    let root = root();
    let world = World { fails: [StepName::Health].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, activate())).await;
    let report = rig.outcome().await;
    assert_eq!(failed_at(&report), Some((StepName::Health, FailureKind::Check)));
    assert_eq!(rig.hands.log()[4..], ["undo erp cutover", "undo erp candidate"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_order_calls_off_the_running_one_which_is_undone_first() {
    let root = root();
    let world = World { waits: [StepName::Proof].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, activate())).await;
    rig.hands.saw("run erp proof").await;
    rig.order(order(2, 1, OrderKind::Migrate { release: release(), backup: None, idle: false })).await;
    assert_eq!(failed_at(&rig.outcome().await), Some((StepName::Proof, FailureKind::Cancelled)));
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    assert_eq!(rig.hands.log()[2..], ["run erp proof", "stop erp proof", "undo erp cutover", "undo erp candidate", "run erp migrate"]);
}

#[tokio::test(start_paused = true)]
async fn of_several_newer_orders_only_the_newest_acts() {
    let root = root();
    let world = World { waits: [StepName::Fetch].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, prepare())).await;
    rig.hands.saw("run erp fetch").await;
    rig.order(order(2, 1, activate())).await;
    rig.order(order(3, 1, confirm())).await;
    let ends = [rig.outcome().await, rig.outcome().await, rig.outcome().await];
    assert_eq!(failed_at(&ends[0]), Some((StepName::Fetch, FailureKind::Cancelled)));
    assert_eq!(failed_at(&ends[1]), Some((StepName::Candidate, FailureKind::Cancelled)));
    assert!(matches!(ends[2], Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    assert!(!rig.hands.log().contains(&"run erp candidate".to_owned()), "it never began");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_ignores_its_end_is_dropped_when_the_time_is_over() {
    let root = root();
    let world = World { waits: [StepName::Fetch].into(), ignores_cancel: true, ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, prepare())).await;
    assert_eq!(failed_at(&rig.outcome().await), Some((StepName::Fetch, FailureKind::Deadline)));
}

#[tokio::test(start_paused = true)]
async fn apps_do_not_wait_for_each_other() {
    let root = root();
    let world = World { waits: [StepName::Migrate].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, OrderKind::Migrate { release: release(), backup: None, idle: false })).await;
    rig.hands.saw("run erp migrate").await;
    rig.order(of_app(order(2, 1, confirm()), "shop")).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    rig.hands.release();
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_holds_its_app_alone_until_it_is_moved_away() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(1, 1, confirm())).await;
    rig.outcome().await;
    let hands = rig.stop().await;
    let path = root.path().join("var/lib/roadstead-agent/journal/erp/1-1.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("erp", "epr", 1)).unwrap();

    let rig = Rig::start(root.path(), hands).await;
    rig.order(order(2, 1, confirm())).await;
    let Report::Refused { why, .. } = rig.outcome().await else { panic!() };
    assert!(why.contains("1-1.jsonl") && why.contains("damaged at line 1") && why.contains("move the file away"), "{why}");
    rig.order(of_app(order(3, 1, confirm()), "shop")).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "others go on");

    std::fs::remove_file(&path).unwrap();
    rig.order(order(2, 1, confirm())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "without a restart");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_journalled_is_refused_and_not_begun() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(1, 1, confirm())).await;
    rig.outcome().await;
    let before = rig.hands.log();
    std::fs::create_dir(root.path().join("var/lib/roadstead-agent/journal/erp/2-1.jsonl")).unwrap();
    rig.order(order(2, 1, confirm())).await;
    let Report::Refused { why, .. } = rig.outcome().await else { panic!() };
    assert!(why.contains("cannot be journalled"), "{why}");
    assert_eq!(rig.hands.log(), before);
    rig.order(order(3, 1, confirm())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "and nothing is held up");
}

#[tokio::test(start_paused = true)]
async fn old_journals_are_forgotten() {
    let root = root();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    for rollout in 1..=30 {
        rig.order(order(rollout, 1, confirm())).await;
        rig.outcome().await;
    }
    assert_eq!(rig.hello().await.outcomes.len(), 20);
    let kept = std::fs::read_dir(root.path().join("var/lib/roadstead-agent/journal/erp")).unwrap().count();
    assert_eq!(kept, 20);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_cut_off_stops_what_may_run_only_once() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.order(order(1, 1, prepare())).await;
    rig.outcome().await;
    rig.events.send(Event::Revoked).await.unwrap();
    rig.hello().await;
    let hands = rig.stop().await;
    assert_eq!(hands.log().last().map(String::as_str), Some("stand down erp"));
}

/// The host serves the release already, and is prepared for it once more, to run what it did not run before.
#[tokio::test(start_paused = true)]
async fn what_the_serving_release_was_prepared_for_is_started_also_when_no_cutover_comes() {
    let root = tempfile::tempdir().unwrap();
    let serves = World { effects: [(order(1, 1, prepare()).app, StepName::Cutover)].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(serves)).await;
    rig.order(order(1, 1, prepare())).await;
    rig.outcome().await;
    let brought_up = timeout(Duration::from_secs(600), rig.hands.saw("reconcile erp")).await;
    brought_up.expect("its rollout was called off, and it is brought up all the same");

    rig.order(order(2, 1, prepare())).await;
    rig.outcome().await;
    rig.order(order(2, 3, activate())).await;
    rig.outcome().await;
    rig.order(order(2, 4, confirm())).await;
    rig.outcome().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let count = rig.hands.log().iter().filter(|line| *line == "reconcile erp").count();
    assert_eq!(count, 1, "the cutover has started all that runs here");
}
