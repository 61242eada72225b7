//! A cgroup for each host in every hierarchy that it uses, so that limits of its units are real and hosts do not meet.
//!
//! A machine has either one hierarchy (version 2) or several (version 1, perhaps with version 2 for systemd's names);
//! both are in use where tests run.

use crate::lab::error::{LabError, Result};
use crate::lab::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";
/// The hierarchies of version 1 that a host gets a part of. (A cpuset would have to be filled first and is of no use here.)
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// The controllers that systemd in a host can only use after its own mounts of them were made writable.
pub(crate) fn split_controllers() -> Vec<&'static str> {
    CONTROLLERS.into_iter().filter(|name| Path::new(ROOT).join(name).join("cgroup.procs").exists()).collect()
}

/// The folders of a host's cgroups, whether they exist or not.
fn folders(name: &str) -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(name)];
    }
    let names = ["systemd", "unified"].into_iter().filter(|name| root.join(name).join("cgroup.procs").exists());
    names.chain(split_controllers()).map(|hierarchy| root.join(hierarchy).join(name)).collect()
}

/// Makes a host's cgroups and returns the files through which a process moves into them.
pub(crate) fn make(name: &str) -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        // where the root's controllers are not handed on already and may not be, hosts do without limits
        for controller in ["+memory", "+pids", "+cpu"] {
            fs::write(root.join("cgroup.subtree_control"), controller).unwrap_or_default();
        }
    }
    folders(name)
        .into_iter()
        .map(|folder| {
            fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
            Ok(folder.join("cgroup.procs"))
        })
        .collect()
}

/// Kills what is left in a host's cgroups: a boot that went wrong may have left processes that nobody wrote down.
pub(crate) fn kill(name: &str) {
    for folder in folders(name) {
        kill_tree(&folder);
    }
}

fn kill_tree(folder: &Path) {
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for process in members.lines().filter_map(|pid| pid.parse().ok()).filter_map(Process::of) {
        process.kill();
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_tree(&entry.path());
        }
    }
}

/// Removes a host's cgroups with all that its systemd made in them, once the last process has left.
pub(crate) fn remove(name: &str) -> Result<()> {
    for folder in folders(name) {
        let gone = || remove_tree(&folder).is_ok();
        crate::lab::wait_until(&format!("the processes of {} to be gone", folder.display()), Duration::from_secs(10), gone)?;
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// The most memory that a unit of a host has had since it was started, by the name that it has for its cgroup.
pub(crate) fn memory_peak(name: &str, unit: &str) -> Result<u64> {
    let split = Path::new(ROOT).join("memory").join(name);
    let (folder, file) = if split.exists() { (split, "memory.max_usage_in_bytes") } else { (Path::new(ROOT).join(name), "memory.peak") };
    let path = folder.join(unit.trim_start_matches('/')).join(file);
    let text = fs::read_to_string(&path).map_err(LabError::io("read", path))?;
    Ok(text.trim().parse().unwrap_or_default())
}

/// Lets all of a host have no more memory than that, in bytes, the pages of its files included.
pub(crate) fn limit_memory(name: &str, most: u64) -> Result<()> {
    let split = Path::new(ROOT).join("memory").join(name);
    let file = if split.exists() { split.join("memory.limit_in_bytes") } else { Path::new(ROOT).join(name).join("memory.max") };
    fs::write(&file, most.to_string()).map_err(LabError::io("write", file))
}

/// The CPU time that a host has used since it was made, whoever used it there.
pub(crate) fn cpu_time(name: &str) -> Result<Duration> {
    let split = Path::new(ROOT).join("cpuacct").join(name).join("cpuacct.usage");
    if let Ok(text) = fs::read_to_string(&split) {
        return Ok(Duration::from_nanos(text.trim().parse().unwrap_or_default()));
    }
    let path = Path::new(ROOT).join(name).join("cpu.stat");
    let text = fs::read_to_string(&path).map_err(LabError::io("read", path))?;
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
    Ok(Duration::from_micros(micros.unwrap_or_default()))
}
