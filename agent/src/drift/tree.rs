//! A tree on the disk beside what it was laid out from. What is there is compared by its names, sizes, rights and links; contents only where
//! they may have changed since they were read last, by the time that no user can set: that of the inode's last change.

use roadstead_bundle::manifest::{EntryKind, Node};
use roadstead_bundle::store::Store;
use roadstead_model::{Differs, Digest, DigestHasher, DriftFinding, DriftPart, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::pace::Pace;

/// Differences of one tree beyond which no more are looked for: somebody exchanged it.
const FINDINGS_MAX: usize = 1000;
const PART: usize = 64 * 1024;
/// Times of inodes move in steps of a kernel's tick.
const TICK_MS: i64 = 1_000;

/// What a name in a folder should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A folder, as the node with this digest has it; of one without a digest only what is laid over it is known.
    Folder(Option<Digest>),
    /// A file of the release.
    File {
        /// Its content.
        digest: Digest,
        /// Its size.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A link.
    Link(PathBuf),
    /// A small file that the agent writes itself.
    Text(String),
}

/// What a name in a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Its size.
        size: u64,
    },
    /// A link.
    Link(PathBuf),
    /// A device, a pipe, a socket.
    Strange,
}

/// The rights of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Permission bits.
    pub(crate) mode: u32,
    /// Whether it belongs to the agent's user, which is root.
    pub(crate) is_ours: bool,
}

/// What the agent itself adds to a tree, or puts in the place of something: by the path below the tree's root.
pub(crate) type Overlay = BTreeMap<String, Wanted>;

/// A tree that should lie somewhere.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Of what it is a part.
    pub(crate) part: DriftPart,
    /// Where it lies.
    pub(crate) place: PathBuf,
    /// What it was laid out from; nothing where all of it is the agent's own.
    pub(crate) root: Option<Digest>,
    /// What is laid over it.
    pub(crate) overlay: Overlay,
    /// Folders below it that are trees of their own.
    pub(crate) apart: BTreeSet<String>,
    /// What is laid at a path where the tree itself has nothing.
    pub(crate) unless_there: Option<(String, Wanted)>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            part: DriftPart::Tree,
            place: PathBuf::new(),
            root: None,
            overlay: Overlay::new(),
            apart: BTreeSet::new(),
            unless_there: None,
        }
    }
}

/// What a look at a tree found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The differences.
    pub(crate) findings: Vec<DriftFinding>,
    /// When the first of the files whose contents differ was changed, in milliseconds.
    pub(crate) first_change: Option<i64>,
    /// The blobs that files with other contents or rights should have: the store's own may be damaged with them, since they share their bytes.
    pub(crate) suspects: BTreeSet<Digest>,
}

/// How one thing differs, as far as its looks tell; contents are another matter.
pub(crate) fn differs(wanted: Option<&Wanted>, found: Option<&(Found, Rights)>) -> Option<(Differs, String)> {
    let (wanted, (found, rights)) = match (wanted, found) {
        (None, None) => return None,
        (None, Some(_)) => return Some((Differs::Added, String::new())),
        (Some(_), None) => return Some((Differs::Missing, String::new())),
        (Some(wanted), Some(found)) => (wanted, found),
    };
    let mode = match (wanted, found) {
        (Wanted::Folder(_), Found::Folder) => None,
        (Wanted::File { size, executable, .. }, Found::File { size: now }) => {
            if size != now {
                return Some((Differs::Changed, format!("{now} bytes instead of {size}")));
            }
            Some(if *executable { 0o555 } else { 0o444 })
        }
        (Wanted::Text(_), Found::File { .. }) => None,
        (Wanted::Link(target), Found::Link(now)) if target == now => return None,
        (Wanted::Link(_), Found::Link(now)) => return Some((Differs::Elsewhere, format!("it leads to {}", now.display()))),
        (_, Found::Folder) => return Some((Differs::Changed, "it is a folder".to_owned())),
        (_, Found::Link(_)) => return Some((Differs::Changed, "it is a link".to_owned())),
        (_, Found::File { .. }) => return Some((Differs::Changed, "it is a file".to_owned())),
        (_, Found::Strange) => return Some((Differs::Changed, "it is neither a file nor a folder nor a link".to_owned())),
    };
    if !rights.is_ours {
        return Some((Differs::Rights, "it does not belong to root".to_owned()));
    }
    match mode {
        Some(mode) if mode != rights.mode => Some((Differs::Rights, format!("{:04o} instead of {mode:04o}", rights.mode))),
        // Whoever else may write could have changed it between two looks, or will.
        None if rights.mode & 0o022 != 0 => Some((Differs::Rights, format!("{:04o}: others may write", rights.mode))),
        _ => None,
    }
}

/// Looks at a tree. Contents of files are read that were changed after `since`, in milliseconds; of all without it.
pub(crate) fn look(tree: &Tree, store: &Store, since: Option<i64>, pace: &mut Pace) -> Seen {
    let mut look = Look { tree, store, since, pace, seen: Seen::default() };
    look.run();
    look.seen
}

struct Look<'a> {
    tree: &'a Tree,
    store: &'a Store,
    since: Option<i64>,
    pace: &'a mut Pace,
    seen: Seen,
}

impl Look<'_> {
    fn run(&mut self) {
        match fs::symlink_metadata(&self.tree.place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return self.tell("", Differs::Changed, "it is no folder"),
            Err(_) => return self.tell("", Differs::Missing, ""),
        }
        let mut waiting = vec![(String::new(), self.tree.root, 0_usize)];
        while let Some((path, digest, depth)) = waiting.pop() {
            if depth > limits::TREE_DEPTH_MAX || self.pace.is_over() || self.seen.findings.len() >= FINDINGS_MAX {
                return;
            }
            if let Some(wanted) = self.wanted(&path, digest) {
                self.folder(&path, &wanted, depth, &mut waiting);
            }
        }
    }

    /// What a folder should hold.
    fn wanted(&mut self, path: &str, digest: Option<Digest>) -> Option<BTreeMap<String, Wanted>> {
        let mut wanted = BTreeMap::new();
        if let Some(digest) = digest {
            let node = self.store.read_checked(&digest, limits::TREE_NODE_BYTES_MAX).map_err(|error| error.to_string());
            match node.and_then(|bytes| Node::decode(&bytes).map_err(|error| error.to_string())) {
                Ok(node) => wanted.extend(node.0.into_iter().map(|entry| (entry.name, of_entry(entry.kind)))),
                Err(why) => {
                    self.tell(path, Differs::Unreadable, &why);
                    return None;
                }
            }
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        for (place, over) in &self.tree.overlay {
            let Some(rest) = place.strip_prefix(&prefix) else { continue };
            match rest.split_once('/') {
                None => drop(wanted.insert(rest.to_owned(), over.clone())),
                Some((folder, _)) => drop(wanted.entry(folder.to_owned()).or_insert(Wanted::Folder(None))),
            }
        }
        if let Some((place, over)) = &self.tree.unless_there
            && let Some(name) = place.strip_prefix(&prefix).filter(|rest| !rest.contains('/'))
        {
            wanted.entry(name.to_owned()).or_insert_with(|| over.clone());
        }
        Some(wanted)
    }

    fn folder(&mut self, path: &str, wanted: &BTreeMap<String, Wanted>, depth: usize, waiting: &mut Vec<(String, Option<Digest>, usize)>) {
        let at = if path.is_empty() { self.tree.place.clone() } else { self.tree.place.join(path) };
        let Ok(entries) = fs::read_dir(&at) else { return self.tell(path, Differs::Unreadable, "it cannot be listed") };
        let mut left: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
        for entry in entries.flatten() {
            self.pace.step();
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
            left.remove(name.as_str());
            let wanted = wanted.get(&name);
            if let Some((how, detail)) = differs(wanted, Some(&found(&entry.path(), &metadata))) {
                match (how, wanted) {
                    (Differs::Changed, Some(Wanted::File { digest, .. })) => self.suspect(*digest, &metadata),
                    // Rights are the inode's, too: the store's blob may have them with the file.
                    (Differs::Rights, Some(Wanted::File { digest, .. })) => drop(self.seen.suspects.insert(*digest)),
                    _ => {}
                }
                self.tell(&below, how, &detail);
                if how != Differs::Rights {
                    continue;
                }
            }
            match wanted {
                Some(Wanted::Folder(digest)) if !self.tree.apart.contains(&below) => waiting.push((below, *digest, depth + 1)),
                Some(Wanted::File { digest, .. }) => self.content(&below, &entry.path(), &metadata, digest),
                Some(Wanted::Text(text)) => self.text(&below, &entry.path(), text),
                _ => {}
            }
            if self.seen.findings.len() >= FINDINGS_MAX {
                return;
            }
        }
        for name in left {
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.tell(&below, Differs::Missing, "");
        }
    }

    fn content(&mut self, below: &str, path: &Path, metadata: &Metadata, digest: &Digest) {
        let unchanged = self.since.is_some_and(|since| changed_at(metadata).saturating_add(TICK_MS) < since);
        if unchanged {
            return;
        }
        match digest_of(path, metadata.len(), self.pace) {
            Ok(found) if found == *digest => {}
            Ok(_) => {
                self.suspect(*digest, metadata);
                self.tell(below, Differs::Changed, "");
            }
            Err(error) => self.tell(below, Differs::Unreadable, &error.to_string()),
        }
    }

    fn suspect(&mut self, digest: Digest, metadata: &Metadata) {
        self.seen.suspects.insert(digest);
        let changed = changed_at(metadata);
        self.seen.first_change = Some(self.seen.first_change.map_or(changed, |first| first.min(changed)));
    }

    fn text(&mut self, below: &str, path: &Path, text: &str) {
        let found = File::open(path).and_then(|file| {
            let mut found = Vec::new();
            file.take(text.len() as u64 + 1).read_to_end(&mut found).map(|_| found)
        });
        if !found.is_ok_and(|found| found == text.as_bytes()) {
            self.tell(below, Differs::Changed, "");
        }
    }

    fn tell(&mut self, below: &str, how: Differs, detail: &str) {
        let place = if below.is_empty() { self.tree.place.clone() } else { self.tree.place.join(below) };
        self.seen.findings.push(DriftFinding::new(self.tree.part, how, place.to_string_lossy(), detail));
    }
}

fn of_entry(kind: EntryKind) -> Wanted {
    match kind {
        EntryKind::File { digest, size, executable } => Wanted::File { digest, size, executable },
        EntryKind::Folder { digest } => Wanted::Folder(Some(digest)),
        EntryKind::Link { target } => Wanted::Link(target.into()),
    }
}

fn found(path: &Path, metadata: &Metadata) -> (Found, Rights) {
    let kind = metadata.file_type();
    let found = if kind.is_dir() {
        Found::Folder
    } else if kind.is_file() {
        Found::File { size: metadata.len() }
    } else if kind.is_symlink() {
        Found::Link(fs::read_link(path).unwrap_or_default())
    } else {
        Found::Strange
    };
    let is_ours = metadata.uid() == nix::unistd::Uid::effective().as_raw();
    (found, Rights { mode: metadata.mode() & 0o7777, is_ours })
}

/// When an inode was changed last, its contents or its rights, in milliseconds.
fn changed_at(metadata: &Metadata) -> i64 {
    metadata.ctime().saturating_mul(1000).saturating_add(metadata.ctime_nsec() / 1_000_000)
}

/// The digest of a file that was of this size a moment ago.
fn digest_of(path: &Path, size: u64, pace: &mut Pace) -> std::io::Result<Digest> {
    let mut file = File::open(path)?.take(size.saturating_add(1));
    let mut hasher = DigestHasher::new();
    let mut buffer = vec![0; usize::try_from(size).map_or(PART, |size| PART.min(size.saturating_add(1)))];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
        pace.step();
        if pace.is_over() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_bundle::manifest::Entry;
    use roadstead_bundle::store::Form;
    use roadstead_bundle::unpack::lay_out;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A tree in a store, laid out: `app/views.py`, `app/run` that may be executed, `manage.py`, a link, and a link of the agent's own.
    struct World {
        folder: tempfile::TempDir,
        store: Store,
        tree: Tree,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("blobs"), Form::Raw).unwrap();
            let file = |name: &str, text: &str, executable| {
                let digest = store.put(text.as_bytes()).unwrap();
                Entry { name: name.to_owned(), kind: EntryKind::File { digest, size: text.len() as u64, executable } }
            };
            let app = Node(vec![file("run", "#!", true), file("views.py", "VALUE = 1", false)]);
            let app = store.put(&app.encode().unwrap()).unwrap();
            let link = Entry { name: "link".to_owned(), kind: EntryKind::Link { target: "manage.py".to_owned() } };
            let folder_app = Entry { name: "app".to_owned(), kind: EntryKind::Folder { digest: app } };
            let root = Node(vec![folder_app, link, file("manage.py", "main()", false)]);
            let root = store.put(&root.encode().unwrap()).unwrap();
            let place = folder.path().join("tree");
            lay_out(&store, &root, &place).unwrap();
            symlink("/shared/media", place.join("media")).unwrap();
            let overlay = Overlay::from([("media".to_owned(), Wanted::Link("/shared/media".into()))]);
            let tree = Tree { place, root: Some(root), overlay, ..Tree::default() };
            Self { folder, store, tree }
        }

        fn look(&self, since: Option<i64>) -> Vec<(Differs, String)> {
            let seen = look(&self.tree, &self.store, since, &mut Pace::full());
            let place = format!("{}/", self.tree.place.display());
            let mut told: Vec<_> = seen.findings.into_iter().map(|f| (f.how, f.place.trim_start_matches(&place).to_owned())).collect();
            told.sort();
            told
        }

        /// Exchanges a file by another, as editors do.
        fn replace(&self, below: &str, text: &str, mode: u32) {
            let (path, fresh) = (self.tree.place.join(below), self.folder.path().join("fresh"));
            fs::write(&fresh, text).unwrap();
            fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).unwrap();
            fs::rename(fresh, path).unwrap();
        }
    }

    fn found(list: &[(Differs, &str)]) -> Vec<(Differs, String)> {
        list.iter().map(|(how, place)| (*how, (*place).to_owned())).collect()
    }

    #[test]
    fn a_tree_as_it_was_laid_out_is_level() {
        let world = World::new();
        assert_eq!(world.look(None), []);
        assert_eq!(world.look(Some(i64::MAX)), []);
    }

    #[test]
    fn each_way_to_change_a_tree_is_named() {
        let world = World::new();
        let at = |below: &str| world.tree.place.join(below);
        world.replace("app/views.py", "VALUE = 2", 0o444);
        world.replace("app/run", "#!", 0o755);
        fs::remove_file(at("manage.py")).unwrap();
        fs::write(at("app/extra.py"), "").unwrap();
        fs::remove_file(at("media")).unwrap();
        symlink("/elsewhere", at("media")).unwrap();
        fs::remove_file(at("link")).unwrap();
        fs::create_dir(at("link")).unwrap();
        let all = [
            (Differs::Missing, "manage.py"),
            (Differs::Added, "app/extra.py"),
            (Differs::Changed, "app/views.py"),
            (Differs::Changed, "link"),
            (Differs::Rights, "app/run"),
            (Differs::Elsewhere, "media"),
        ];
        assert_eq!(world.look(None), found(&all));
    }

    #[test]
    fn contents_are_read_where_they_may_have_changed_since_the_last_time() {
        let world = World::new();
        world.replace("app/views.py", "VALUE = 2", 0o444);
        assert_eq!(world.look(Some(0)), found(&[(Differs::Changed, "app/views.py")]));
        assert_eq!(world.look(Some(i64::MAX)), [], "nobody reads what has not been touched since");
        // Another size needs no reading.
        world.replace("app/views.py", "VALUE = 12", 0o444);
        assert_eq!(world.look(Some(i64::MAX)), found(&[(Differs::Changed, "app/views.py")]));
    }

    #[test]
    fn what_was_written_into_shares_its_bytes_with_the_store_and_is_suspected() {
        let world = World::new();
        let path = world.tree.place.join("app/views.py");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "VALUE = 3").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let seen = look(&world.tree, &world.store, None, &mut Pace::full());
        let digest = Digest::of(b"VALUE = 1");
        assert_eq!(seen.suspects, BTreeSet::from([digest]));
        assert!(world.store.check(&digest, 9).is_err() && seen.first_change.is_some());
    }

    #[test]
    fn what_the_store_lost_cannot_be_compared_and_a_tree_that_is_gone_is_missing() {
        let world = World::new();
        let node = fs::read(world.store.path_of(&world.tree.root.unwrap())).unwrap();
        let app = Node::decode(&node).unwrap().get("app").unwrap().kind.clone();
        let EntryKind::Folder { digest } = app else { panic!("a folder") };
        world.store.remove(&digest).unwrap();
        assert_eq!(world.look(None), found(&[(Differs::Unreadable, "app")]));
        fs::remove_dir_all(&world.tree.place).unwrap();
        assert_eq!(world.look(None)[0].0, Differs::Missing);
    }
}
