//! Operators steer rollouts: what they do is saved and told, and outlives a restart.

use roadstead_model::{OnFailure, Share};
use roadstead_rollout::{Phase, Stage, Standing};

use super::*;

fn paused() -> Steer {
    Steer::Pause { within: roadstead_model::Millis::from_secs(3600) }
}

/// Kinds of lines in the history of a rollout, with who wrote them.
async fn history(rig: &Rig, rollout: RolloutId) -> Vec<(String, String)> {
    let events = rig.store.events(rollout.0, 0, 1000).await.unwrap();
    events.into_iter().map(|event| (event.kind, event.actor)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_outlives_the_controller_and_is_in_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let deaf = Behaviour { deaf: vec!["prepare"], ..Behaviour::default() };
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &deaf).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    let record = rig.steer(rollout, paused()).await.unwrap();
    assert!(record.state.hold.is_some());
    assert!(matches!(rig.steer(rollout, Steer::Promote { all: false }).await, Err(Refused::Unfit(_))));
    rig.stop().await;

    let rig = Rig::start(folder.path()).await;
    rig.connect(0, &disks, &Behaviour::default()).await;
    let prepared = |state: &State| state.hosts.values().all(|host| host.stage == Stage::Prepared);
    let record = rig.until(rollout, prepared).await;
    assert!(record.state.hold.is_some() && matches!(record.state.phase, Phase::Preparing { .. }), "{:?}", record.state.phase);
    rig.steer(rollout, Steer::Resume).await.unwrap();
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");
    let told = history(&rig, rollout).await;
    for kind in ["rollout-paused", "rollout-resumed"] {
        let by: Vec<&str> = told.iter().filter(|(known, _)| known == kind).map(|(_, by)| by.as_str()).collect();
        assert_eq!(by, ["admin:ada"], "{told:?}");
    }
    assert!(!told.iter().any(|(kind, _)| kind == "rollout-promoted"), "what was refused is not in the history");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_asks_waits_for_the_operator_who_tries_a_host_again() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let mut spec = environment();
    spec.strategy.on_failure = OnFailure::Ask;
    rig.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour { broken: vec![release("1.1").id()], ..Behaviour::default() }).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    let asking = rig.until(rollout, |state| state.hold.is_some()).await;
    assert_eq!(asking.state.hosts[&host_id(0)].stage, Stage::Failed);
    // Somebody mends what was wrong with the host.
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &Behaviour::default()).await;
    rig.steer(rollout, Steer::Retry(host_id(0))).await.unwrap();
    let ended = rig.end(rollout).await;
    assert_eq!((ended.state.phase.word(), ended.state.hosts[&host_id(0)].attempt), ("done", 1));
    assert_eq!(rig.current().await, Some(release("1.1").digest));
    rig.stop().await;
}

/// Whoever was taken out on purpose is not brought to the same release a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_excluded_is_not_brought_level() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(2, &["1.0", "1.1"]).await;
    let mut spec = environment();
    (spec.strategy.batch, spec.strategy.max_unavailable) = (Share::Count(2), Share::Count(2));
    rig.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    for number in 0..2 {
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    let first = rig.deploy("1.0").await.unwrap();
    assert_eq!(rig.end(first).await.state.phase.word(), "done");
    let deaf = Behaviour { deaf: vec!["prepare"], ..Behaviour::default() };
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &deaf).await;
    let rollout = rig.deploy("1.1").await.unwrap();
    rig.steer(rollout, Steer::Exclude(host_id(0))).await.unwrap();
    let ended = rig.end(rollout).await;
    assert_eq!((ended.state.phase.word(), ended.state.hosts[&host_id(0)].standing), ("done", Standing::Excluded));
    // It comes back, which is when hosts that are behind are looked for; then another does, with nothing to do.
    for number in 0..2 {
        rig.sessions.cut(&host_id(number));
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    // A verb is answered after all that came before it was decided.
    assert!(matches!(rig.roll_back(Some("1.1")).await, Err(Refused::RunsAlready(..))));
    assert_eq!(rig.store.rollouts("staging", 1).await.unwrap()[0].state.plan.rollout, rollout, "nothing was begun for it");
    assert_eq!(disks.lock().unwrap()[&host_id(0)].current, Some(release("1.0").id()));
    rig.stop().await;

    let rig = Rig::start(folder.path()).await;
    rig.connect(0, &disks, &Behaviour::default()).await;
    assert!(matches!(rig.roll_back(Some("1.1")).await, Err(Refused::RunsAlready(..))));
    assert_eq!(rig.store.rollouts("staging", 1).await.unwrap()[0].state.plan.rollout, rollout, "a restart forgets it not");
    // The next deployment takes it along.
    let environment = environment();
    let request = StartRequest {
        environment: environment.name,
        app: app(),
        release: release("1.1").id(),
        reason: "again".to_owned(),
        by: "admin:ada".to_owned(),
        idempotency_key: "again".to_owned(),
        plan: None,
        contracts: vec![],
    };
    rig.connect(1, &disks, &Behaviour::default()).await;
    let again = rig.driver.ask(Verb::Start(request)).await.unwrap().state.plan.rollout;
    assert_eq!(rig.end(again).await.state.phase.word(), "done");
    assert_eq!(disks.lock().unwrap()[&host_id(0)].current, Some(release("1.1").id()));
    rig.stop().await;
}
