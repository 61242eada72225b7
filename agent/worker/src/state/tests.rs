use super::*;
use roadstead_model::RolloutId;

use crate::disk::RealDisk;

fn states() -> (tempfile::TempDir, States, AppName) {
    let root = tempfile::tempdir().unwrap();
    let states = States::new(Arc::new(RealDisk), root.path().join("apps"));
    (root, states, AppName::parse("erp").unwrap())
}

#[test]
fn changes_are_kept_and_do_not_undo_each_other() {
    let (_root, states, app) = states();
    assert_eq!(states.read(&app).unwrap(), AppMemory::default());
    let fence = Fence { term: 1, rollout: RolloutId(2), sequence: 3 };
    states.update(&app, |memory| memory.highest = Some(fence)).unwrap();
    let release = ReleaseId::parse("1.0-0123456789ab").unwrap();
    states.update(&app, |memory| memory.good.push(release.clone())).unwrap();
    let memory = states.read(&app).unwrap();
    assert_eq!((memory.highest, memory.good), (Some(fence), vec![release]));
}

#[test]
fn what_a_newer_agent_wrote_survives_and_damage_is_named() {
    let (root, states, app) = states();
    let folder = root.path().join("apps/erp");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("state.json"), r#"{"from_the_future": [1]}"#).unwrap();
    states.update(&app, |memory| memory.previous = Some(ReleaseId::parse("1.0-0123456789ab").unwrap())).unwrap();
    let text = std::fs::read_to_string(folder.join("state.json")).unwrap();
    assert!(text.contains("from_the_future") && text.contains("1.0-0123456789ab"), "{text}");
    std::fs::write(folder.join("state.json"), "{\"high").unwrap();
    let failure = Failure::from(states.read(&app).unwrap_err());
    assert!(failure.summary.contains("state.json") && failure.hint.contains("move the file away"), "{failure:?}");
    assert!(states.update(&app, |_| ()).is_err(), "damage is not papered over");
}
