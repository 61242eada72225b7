//! What an agent remembers of an app: `state.json`.

use roadstead_model::{AppName, Fence, RolloutId};
use roadstead_worker::disk::{Disk as _, SimDisk};
use roadstead_worker::state::States;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "/apps/erp/state.json";

/// What is read and changed in one place is as it was in every other, also what a newer agent wrote.
pub fn memory(bytes: &[u8]) {
    let disk = SimDisk::new(0);
    disk.create_folder(Path::new("/apps/erp")).unwrap();
    disk.write_atomically(Path::new(FILE), bytes).unwrap();
    let states = States::new(Arc::new(disk.clone()), "/apps".into());
    let app = AppName::parse("erp").unwrap();
    let Ok(before) = states.read(&app) else {
        assert!(states.update(&app, |memory| memory.highest = None).is_err());
        assert_eq!(disk.bytes(Path::new(FILE)).unwrap(), bytes, "what is damaged is written over");
        return;
    };
    if before.unknown.values().any(has_fractions) {
        // No agent writes them, and their last digits may not come back.
        return;
    }
    assert_eq!(states.update(&app, |_| ()).unwrap(), before);
    assert_eq!(disk.bytes(Path::new(FILE)).unwrap(), bytes, "what does not change is written anew");
    let mut expected = before;
    for term in [7, 8] {
        expected.highest = Some(Fence { term, rollout: RolloutId(1), sequence: 2 });
        assert_eq!(states.update(&app, |memory| memory.highest = expected.highest).unwrap(), expected);
        assert_eq!(states.read(&app).unwrap(), expected);
    }
}

fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fractions),
        Value::Object(values) => values.values().any(has_fractions),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
