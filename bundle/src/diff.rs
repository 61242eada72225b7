//! What differs between two releases, for people who are about to deploy.

use roadstead_model::Digest;
use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{Manifest, Package, TreeRef};
use crate::store::Store;
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

/// Compares the code, packages and migrations of two releases whose trees lie in their stores.
///
/// # Errors
/// [`TreeError`].
pub fn diff(old: (&Store, &Manifest), new: (&Store, &Manifest)) -> Result<Difference, TreeError> {
    let (before, after) = (files(old.0, &old.1.code)?, files(new.0, &new.1.code)?);
    let mut difference = Difference { packages: packages(&old.1.packages.list, &new.1.packages.list), ..Difference::default() };
    for (path, digest) in &after {
        match before.get(path) {
            None => difference.added.push(path.clone()),
            Some(other) if other != digest => difference.changed.push(path.clone()),
            Some(_) => {}
        }
    }
    difference.removed = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    let (old_set, new_set): (BTreeSet<&String>, BTreeSet<&String>) = (old.1.migrations.iter().collect(), new.1.migrations.iter().collect());
    difference.new_migrations = new_set.difference(&old_set).map(|name| (*name).clone()).collect();
    difference.lost_migrations = old_set.difference(&new_set).map(|name| (*name).clone()).collect();
    Ok(difference)
}

/// What a file is: its content, or the target of a link, and whether it may be executed.
type What = (Option<Digest>, String, bool);

fn files(store: &Store, tree: &TreeRef) -> Result<BTreeMap<String, What>, TreeError> {
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
