//! Restores as they are asked for, saved and ended: what the environment runs afterwards, and who is kept out meanwhile.

use roadstead_driver::RestoreRequest;
use roadstead_model::{BackupName, Loss, Millis, Safeguard, StepReport, StepState};
use roadstead_rollout::{Exchange, Phase};

use super::*;

/// What a host tells of a database in a survey and an exchange.
pub(super) fn told(order: &Order) -> Option<Report> {
    let step = match order.kind {
        OrderKind::Survey { .. } => StepName::Survey,
        OrderKind::Exchange { .. } => StepName::Exchange,
        _ => return None,
    };
    let loss = Loss { exact: step == StepName::Exchange, ..roadstead_model::samples::loss(roadstead_model::samples::backup("erp-r-2-5")) };
    let state = StepState::Succeeded { took: Millis(1), note: String::new(), safeguard: Some(Safeguard::Loss(Box::new(loss))) };
    Some(Report::Step(StepReport { key: order.key(), step, state }))
}

async fn restore(rig: &Rig, host: &str, by: &str) -> Result<RolloutId, Refused> {
    restore_with(rig, "1.0", host, by).await
}

async fn restore_with(rig: &Rig, version: &str, host: &str, by: &str) -> Result<RolloutId, Refused> {
    let request = RestoreRequest {
        environment: environment().name,
        app: app(),
        backup: BackupName::parse("erp-r-2-5").unwrap(),
        host: host.to_owned(),
        release: release(version).id(),
        only_survey: false,
        reason: "test".to_owned(),
        by: by.to_owned(),
    };
    Ok(rig.driver.ask(Verb::Restore(request)).await?.state.plan.rollout)
}

/// A host that serves 1.1 and served 1.0, and a restore of what was before 1.1 that waits to be decided.
async fn deciding(folder: &Path, behaviour: Behaviour) -> (Rig, RolloutId) {
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder, &disks, &["1.0", "1.1"]).await;
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &behaviour).await;
    let second = rig.deploy("1.1").await.unwrap();
    assert_eq!(rig.end(second).await.state.phase.word(), "done");
    assert!(matches!(restore(&rig, "db-9", "admin:ada").await, Err(Refused::NoHost(..))));
    let (place, now) = ((environment().name, app()), clock::now());
    let lock = |by: &str| LockRecord { by: by.to_owned(), reason: "looks into it".to_owned(), at: now, until: now.plus(Millis(3_600_000)) };
    rig.store.set_lock(place.clone(), lock("admin:bob"), false).await.unwrap().unwrap();
    assert!(matches!(restore(&rig, host_id(0).as_str(), "admin:ada").await, Err(Refused::Locked(_))), "who locked it may be at work on it");
    rig.store.set_lock(place, lock("admin:ada"), true).await.unwrap().unwrap();
    let rollout = restore(&rig, host_id(0).as_str(), "admin:ada").await.unwrap();
    rig.until(rollout, |state| matches!(state.phase, Phase::Deciding { .. })).await;
    (rig, rollout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_runs_what_belongs_to_the_restored_database() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, rollout) = deciding(folder.path(), Behaviour::default()).await;
    assert_eq!(restore(&rig, host_id(0).as_str(), "admin:ada").await.unwrap(), rollout, "who asks again goes on with it");
    assert!(matches!(restore(&rig, host_id(0).as_str(), "admin:bob").await, Err(Refused::Busy(..))));
    assert!(matches!(restore_with(&rig, "1.1", host_id(0).as_str(), "admin:ada").await, Err(Refused::Busy(..))), "it is another");
    assert!(matches!(rig.roll_back(None).await, Err(Refused::Busy(..))), "nothing else begins meanwhile");
    rig.steer(rollout, Steer::Accept).await.unwrap();
    let ended = rig.end(rollout).await;
    assert_eq!((ended.state.phase.word(), ended.state.recovery.exchange), ("done", Exchange::Done));
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_knows_what_is_there_nothing_is_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, rollout) = deciding(folder.path(), Behaviour { stuck: vec!["exchange"], ..Behaviour::default() }).await;
    rig.steer(rollout, Steer::Accept).await.unwrap();
    let ended = rig.end(rollout).await;
    assert_eq!((ended.state.phase.word(), ended.state.recovery.exchange), ("failed", Exchange::Unknown));
    assert_eq!(rig.current().await, None, "nobody is brought level with anything");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_leaves_what_the_environment_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, rollout) = deciding(folder.path(), Behaviour { deaf: vec!["restore"], ..Behaviour::default() }).await;
    rig.steer(rollout, Steer::Accept).await.unwrap();
    rig.until(rollout, |state| matches!(state.phase, Phase::Restoring { .. })).await;
    rig.steer(rollout, Steer::Abort).await.unwrap();
    let ended = rig.end(rollout).await;
    assert_eq!((ended.state.phase.word(), ended.state.recovery.exchange), ("rolled-back", Exchange::NotDone));
    assert_eq!(rig.current().await, Some(release("1.1").digest));
    rig.stop().await;
}
