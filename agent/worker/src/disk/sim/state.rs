//! What a simulated disk holds: names and content, each as written and as durable.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Room, lock};

/// One file, whatever its name.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// What a reader sees.
    pub(super) content: Vec<u8>,
    /// How much of that is durable, from its beginning.
    synced: usize,
    /// Durable bytes behind it that a cut took away, until the cut is durable too.
    uncut: Vec<u8>,
    /// Bytes for which there is room whatever the disk has left.
    reserved: usize,
}

impl Node {
    /// A file that no crash changes.
    pub(super) const fn durable(content: Vec<u8>) -> Self {
        Self { synced: content.len(), content, uncut: Vec::new(), reserved: 0 }
    }

    /// Power is back: settles what was not durable.
    fn settle(&mut self, chance: &mut Chance) {
        let uncut = std::mem::take(&mut self.uncut);
        if !uncut.is_empty() && chance.coin() {
            self.content.truncate(self.synced);
            self.content.extend(uncut);
        } else {
            let kept = self.synced + chance.up_to(self.content.len() - self.synced);
            self.content.truncate(kept);
            if chance.up_to(3) == 0 {
                // The file had grown before what it grew by was written.
                let zeros = self.synced + chance.up_to(kept - self.synced);
                self.content[zeros..].fill(0);
            }
        }
        self.synced = self.content.len();
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Entry {
    Folder,
    File(Arc<Mutex<Node>>),
}

/// A change of names that happens as a whole or not at all.
#[derive(Debug)]
struct Change {
    gone: Option<PathBuf>,
    there: Option<(PathBuf, Entry)>,
}

type Names = BTreeMap<PathBuf, Entry>;

/// A whole disk.
#[derive(Debug)]
pub(super) struct State {
    /// Names as they are seen.
    seen: Names,
    /// Names as they are durable.
    durable: Names,
    /// By folder, what happened since it was synced.
    pending: BTreeMap<PathBuf, Vec<Change>>,
    chance: Chance,
    /// How often power came back: files that were opened before then are dead.
    pub(super) boot: u64,
    pub(super) down: bool,
    pub(super) writes: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) fail_at: Option<u64>,
    pub(super) room: Room,
    pub(super) alarm: Option<Alarm>,
}

/// What is done when the power fails.
pub(super) struct Alarm(pub(super) Box<dyn FnOnce() + Send>);

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

impl State {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            seen: Names::new(),
            durable: Names::new(),
            pending: BTreeMap::new(),
            chance: Chance(seed),
            boot: 0,
            down: false,
            writes: 0,
            crash_at: None,
            fail_at: None,
            room: Room::Plenty,
            alarm: None,
        }
    }

    pub(super) fn up(&self) -> io::Result<()> {
        if self.down { Err(no_power()) } else { Ok(()) }
    }

    /// Counts a write. Whoever has changed what is seen calls it after, whoever makes something durable before.
    fn count(&mut self) -> io::Result<()> {
        self.writes += 1;
        self.down = self.crash_at.is_some_and(|n| self.writes >= n);
        self.up()?;
        if self.fail_at == Some(self.writes) { Err(io::Error::other("the disk failed this once")) } else { Ok(()) }
    }

    pub(super) fn crash(&mut self) {
        for change in std::mem::take(&mut self.pending).into_values().flatten() {
            if self.chance.coin() {
                apply(&mut self.durable, change);
            }
        }
        // Parents come before what is in them: what lay in a folder that never was is gone with it.
        let mut kept = Names::new();
        for (path, entry) in std::mem::take(&mut self.durable) {
            if is_folder(&kept, path.parent()) {
                if let Entry::File(node) = &entry {
                    lock(node).settle(&mut self.chance);
                }
                kept.insert(path, entry);
            }
        }
        self.durable = kept;
        self.seen = self.durable.clone();
        self.boot += 1;
        (self.down, self.crash_at, self.alarm) = (false, None, None);
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Node>>> {
        match self.seen.get(path) {
            Some(Entry::File(node)) => Ok(Arc::clone(node)),
            Some(Entry::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn names(&self, folder: &Path) -> Vec<String> {
        let below = self.seen.range::<Path, _>((Bound::Excluded(folder), Bound::Unbounded));
        let below = below.map(|(path, _)| path).take_while(|path| path.starts_with(folder));
        let inside = below.filter(|path| path.parent() == Some(folder));
        inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    pub(super) fn create(&mut self, path: &Path, reserved: u64) -> io::Result<Arc<Mutex<Node>>> {
        if !is_folder(&self.seen, path.parent()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let reserved = usize::try_from(reserved).unwrap_or(usize::MAX);
        let node = Arc::new(Mutex::new(Node { reserved, ..Node::default() }));
        self.change(path, Change { gone: None, there: Some((path.to_path_buf(), Entry::File(Arc::clone(&node)))) })?;
        Ok(node)
    }

    pub(super) fn append(&mut self, node: &Mutex<Node>, bytes: &[u8]) -> io::Result<()> {
        let mut node = lock(node);
        let room = match self.room {
            Room::Plenty => usize::MAX,
            Room::Reserved => node.reserved.saturating_sub(node.content.len()),
            Room::Nothing => 0,
        };
        let fits = bytes.len() <= room;
        let part = if fits { bytes.len() } else { self.chance.up_to(room) };
        node.content.extend_from_slice(&bytes[..part]);
        self.count()?;
        if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    pub(super) fn cut(&mut self, node: &Mutex<Node>, length: usize) -> io::Result<()> {
        let mut node = lock(node);
        if length < node.synced {
            let mut uncut = node.content[length..node.synced].to_vec();
            uncut.append(&mut node.uncut);
            (node.uncut, node.synced) = (uncut, length);
        }
        node.content.truncate(length);
        self.count()
    }

    pub(super) fn sync(&mut self, node: &Mutex<Node>) -> io::Result<()> {
        self.count()?;
        let mut node = lock(node);
        node.synced = node.content.len();
        node.uncut.clear();
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change(path, Change { gone: Some(path.to_path_buf()), there: None })
    }

    /// Gives a file another name in the same folder, in the place of what had it.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.file(from)?;
        if matches!(self.seen.get(to), Some(Entry::Folder)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.change(to, Change { gone: Some(from.to_path_buf()), there: Some((to.to_path_buf(), Entry::File(node))) })
    }

    /// Makes a folder and those above it durably, unless it is there.
    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if is_folder(&self.seen, Some(path)) {
            return self.sync_folder(parent);
        }
        self.create_folder(parent)?;
        if self.seen.contains_key(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if self.room != Room::Plenty {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(path, Change { gone: None, there: Some((path.to_path_buf(), Entry::Folder)) })?;
        self.sync_folder(parent)
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        if !is_folder(&self.seen, Some(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.count()?;
        for change in self.pending.remove(path).unwrap_or_default() {
            apply(&mut self.durable, change);
        }
        Ok(())
    }

    fn change(&mut self, path: &Path, change: Change) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        apply(&mut self.seen, Change { gone: change.gone.clone(), there: change.there.clone() });
        self.pending.entry(folder).or_default().push(change);
        self.count()
    }
}

fn is_folder(names: &Names, path: Option<&Path>) -> bool {
    path.is_none_or(|path| path.parent().is_none() || matches!(names.get(path), Some(Entry::Folder)))
}

fn apply(names: &mut Names, change: Change) {
    if let Some(gone) = change.gone {
        names.remove(&gone);
    }
    if let Some((path, entry)) = change.there {
        names.insert(path, entry);
    }
}

pub(super) fn no_power() -> io::Error {
    io::Error::other("the disk has no power")
}

/// Chance that a seed repeats.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// The next number, by SplitMix64.
    const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    const fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// A number from 0 to `max`.
    fn up_to(&mut self, max: usize) -> usize {
        let span = (max as u64).saturating_add(1);
        usize::try_from(self.draw() % span).unwrap_or(max)
    }
}
