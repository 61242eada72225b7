//! Silence after a cutover.

use roadstead_model::*;
use tokio::time::{Duration, Instant};

use crate::samples::*;

async fn activated(root: &std::path::Path) -> Rig {
    let rig = Rig::start(root, FakeHands::new(World::default())).await;
    rig.order(order(1, 1, activate())).await;
    rig.outcome().await;
    rig
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_cutover_undoes_it() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path()).await;
    let began = Instant::now();
    let report = rig.outcome().await;
    assert!(began.elapsed() >= Duration::from_secs(60) && began.elapsed() < Duration::from_secs(62), "{:?}", began.elapsed());
    let Report::WentBack { key, current: None, why, .. } = &report else { panic!("{report:?}") };
    assert_eq!((*key, why.kind), (order(1, 1, activate()).key(), FailureKind::Deadline));
    assert_eq!(rig.hands.log()[4..], ["undo erp cutover", "undo erp candidate"]);
    assert_eq!(rig.hello().await.outcomes, std::slice::from_ref(&report));
    rig.order(order(1, 1, activate())).await;
    assert_eq!(rig.outcome().await, report, "a repeat is told what became of it");
}

#[tokio::test(start_paused = true)]
async fn each_word_of_the_controller_resets_the_time() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path()).await;
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(50)).await;
        rig.contact.hear();
    }
    rig.order(order(1, 2, confirm())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    tokio::time::advance(Duration::from_secs(10_000)).await;
    rig.hello().await;
    assert!(!rig.hands.log().iter().any(|line| line.starts_with("undo")), "{:?}", rig.hands.log());
}

#[tokio::test(start_paused = true)]
async fn the_watch_outlives_a_restart_and_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path()).await;
    tokio::time::advance(Duration::from_secs(50)).await;
    let hands = rig.stop().await;
    let rig = Rig::start(root.path(), hands).await;
    let began = Instant::now();
    assert!(matches!(rig.outcome().await, Report::WentBack { .. }));
    assert!(began.elapsed() >= Duration::from_secs(59), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_return_that_was_begun_is_finished_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let world = World { undo_fails: [StepName::Candidate].into(), ..World::default() };
    let rig = Rig::start(root.path(), FakeHands::new(world)).await;
    rig.order(order(1, 1, activate())).await;
    rig.outcome().await;
    let stuck = rig.outcome().await;
    assert!(matches!(&stuck, Report::Order { outcome: OrderOutcome::Stuck { step: StepName::Candidate, .. }, .. }), "{stuck:?}");
    let hands = rig.stop().await;
    let rig = Rig::start(root.path(), hands).await;
    assert_eq!(rig.hello().await.outcomes, [stuck]);
}
