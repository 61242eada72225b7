//! From a folder on disk to a tree in a store: what the builder does with a checkout and with installed packages.

use roadstead_model::limits;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::manifest::{Entry, EntryKind, Node, TreeRef};
use crate::node::{InvalidNode, link_stays_within};
use crate::store::{Store, StoreError};

/// Why a folder does not become a tree.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name or link breaks a rule of releases.
    #[error("{path}: {why}")]
    Node {
        /// The folder.
        path: String,
        /// Which rule.
        why: InvalidNode,
    },
    /// A name that is not UTF-8.
    #[error("the name of {0:?} is not UTF-8: a release cannot hold it; rename or exclude it")]
    Name(PathBuf),
    /// A link that leads out.
    #[error("the link {path} points to {target:?}, out of what is released: exclude it, or list it under shared = […]")]
    Link {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// A device, a socket, a pipe.
    #[error("{0} is neither a file, a folder nor a link: a release cannot hold it; exclude it")]
    Kind(String),
    /// Too deep or too many.
    #[error("there is {what}: more than {max} are not taken; exclude what the app does not need")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
}

/// What is taken of a folder: asked with each path below it (parts joined with `/`) and whether it is a folder.
pub type Keep<'a> = &'a dyn Fn(&str, bool) -> bool;

/// Stores a folder as a tree: the same content gives the same root wherever and whenever it is done. Of modes only the owner's
/// execute bit counts; owners and times do not. Folders in which nothing is left after `keep` are left out.
///
/// # Errors
/// [`IngestError`], naming the file.
pub fn ingest(store: &Store, folder: &Path, keep: Keep<'_>) -> Result<TreeRef, IngestError> {
    let mut ingest = Ingest { store, keep, entries: 0, bytes: 0 };
    let node = ingest.folder(folder, "", 0)?;
    let root = store.put(&node.encode().map_err(|why| IngestError::Node { path: ".".to_owned(), why })?)?;
    Ok(TreeRef { root, entries: ingest.entries, bytes: ingest.bytes })
}

struct Ingest<'a> {
    store: &'a Store,
    keep: Keep<'a>,
    entries: u64,
    bytes: u64,
}

impl Ingest<'_> {
    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<Node, IngestError> {
        if depth > limits::TREE_DEPTH_MAX {
            return Err(IngestError::TooLarge { what: "folders within folders", max: limits::TREE_DEPTH_MAX as u64 });
        }
        let unreadable = |source| IngestError::Io { path: folder.to_owned(), source };
        let mut node = Node::default();
        for found in fs::read_dir(folder).map_err(unreadable)? {
            let found = found.map_err(unreadable)?;
            let name = found.file_name().into_string().map_err(|_| IngestError::Name(found.path()))?;
            let kind = found.file_type().map_err(unreadable)?;
            let place = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if !(self.keep)(&place, kind.is_dir()) {
                continue;
            }
            if let Some(kind) = self.entry(&found.path(), kind, &place, depth)? {
                node.0.push(Entry { name, kind });
            }
        }
        node.0.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok(node)
    }

    fn entry(&mut self, path: &Path, kind: fs::FileType, place: &str, depth: usize) -> Result<Option<EntryKind>, IngestError> {
        let unreadable = |source| IngestError::Io { path: path.to_owned(), source };
        if kind.is_dir() {
            let node = self.folder(path, place, depth + 1)?;
            if node.0.is_empty() {
                return Ok(None);
            }
            let encoded = node.encode().map_err(|why| IngestError::Node { path: place.to_owned(), why })?;
            // Everything below is stored by now: that a node is there means that its subtree is.
            return Ok(Some(EntryKind::Folder { digest: self.store.put(&encoded)? }));
        }
        self.entries += 1;
        if self.entries > limits::RELEASE_ENTRIES_MAX {
            return Err(IngestError::TooLarge { what: "so many files", max: limits::RELEASE_ENTRIES_MAX });
        }
        if kind.is_symlink() {
            let target =
                fs::read_link(path).map_err(unreadable)?.into_os_string().into_string().map_err(|_| IngestError::Name(path.to_owned()))?;
            if target.starts_with('/') || !link_stays_within(depth, &target) {
                return Err(IngestError::Link { path: place.to_owned(), target });
            }
            return Ok(Some(EntryKind::Link { target }));
        }
        if !kind.is_file() {
            return Err(IngestError::Kind(place.to_owned()));
        }
        let executable = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o100 != 0;
        let (digest, size) = self.store.put_file(path)?;
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > limits::RELEASE_BYTES_MAX {
            return Err(IngestError::TooLarge { what: "so many bytes", max: limits::RELEASE_BYTES_MAX });
        }
        Ok(Some(EntryKind::File { digest, size, executable }))
    }
}
