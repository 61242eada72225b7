//! The blob store as a fetch fills it: what comes is put aside, checked, made durable, and only then named in the store.
//!
//! A name in the store promises: a blob is whole, and below a folder's node everything is there. So blobs get their names after
//! one sync of the file system for many of them, and nodes after all blobs, the deepest first.

use roadstead_model::Digest;
use roadstead_worker::files::{FileError, create_private_folder, read_bounded};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder within the store for what is not whole yet.
const ASIDE: &str = ".partial";

/// The blob store and what lies aside.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    store: PathBuf,
    aside: PathBuf,
}

impl Shelf {
    /// Opens the store. What lies aside from an earlier run is dropped, but for encoded parts, with which a blob goes on.
    pub(crate) fn open(store: &Path) -> Result<Self, FileError> {
        let aside = store.join(ASIDE);
        create_private_folder(&aside)?;
        let failed = |e| FileError::new("clear", &aside, e);
        for entry in fs::read_dir(&aside).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "zst") {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(Self { store: store.to_path_buf(), aside })
    }

    /// Where a blob lies when the store has it.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.store.join(&hex[..2]).join(&hex[2..])
    }

    /// Whether the store has a blob.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A blob of the store, if it is there, not too large, and what its name says.
    pub(crate) fn read(&self, digest: &Digest, max: u64) -> Option<Vec<u8>> {
        let bytes = read_bounded(&self.path(digest), max).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Where a checked blob waits for its name.
    pub(crate) fn aside(&self, digest: &Digest) -> PathBuf {
        self.aside.join(digest.to_string())
    }

    /// Where a blob is written before it is checked.
    pub(crate) fn unchecked(&self, digest: &Digest) -> PathBuf {
        self.aside.join(format!("{digest}.new"))
    }

    /// Where the encoded bytes of a blob are collected that comes in several parts.
    pub(crate) fn encoded(&self, digest: &Digest) -> PathBuf {
        self.aside.join(format!("{digest}.zst"))
    }

    /// Where an encoded patch is collected that comes in several parts.
    pub(crate) fn encoded_patch(&self, digest: &Digest) -> PathBuf {
        self.aside.join(format!("{digest}.patch"))
    }

    /// Names checked blobs that lie aside, in this order, after making their content durable.
    pub(crate) fn keep(&self, digests: &[Digest]) -> Result<(), FileError> {
        if digests.is_empty() {
            return Ok(());
        }
        let folder = File::open(&self.aside).map_err(|e| FileError::new("open", &self.aside, e))?;
        nix::unistd::syncfs(&folder).map_err(|e| FileError::new("sync", &self.aside, e.into()))?;
        let mut made = BTreeSet::new();
        for digest in digests {
            let (from, to) = (self.aside(digest), self.path(digest));
            if let Some(parent) = to.parent()
                && made.insert(parent.to_path_buf())
            {
                create_private_folder(parent)?;
            }
            match fs::rename(&from, &to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && to.is_file() => {}
                renamed => renamed.map_err(|e| FileError::new("keep", &to, e))?,
            }
        }
        Ok(())
    }
}
