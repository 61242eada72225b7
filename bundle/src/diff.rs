//! What differs between two releases, for people who are about to deploy.

use roadstead_model::Digest;
use std::collections::{BTreeMap, BTreeSet};

use crate::blobs::Blobs;
use crate::manifest::{Manifest, Package, TreeRef};
use crate::walk::{Met, TreeError, walk};

/// What differs between an older and a newer release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Files that the newer adds.
    pub added: Vec<String>,
    /// Files that it changes.
    pub changed: Vec<String>,
    /// Files that it no longer has.
    pub removed: Vec<String>,
    /// Packages: name, older version, newer version.
    pub packages: Vec<(String, Option<String>, Option<String>)>,
    /// Migrations that only the newer has.
    pub new_migrations: Vec<String>,
    /// Migrations that only the older has: going forward with these would leave the database ahead of the code.
    pub lost_migrations: Vec<String>,
}

/// Files that differ below one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Files that the newer adds.
    pub added: usize,
    /// Files that it changes.
    pub changed: usize,
    /// Files that it no longer has.
    pub removed: usize,
}

impl Difference {
    /// How many files differ below each topmost folder; `.` for files that lie in none.
    #[must_use]
    pub fn by_folder(&self) -> BTreeMap<&str, Counted> {
        let mut folders: BTreeMap<&str, Counted> = BTreeMap::new();
        self.added.iter().for_each(|path| folders.entry(topmost(path)).or_default().added += 1);
        self.changed.iter().for_each(|path| folders.entry(topmost(path)).or_default().changed += 1);
        self.removed.iter().for_each(|path| folders.entry(topmost(path)).or_default().removed += 1);
        folders
    }
}

/// Compares what two manifests list: packages and migrations. Files are left out.
#[must_use]
pub fn diff_lists(old: &Manifest, new: &Manifest) -> Difference {
    let (before, after): (BTreeSet<&String>, BTreeSet<&String>) = (old.migrations.iter().collect(), new.migrations.iter().collect());
    Difference {
        packages: packages(&old.packages.list, &new.packages.list),
        new_migrations: after.difference(&before).map(|name| (*name).clone()).collect(),
        lost_migrations: before.difference(&after).map(|name| (*name).clone()).collect(),
        ..Difference::default()
    }
}

/// Compares the code, packages and migrations of two releases whose trees lie in stores or bundles.
///
/// # Errors
/// [`TreeError`].
pub fn diff(old: (&impl Blobs, &Manifest), new: (&impl Blobs, &Manifest)) -> Result<Difference, TreeError> {
    let (before, after) = (files(old.0, &old.1.code)?, files(new.0, &new.1.code)?);
    let mut difference = diff_lists(old.1, new.1);
    for (path, digest) in &after {
        match before.get(path) {
            None => difference.added.push(path.clone()),
            Some(other) if other != digest => difference.changed.push(path.clone()),
            Some(_) => {}
        }
    }
    difference.removed = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    Ok(difference)
}

fn topmost(path: &str) -> &str {
    path.split_once('/').map_or(".", |(folder, _)| folder)
}

/// What a file is: its content, or the target of a link, and whether it may be executed.
type What = (Option<Digest>, String, bool);

fn files(store: &dyn Blobs, tree: &TreeRef) -> Result<BTreeMap<String, What>, TreeError> {
    let mut files = BTreeMap::new();
    walk::<TreeError>(store, &tree.root, &mut |path, met| {
        match met {
            // Bytecode follows its module: it says nothing to people.
            Met::File { .. } if path.ends_with(".pyc") && path.contains("__pycache__/") => {}
            Met::File { digest, executable, .. } => drop(files.insert(path.to_owned(), (Some(digest), String::new(), executable))),
            Met::Link { target } => drop(files.insert(path.to_owned(), (None, target.to_owned(), false))),
            Met::Folder { .. } => {}
        }
        Ok(())
    })?;
    Ok(files)
}

fn packages(old: &[Package], new: &[Package]) -> Vec<(String, Option<String>, Option<String>)> {
    let versions = |list: &[Package]| list.iter().map(|p| (p.name.clone(), p.version.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (versions(old), versions(new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let compared = names.into_iter().map(|name| (name.clone(), before.get(name).cloned(), after.get(name).cloned()));
    compared.filter(|(_, old, new)| old != new).collect()
}
