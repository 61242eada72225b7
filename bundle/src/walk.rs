//! Going through a tree in a store or a bundle: every folder and file once, within the limits that hold for a whole release.

use roadstead_model::{Digest, limits};
use std::collections::{BTreeSet, HashSet};

use crate::blobs::Blobs;
use crate::manifest::{BlobRef, EntryKind, Manifest, Node, TreeRef};
use crate::migrations::{InvalidFacts, MigrationFacts};
use crate::node::{InvalidNode, link_stays_within};
use crate::store::{Store, StoreError};

/// Why a tree cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder breaks a rule.
    #[error("the folder {path:?} of the release: {why}")]
    Node {
        /// Its path.
        path: String,
        /// Which rule.
        why: InvalidNode,
    },
    /// A link leads out of the release.
    #[error("the link {path:?} points to {target:?}, out of the release")]
    Link {
        /// The link's path.
        path: String,
        /// Its target.
        target: String,
    },
    /// Folders within folders without end, or too much of anything.
    #[error("the release has {what}: more than {max} are not taken")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// What the release says of its migrations is not that.
    #[error(transparent)]
    Facts(#[from] InvalidFacts),
    /// The tree is not what the manifest says of it.
    #[error("a tree has {found} entries and bytes, its manifest says {expected}")]
    Differs {
        /// What the manifest says.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// One thing met on the way, with its path from the root.
#[derive(Debug)]
pub enum Met<'a> {
    /// A folder; what is in it comes afterwards.
    Folder {
        /// Digest of its node.
        digest: Digest,
        /// Bytes of the encoded node.
        encoded: u64,
    },
    /// A file.
    File {
        /// Digest of its content.
        digest: Digest,
        /// Its size.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link that stays within.
    Link {
        /// Its target.
        target: &'a str,
    },
}

/// Walks the tree below a root, parents before what is in them, names in order. The root is met with an empty path.
///
/// # Errors
/// [`TreeError`], or the first error of `visit`.
pub fn walk<E: From<TreeError>>(store: &dyn Blobs, root: &Digest, visit: &mut dyn FnMut(&str, Met<'_>) -> Result<(), E>) -> Result<(), E> {
    let mut entries = 0;
    let mut bytes = 0_u64;
    let mut waiting = vec![(String::new(), *root, 0_usize)];
    while let Some((path, digest, depth)) = waiting.pop() {
        if depth > limits::TREE_DEPTH_MAX {
            return Err(TreeError::TooLarge { what: "folders within folders", max: limits::TREE_DEPTH_MAX as u64 }.into());
        }
        let encoded = store.read_checked(&digest, limits::TREE_NODE_BYTES_MAX).map_err(TreeError::from)?;
        let node = Node::decode(&encoded).map_err(|why| TreeError::Node { path: path.clone(), why })?;
        visit(&path, Met::Folder { digest, encoded: encoded.len() as u64 })?;
        entries += node.0.len() as u64;
        if entries > limits::RELEASE_ENTRIES_MAX {
            return Err(TreeError::TooLarge { what: "so many files", max: limits::RELEASE_ENTRIES_MAX }.into());
        }
        let mut below = Vec::new();
        for entry in &node.0 {
            let place = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
            if place.len() > limits::PATH_BYTES_MAX {
                return Err(TreeError::TooLarge { what: "a path of so many bytes", max: limits::PATH_BYTES_MAX as u64 }.into());
            }
            match &entry.kind {
                EntryKind::Folder { digest } => below.push((place, *digest, depth + 1)),
                EntryKind::File { digest, size, executable } => {
                    bytes = bytes.saturating_add(*size);
                    if bytes > limits::RELEASE_BYTES_MAX {
                        return Err(TreeError::TooLarge { what: "so many bytes", max: limits::RELEASE_BYTES_MAX }.into());
                    }
                    visit(&place, Met::File { digest: *digest, size: *size, executable: *executable })?;
                }
                EntryKind::Link { target } if link_stays_within(depth, target) => visit(&place, Met::Link { target })?,
                EntryKind::Link { target } => return Err(TreeError::Link { path: place, target: target.clone() }.into()),
            }
        }
        waiting.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Everything that a release needs: digests and sizes of all blobs of its trees, folders' nodes included, and what its migrations do.
///
/// # Errors
/// [`TreeError`], also when a tree is not what the manifest says of it.
pub fn blobs(store: &dyn Blobs, manifest: &Manifest) -> Result<BTreeSet<(Digest, u64)>, TreeError> {
    let mut all = blobs_of(store, manifest.trees())?;
    if let Some(blob) = &manifest.migration_facts {
        read_facts(store, blob)?;
        all.insert((blob.digest, blob.bytes));
    }
    Ok(all)
}

/// What a release says of its migrations; nothing where it says nothing.
///
/// # Errors
/// [`TreeError`] where the blob that the manifest names is missing, damaged, or something else.
pub fn migration_facts(store: &dyn Blobs, manifest: &Manifest) -> Result<Option<MigrationFacts>, TreeError> {
    manifest.migration_facts.as_ref().map(|blob| read_facts(store, blob)).transpose()
}

fn read_facts(store: &dyn Blobs, blob: &BlobRef) -> Result<MigrationFacts, TreeError> {
    if blob.bytes > limits::MIGRATION_FACTS_BYTES_MAX {
        return Err(InvalidFacts::TooLarge(blob.bytes).into());
    }
    let bytes = store.read_checked(&blob.digest, limits::MIGRATION_FACTS_BYTES_MAX)?;
    if bytes.len() as u64 != blob.bytes {
        let (expected, found) = (format!("0 and {}", blob.bytes), format!("0 and {}", bytes.len()));
        return Err(TreeError::Differs { expected, found });
    }
    Ok(MigrationFacts::decode(&bytes)?)
}

/// As [`blobs`], of some trees alone.
///
/// # Errors
/// [`TreeError`], also when a tree is not what the manifest says of it.
pub fn blobs_of<'a>(store: &dyn Blobs, trees: impl IntoIterator<Item = &'a TreeRef>) -> Result<BTreeSet<(Digest, u64)>, TreeError> {
    let mut all = BTreeSet::new();
    for tree in trees {
        let (mut entries, mut bytes) = (0, 0_u64);
        walk::<TreeError>(store, &tree.root, &mut |_, met| {
            match met {
                Met::Folder { digest, encoded } => {
                    all.insert((digest, encoded));
                }
                Met::File { digest, size, .. } => {
                    all.insert((digest, size));
                    entries += 1;
                    bytes = bytes.saturating_add(size);
                }
                Met::Link { .. } => entries += 1,
            }
            Ok(())
        })?;
        agrees(tree, entries, bytes)?;
    }
    Ok(all)
}

fn agrees(tree: &TreeRef, entries: u64, bytes: u64) -> Result<(), TreeError> {
    if tree.entries == entries && tree.bytes == bytes {
        return Ok(());
    }
    Err(TreeError::Differs { expected: format!("{} and {}", tree.entries, tree.bytes), found: format!("{entries} and {bytes}") })
}

/// Reads every blob of some trees of a release through: whether the disk still holds what it should.
///
/// # Errors
/// [`TreeError`] at the first that is missing or damaged.
pub fn check<'a>(store: &Store, trees: impl IntoIterator<Item = &'a TreeRef>) -> Result<u64, TreeError> {
    let blobs = blobs_of(store, trees)?;
    let mut bytes = 0_u64;
    for (digest, size) in &blobs {
        store.check(digest, *size)?;
        bytes = bytes.saturating_add(*size);
    }
    Ok(bytes)
}

/// Everything that can be reached from these roots, as far as it is there and readable: what a clean-up must not touch.
#[must_use]
pub fn reachable(store: &Store, roots: impl IntoIterator<Item = Digest>) -> HashSet<Digest> {
    // Apart from files: a file may hold the very bytes of a folder's node.
    let (mut folders, mut reached) = (HashSet::new(), HashSet::new());
    let mut waiting: Vec<Digest> = roots.into_iter().collect();
    while let Some(digest) = waiting.pop() {
        if !folders.insert(digest) {
            continue;
        }
        let node = store.read_checked(&digest, limits::TREE_NODE_BYTES_MAX).ok().and_then(|bytes| Node::decode(&bytes).ok());
        for entry in node.into_iter().flat_map(|node| node.0) {
            match entry.kind {
                EntryKind::Folder { digest } => waiting.push(digest),
                EntryKind::File { digest, .. } => drop(reached.insert(digest)),
                EntryKind::Link { .. } => {}
            }
        }
    }
    reached.extend(folders);
    reached
}
