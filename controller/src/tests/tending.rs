//! Backups that are asked for: who makes them, what they leave alone, and who comes before them.

use roadstead_driver::TendRequest;
use roadstead_model::{BackupDemand, Millis, Safeguard, StepReport, StepState, samples};
use roadstead_rollout::{Phase, Tending};

use super::*;

/// What a host tells of a backup that it made.
pub(super) fn told(order: &Order) -> Option<Report> {
    let OrderKind::Backup { .. } = order.kind else { return None };
    let name = format!("erp-{}-5", order.fence.rollout);
    let safeguard = Some(Safeguard::Made(Box::new(samples::backup(&name))));
    let state = StepState::Succeeded { took: Millis(1), note: String::new(), safeguard };
    Some(Report::Step(StepReport { key: order.key(), step: StepName::Backup, state }))
}

async fn back_up(rig: &Rig, host: Option<&str>) -> Result<RolloutId, Refused> {
    let request = TendRequest {
        environment: environment().name,
        app: app(),
        host: host.map(str::to_owned),
        tending: Tending::Backup(BackupDemand::default()),
        reason: "test".to_owned(),
        by: "admin:ada".to_owned(),
    };
    Ok(rig.driver.ask(Verb::Tend(request)).await?.state.plan.rollout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_leaves_what_the_environment_runs_and_what_it_ran_before() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let second = rig.deploy("1.1").await.unwrap();
    assert_eq!(rig.end(second).await.state.phase.word(), "done");
    assert!(matches!(back_up(&rig, Some("db-9")).await, Err(Refused::NoHost(..))));
    let made = back_up(&rig, None).await.unwrap();
    let ended = rig.end(made).await;
    assert_eq!((ended.state.phase.word(), ended.state.hosts.len()), ("done", 1));
    assert_eq!(rig.current().await, Some(release("1.1").digest));
    let asked_for = rig.store.asked_for(&environment().name, 50).await.unwrap();
    assert!(asked_for.iter().all(|record| record.state.plan.rollout != made), "nightly backups do not hide what was deployed");
    let back = rig.roll_back(None).await.unwrap();
    assert_eq!(rig.end(back.state.plan.rollout).await.state.phase.word(), "done");
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    rig.store.add_host(host_record(1)).await;
    assert!(matches!(back_up(&rig, Some(host_id(1).as_str())).await, Err(Refused::ServesNot(..))), "it is not there");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_does_not_wait_for_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let second = rig.deploy("1.1").await.unwrap();
    assert_eq!(rig.end(second).await.state.phase.word(), "done");
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour { deaf: vec!["backup"], ..Behaviour::default() }).await;
    let made = back_up(&rig, Some(host_id(0).as_str())).await.unwrap();
    rig.until(made, |state| matches!(state.phase, Phase::Tending { .. })).await;
    assert!(matches!(back_up(&rig, None).await, Err(Refused::Busy(..))), "one at a time");
    let back = rig.roll_back(None).await.unwrap();
    assert_eq!(rig.end(made).await.state.phase.word(), "failed");
    assert_eq!(rig.end(back.state.plan.rollout).await.state.phase.word(), "done");
    assert_eq!(rig.current().await, Some(release("1.0").digest));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_behind_does_not_wait_for_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour { deaf: vec!["backup"], ..Behaviour::default() }).await;
    let made = back_up(&rig, None).await.unwrap();
    rig.until(made, |state| matches!(state.phase, Phase::Tending { .. })).await;
    rig.store.add_host(host_record(1)).await;
    rig.connect(1, &disks, &Behaviour::default()).await;
    assert_eq!(rig.end(made).await.state.phase.word(), "failed");
    let level = rig.level(made).await;
    assert_eq!(rig.end(level).await.state.phase.word(), "done");
    assert!(serving(&disks).iter().all(|current| *current == Some(release("1.0").id())));
    rig.stop().await;
}
