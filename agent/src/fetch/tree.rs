//! Which blobs of a release's trees the host lacks: an unchanged folder costs nothing, since its node is there.

use roadstead_bundle::manifest::{EntryKind, Node};
use roadstead_model::{Digest, limits};
use roadstead_worker::files::read_bounded;
use std::collections::{BTreeMap, BTreeSet};

use super::receive::{Size, Want};
use super::shelf::Shelf;

/// Why a tree is not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// A node is none.
    #[error("the folder {} of the release cannot be read: {why}", digest.short())]
    Malformed {
        /// Which node.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// There is too much of it.
    #[error("the release has {what}, more than {max} are not taken")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

/// A walk through trees, one depth after the other.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Nodes of the next depth that are wanted, with the node of the same path in a base.
    frontier: BTreeMap<Digest, Option<Digest>>,
    depth: usize,
    seen: BTreeSet<Digest>,
    /// Nodes that came, parents before children.
    nodes: Vec<Digest>,
    files: Vec<Want>,
    bytes: u64,
}

impl Tree {
    /// A walk from these roots, beside the same number of bases or fewer.
    pub(crate) fn new(shelf: &Shelf, roots: &[Digest], bases: &[Digest]) -> Self {
        let mut tree = Self::default();
        for (index, root) in roots.iter().enumerate() {
            tree.want_node(shelf, *root, bases.get(index).copied());
        }
        tree
    }

    /// The nodes to fetch next; none when all are known.
    pub(crate) fn frontier(&self) -> Vec<Want> {
        let size = Size::AtMost(limits::TREE_NODE_BYTES_MAX);
        self.frontier.iter().map(|(digest, base)| Want { digest: *digest, size, base: *base }).collect()
    }

    /// The files to fetch.
    pub(crate) fn files(&self) -> &[Want] {
        &self.files
    }

    /// Bytes of all files to fetch.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The nodes that came, children before their parents.
    pub(crate) fn nodes_upwards(&self) -> Vec<Digest> {
        self.nodes.iter().rev().copied().collect()
    }

    /// Goes one depth down, once all of the frontier lies aside.
    pub(crate) fn descend(&mut self, shelf: &Shelf) -> Result<(), TreeError> {
        self.depth += 1;
        if self.depth > limits::TREE_DEPTH_MAX {
            return Err(TreeError::TooLarge { what: "folders within folders", max: limits::TREE_DEPTH_MAX as u64 });
        }
        for (digest, base) in std::mem::take(&mut self.frontier) {
            let bytes = read_bounded(&shelf.aside(&digest), limits::TREE_NODE_BYTES_MAX);
            let node = decode(&digest, &bytes.map_err(|error| TreeError::Malformed { digest, why: error.to_string() })?)?;
            let base = base.and_then(|base| decode(&base, &shelf.read(&base, limits::TREE_NODE_BYTES_MAX)?).ok());
            self.nodes.push(digest);
            self.take(shelf, node, base)?;
        }
        Ok(())
    }

    fn take(&mut self, shelf: &Shelf, node: Node, base: Option<Node>) -> Result<(), TreeError> {
        let bases: BTreeMap<String, EntryKind> = base.into_iter().flat_map(|node| node.0).map(|entry| (entry.name, entry.kind)).collect();
        for entry in node.0 {
            match (entry.kind, bases.get(&entry.name)) {
                (EntryKind::Folder { digest }, base) => {
                    let base = if let Some(EntryKind::Folder { digest }) = base { Some(*digest) } else { None };
                    self.want_node(shelf, digest, base);
                }
                (EntryKind::File { digest, size, .. }, base) => {
                    let base = match base {
                        Some(EntryKind::File { digest, size, .. }) if *size <= super::BASE_BYTES_MAX => Some(*digest),
                        _ => None,
                    };
                    self.want_file(shelf, Want { digest, size: Size::Exactly(size), base }, size)?;
                }
                (EntryKind::Link { .. }, _) => {}
            }
        }
        Ok(())
    }

    fn want_node(&mut self, shelf: &Shelf, digest: Digest, base: Option<Digest>) {
        if self.seen.insert(digest) && !shelf.has(&digest) {
            self.frontier.insert(digest, base.filter(|base| shelf.has(base)));
        }
    }

    fn want_file(&mut self, shelf: &Shelf, want: Want, size: u64) -> Result<(), TreeError> {
        if size > limits::BLOB_BYTES_MAX {
            return Err(TreeError::TooLarge { what: "a file of so many bytes", max: limits::BLOB_BYTES_MAX });
        }
        if !self.seen.insert(want.digest) || shelf.has(&want.digest) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > limits::RELEASE_BYTES_MAX {
            return Err(TreeError::TooLarge { what: "so many bytes", max: limits::RELEASE_BYTES_MAX });
        }
        if self.seen.len() as u64 > limits::RELEASE_ENTRIES_MAX {
            return Err(TreeError::TooLarge { what: "so many files", max: limits::RELEASE_ENTRIES_MAX });
        }
        let base = want.base.filter(|base| shelf.has(base));
        self.files.push(Want { base, ..want });
        Ok(())
    }
}

fn decode(digest: &Digest, bytes: &[u8]) -> Result<Node, TreeError> {
    Node::decode(bytes).map_err(|error| TreeError::Malformed { digest: *digest, why: error.to_string() })
}
