//! A folder of a run's own, in memory where the system has such a place.

use std::path::Path;
use tempfile::TempDir;

/// Makes the folder; it goes with what is returned.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}
