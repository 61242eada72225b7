//! Looks at an app between its cutover and its confirmation.

use roadstead_model::*;
use tokio::time::{Duration, Instant, advance};

use crate::samples::*;

fn ails(kind: FailureKind) -> World {
    World { ails: Some(Failure::new(kind, "it answers nothing any more", "see its journal")), ..World::default() }
}

async fn activated(root: &std::path::Path, world: World) -> Rig {
    let rig = Rig::start(root, FakeHands::new(world)).await;
    rig.order(order(1, 1, activate())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    rig
}

fn undone(rig: &Rig) -> bool {
    rig.hands.log().iter().any(|line| line.starts_with("undo"))
}

#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_do_well_after_its_cutover_goes_back() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path(), ails(FailureKind::Check)).await;
    let began = Instant::now();
    let report = rig.outcome().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let Report::WentBack { key, current: None, why, .. } = &report else { panic!("{report:?}") };
    assert_eq!((*key, why.kind, why.summary.as_str()), (order(1, 1, activate()).key(), FailureKind::Check, "it answers nothing any more"));
    assert_eq!(rig.hands.log()[4..], ["undo erp cutover", "undo erp candidate"]);
    assert_eq!(rig.hello().await.outcomes, std::slice::from_ref(&report));
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_at_again_and_again_and_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path(), World::default()).await;
    for _ in 0..5 {
        advance(Duration::from_secs(10)).await;
        rig.hello().await;
        rig.contact.hear();
    }
    assert!(!undone(&rig));
    let hands = rig.stop().await;
    hands.world.lock().unwrap().ails = ails(FailureKind::Unit).ails;
    let rig = Rig::start(root.path(), hands).await;
    assert!(matches!(rig.outcome().await, Report::WentBack { why: Failure { kind: FailureKind::Unit, .. }, .. }));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_seen_and_what_is_confirmed_stays() {
    let root = tempfile::tempdir().unwrap();
    let rig = activated(root.path(), ails(FailureKind::Host)).await;
    for _ in 0..5 {
        advance(Duration::from_secs(10)).await;
        rig.hello().await;
        rig.contact.hear();
    }
    rig.order(order(1, 2, confirm())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    rig.hands.world.lock().unwrap().ails = ails(FailureKind::Check).ails;
    advance(Duration::from_secs(1_000)).await;
    rig.hello().await;
    assert!(!undone(&rig), "{:?}", rig.hands.log());
}
