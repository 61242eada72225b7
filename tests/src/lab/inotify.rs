//! The one limit of the kernel that many hosts meet: raised while there are labs, put back after the last.

use crate::lab::error::{LabError, Result};
use crate::lab::registry::{REGISTRY, list, lock};
use std::fs;
use std::path::{Path, PathBuf};

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH: u64 = 8192;

fn kept_value() -> PathBuf {
    Path::new(REGISTRY).join("inotify.before")
}

/// Raises the limit and remembers what it was.
pub(crate) fn raise() -> Result<()> {
    let guard = lock("inotify")?;
    let before = fs::read_to_string(LIMIT).map_err(LabError::io("read", LIMIT))?;
    if before.trim().parse().unwrap_or(0u64) < ENOUGH {
        fs::write(kept_value(), before).map_err(LabError::io("write", kept_value()))?;
        fs::write(LIMIT, ENOUGH.to_string()).map_err(LabError::io("write", LIMIT))?;
    }
    drop(guard);
    Ok(())
}

/// Puts the limit back when no lab is left.
pub(crate) fn restore_if_last() -> Result<()> {
    let guard = lock("inotify")?;
    if list()?.is_empty()
        && let Ok(before) = fs::read_to_string(kept_value())
    {
        fs::write(LIMIT, before.trim()).map_err(LabError::io("write", LIMIT))?;
        fs::remove_file(kept_value()).map_err(LabError::io("remove", kept_value()))?;
    }
    drop(guard);
    Ok(())
}
