//! The agent is killed at every record of a real journal, and started again: the end is the same as without.

use roadstead_model::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::clock::WallClock;
use crate::disk::RealDisk;
use crate::journal::Journals;
use crate::samples::*;

const JOURNAL: &str = "var/lib/roadstead-agent/journal/erp/1-1.jsonl";

/// An order, and how its steps go.
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) kind: OrderKind,
    fails: &'static [StepName],
    undo_fails: &'static [StepName],
}

pub(super) fn stories() -> Vec<Story> {
    let story = |name, kind, fails, undo_fails| Story { name, kind, fails, undo_fails };
    vec![
        story("prepare", prepare(), &[], &[]),
        story("prepare fails", prepare(), &[StepName::Venv], &[]),
        story("migrate fails", OrderKind::Migrate { release: release(), backup: None, idle: false }, &[StepName::Migrate], &[]),
        story("activate", activate(), &[], &[]),
        story("activate fails at its first step", activate(), &[StepName::Candidate], &[]),
        story("activate fails at its last step", activate(), &[StepName::Health], &[]),
        story("activate cannot go back", activate(), &[StepName::Proof], &[StepName::Cutover]),
        story("confirm", confirm(), &[], &[]),
        story("revert fails", OrderKind::Revert { from: release(), to: None, condemn: true, everywhere: false }, &[StepName::Revert], &[]),
        story("abandon", OrderKind::Abandon { release: release(), condemn: true }, &[], &[]),
    ]
}

impl Story {
    pub(super) fn world(&self, effects: BTreeSet<(AppName, StepName)>) -> World {
        World {
            effects,
            fails: self.fails.iter().copied().collect(),
            undo_fails: self.undo_fails.iter().copied().collect(),
            ..World::default()
        }
    }
}

async fn whole(story: &Story, root: &Path) -> (Report, BTreeSet<(AppName, StepName)>, Vec<u8>) {
    let rig = Rig::start(root, FakeHands::new(story.world(BTreeSet::new()))).await;
    rig.order(order(1, 1, story.kind.clone())).await;
    let report = rig.outcome().await;
    let hands = rig.stop().await;
    let effects = hands.world.lock().unwrap().effects.clone();
    (report, effects, std::fs::read(root.join(JOURNAL)).unwrap())
}

/// What had happened to the host when the journal had these lines: the last announced act was done, or not yet.
fn effects_of(lines: &[&str], acted: bool) -> BTreeSet<(AppName, StepName)> {
    let mut effects = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let entry = &value["entry"];
        let Some(step) = entry["step"].as_str().map(|step| step.parse::<StepName>().unwrap()) else { continue };
        let item = (AppName::parse("erp").unwrap(), step);
        let last = index + 1 == lines.len();
        match entry["record"].as_str().unwrap() {
            "started" if acted || !last => drop(effects.insert(item)),
            "undo-finished" => drop(effects.remove(&item)),
            "undo-started" if acted && last => drop(effects.remove(&item)),
            _ => {}
        }
    }
    effects
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_record_of_any_order_leads_to_the_same_end() {
    let mut kills = 0;
    for story in stories() {
        let root = tempfile::tempdir().unwrap();
        let (report, effects, journal) = whole(&story, root.path()).await;
        let text = String::from_utf8(journal).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for kept in 1..=lines.len() {
            for (acted, torn) in [(false, ""), (true, ""), (true, "{\"check\":\"0123")] {
                let what = format!("{}: killed after line {kept} ({}), acted: {acted}, torn: {torn:?}", story.name, lines[kept - 1]);
                let root = tempfile::tempdir().unwrap();
                let path = root.path().join(JOURNAL);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, lines[..kept].join("\n") + "\n" + torn).unwrap();
                let hands = FakeHands::new(story.world(effects_of(&lines[..kept], acted && story.undo_fails.is_empty())));
                let rig = Rig::start(root.path(), hands).await;
                // The end is known from the journal alone or comes by itself; the controller asks again in any case.
                rig.order(order(1, 1, story.kind.clone())).await;
                assert_eq!(rig.outcome().await, report, "{what}");
                assert_eq!(rig.hello().await.outcomes, std::slice::from_ref(&report), "{what}");
                let hands = rig.stop().await;
                assert_eq!(hands.world.lock().unwrap().effects, effects, "{what}");
                kills += 1;
            }
        }
    }
    assert!(kills > 150, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_in_the_middle_of_any_step_is_carried_on() {
    for step in [StepName::Candidate, StepName::Cutover, StepName::Proof, StepName::Health] {
        let root = tempfile::tempdir().unwrap();
        let rig = Rig::start(root.path(), FakeHands::new(World { waits: [step].into(), ..World::default() })).await;
        rig.order(order(1, 1, activate())).await;
        rig.hands.saw(&format!("run erp {step}")).await;
        let hands = rig.stop().await;
        assert!(!hands.log().iter().any(|line| line.starts_with("undo") || line.starts_with("stop")), "{:?}", hands.log());
        hands.release();
        let rig = Rig::start(root.path(), hands).await;
        assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
        let runs = rig.hands.log().iter().filter(|line| **line == format!("run erp {step}")).count();
        assert_eq!(runs, 2, "it was run again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_superseded_order_is_undone_after_a_kill_before_the_newer_one_acts() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World { waits: [StepName::Proof].into(), ..World::default() })).await;
    rig.order(order(1, 1, activate())).await;
    rig.hands.saw("run erp proof").await;
    let hands = rig.stop().await;
    // As if the newer order had been accepted just before the kill.
    let newer = order(2, 1, OrderKind::Migrate { release: release(), backup: None, idle: false });
    let folder = root.path().join("var/lib/roadstead-agent/journal");
    Journals::new(Arc::new(RealDisk), WallClock::of_host(), folder).create(&newer).unwrap();
    let rig = Rig::start(root.path(), hands).await;
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Failed { step: StepName::Proof, .. }, .. }));
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    assert_eq!(rig.hands.log()[3..], ["reconcile erp", "undo erp cutover", "undo erp candidate", "run erp migrate"]);
}
