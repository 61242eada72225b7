//! What the agent remembers of each app, in `apps/APP/state.json`, written atomically.

use roadstead_model::{AppName, Failure, Fence, ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::disk::Disk;
use crate::failure::host_failure;
use crate::files::FileError;

/// The largest state file that is read.
const STATE_BYTES_MAX: u64 = 1024 * 1024;

/// What is remembered of one app. What serves is not in it: the symbolic link `current` alone says that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppMemory {
    /// The highest fence that was obeyed. The worker's.
    pub highest: Option<Fence>,
    /// The release that served before `current` and can serve again. The steps'.
    pub previous: Option<ReleaseId>,
    /// Releases that were confirmed, oldest first. The steps'.
    pub good: Vec<ReleaseId>,
    /// Services of which this host runs the environment's only instance, by release. The steps'.
    pub singletons: BTreeMap<ReleaseId, Vec<ServiceName>>,
    /// What runs only once runs here with a lease alone. The worker's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_lease: bool,
    /// What a newer agent remembered: kept for the day when it returns.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// Why what is remembered cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system did not do as told.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was written.
    #[error("{} is damaged: {why}; move the file away to let the app be deployed again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
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
pub struct States {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    writing: std::sync::Mutex<()>,
}

impl States {
    /// The memories in a folder of a disk, a folder for each app.
    pub const fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Self { disk, folder, writing: std::sync::Mutex::new(()) }
    }

    /// What is remembered of an app; empty when nothing is.
    pub fn read(&self, app: &AppName) -> Result<AppMemory, StateError> {
        let path = self.folder.join(app.as_str()).join("state.json");
        match self.disk.read(&path, STATE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| StateError::Damaged { path, why }),
            Err(error) if error.is_missing() => Ok(AppMemory::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what is remembered of an app: durable when this returns. No other change comes between.
    pub fn update(&self, app: &AppName, change: impl FnOnce(&mut AppMemory)) -> Result<AppMemory, StateError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.read(app)?;
        let mut memory = before.clone();
        change(&mut memory);
        if memory != before {
            let folder = self.folder.join(app.as_str());
            self.disk.create_folder(&folder)?;
            let path = folder.join("state.json");
            let bytes = serde_json::to_vec_pretty(&memory).map_err(|why| StateError::Damaged { path: path.clone(), why })?;
            self.disk.write_atomically(&path, &bytes)?;
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests;
