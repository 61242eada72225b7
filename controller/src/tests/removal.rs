//! Environments that go while rollouts begin and end in them.

use roadstead_model::{EnvironmentName, EnvironmentSpec};

use super::*;

impl Rig {
    async fn remove(&self, environment: &EnvironmentName, dry_run: bool) -> Result<(), NotRemoved> {
        let by = "admin:ada".to_owned();
        self.driver.remove(Removal { environment: environment.clone(), app: app(), by, at: clock::now(), dry_run }).await
    }

    async fn revoke(&self, host: HostId) {
        self.store.revoke_host(host, "admin:ada".to_owned(), "test".to_owned(), clock::now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_goes_when_nothing_moves_in_it_and_its_past_stays() {
    let folder = tempfile::tempdir().unwrap();
    let disks = Disks::default();
    let (rig, first) = Rig::serving(folder.path(), &disks, &["1.0", "1.1", "1.2"]).await;
    let staging = environment().name;
    let refused = rig.remove(&staging, false).await;
    assert!(matches!(&refused, Err(NotRemoved::Hosts { hosts, .. }) if hosts == &[host_record(0).name]), "{refused:?}");

    rig.connect(0, &disks, &Behaviour { deaf: vec!["prepare"], ..Behaviour::default() }).await;
    let second = rig.deploy("1.1").await.unwrap();
    // Only the database knows that the host was cut off: the rollout goes on.
    rig.revoke(host_id(0)).await;
    for dry_run in [true, false] {
        let refused = rig.remove(&staging, dry_run).await;
        assert!(matches!(&refused, Err(NotRemoved::Busy { rollout, .. }) if *rollout == second), "{refused:?}");
    }
    rig.steer(second, Steer::Abort).await.unwrap();
    rig.end(second).await;
    rig.remove(&staging, true).await.unwrap();
    assert!(rig.current().await.is_some(), "it was only asked");
    rig.remove(&staging, false).await.unwrap();
    assert!(matches!(rig.remove(&staging, false).await, Err(NotRemoved::NoEnvironment(..))));
    assert!(matches!(rig.deploy("1.2").await, Err(Refused::NoEnvironment(..))));
    assert!(matches!(rig.roll_back(None).await, Err(Refused::NoEnvironment(..))));

    assert_eq!(rig.store.rollouts("staging", 10).await.unwrap().len(), 2, "its rollouts stay");
    assert!(!rig.store.events(first.0, 0, 10).await.unwrap().is_empty(), "and so does its history");
    let last = rig.store.events(0, 0, 10_000).await.unwrap().pop().unwrap();
    assert_eq!((last.actor.as_str(), last.kind.as_str()), ("admin:ada", "environment-removed"));
    assert_eq!((last.subject, last.text), ("environment:staging/erp".to_owned(), format!("removed; {} was current", release("1.0").id())));
    rig.store.verify_history().await.unwrap();

    // One of the same name is a new one, to which nothing was ever brought.
    rig.store.apply(environment(), "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    assert_eq!(rig.current().await, None);
    rig.store.add_host(host_record(1)).await;
    let back = rig.roll_back(Some("1.0")).await;
    assert!(matches!(back, Err(Refused::NeverServed(..))), "{back:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_a_name_belong_to_its_last_app_whatever_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path()).await;
    rig.prepare(1, &[]).await;
    let staging = environment().name;
    let nobody = roadstead_model::Selector::parse("role=nobody").unwrap();
    rig.store.apply(EnvironmentSpec { hosts: nobody, ..environment() }, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    assert!(matches!(rig.remove(&staging, true).await, Err(NotRemoved::Hosts { .. })), "they would belong to nothing");
    let shop = roadstead_model::AppName::parse("shop").unwrap();
    rig.store.apply(EnvironmentSpec { app: shop, ..environment() }, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
    rig.remove(&staging, false).await.unwrap();
    assert_eq!(rig.store.environments("staging").await.unwrap().len(), 1);
    rig.stop().await;
}

/// Whoever is first: there is a rollout in an environment, or there is no environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rollout_begins_in_an_environment_that_goes() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Arc::new(Rig::start(folder.path()).await);
    rig.store.publish(release("1.0"), clock::now()).await.unwrap();
    let (mut started, mut gone) = (0, 0);
    for number in 0..60 {
        let name = EnvironmentName::parse(&format!("e{number}")).unwrap();
        let host = HostRecord { environment: name.clone(), ..host_record(number) };
        rig.store
            .apply(EnvironmentSpec { name: name.clone(), ..environment() }, "admin:ada".to_owned(), clock::now())
            .await
            .unwrap()
            .unwrap();
        rig.store.add_host(host.clone()).await;
        let start = StartRequest {
            environment: name.clone(),
            app: app(),
            release: release("1.0").id(),
            reason: String::new(),
            by: "admin:ada".to_owned(),
            idempotency_key: String::new(),
            plan: None,
            contracts: vec![],
        };
        let starting = {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.driver.ask(Verb::Start(start)).await })
        };
        for _ in 0..number % 6 {
            tokio::task::yield_now().await;
        }
        rig.revoke(host.id.clone()).await;
        let removed = rig.remove(&name, false).await;
        let start = starting.await.unwrap();
        assert_ne!(start.is_ok(), removed.is_ok(), "{name}: {start:?}, {removed:?}");
        started += usize::from(start.is_ok());
        gone += usize::from(removed.is_ok());
    }
    let known = rig.store.environments("").await.unwrap().len();
    assert_eq!((known, rig.store.unfinished_rollouts().await.unwrap().len(), gone), (started, started, 60 - started));
    Arc::into_inner(rig).unwrap().stop().await;
}
