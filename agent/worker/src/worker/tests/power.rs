//! Workers on simulated disks: the power fails at every write of every order, and what a seed did it does again.

use roadstead_model::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::time::{Duration, Instant};

use super::crashes::{Story, stories};
use crate::clock::WallClock;
use crate::disk::{Room, SimDisk};
use crate::samples::*;
use crate::tasks::Tasks;

/// A clock that goes as the paused one does.
fn clock() -> WallClock {
    let began = Instant::now();
    WallClock::new(move || Timestamp(1_700_000_000_000 + crate::clock::whole_millis(began.elapsed()).0))
}

/// A worker that dies when the power of its disk fails.
async fn start(disk: &SimDisk, hands: Arc<FakeHands>) -> Rig {
    let tasks = Tasks::inline();
    let dying = tasks.clone();
    disk.on_failure(move || dying.kill());
    Rig::start_on(Arc::new(disk.clone()), clock(), tasks, Path::new("/"), hands).await
}

/// The next outcome, unless the worker dies first.
async fn outcome_or_death(rig: &Rig) -> Option<Report> {
    tokio::select! {
        biased;
        () = rig.events.closed() => None,
        report = rig.outcome() => Some(report),
    }
}

async fn whole(story: &Story) -> (Report, BTreeSet<(AppName, StepName)>) {
    let rig = start(&SimDisk::new(0), FakeHands::new(story.world(BTreeSet::new()))).await;
    rig.order(order(1, 1, story.kind.clone())).await;
    let report = rig.outcome().await;
    let hands = rig.stop().await;
    let effects = hands.world.lock().unwrap().effects.clone();
    (report, effects)
}

#[tokio::test(start_paused = true)]
async fn the_power_may_fail_at_any_write_of_any_order() {
    let mut failures = 0;
    for story in stories() {
        let (report, effects) = whole(&story).await;
        for seed in 0..5 {
            for write in 1.. {
                let what = format!("{}: power fails at write {write}, seed {seed}", story.name);
                let disk = SimDisk::new(seed);
                disk.crash_at(Some(write));
                let rig = start(&disk, FakeHands::new(story.world(BTreeSet::new()))).await;
                rig.order(order(1, 1, story.kind.clone())).await;
                let first = outcome_or_death(&rig).await;
                let hands = rig.kill().await;
                if !disk.is_down() {
                    assert_eq!(first.as_ref(), Some(&report), "{what}");
                    break;
                }
                disk.crash();
                let rig = start(&disk, hands).await;
                rig.order(order(1, 1, story.kind.clone())).await;
                assert_eq!(rig.outcome().await, report, "{what}");
                assert_eq!(rig.hello().await.outcomes, std::slice::from_ref(&report), "{what}");
                let hands = rig.stop().await;
                assert_eq!(hands.world.lock().unwrap().effects, effects, "{what}");
                failures += 1;
            }
        }
    }
    assert!(failures > 500, "{failures}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_stops_no_order_that_was_accepted_and_lets_none_begin() {
    let disk = SimDisk::new(1);
    let rig = start(&disk, FakeHands::new(World { waits: [StepName::Proof].into(), ..World::default() })).await;
    rig.order(order(1, 1, activate())).await;
    rig.hands.saw("run erp proof").await;
    disk.set_room(Room::Reserved);
    rig.hands.release();
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    rig.order(order(1, 2, confirm())).await;
    let Report::Refused { why, .. } = rig.outcome().await else { panic!() };
    assert!(why.contains("make room on the disk"), "{why}");
    disk.set_room(Room::Plenty);
    rig.order(order(1, 2, confirm())).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
}

/// Many hosts in one thread, each of which loses its power once: what they did, and what lies on their disks.
async fn fleet(seed: u64) -> Vec<(Vec<String>, Option<Vec<u8>>, u64)> {
    let mut hosts = Vec::new();
    for number in 0..100 {
        let disk = SimDisk::new(seed + number);
        disk.crash_at(Some(10 + number % 20));
        let rig = start(&disk, FakeHands::new(World::default())).await;
        hosts.push((disk, rig));
    }
    for (_, rig) in &hosts {
        rig.order(order(1, 1, activate())).await;
    }
    let mut left = Vec::new();
    for (disk, rig) in hosts {
        assert_eq!(outcome_or_death(&rig).await, None);
        let hands = rig.kill().await;
        disk.crash();
        let rig = start(&disk, hands).await;
        rig.order(order(1, 1, activate())).await;
        rig.outcome().await;
        let hands = rig.stop().await;
        left.push((hands.log(), disk.bytes(Path::new("/var/lib/roadstead-agent/journal/erp/1-1.jsonl")), disk.writes()));
    }
    left
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_history_of_a_hundred_hosts() {
    let first = fleet(7).await;
    assert_eq!(first, fleet(7).await);
    assert_ne!(first, fleet(8).await);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_a_full_disk_stopped_goes_on_when_it_is_repeated_and_there_is_room() {
    let disk = SimDisk::new(0);
    let hands = FakeHands::new(World { waits: [StepName::Fetch].into(), ..World::default() });
    let rig = start(&disk, Arc::clone(&hands)).await;
    rig.order(order(1, 1, prepare())).await;
    hands.saw("run erp fetch").await;
    disk.set_room(Room::Nothing);
    hands.release();
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Stuck { .. }, .. }));
    disk.set_room(Room::Plenty);
    rig.order(order(1, 1, prepare())).await;
    let ended = tokio::time::timeout(Duration::from_secs(3600), rig.outcome()).await.expect("it goes on");
    assert!(matches!(ended, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "{:?}", hands.log());
}
