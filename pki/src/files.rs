//! Files that hold keys: readable by their owner alone, replaced whole or not at all.

use crate::limits::PEM_FILE_BYTES_MAX;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What could not be done with a file of keys.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, such as `read`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Others may read the key.
    #[error("{} may be read by others (mode {mode:o}): a key that others could read proves nothing; run chmod 600 on it, or make a new one", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than any file of keys.
    #[error("{} is larger than {PEM_FILE_BYTES_MAX} bytes: it is no file of keys", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Something is there that must not be replaced.
    #[error("{} is there already and is not replaced", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

impl FileError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}

/// Whether a file that exists already may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is.
    Replace,
    /// It stays, and writing fails.
    Keep,
}

/// Reads a file of keys, which must belong to its owner alone.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::io("open", path))?;
    let mode = file.metadata().map_err(FileError::io("look at", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Open { path: path.to_path_buf(), mode });
    }
    let mut bytes = Vec::new();
    file.take(PEM_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > PEM_FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_path_buf() });
    }
    Ok(bytes)
}

/// Writes a file with mode 0600, durably: after a crash it holds the old or the new content.
pub(crate) fn write_private(path: &Path, content: &[u8], existing: Existing) -> Result<(), FileError> {
    if existing == Existing::Keep && path.exists() {
        return Err(FileError::Exists { path: path.to_path_buf() });
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".new-{}-{name}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path)?,
            // A hard link fails when the name is taken: two writers cannot both win.
            Existing::Keep => {
                fs::hard_link(&temporary, path)?;
                fs::remove_file(&temporary)?;
            }
        }
        File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // What is left is a stray file of our own process, private and of no use to anyone.
        drop(fs::remove_file(&temporary));
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_path_buf() },
        _ => FileError::io("write", path)(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, b"one", Existing::Keep).unwrap();
        assert_eq!(read_private(&path).unwrap(), b"one");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_private(&path), Err(FileError::Open { mode: 0o640, .. })));
    }

    #[test]
    fn a_key_is_only_replaced_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, b"one", Existing::Keep).unwrap();
        assert!(matches!(write_private(&path, b"two", Existing::Keep), Err(FileError::Exists { .. })));
        assert_eq!(read_private(&path).unwrap(), b"one");
        write_private(&path, b"two", Existing::Replace).unwrap();
        assert_eq!(read_private(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn sizes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_private(&path, &vec![b'x'; 70_000], Existing::Keep).unwrap();
        assert!(matches!(read_private(&path), Err(FileError::TooLarge { .. })));
    }
}
