//! A release whose digests hold whatever is in it: what a fuzzer would never guess is computed for it.

use roadstead_bundle::ingest::ingest;
use roadstead_bundle::store::Store;
use roadstead_bundle::unpack::lay_out;
use roadstead_bundle::walk::{Met, TreeError, walk};
use roadstead_model::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::bundle;
use crate::keys::{first_only, key};
use crate::scratch::scratch;

/// What `bundle` says, and: a signed release verifies, its trees are laid out within their folders, and what lies there makes the
/// same trees again.
pub fn release(bytes: &[u8]) {
    let scratch = scratch();
    let Some((release, store)) = bundle::read(scratch.path(), &assemble(bytes)) else { return };
    let verified = release.verify(&first_only()).unwrap();
    for (index, tree) in verified.manifest().trees().enumerate() {
        let folder = scratch.path().join(format!("tree-{index}"));
        lay_out(&store, &tree.root, &folder).unwrap();
        stays_within(&folder, &folder);
        let again = ingest(&store, &folder, &|_, _| true).unwrap();
        if !has_empty_folders(&store, &tree.root) {
            assert_eq!(&again, tree, "what was laid out is another tree");
        }
    }
}

/// The bundle of a recipe: each line is a blob, but for the last, which is the manifest; in each, `@N` stands for the digest of line
/// `N`, counted from 0. Signed with the first key.
fn assemble(recipe: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in recipe.split(|byte| *byte == b'\n') {
        let filled = fill(line, &lines);
        lines.push(filled);
    }
    let manifest = lines.pop().unwrap_or_default();
    let blobs: BTreeMap<Digest, Vec<u8>> = lines.into_iter().map(|line| (Digest::of(&line), line)).collect();
    let mut bundle = b"ROADSTEAD-BUNDLE-1\n".to_vec();
    bundle.extend(u32::try_from(manifest.len()).unwrap().to_le_bytes());
    bundle.extend(&manifest);
    bundle.extend(1_u16.to_le_bytes());
    let signature = key(1).sign(&manifest);
    bundle.extend(signature.key.as_bytes());
    bundle.extend(signature.bytes);
    bundle.extend((blobs.len() as u64).to_le_bytes());
    for (digest, blob) in blobs {
        let frame = zstd::bulk::compress(&blob, 1).unwrap();
        bundle.extend(digest.as_bytes());
        bundle.extend((blob.len() as u64).to_le_bytes());
        bundle.extend((frame.len() as u64).to_le_bytes());
        bundle.extend(frame);
    }
    bundle
}

fn fill(line: &[u8], before: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = line.split(|byte| *byte == b'@');
    let mut filled = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&part[..digits]).unwrap().parse::<usize>();
        match number.ok().and_then(|number| before.get(number)) {
            Some(blob) => {
                filled.extend(Digest::of(blob).to_string().as_bytes());
                filled.extend(&part[digits..]);
            }
            None => {
                filled.push(b'@');
                filled.extend(part);
            }
        }
    }
    filled
}

fn stays_within(root: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            stays_within(root, &path);
        } else if kind.is_symlink() {
            // One that leads nowhere has no other end to look at.
            let end = fs::canonicalize(&path).unwrap_or_else(|_| root.to_owned());
            assert!(end.starts_with(root.canonicalize().unwrap()), "{} leads to {}", path.display(), end.display());
        } else {
            assert!(kind.is_file());
        }
    }
}

/// Folders that hold nothing are not made from what lies on a disk.
fn has_empty_folders(store: &Store, root: &Digest) -> bool {
    let empty = Digest::of(b"[]");
    let mut found = false;
    walk::<TreeError>(store, root, &mut |path, met| {
        found |= !path.is_empty() && matches!(met, Met::Folder { digest, .. } if digest == empty);
        Ok(())
    })
    .unwrap();
    found
}
