//! Small files of the agent's own: read with a limit, written so that a crash leaves the old or the new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What could not be done with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct FileError {
    /// What was tried, such as `read`.
    pub doing: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// The error of doing something with a file.
    pub fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self { doing, path: path.to_path_buf(), source }
    }

    /// Whether the file was not there.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a file that may not be larger than `max` bytes.
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|e| FileError::new("open", path, e))?;
    read_all_bounded(file, path, max)
}

/// Reads everything from a source that may not hold more than `max` bytes; `path` is its name for the error.
pub fn read_all_bounded(source: impl io::Read, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    source.take(max + 1).read_to_end(&mut bytes).map_err(|e| FileError::new("read", path, e))?;
    if bytes.len() as u64 > max {
        return Err(FileError::new("read", path, io::Error::other(format!("it is larger than {max} bytes"))));
    }
    Ok(bytes)
}

/// Makes a folder that only the agent may enter, and those above it, durably.
pub fn create_private_folder(path: &Path) -> Result<(), FileError> {
    create_folder(path, &sync_folder)
}

fn create_folder(path: &Path, sync: &dyn Fn(&Path) -> Result<(), FileError>) -> Result<(), FileError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if path.is_dir() {
        // Whoever made it may have died before its name was durable. Those above it were durable before it was made.
        return sync(parent);
    }
    create_folder(parent, sync)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(FileError::new("make the folder", path, e)),
        _ => {}
    }
    sync(parent)
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| FileError::new("sync the folder", path, e))
}

/// Makes everything durable that was written to the file system of a path.
pub fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let opened = File::open(path).map_err(|e| FileError::new("open", path, e))?;
    nix::unistd::syncfs(&opened).map_err(|e| FileError::new("sync", path, e.into()))
}

/// Replaces a file durably: after a crash it holds the old or the new content, never a part.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".new-{name}"));
    let write = || {
        // A leftover of a crash may have other permissions: it goes first.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| FileError::new("write", path, e))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_whose_name_could_not_be_made_durable_is_not_trusted_the_next_time() {
        let root = tempfile::tempdir().unwrap();
        let (folder, path) = (root.path().join("a"), root.path().join("a/b"));
        let failing = |parent: &Path| match parent == root.path() {
            true => Err(FileError::new("sync the folder", parent, io::ErrorKind::Other.into())),
            false => Ok(()),
        };
        assert!(create_folder(&folder, &failing).is_err());
        assert!(folder.is_dir(), "it was made all the same");
        let synced = std::cell::RefCell::new(Vec::new());
        let sync = |parent: &Path| {
            synced.borrow_mut().push(parent.to_path_buf());
            Ok(())
        };
        create_folder(&path, &sync).unwrap();
        assert_eq!(*synced.borrow(), [root.path().to_path_buf(), folder.clone()]);
        create_folder(&path, &sync).unwrap();
        assert_eq!(synced.borrow().last(), Some(&folder));
        assert_eq!(synced.borrow().len(), 3);
    }

    #[test]
    fn files_are_replaced_with_their_mode_even_after_a_crash_left_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/state");
        create_private_folder(path.parent().unwrap()).unwrap();
        fs::write(folder.path().join("a/b/.new-state"), "half").unwrap();
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
        assert!(read_bounded(&path, 2).is_err());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(read_bounded(&folder.path().join("none"), 9).unwrap_err().is_missing());
    }
}
