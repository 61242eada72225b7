//! What several steps need: work on the disk off the main thread, and errors of the disk as failures for people.

use roadstead_model::{Failure, FailureKind};
use roadstead_worker::files::FileError;
use roadstead_worker::tasks::blocking;
use std::io;
use std::path::Path;

/// Runs work that waits for the disk.
pub(crate) async fn disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    blocking(work).await
}

/// The failure of one of the agent's small files.
pub(crate) fn on_disk(error: &FileError) -> Failure {
    io_failure(error.doing, &error.path, &error.source)
}

/// The failure of something done with a path.
pub(crate) fn io_failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            FailureKind::Unfit,
            "the disk is full: make room (see df -h and df -i on the host), then deploy again; what serves goes on serving",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            (FailureKind::Host, "the file system is read-only: see the host's kernel log, and ReadWritePaths= of roadstead-agent.service")
        }
        io::ErrorKind::PermissionDenied => (FailureKind::Host, "the agent must run as root, with the unit that its package installs"),
        _ => (FailureKind::Host, "see the host's journal and kernel log"),
    };
    Failure::new(kind, format!("cannot {doing} {}: {error}", path.display()), hint)
}
