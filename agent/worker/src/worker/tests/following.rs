//! What runs follows the release that serves, also where no order makes it so.

use roadstead_model::*;
use tokio::time::{Duration, timeout};

use crate::samples::*;

/// A host that serves the release for good, and whose steps `fails` fail from then on.
async fn serving(root: &std::path::Path, fails: StepName) -> Rig {
    let rig = Rig::start(root, FakeHands::new(World::default())).await;
    for (sequence, kind) in [(1, prepare()), (2, activate()), (3, confirm())] {
        rig.order(order(1, sequence, kind)).await;
        let report = rig.outcome().await;
        assert!(matches!(report, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "{report:?}");
    }
    let mut world = rig.hands.world.lock().unwrap();
    world.fails.insert(fails);
    world.log.clear();
    drop(world);
    rig
}

/// Orders something that fails.
async fn fails(rig: &Rig, kind: OrderKind) {
    rig.order(order(2, 1, kind)).await;
    let report = rig.outcome().await;
    assert!(matches!(report, Report::Order { outcome: OrderOutcome::Failed { .. } | OrderOutcome::Stuck { .. }, .. }), "{report:?}");
}

/// Whether the app is brought up within two minutes.
async fn is_brought_up(rig: &Rig) -> bool {
    timeout(Duration::from_secs(120), rig.hands.saw("reconcile erp")).await.is_ok()
}

fn back_to(to: Option<ReleaseRef>) -> OrderKind {
    OrderKind::Revert { from: release(), to, condemn: false, everywhere: true }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_went_back_and_ran_out_of_time_is_brought_up() {
    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Settle).await;
    fails(&rig, back_to(Some(release()))).await;
    assert!(is_brought_up(&rig).await);

    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Settle).await;
    fails(&rig, back_to(None)).await;
    assert!(!is_brought_up(&rig).await, "it was to serve nothing");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_prepared_anew_is_brought_up_unless_another_order_comes() {
    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Collectstatic).await;
    fails(&rig, prepare()).await;
    assert!(is_brought_up(&rig).await);

    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Collectstatic).await;
    fails(&rig, prepare()).await;
    rig.order(order(2, 2, activate())).await;
    rig.outcome().await;
    assert!(!is_brought_up(&rig).await, "the cutover did that: {:?}", rig.hands.log());
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_cutover_cannot_be_undone_is_brought_up() {
    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Health).await;
    rig.hands.world.lock().unwrap().undo_fails.insert(StepName::Cutover);
    fails(&rig, activate()).await;
    assert!(is_brought_up(&rig).await);
}

/// What it was prepared for is what the controller goes by when it looks for who runs what runs only once.
#[tokio::test(start_paused = true)]
async fn a_host_says_what_it_runs_when_it_has_followed() {
    let root = tempfile::tempdir().unwrap();
    let rig = serving(root.path(), StepName::Collectstatic).await;
    let says_it = async || rig.hello().await.facts.apps.into_values().all(|state| state.listed.is_some());
    assert!(says_it().await);
    rig.hands.world.lock().unwrap().stays_down = 1;
    fails(&rig, prepare()).await;
    assert!(!says_it().await);
    assert!(is_brought_up(&rig).await);
    let times = || rig.hands.log().iter().filter(|line| *line == "reconcile erp").count();
    assert!((times(), says_it().await) == (1, false), "it was not up, and is tried again");
    let followed = async {
        while !says_it().await {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(600), followed).await.unwrap();
    assert_eq!(times(), 2);
}
