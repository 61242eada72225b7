//! One folder of a tree, encoded: canonical JSON whose digest names it. Every rule about names and links is checked here, when
//! a node is read and when it is written; nothing behind this module meets a name that could leave its folder.

use roadstead_model::{Digest, limits};

use crate::manifest::{Entry, EntryKind, Node};

/// Why bytes are not a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNode {
    /// Larger than any folder may be.
    #[error("a folder of {0} bytes is larger than allowed ({max})", max = limits::TREE_NODE_BYTES_MAX)]
    TooLarge(u64),
    /// Not the JSON of a node.
    #[error("a folder of the release cannot be read: {0}")]
    Unreadable(String),
    /// The bytes are not the ones that encoding the node gives: two encodings of one folder would have two digests.
    #[error("a folder of the release is not in canonical form")]
    NotCanonical,
    /// A name that is empty, `.`, `..`, too long, or holds `/`, NUL or another control character.
    #[error("{0:?} is no permitted file name")]
    Name(String),
    /// Names out of order, or one of them twice.
    #[error("{0:?} stands twice or out of order in its folder")]
    Order(String),
    /// A link with an absolute, empty or overlong target, or one with control characters.
    #[error("the link {name:?} points to {target:?}: only relative targets within the release are permitted")]
    Link {
        /// The link's name.
        name: String,
        /// Its target.
        target: String,
    },
    /// A file that says it is larger than any may be.
    #[error("{name:?} has {size} bytes, more than allowed ({max})", max = limits::BLOB_BYTES_MAX)]
    File {
        /// The file's name.
        name: String,
        /// The size that it claims.
        size: u64,
    },
}

impl Node {
    /// Encodes the node after checking it.
    ///
    /// # Errors
    /// [`InvalidNode`] naming the entry that breaks a rule.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidNode> {
        self.check()?;
        let bytes = serde_json::to_vec(self).map_err(|error| InvalidNode::Unreadable(error.to_string()))?;
        let length = bytes.len() as u64;
        if length > limits::TREE_NODE_BYTES_MAX { Err(InvalidNode::TooLarge(length)) } else { Ok(bytes) }
    }

    /// Reads a node and checks every rule.
    ///
    /// # Errors
    /// [`InvalidNode`]; nothing of a node that breaks a rule is given back.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidNode> {
        let length = bytes.len() as u64;
        if length > limits::TREE_NODE_BYTES_MAX {
            return Err(InvalidNode::TooLarge(length));
        }
        let node: Self = serde_json::from_slice(bytes).map_err(|error| InvalidNode::Unreadable(error.to_string()))?;
        if node.encode()? == bytes { Ok(node) } else { Err(InvalidNode::NotCanonical) }
    }

    fn check(&self) -> Result<(), InvalidNode> {
        for pair in self.0.windows(2) {
            if pair[0].name.as_bytes() >= pair[1].name.as_bytes() {
                return Err(InvalidNode::Order(shown(&pair[1].name)));
            }
        }
        self.0.iter().try_for_each(check_entry)
    }

    /// The entry of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.binary_search_by(|entry| entry.name.as_bytes().cmp(name.as_bytes())).ok().and_then(|index| self.0.get(index))
    }

    /// Digests of everything directly below: folders and files.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.0.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File { digest, .. } | EntryKind::Folder { digest } => Some(*digest),
            EntryKind::Link { .. } => None,
        })
    }
}

/// A hostile name, cut to what fits an error message.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn check_entry(entry: &Entry) -> Result<(), InvalidNode> {
    let name = entry.name.as_str();
    let fits = (1..=limits::FILE_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    if !fits || name.contains('/') || name.chars().any(char::is_control) {
        return Err(InvalidNode::Name(shown(name)));
    }
    match &entry.kind {
        EntryKind::File { size, .. } if *size > limits::BLOB_BYTES_MAX => Err(InvalidNode::File { name: shown(name), size: *size }),
        EntryKind::Link { target } if !link_is_plain(target) => Err(InvalidNode::Link { name: shown(name), target: shown(target) }),
        EntryKind::File { .. } | EntryKind::Folder { .. } | EntryKind::Link { .. } => Ok(()),
    }
}

fn link_is_plain(target: &str) -> bool {
    (1..=limits::PATH_BYTES_MAX).contains(&target.len()) && !target.starts_with('/') && !target.chars().any(char::is_control)
}

/// Whether a link at this depth (0: directly in the tree's root) stays within its tree at every part of its target.
///
/// A target goes up with leading `..` only: `a/../../b` could mean another place once `a` is itself a link.
#[must_use]
pub fn link_stays_within(depth: usize, target: &str) -> bool {
    let mut ups = 0;
    let mut descended = false;
    for part in target.split('/') {
        match part {
            ".." if descended => return false,
            ".." => ups += 1,
            "" | "." => {}
            _ => descended = true,
        }
    }
    ups <= depth
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str) -> Entry {
        Entry { name: name.into(), kind: EntryKind::File { digest: Digest::of(name.as_bytes()), size: 3, executable: false } }
    }

    fn link(target: &str) -> Entry {
        Entry { name: "link".into(), kind: EntryKind::Link { target: target.into() } }
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = Entry { name: "b".into(), kind: EntryKind::Folder { digest: Digest::of(b"b") } };
        let run = Entry { name: "c".into(), kind: EntryKind::File { digest: Digest::of(b"c"), size: 9, executable: true } };
        let node = Node(vec![file("a"), folder, run, link("../a")]);
        assert_eq!(Node::decode(&node.encode().unwrap()).unwrap(), node);
        assert_eq!(node.get("c").map(|e| e.name.as_str()), Some("c"));
        assert_eq!(node.digests().count(), 3);
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "/a", "a\0b", "a\nb", "\u{1b}[2J", &"x".repeat(256)] {
            let json = serde_json::to_vec(&Node(vec![file(name)])).unwrap();
            assert!(matches!(Node::decode(&json), Err(InvalidNode::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn one_folder_has_one_encoding() {
        let twice = serde_json::to_vec(&Node(vec![file("a"), file("a")])).unwrap();
        assert!(matches!(Node::decode(&twice), Err(InvalidNode::Order(_))));
        let turned = serde_json::to_vec(&Node(vec![file("b"), file("a")])).unwrap();
        assert!(matches!(Node::decode(&turned), Err(InvalidNode::Order(_))));
        let mut spaced = Node(vec![file("a")]).encode().unwrap();
        spaced.push(b' ');
        assert_eq!(Node::decode(&spaced), Err(InvalidNode::NotCanonical));
        let unknown = br#"[{"n":"a","t":"f","d":"0000000000000000000000000000000000000000000000000000000000000000","s":1,"mode":"4755"}]"#;
        assert_eq!(Node::decode(unknown), Err(InvalidNode::NotCanonical));
    }

    #[test]
    fn other_kinds_than_files_folders_and_links_do_not_exist() {
        let device = br#"[{"n":"a","t":"c","d":"0000000000000000000000000000000000000000000000000000000000000000"}]"#;
        assert!(matches!(Node::decode(device), Err(InvalidNode::Unreadable(_))));
    }

    #[test]
    fn links_out_of_the_tree_are_seen() {
        for (depth, target, within) in [
            (0, "a", true),
            (0, "a/b", true),
            (0, "..", false),
            (1, "../a", true),
            (1, "../../a", false),
            (2, "../../a", true),
            (3, "a/../../b", false),
            (1, "./../a", true),
        ] {
            assert_eq!(link_stays_within(depth, target), within, "{depth} {target}");
        }
        for target in ["/etc/passwd", "", "a\0"] {
            assert!(Node(vec![link(target)]).encode().is_err(), "{target:?}");
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics_and_never_passes_unchecked(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(node) = Node::decode(&bytes) {
                prop_assert_eq!(node.encode().unwrap(), bytes);
            }
        }
    }
}
