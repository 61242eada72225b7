//! One folder of a release's tree, as it comes.

use roadstead_bundle::manifest::{EntryKind, Node};
use roadstead_model::limits;

/// A folder that is read has one encoding, and no name or link in it leads out or hides another.
pub fn node(bytes: &[u8]) {
    let Ok(node) = Node::decode(bytes) else { return };
    assert!(bytes.len() as u64 <= limits::TREE_NODE_BYTES_MAX);
    assert_eq!(node.encode().unwrap(), bytes, "one folder has two encodings");
    for entry in &node.0 {
        let name = &entry.name;
        assert!(!name.is_empty() && name.len() <= limits::FILE_NAME_BYTES_MAX && name != "." && name != "..");
        assert!(!name.contains(['/', '\0', '\n']));
        assert_eq!(node.get(name), Some(entry), "a name stands twice");
        match &entry.kind {
            EntryKind::File { size, .. } => assert!(*size <= limits::BLOB_BYTES_MAX),
            EntryKind::Link { target } => assert!(!target.is_empty() && !target.starts_with('/') && !target.contains('\0')),
            EntryKind::Folder { .. } => {}
        }
    }
}
