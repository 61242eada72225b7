//! What is on the disk of credentials that are in force: what was issued, in the agent's state, and the values, in a folder of root's below
//! `/run`, which no disk ever holds.

use roadstead_model::{AppName, Failure, FailureKind, OrderKey, StepName, Timestamp, VariableName, limits};
use roadstead_secrets::Lease;
use roadstead_worker::files::{create_private_folder, read_bounded, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::host::{environment_file, links};
use crate::layout::Layout;
use crate::steps::util::{io_failure, on_disk};

const RECORD_BYTES_MAX: u64 = 256 * 1024;
const HIDDEN_BYTES_MAX: u64 = 8 * limits::CONFIG_FILE_BYTES_MAX;

/// What was issued, for which step: written before it is used, so that it can be ended whatever happens. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The order.
    pub(super) order: OrderKey,
    /// Its step.
    pub(super) step: StepName,
    /// When the last of it ends by itself, by the host's clock.
    pub(super) until: Timestamp,
    /// What was issued. Empty where secrets do not end.
    pub(super) leases: Vec<Lease>,
    /// What was issued for steps before and could not be ended yet.
    #[serde(default)]
    pub(super) older: Vec<Lease>,
}

/// Values that no output may show, with the variables that they are of.
pub(super) type Hidden = Vec<(VariableName, String)>;

impl Record {
    /// What is known of an app; nothing where it cannot be read: what it was about ends by itself.
    pub(super) fn read(layout: &Layout, app: &AppName) -> Option<Self> {
        let path = layout.issued(app);
        let bytes = match read_bounded(&path, RECORD_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return None,
            Err(error) => {
                tracing::warn!(%error, "what was issued for migrations is not known: it ends by itself");
                return None;
            }
        };
        let read = serde_json::from_slice(&bytes);
        read.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "what was issued for migrations is not known")).ok()
    }

    pub(super) fn write(&self, layout: &Layout, app: &AppName) -> Result<(), Failure> {
        let path = layout.issued(app);
        create_private_folder(path.parent().unwrap_or(Path::new("/"))).map_err(|error| on_disk(&error))?;
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_atomically(&path, &text, 0o600).map_err(|error| on_disk(&error))
    }

    pub(super) fn remove(layout: &Layout, app: &AppName) -> Result<(), Failure> {
        let path = layout.issued(app);
        links::remove(&path).map_err(|error| io_failure("remove", &path, &error))
    }
}

/// Whether values are in force, or were when an agent before this one ended.
pub(super) fn are_there(layout: &Layout, app: &AppName) -> bool {
    layout.credentials_file(app).exists()
}

/// Writes the values for systemd to read, and what of them is hidden.
pub(super) fn put(layout: &Layout, app: &AppName, values: &BTreeMap<VariableName, String>, hidden: &Hidden) -> Result<(), Failure> {
    let (file, hides) = (layout.credentials_file(app), layout.credentials_hidden(app));
    create_private_folder(file.parent().unwrap_or(Path::new("/"))).map_err(|error| on_disk(&error))?;
    let text = environment_file::render(values)
        .map_err(|error| Failure::new(FailureKind::Unfit, error.to_string(), "correct it where it is kept"))?;
    let list = serde_json::to_vec(hidden).unwrap_or_default();
    // What is not hidden is not there yet.
    write_atomically(&hides, &list, 0o600).map_err(|error| on_disk(&error))?;
    write_atomically(&file, text.as_bytes(), 0o600).map_err(|error| on_disk(&error))
}

/// Removes the values.
pub(super) fn remove(layout: &Layout, app: &AppName) -> Result<(), Failure> {
    let folder = layout.credentials().join(app.as_str());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure("remove", &folder, &error)),
        _ => Ok(()),
    }
}

/// What of an app's credentials no output may show, as long as they are there.
pub(super) fn hidden(layout: &Layout, app: &AppName) -> Hidden {
    let bytes = read_bounded(&layout.credentials_hidden(app), HIDDEN_BYTES_MAX);
    bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Apps of which anything is left.
pub(super) fn apps(layout: &Layout) -> Vec<AppName> {
    let names =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let with_record = names(&layout.app_states()).filter_map(|name| AppName::parse(&name).ok()).filter(|app| layout.issued(app).exists());
    let mut apps: Vec<AppName> = with_record.chain(names(&layout.credentials()).filter_map(|name| AppName::parse(&name).ok())).collect();
    apps.sort();
    apps.dedup();
    apps
}
