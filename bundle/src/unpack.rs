//! From a tree in a store to a folder on disk. The folder is made here, so that nothing that lies there already can lead a file astray;
//! names were checked when their nodes were read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use roadstead_model::Digest;

use crate::store::{Form, Store, StoreError};
use crate::walk::{Met, TreeError, walk};

const PART: usize = 64 * 1024;

/// Why a tree is not laid out. What was made so far is left to the caller to remove.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tree or the store.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl From<StoreError> for UnpackError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Io { doing, path, source }
}

/// What was laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaidOut {
    /// Files that share their bytes with the store.
    pub linked: u64,
    /// Files that were written anew.
    pub copied: u64,
    /// Symbolic links.
    pub links: u64,
}

/// Lays out a tree as the new folder `target`, whose parent exists: folders 0755, files 0444 or 0555, nothing with special bits.
///
/// Files of a [`Form::Raw`] store are hard links of its blobs wherever the file system permits. Nothing is synced: see
/// [`Store::sync`].
///
/// # Errors
/// [`UnpackError`], also when `target` exists.
pub fn lay_out(store: &Store, root: &Digest, target: &Path) -> Result<LaidOut, UnpackError> {
    let mut done = LaidOut::default();
    walk::<UnpackError>(store, root, &mut |path, met| {
        let place = if path.is_empty() { target.to_owned() } else { target.join(path) };
        match met {
            Met::Folder { .. } => {
                fs::DirBuilder::new().mode(0o755).create(&place).map_err(failed("make the folder", &place))?;
                // The umask may have taken bits away.
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).map_err(failed("open the folder", &place))?;
            }
            Met::File { digest, executable, .. } => {
                if put(store, &digest, executable, &place)? {
                    done.linked += 1;
                } else {
                    done.copied += 1;
                }
            }
            Met::Link { target } => {
                symlink(target, &place).map_err(failed("make the link", &place))?;
                done.links += 1;
            }
        }
        Ok(())
    })?;
    Ok(done)
}

/// Puts one file in its place; tells whether it is a hard link.
fn put(store: &Store, digest: &Digest, executable: bool, place: &Path) -> Result<bool, UnpackError> {
    if store.form() == Form::Raw {
        let source = if executable { executable_twin(store, digest)? } else { store.path_of(digest) };
        match fs::hard_link(&source, place) {
            Ok(()) => return Ok(true),
            // Another file system, or more links than it can count (empty files have many): then it is copied.
            Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::TooManyLinks) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !store.has(digest) => return Err(StoreError::Missing(*digest).into()),
            Err(error) => return Err(failed("make", place)(error)),
        }
    }
    write_out(store, digest, place, if executable { 0o555 } else { 0o444 })?;
    Ok(false)
}

/// The same bytes as a blob in a file that may be executed: modes belong to files, not to names, so hard links cannot differ in them.
fn executable_twin(store: &Store, digest: &Digest) -> Result<PathBuf, UnpackError> {
    let twin = store.path_of(digest).with_added_extension("x");
    if !twin.exists() {
        let new = twin.with_added_extension(format!("new-{}", std::process::id()));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new)(error)),
            _ => {}
        }
        write_out(store, digest, &new, 0o555)?;
        fs::rename(&new, &twin).map_err(failed("name", &twin))?;
    }
    Ok(twin)
}

/// Forgets the file that executables with this content share: the next one is written anew from the blob.
///
/// # Errors
/// When the file system refuses.
pub fn forget_executable(store: &Store, digest: &Digest) -> Result<(), StoreError> {
    let twin = store.path_of(digest).with_added_extension("x");
    match fs::remove_file(&twin) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { action: "remove", path: twin, source }),
        _ => Ok(()),
    }
}

fn write_out(store: &Store, digest: &Digest, place: &Path, mode: u32) -> Result<(), UnpackError> {
    let mut reader = store.reader(digest)?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(place).map_err(failed("make", place))?;
    let mut buffer = vec![0; PART];
    loop {
        let count = reader.read(&mut buffer).map_err(|_| StoreError::Damaged(*digest))?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(failed("write", place))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("write", place))
}
