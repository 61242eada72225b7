//! Hosts that say that they were changed: told in the history, and repaired when somebody wants that.

use roadstead_driver::{Event, Repair};
use roadstead_model::{Differs, Drift, DriftFinding, DriftPart, DriftPolicy, EnvironmentSpec, RolloutId};

use super::*;

impl Rig {
    /// The first host says what its look found.
    async fn says(&self, disks: &Disks, places: &[&str]) {
        let mut said = facts_of(0, disks);
        let found = places.iter().map(|place| DriftFinding::new(DriftPart::Tree, Differs::Changed, place, "")).collect();
        said.apps.get_mut(&app()).unwrap().drift = Some(Drift::of(found));
        let epoch = self.sessions.epoch(&host_id(0)).unwrap();
        self.driver.tell(Event::Facts { host: host_id(0), epoch, facts: Box::new(said) }).await;
    }

    async fn repair(&self) -> Vec<String> {
        let repair = Repair { host: host_id(0), reason: "a test".to_owned(), by: "admin:ada".to_owned() };
        self.driver.repair(repair).await.unwrap()
    }

    async fn policy(&self, drift: DriftPolicy) {
        self.store.apply(EnvironmentSpec { drift, ..environment() }, "admin:ada".to_owned(), clock::now()).await.unwrap().unwrap();
        self.driver.tell(Event::EnvironmentsChanged).await;
    }

    async fn newest(&self) -> RolloutId {
        self.store.rollouts("staging", 1).await.unwrap()[0].state.plan.rollout
    }

    /// How often the history says something of this kind.
    async fn said(&self, kind: &str) -> usize {
        // Whatever is asked is answered behind what was said before.
        drop(self.roll_back(Some("0.0")).await);
        let mut events = self.store.events(0, 0, 1000).await.unwrap();
        events.retain(|event| event.kind == kind);
        events.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_differs_is_told_once_and_repaired_when_somebody_wants_that() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), Disks::default());
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    rig.says(&disks, &["views.py"]).await;
    rig.says(&disks, &["views.py"]).await;
    assert_eq!((rig.said("host-drifted").await, rig.newest().await), (1, rollout), "it is told, and nothing else");

    // by hand, although the policy only tells
    assert_eq!(rig.repair().await, [format!("erp {}", release("1.0").id())]);
    let by_hand = rig.level(rollout).await;
    let ended = rig.end(by_hand).await;
    assert_eq!((ended.state.phase.word(), ended.started_by.as_str(), ended.reason.as_str()), ("done", "admin:ada", "a test"));
    rig.says(&disks, &[]).await;
    assert_eq!((rig.said("host-level-again").await, rig.said("host-repair-asked").await), (1, 1));

    // by itself, at once; what differs still, right after, waits for its pause
    rig.policy(DriftPolicy::Repair).await;
    rig.says(&disks, &["manage.py"]).await;
    let repair = rig.level(by_hand).await;
    let ended = rig.end(repair).await;
    assert!(ended.reason.contains("differs from what was deployed") && ended.started_by == "controller", "{}", ended.reason);
    rig.says(&disks, &["manage.py"]).await;
    assert_eq!((rig.said("host-drifted").await, rig.newest().await), (2, repair), "the next attempt has its pause");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_before_an_order_does_not_outlive_it() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), Disks::default());
    let (rig, _) = Rig::serving(folder.path(), &disks, &["1.0", "1.1"]).await;
    rig.says(&disks, &["views.py"]).await;
    let next = rig.deploy("1.1").await.unwrap();
    assert_eq!(rig.end(next).await.state.phase.word(), "done");
    rig.policy(DriftPolicy::Repair).await;
    assert_eq!((rig.said("host-drifted").await, rig.newest().await), (1, next), "the release that was changed is gone");
    rig.stop().await;
}

/// Somebody may be at work on the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_locked_environment_nothing_is_repaired_by_itself() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), Disks::default());
    let (rig, rollout) = Rig::serving(folder.path(), &disks, &["1.0"]).await;
    let (place, now) = ((environment().name, app()), clock::now());
    let lock =
        LockRecord { by: "admin:bob".into(), reason: "incident".into(), at: now, until: now.plus(roadstead_model::Millis(3_600_000)) };
    rig.store.set_lock(place, lock, false).await.unwrap().unwrap();
    rig.policy(DriftPolicy::Repair).await;
    rig.says(&disks, &["views.py"]).await;
    assert_eq!((rig.said("host-drifted").await, rig.newest().await), (1, rollout));
    assert_eq!(rig.repair().await.len(), 1, "an operator who asks for it knows what he does");
    let repair = rig.level(rollout).await;
    assert_eq!(rig.end(repair).await.state.phase.word(), "done");
    rig.stop().await;
}
