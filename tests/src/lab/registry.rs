//! What labs there are: one small file each, so that any process can list them, enter them and clear them away.

use crate::lab::error::{LabError, Result};
use crate::lab::process::Process;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the descriptions are.
pub(crate) const REGISTRY: &str = "/run/roadstead-lab";
/// Addresses 10.77.0.11 to 10.77.0.250.
const HOSTS_MAX: u8 = 240;

/// A lab as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabState {
    /// Its name on this machine.
    pub id: String,
    /// The process that made it.
    pub owner: Process,
    /// Whether it outlives that process.
    pub kept: bool,
    /// Where its disks are.
    pub folder: PathBuf,
    /// Its hosts.
    pub hosts: BTreeMap<String, Record>,
}

/// A host as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// From 1; its address and its port on the switch follow from it.
    pub number: u8,
    /// What was asked for.
    pub options: HostOptions,
    /// The processes, while it runs.
    pub running: Option<Running>,
}

/// The processes of a running host.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Running {
    /// The container manager.
    pub nspawn: Process,
    /// The host's process 1.
    pub init: Process,
}

/// What a host has beyond the image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostOptions {
    /// Small file systems of their own: folder in the host, size in MiB.
    pub disks: BTreeMap<String, u32>,
    /// Folders of the machine that the host may read: folder in the host, folder of the machine.
    pub read_only: BTreeMap<String, PathBuf>,
    /// The size in MiB of the disk that all that the host writes lies on, if its writes can be recorded.
    pub recorded: Option<u32>,
}

impl HostOptions {
    /// A real file system of so many MiB at a folder of the host: it can be filled.
    #[must_use]
    pub fn disk(mut self, at: &str, mebibytes: u32) -> Self {
        self.disks.insert(at.to_owned(), mebibytes);
        self
    }

    /// All that the host writes lies on a disk of its own, ext4 of so many MiB, whose writes and flushes can be recorded.
    #[must_use]
    pub fn recorded(mut self, mebibytes: u32) -> Self {
        self.recorded = Some(mebibytes);
        self
    }

    /// A folder of the machine, read-only, at a folder of the host.
    #[must_use]
    pub fn read_only(mut self, from: impl Into<PathBuf>, at: &str) -> Self {
        self.read_only.insert(at.to_owned(), from.into());
        self
    }
}

impl LabState {
    /// Writes the lab down; a reader sees the old or the new text.
    pub(crate) fn save(&self) -> Result<()> {
        let path = file(&self.id);
        let draft = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).map_err(|source| LabError::State { path: path.clone(), source })?;
        fs::write(&draft, text).map_err(LabError::io("write", &draft))?;
        fs::rename(&draft, &path).map_err(LabError::io("rename", &path))
    }

    /// Writes down a new host, before anything of it is made.
    pub(crate) fn add(&mut self, name: &str, options: HostOptions) -> Result<()> {
        check_name(name)?;
        if self.hosts.contains_key(name) {
            return Err(LabError::On(name.to_owned()));
        }
        let taken: Vec<u8> = self.hosts.values().map(|record| record.number).collect();
        let number = (1..=HOSTS_MAX).find(|number| !taken.contains(number)).ok_or(LabError::Full(HOSTS_MAX))?;
        self.hosts.insert(name.to_owned(), Record { number, options, running: None });
        self.save()
    }
}

/// Writes down a new lab under a name that no other has.
pub(crate) fn create(name: &str) -> Result<LabState> {
    check_name(name)?;
    fs::create_dir_all(REGISTRY).map_err(LabError::io("make", REGISTRY))?;
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let chance = fs::read_to_string(source).map_err(LabError::io("read", source))?;
    let id = format!("{name}-{}", chance.get(..6).unwrap_or_default());
    let folder = crate::lab::disk::cache().join("labs").join(&id);
    fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
    let state = LabState { id, owner: Process::own(), kept: false, folder, hosts: BTreeMap::new() };
    state.save()?;
    Ok(state)
}

/// Reads one lab.
pub(crate) fn load(id: &str) -> Result<LabState> {
    let path = file(id);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(LabError::NoLab(id.to_owned())),
        text => text.map_err(LabError::io("read", &path))?,
    };
    serde_json::from_slice(&text).map_err(|source| LabError::State { path, source })
}

/// Reads all labs; one that vanishes meanwhile is left out.
pub(crate) fn list() -> Result<Vec<LabState>> {
    let Ok(entries) = fs::read_dir(REGISTRY) else { return Ok(Vec::new()) };
    let names = entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
    let ids = names.filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    let labs = ids.map(|id| load(&id)).filter(|lab| !matches!(lab, Err(LabError::NoLab(_))));
    labs.collect()
}

/// Whether a lab is still written down.
pub(crate) fn exists(id: &str) -> bool {
    file(id).exists()
}

/// Strikes a lab out, with its folder.
pub(crate) fn forget(id: &str) -> Result<()> {
    let folder = load(id)?.folder;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(LabError::io("remove", &folder)(error)),
        _ => {}
    }
    fs::remove_file(file(id)).map_err(LabError::io("remove", file(id)))
}

/// Waits for its turn among all processes that deal with labs; the turn ends when the value is dropped.
pub(crate) fn lock(subject: &str) -> Result<Flock<fs::File>> {
    fs::create_dir_all(REGISTRY).map_err(LabError::io("make", REGISTRY))?;
    let path = Path::new(REGISTRY).join(format!("{subject}.lock"));
    let file = fs::File::create(&path).map_err(LabError::io("open", path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, source)| LabError::System { what: "lock the labs' registry", source })
}

fn file(id: &str) -> PathBuf {
    Path::new(REGISTRY).join(format!("{id}.json"))
}

/// Names go into namespaces, cgroups, folders and host names: the narrowest of their rules holds.
fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if letters && name.len() <= 30 && name.starts_with(|first: char| first.is_ascii_lowercase()) {
        Ok(())
    } else {
        Err(LabError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for good in ["a", "web-1", "ctl"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1web", "Web", "a/b", "..", "a b", "web_1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(matches!(check_name(bad), Err(LabError::Name(_))), "{bad}");
        }
    }

    #[test]
    fn a_description_reads_back() {
        let options = HostOptions::default().disk("/srv", 64).read_only("/opt/wheels", "/mnt/wheels");
        let record = Record { number: 3, options, running: None };
        let state = LabState {
            id: "x-1".into(),
            owner: Process { pid: 1, started: 2 },
            kept: true,
            folder: "/x".into(),
            hosts: [("web-1".to_owned(), record)].into(),
        };
        let back: LabState = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(format!("{state:?}"), format!("{back:?}"));
    }
}
