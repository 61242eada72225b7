//! What the team's files ask for, all kinds of files on one denominator.

use roadstead_model::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Archive, LockedPackage};
use crate::build::digest_of_folder;
use crate::failure::{Failure, Result};

/// Requirement lines, sorted by what they promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Lines that pin a version and name its hashes.
    pub(crate) hashed: Vec<String>,
    /// The hashed lines are all that is needed: their own dependencies are not asked for.
    pub(crate) complete: bool,
    /// Lines without hashes.
    pub(crate) free: Vec<String>,
    /// Lines that limit versions without asking for anything.
    pub(crate) constraints: Vec<String>,
    /// Options that say where archives lie and which kinds are wanted.
    pub(crate) options: Vec<String>,
    /// Digests that a lock permits for a package, by normalised name.
    pub(crate) allowed: BTreeMap<String, BTreeSet<String>>,
    /// Folders of the checkout that are packages, by path in the checkout.
    pub(crate) local: BTreeSet<String>,
}

impl Demand {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashed.is_empty() && self.free.is_empty()
    }

    /// Whether every version is fixed by the files themselves.
    pub(crate) fn is_pinned(&self) -> bool {
        let locked = !self.allowed.is_empty();
        locked || self.free.iter().all(|line| line.contains("==") || line.contains('@') || line.starts_with("./"))
    }

    /// The local folders with the digests of their files.
    pub(crate) fn folders(&self, checkout: &Path) -> Result<BTreeMap<String, Digest>> {
        self.local.iter().map(|path| Ok((path.clone(), digest_of_folder(&checkout.join(path))?))).collect()
    }

    /// Refuses an archive that the team's lock does not name.
    pub(crate) fn check<'a>(&self, packages: impl Iterator<Item = &'a LockedPackage>) -> Result<()> {
        for package in packages {
            let Archive::File { sha256, url } = &package.archive else { continue };
            let Some(allowed) = self.allowed.get(&package.name) else { continue };
            if !allowed.contains(sha256) {
                return Err(Failure::failed(format!("{} {} is not the archive that the lock names", package.name, package.version))
                    .cause(format!("{url} has SHA-256 {sha256}"))
                    .hint("make the lock again, and find out why the file changed before you trust it"));
            }
        }
        Ok(())
    }
}
