//! What the agent remembers of each app, in `apps/APP/state.json`, written atomically.

use roadstead_model::{AppName, Failure, Fence, ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::failure::host_failure;
use crate::files::{FileError, create_private_folder, read_bounded, write_atomically};
use crate::layout::Layout;

/// The largest state file that is read.
const STATE_BYTES_MAX: u64 = 1024 * 1024;

/// What is remembered of one app. What serves is not in it: the symbolic link `current` alone says that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AppMemory {
    /// The highest fence that was obeyed. The worker's.
    pub(crate) highest: Option<Fence>,
    /// The release that served before `current` and can serve again. The steps'.
    pub(crate) previous: Option<ReleaseId>,
    /// Releases that were confirmed, oldest first. The steps'.
    pub(crate) good: Vec<ReleaseId>,
    /// Services of which this host runs the environment's only instance, by release. The steps'.
    pub(crate) singletons: BTreeMap<ReleaseId, Vec<ServiceName>>,
    /// What a newer agent remembered: kept for the day when it returns.
    #[serde(flatten)]
    pub(crate) unknown: BTreeMap<String, serde_json::Value>,
}

/// Why what is remembered cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The file system did not do as told.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was written.
    #[error("{} is damaged: {why}; move the file away to let the app be deployed again", path.display())]
    Damaged {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong.
        why: serde_json::Error,
    },
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let hint = match error {
            StateError::File(_) => "make room on the disk and look at the permissions, then deploy again",
            StateError::Damaged { .. } => "move the file away: the agent then remembers no earlier release of the app",
        };
        host_failure(&error, hint)
    }
}

/// The memories of all apps.
#[derive(Debug)]
pub(crate) struct States {
    layout: Layout,
    writing: std::sync::Mutex<()>,
}

impl States {
    /// The memories in a layout.
    pub(crate) const fn new(layout: Layout) -> Self {
        Self { layout, writing: std::sync::Mutex::new(()) }
    }

    /// What is remembered of an app; empty when nothing is.
    pub(crate) fn read(&self, app: &AppName) -> Result<AppMemory, StateError> {
        let path = self.layout.app_state(app).join("state.json");
        match read_bounded(&path, STATE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| StateError::Damaged { path, why }),
            Err(error) if error.is_missing() => Ok(AppMemory::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what is remembered of an app: durable when this returns. No other change comes between.
    pub(crate) fn update(&self, app: &AppName, change: impl FnOnce(&mut AppMemory)) -> Result<AppMemory, StateError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.read(app)?;
        let mut memory = before.clone();
        change(&mut memory);
        if memory != before {
            let folder = self.layout.app_state(app);
            create_private_folder(&folder)?;
            let path = folder.join("state.json");
            let bytes = serde_json::to_vec_pretty(&memory).map_err(|why| StateError::Damaged { path: path.clone(), why })?;
            write_atomically(&path, &bytes, 0o600)?;
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::RolloutId;

    fn states() -> (tempfile::TempDir, States, AppName) {
        let root = tempfile::tempdir().unwrap();
        let states = States::new(Layout::new(root.path()));
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
        let folder = root.path().join("var/lib/roadstead-agent/apps/erp");
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
}
