//! What is foreseen is what begins: a plan changes nothing, is drawn by the code that begins a rollout, and holds for what it was.

use super::*;
use roadstead_bundle::spec::{RelativePath, Resources, Service, ServiceKind};
use roadstead_model::{DigestStart, EnvironmentSpec, Fence, Labels, Millis, Selector, ServiceName};

/// A release with a service of which there is one in the environment.
fn with_beat(version: &str) -> ReleaseRecord {
    let mut record = release(version);
    let beat = Service {
        kind: ServiceKind::CeleryBeat { app: "erp".to_owned(), arguments: Vec::new() },
        hosts: Selector::default(),
        environment: BTreeMap::new(),
        working_directory: RelativePath::root(),
        resources: Resources::default(),
        start_timeout: Millis(1),
        stop_timeout: Millis(1),
    };
    record.manifest.spec.services.insert(ServiceName::parse("beat").unwrap(), beat);
    record.bytes = record.manifest.encode();
    record.digest = roadstead_model::Digest::of(&record.bytes);
    record
}

impl Rig {
    async fn foresee(&self, release: &ReleaseRecord) -> Result<Foreseen, Refused> {
        self.driver
            .foresee(Foresee {
                environment: environment().name,
                app: app(),
                release: release.id(),
                by: "admin:ada".to_owned(),
                contracts: vec![],
            })
            .await
    }

    async fn deploy_as(&self, release: &ReleaseRecord, plan: &str) -> Result<RolloutId, Refused> {
        let request = StartRequest {
            environment: environment().name,
            app: app(),
            release: release.id(),
            reason: "test".to_owned(),
            by: "admin:ada".to_owned(),
            idempotency_key: String::new(),
            plan: Some(DigestStart::parse(plan).unwrap()),
            contracts: vec![],
        };
        Ok(self.driver.ask(Verb::Start(request)).await?.state.plan.rollout)
    }

    async fn apply(&self, spec: EnvironmentSpec) {
        self.store.apply(spec, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    }
}

/// Which things stand in the way, as words.
fn obstacles(foreseen: &Foreseen) -> Vec<&'static str> {
    let word = |refused: &Refused| match refused {
        Refused::Busy(..) => "busy",
        Refused::Bad { .. } => "bad",
        Refused::Behind(_) => "ahead",
        Refused::Plan(_) => "plan",
        _ => "other",
    };
    foreseen.obstacles.iter().map(word).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_foreseen_begins_and_foreseeing_it_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, first) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let beat = with_beat("1.1");
    rig.store.publish(beat.clone(), clock::now()).await.unwrap();
    let lines = rig.store.verify_history().await.unwrap();

    let foreseen = rig.foresee(&beat).await.unwrap();
    let plan = foreseen.plan.clone().unwrap();
    assert_eq!(rig.foresee(&beat).await.unwrap().plan.unwrap().digest(), plan.digest());
    assert_eq!(obstacles(&foreseen), [""; 0]);
    assert_eq!(foreseen.current.as_ref().map(roadstead_driver::Configured::id), Some(release("1.0").id()));
    assert_eq!(plan.hosts[&host_id(0)].singletons, [ServiceName::parse("beat").unwrap()]);
    assert_eq!(rig.store.verify_history().await.unwrap(), lines, "the history says nothing of it");
    let homes = rig.store.singletons(&environment().name, &app()).await.unwrap();
    assert!(homes.is_empty(), "no home is taken: {homes:?}");

    let rollout = rig.deploy_as(&beat, &plan.digest().short()).await.unwrap();
    assert_eq!(rollout.0, first.0 + 1, "no number was used up");
    let ran = rig.end(rollout).await.state.plan;
    assert_eq!(ran.digest(), plan.digest());
    assert_eq!(rig.store.singletons(&environment().name, &app()).await.unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_world_has_changed_the_plan_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, first) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    let next = release("1.1");
    let shown = rig.foresee(&next).await.unwrap().plan.unwrap().digest();
    rig.apply(EnvironmentSpec { keep: 9, ..environment() }).await;
    rig.store.add_host(host_record(7)).await;
    let Err(Refused::OtherPlan(other)) = rig.deploy_as(&next, &shown.short()).await else { panic!("it is not refused") };
    let now = rig.foresee(&next).await.unwrap().plan.unwrap().digest();
    assert_eq!((other.now, other.release.clone()), (now, next.id()));
    let told = other.differs.unwrap();
    assert_eq!(told, ["batches: 1 → 2", "keep: 3 → 9", "web-7 takes part now, in batch 2"]);
    assert_eq!(rig.store.last_rollout().await.unwrap(), first.0, "nothing began, and no number was used up");

    // A controller that was started again does not know what was shown before.
    rig.stop().await;
    let rig = Rig::start(folder.path()).await;
    let Err(Refused::OtherPlan(other)) = rig.deploy_as(&next, &shown.to_string()).await else { panic!("it is not refused") };
    assert_eq!((other.now, other.differs), (now, None));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_stands_in_the_way_is_foreseen() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let rig = Rig::start(folder.path()).await;
    let (good, broken, unknown) = (release("1.0"), release("1.1"), release("9.9"));
    assert!(matches!(rig.foresee(&good).await, Err(Refused::NoEnvironment(..))));
    rig.prepare(0, &["1.0", "1.1"]).await;
    assert!(matches!(rig.foresee(&unknown).await, Err(Refused::NoRelease(..))));
    let nowhere = rig.foresee(&good).await.unwrap();
    assert_eq!((obstacles(&nowhere), nowhere.plan), (vec!["plan"], None));

    rig.store.add_host(host_record(0)).await;
    let behaviour = Behaviour { broken: vec![broken.id()], deaf: vec!["confirm"], ..Behaviour::default() };
    rig.connect(0, &disks, &behaviour).await;
    let went_back = rig.deploy("1.1").await.unwrap();
    assert_ne!(rig.end(went_back).await.state.phase.word(), "done");
    assert_eq!(obstacles(&rig.foresee(&broken).await.unwrap()), ["bad"]);

    // One that is being confirmed, and a host that has heard of what nobody here knows.
    let running = rig.deploy("1.0").await.unwrap();
    rig.until(running, |state| state.phase.word() == "confirming").await;
    let mut ahead = facts_of(0, &disks);
    let highest = Some(Fence { term: rig.term + 1, rollout: RolloutId(5_000), sequence: 1 });
    ahead.apps.entry(app()).and_modify(|state| state.highest = highest);
    rig.driver
        .tell(Event::Hello {
            host: host_id(0),
            epoch: rig.sessions.epoch(&host_id(0)).unwrap(),
            facts: Box::new(ahead),
            outcomes: vec![],
            steps: vec![],
        })
        .await;
    let foreseen = rig.foresee(&broken).await.unwrap();
    assert_eq!(obstacles(&foreseen), ["busy", "bad", "ahead"]);
    assert!(matches!(foreseen.obstacles[0], Refused::Busy(rollout, ..) if rollout == running));
    assert!(foreseen.plan.is_some(), "the plan is shown all the same");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_come_level_stand_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    rig.store.add_host(HostRecord { labels: Labels::default(), ..host_record(1) }).await;
    rig.connect(1, &disks, &Behaviour { deaf: vec!["prepare"], ..Behaviour::default() }).await;
    let level = rig.level(rollout).await;
    let foreseen = rig.foresee(&release("1.1")).await.unwrap();
    assert_eq!((obstacles(&foreseen), foreseen.gives_way), (vec![], Some(level)));
    assert_eq!(foreseen.plan.unwrap().hosts.len(), 2);
    rig.stop().await;
}
