//! What of a release that serves has to be laid out anew, because it is not what it was laid out from.

use nix::unistd::{Uid, chown};
use roadstead_bundle::manifest::{EntryKind, Node};
use roadstead_bundle::store::{Store, StoreError};
use roadstead_bundle::unpack::forget_executable;
use roadstead_model::{AppName, Digest, DriftPart, Failure, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::memory::{Memory, now};
use super::pace::Pace;
use super::{tree, wanted};
use crate::layout::Layout;
use crate::steps::release::Release;
use crate::steps::unpack::blobs;

/// What differs of a release on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Its files, or those that were collected from them.
    pub(crate) tree: bool,
    /// Its packages.
    pub(crate) packages: bool,
    /// Blobs whose files in the trees are not what they should be.
    pub(crate) suspects: BTreeSet<Digest>,
}

impl Damage {
    /// What differs of a release that lies here. Whoever waits for it is the order to put it right.
    pub(crate) fn of(layout: &Layout, release: &Release) -> Result<Self, Failure> {
        let store = blobs(layout)?;
        let mut memory = Memory::of(layout, release.app());
        let (before, mut damage) = (memory.clone(), Self::default());
        for tree in wanted::trees(layout, &store, release)? {
            let began = now();
            let since = memory.since(&tree.place, began);
            let seen = tree::look(&tree, &store, since, &mut Pace::full());
            memory.looked(&tree, since.is_none(), began, &seen);
            match tree.part {
                DriftPart::Packages => damage.packages |= !seen.findings.is_empty(),
                _ => damage.tree |= !seen.findings.is_empty(),
            }
            damage.suspects.extend(seen.suspects);
        }
        if memory.was_read_whole_since(&before) {
            // The next step asks the same, and need not read all of it once more.
            memory.write(layout, release.app());
        }
        Ok(damage)
    }

    /// Drops from the store what was damaged together with the trees: their files share their bytes with it. With each blob go the folders
    /// above it, whose names promise that all below them is there; so a fetch sees what it has to bring. How many blobs went.
    pub(crate) fn clear(&self, store: &Store, roots: &[Digest]) -> Result<usize, StoreError> {
        for digest in &self.suspects {
            // It may be the one file that several trees have as theirs.
            forget_executable(store, digest)?;
            restore_rights(&store.path_of(digest));
        }
        let is_bad = |digest: &&Digest| store.read_through(digest, limits::BLOB_BYTES_MAX).is_err();
        let bad: BTreeSet<Digest> = self.suspects.iter().filter(is_bad).copied().collect();
        if bad.is_empty() {
            return Ok(0);
        }
        let mut above = Above { store, bad: &bad, known: BTreeMap::new(), order: Vec::new() };
        for root in roots {
            above.holds(root, 0);
        }
        // From the root downwards: a name that is there keeps its promise at every moment.
        for digest in above.order.iter().rev().chain(&bad) {
            store.remove(digest)?;
        }
        Ok(bad.len())
    }
}

/// Gives a blob the rights of one again. One that cannot have them is found once more at the next look.
fn restore_rights(blob: &Path) {
    let Ok(found) = fs::symlink_metadata(blob) else { return };
    let own = Uid::effective();
    let restored = if found.uid() == own.as_raw() { Ok(()) } else { chown(blob, Some(own), None).map_err(io::Error::from) };
    if let Err(error) = restored.and_then(|()| fs::set_permissions(blob, fs::Permissions::from_mode(0o444))) {
        tracing::warn!(blob = %blob.display(), %error, "it keeps rights that somebody gave it");
    }
}

/// Looks for the folders above damaged blobs.
struct Above<'a> {
    store: &'a Store,
    bad: &'a BTreeSet<Digest>,
    known: BTreeMap<Digest, bool>,
    /// Folders above them, each after those that it holds.
    order: Vec<Digest>,
}

impl Above<'_> {
    fn holds(&mut self, folder: &Digest, depth: usize) -> bool {
        if let Some(known) = self.known.get(folder) {
            return *known;
        }
        let node = self.store.read_checked(folder, limits::TREE_NODE_BYTES_MAX).ok().and_then(|bytes| Node::decode(&bytes).ok());
        let Some(node) = node.filter(|_| depth <= limits::TREE_DEPTH_MAX) else { return false };
        let mut holds = false;
        for entry in &node.0 {
            holds |= match &entry.kind {
                EntryKind::File { digest, .. } => self.bad.contains(digest),
                EntryKind::Folder { digest } => self.holds(digest, depth + 1),
                EntryKind::Link { .. } => false,
            };
        }
        self.known.insert(*folder, holds);
        if holds {
            self.order.push(*folder);
        }
        holds
    }
}

/// What differs of a release, when it is the one that serves: whatever else lies here is laid out once, and looked at when it serves.
pub(crate) fn of_serving(layout: &Layout, app: &AppName, release: &Release) -> Result<Damage, Failure> {
    if crate::facts::current(layout, app).as_ref() == Some(&release.id) { Damage::of(layout, release) } else { Ok(Damage::default()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_bundle::manifest::Entry;
    use roadstead_bundle::store::Form;

    #[test]
    fn a_damaged_blob_goes_with_the_folders_that_promise_it_and_with_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("blobs"), Form::Raw).unwrap();
        let file = |name: &str, text: &str| {
            let digest = store.put(text.as_bytes()).unwrap();
            Entry { name: name.to_owned(), kind: EntryKind::File { digest, size: text.len() as u64, executable: false } }
        };
        let node = |entries: Vec<Entry>| store.put(&Node(entries).encode().unwrap()).unwrap();
        let below = |name: &str, digest| Entry { name: name.to_owned(), kind: EntryKind::Folder { digest } };
        let (hurt, sound) = (node(vec![file("a", "damaged soon")]), node(vec![file("b", "sound")]));
        let root = node(vec![below("hurt", hurt), below("sound", sound)]);
        let (bad, good) = (Digest::of(b"damaged soon"), Digest::of(b"sound"));
        let damage = Damage { suspects: BTreeSet::from([bad, good]), ..Damage::default() };
        assert_eq!(damage.clear(&store, &[root]).unwrap(), 0);
        fs::set_permissions(store.path_of(&good), fs::Permissions::from_mode(0o666)).unwrap();
        let path = store.path_of(&bad);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "damaged now!").unwrap();
        assert_eq!(damage.clear(&store, &[root]).unwrap(), 1);
        assert_eq!([root, hurt, sound, bad, good].map(|digest| store.has(&digest)), [false, false, true, false, true]);
        assert_eq!(fs::metadata(store.path_of(&good)).unwrap().mode() & 0o7777, 0o444, "rights are put right where they lie");
    }
}
