//! What runs only once finds a host that can run it, whatever operators take out.

use roadstead_driver::samples::beat;
use roadstead_driver::{Event, ReleaseRecord};
use roadstead_model::{Digest, ServiceName, Share};
use std::collections::BTreeSet;

use super::*;

/// A release with a beat.
fn with_beat(version: &str) -> ReleaseRecord {
    let mut record = release(version);
    let (name, service) = beat();
    record.manifest.spec.services.insert(name, service);
    record.bytes = record.manifest.encode();
    record.digest = Digest::of(&record.bytes);
    record
}

impl Rig {
    /// A host says what the release that serves there was prepared to run there of what only chosen hosts run.
    async fn lists(&self, number: usize, disks: &Disks, services: &[&ServiceName]) {
        let mut said = facts_of(number, disks);
        said.apps.get_mut(&app()).unwrap().listed = Some(services.iter().map(|name| (*name).clone()).collect());
        let epoch = self.sessions.epoch(&host_id(number)).unwrap();
        self.driver.tell(Event::Facts { host: host_id(number), epoch, facts: Box::new(said) }).await;
    }

    async fn home(&self) -> Option<HostId> {
        self.store.singletons(&environment().name, &app()).await.unwrap().pop().map(|(_, host)| host)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_was_taken_out_keeps_what_it_runs_and_nothing_else() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), Disks::default());
    let rig = Rig::start(folder.path()).await;
    rig.prepare(3, &["1.0"]).await;
    let (mut spec, all) = (environment(), Share::Count(3));
    (spec.strategy.batch, spec.strategy.max_unavailable, spec.strategy.failure_budget) = (all, all, all);
    rig.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    for number in 0..3 {
        rig.connect(number, &disks, &Behaviour::default()).await;
    }
    let first = rig.deploy("1.0").await.unwrap();
    assert_eq!(rig.end(first).await.state.phase.word(), "done");

    // the first release with a beat: its home is taken out before it moves
    let second = with_beat("1.1");
    rig.store.publish(second.clone(), clock::now()).await.unwrap();
    let deaf = Behaviour { deaf: vec!["prepare"], ..Behaviour::default() };
    rig.sessions.cut(&host_id(0));
    rig.connect(0, &disks, &deaf).await;
    let request = StartRequest {
        environment: environment().name,
        app: app(),
        release: second.id(),
        reason: "test".to_owned(),
        by: "admin:ada".to_owned(),
        idempotency_key: "the second".to_owned(),
        plan: None,
        contracts: vec![],
    };
    let rollout = rig.driver.ask(Verb::Start(request)).await.unwrap().state.plan.rollout;
    assert_eq!(rig.home().await, Some(host_id(0)));
    rig.steer(rollout, Steer::Exclude(host_id(0))).await.unwrap();
    assert_eq!(rig.end(rollout).await.state.phase.word(), "done");

    // it may run it, as far as it has said: nothing is begun
    let beat = beat().0;
    rig.lists(0, &disks, &[&beat]).await;
    // A verb is answered after all that came before it was decided.
    assert!(rig.roll_back(Some("0.9")).await.is_err());
    assert_eq!((rig.home().await, rig.store.rollouts("staging", 1).await.unwrap()[0].state.plan.rollout), (Some(host_id(0)), rollout));

    // it says that it does not: another host gets it
    rig.lists(0, &disks, &[]).await;
    let level = rig.level(rollout).await;
    let ended = rig.end(level).await;
    let chosen: BTreeSet<_> = ended.state.plan.hosts.iter().filter(|(_, host)| host.singletons.contains(&beat)).map(|(id, _)| id).collect();
    assert_eq!((ended.state.phase.word(), chosen, rig.home().await), ("done", BTreeSet::from([&host_id(1)]), Some(host_id(1))));
    let events = rig.store.events(0, 0, 1000).await.unwrap();
    let told = events.iter().find(|event| event.kind == "failover").unwrap();
    assert!(told.text.ends_with("was taken out by an operator, and does not run it"), "{}", told.text);
    rig.stop().await;
}
