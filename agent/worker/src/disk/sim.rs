//! A file system in memory whose power can fail: it knows what is durable and what was only written.
//!
//! Power fails when [`SimDisk::crash`] is called, or by itself in the middle of a planned write; then nothing works until
//! `crash` brings the disk back. What was synced is there again. Of everything else the seed decides: of appended bytes a
//! part survives, perhaps as zeros; each change of a name that its folder was not synced after, and each cut, happened or
//! never did. A process that is merely killed loses nothing: for that, drop its tasks and keep the disk.

mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{AppendFile, Disk};
use crate::files::FileError;
use state::{Alarm, Node, State};

/// How much room a simulated disk has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    /// More than is ever used.
    #[default]
    Plenty,
    /// Only what was reserved before: what is new or grows beyond that fails.
    Reserved,
    /// None at all, and nothing was ever reserved: everything that grows fails.
    Nothing,
}

/// A file system in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk. All that is left to chance follows from the seed and from what is done to the disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// Takes the power away and gives it back: what was not durable is lost or kept, and files that were open stay broken.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// Lets the power fail in the middle of the `n`th write from the disk's first, or of the next when that is past. `None`: never.
    pub fn crash_at(&self, n: Option<u64>) {
        self.lock().crash_at = n;
    }

    /// Lets the `n`th write from the disk's first fail, and no other: it may have been seen to happen, and is not durable.
    pub fn fail_at(&self, n: u64) {
        self.lock().fail_at = Some(n);
    }

    /// What is done at the moment at which the power fails, before the one who writes knows: there the tasks of the host end. Once, and
    /// not after a `crash`.
    pub fn on_failure(&self, act: impl FnOnce() + Send + 'static) {
        self.lock().alarm = Some(Alarm(Box::new(act)));
    }

    /// Whether the power failed and is not back.
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Writes so far. Each sync, change of a name, growth and cut is one.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// How much room there is from now on.
    pub fn set_room(&self, room: Room) {
        self.lock().room = room;
    }

    /// What a file holds, durable or not; `None` when there is no such file.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().file(path).ok().map(|node| lock(&node).content.clone())
    }

    /// Makes a file hold something else, durably and unseen, as a worn disk or a person does. Does nothing when there is no such file.
    pub fn damage(&self, path: &Path, content: Vec<u8>) {
        if let Ok(node) = self.lock().file(path) {
            *lock(&node) = Node::durable(content);
        }
    }

    /// Does something with the disk, and says of an error what it was about.
    fn with<T>(&self, doing: &'static str, path: &Path, work: impl FnOnce(&mut State) -> io::Result<T>) -> Result<T, FileError> {
        let mut state = self.lock();
        let result = state.up().and_then(|()| work(&mut state));
        let alarm = if state.down { state.alarm.take() } else { None };
        drop(state);
        if let Some(Alarm(act)) = alarm {
            act();
        }
        result.map_err(|e| FileError::new(doing, path, e))
    }

    fn opened(&self, path: &Path, boot: u64, node: Arc<Mutex<Node>>) -> Box<dyn AppendFile> {
        Box::new(SimFile { disk: self.clone(), boot, path: path.to_path_buf(), node })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk for SimDisk {
    fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
        let node = self.with("open", path, |state| state.file(path))?;
        let content = lock(&node).content.clone();
        if content.len() as u64 > max {
            return Err(FileError::new("read", path, io::Error::other(format!("it is larger than {max} bytes"))));
        }
        Ok(content)
    }

    fn names(&self, folder: &Path) -> Result<Vec<String>, FileError> {
        self.with("list", folder, |state| Ok(state.names(folder)))
    }

    fn create(&self, path: &Path, reserved: u64) -> Result<Box<dyn AppendFile>, FileError> {
        let refused = self.lock().room == Room::Reserved && reserved > 0;
        if refused {
            return Err(FileError::new("reserve space for", path, io::ErrorKind::StorageFull.into()));
        }
        let (boot, node) = self.with("make", path, |state| Ok((state.boot, state.create(path, reserved)?)))?;
        Ok(self.opened(path, boot, node))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let (boot, node) = self.with("open", path, |state| Ok((state.boot, state.file(path)?)))?;
        Ok(self.opened(path, boot, node))
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        self.with("remove", path, |state| state.remove(path))
    }

    fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let temporary = folder.join(format!(".new-{}", path.file_name().unwrap_or_default().to_string_lossy()));
        self.with("write", path, |state| {
            match state.remove(&temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let node = state.create(&temporary, 0)?;
            state.append(&node, content)?;
            state.sync(&node)?;
            state.rename(&temporary, path)
        })?;
        self.sync_folder(folder)
    }

    fn create_folder(&self, path: &Path) -> Result<(), FileError> {
        self.with("make the folder", path, |state| state.create_folder(path))
    }

    fn sync_folder(&self, path: &Path) -> Result<(), FileError> {
        self.with("sync the folder", path, |state| state.sync_folder(path))
    }
}

/// A file that is open, until the next crash.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    boot: u64,
    path: PathBuf,
    node: Arc<Mutex<Node>>,
}

impl SimFile {
    fn with(&self, doing: &'static str, work: impl FnOnce(&mut State) -> io::Result<()>) -> Result<(), FileError> {
        self.disk.with(doing, &self.path, |state| if state.boot == self.boot { work(state) } else { Err(state::no_power()) })
    }
}

impl AppendFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.with("write", |state| {
            state.append(&self.node, bytes)?;
            state.sync(&self.node)
        })
    }

    fn cut(&mut self, length: u64) -> Result<(), FileError> {
        self.with("cut", |state| {
            state.cut(&self.node, usize::try_from(length).unwrap_or(usize::MAX))?;
            state.sync(&self.node)
        })
    }
}

#[cfg(test)]
mod tests;
