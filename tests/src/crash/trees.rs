//! What is complete wherever it has its name: releases, virtual environments and small files that are renamed into place. Each is looked
//! at once on a host that lost nothing, and has to be the same on every disk after a power cut.

use crate::lab::LabError;
use roadstead_model::Digest;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Folders of trees and of small files, by their place on a host.
const WHOLE: [&str; 5] = [
    "srv/roadstead/erp/releases",
    "srv/roadstead/erp/venvs",
    "var/lib/roadstead-agent/apps/erp/manifests",
    "var/lib/roadstead-agent/apps/erp/env",
    "etc/roadstead/units",
];

/// What a file is: its mode, and its target or the digest of its content.
type Kind = (u32, String);
/// The files of a tree, by their paths in it.
type Tree = BTreeMap<PathBuf, Kind>;

/// Trees by their places on a host.
#[derive(Debug, Default)]
pub(super) struct Trees(BTreeMap<PathBuf, Tree>);

impl Trees {
    /// Looks at what is there under a name that is new.
    pub(super) fn learn(&mut self, root: &Path) -> Result<(), LabError> {
        for place in named(root) {
            if let Entry::Vacant(new) = self.0.entry(place) {
                let tree = look(&root.join(new.key()))?;
                new.insert(tree);
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// What differs on a disk from what its name promises.
    pub(super) fn differences(&self, root: &Path) -> Result<Vec<String>, LabError> {
        let mut wrong = Vec::new();
        for place in named(root) {
            match self.0.get(&place) {
                None => wrong.push(format!("/{} was never seen complete", place.display())),
                Some(whole) => wrong.extend(difference(whole, &look(&root.join(&place))?).map(|why| format!("/{} {why}", place.display()))),
            }
        }
        Ok(wrong)
    }

    /// Whether a place is one of those that were seen complete.
    pub(super) fn knows(&self, place: &Path) -> bool {
        self.0.contains_key(place)
    }
}

/// The places that have names which promise something; what begins with a dot promises nothing.
fn named(root: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for folder in WHOLE {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with('.') {
                places.push(Path::new(folder).join(name));
            }
        }
    }
    places.sort();
    places
}

/// The first few differences between what should be there and what is.
fn difference(whole: &Tree, found: &Tree) -> Option<String> {
    let missing = whole.keys().filter(|path| !found.contains_key(*path)).map(|path| format!("lacks {}", path.display()));
    let strange = found.iter().filter_map(|(path, kind)| match whole.get(path) {
        None => Some(format!("has {} beyond", path.display())),
        Some(promised) if promised != kind => Some(format!("has {} as {kind:?}, not {promised:?}", path.display())),
        Some(_) => None,
    });
    let all: Vec<String> = missing.chain(strange).collect();
    let shown = all.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    (!all.is_empty()).then(|| format!("is not complete, {} differences of {} files: {shown}", all.len(), whole.len()))
}

fn look(path: &Path) -> Result<Tree, LabError> {
    let mut tree = Tree::new();
    add(path, Path::new(""), &mut tree)?;
    Ok(tree)
}

fn add(path: &Path, within: &Path, tree: &mut Tree) -> Result<(), LabError> {
    let metadata = fs::symlink_metadata(path).map_err(LabError::io("look at", path))?;
    let what = if metadata.is_symlink() {
        format!("-> {}", fs::read_link(path).map_err(LabError::io("read", path))?.display())
    } else if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(LabError::io("list", path))? {
            let name = entry.map_err(LabError::io("list", path))?.file_name();
            add(&path.join(&name), &within.join(&name), tree)?;
        }
        "folder".to_owned()
    } else {
        Digest::of(&fs::read(path).map_err(LabError::io("read", path))?).to_string()
    };
    tree.insert(within.to_owned(), (metadata.permissions().mode() & 0o7777, what));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_lost_something_is_told_from_a_whole_one() {
        let root = tempfile::tempdir().unwrap();
        let release = root.path().join("srv/roadstead/erp/releases/1.0-0");
        fs::create_dir_all(release.join("app")).unwrap();
        fs::write(release.join("app/one.py"), "one").unwrap();
        let mut trees = Trees::default();
        trees.learn(root.path()).unwrap();
        fs::create_dir_all(root.path().join("srv/roadstead/erp/releases/.new-2.0-0")).unwrap();
        assert_eq!(trees.differences(root.path()).unwrap(), Vec::<String>::new());
        let told = |clue: &str| {
            let told = trees.differences(root.path()).unwrap();
            assert!(told.len() == 1 && told[0].contains(clue), "{told:?}");
        };
        fs::write(release.join("app/one.py"), [0, 0, 0]).unwrap();
        told("has app/one.py as");
        fs::remove_file(release.join("app/one.py")).unwrap();
        told("lacks app/one.py");
        fs::remove_dir_all(&release).unwrap();
        fs::create_dir_all(root.path().join("srv/roadstead/erp/releases/2.0-0")).unwrap();
        told("2.0-0 was never seen complete");
    }
}
