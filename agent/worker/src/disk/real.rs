//! The file system of the host.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{AppendFile, Disk};
use crate::files::{self, FileError};

/// What is made can be read by the agent alone.
const MODE: u32 = 0o600;

/// The file system of the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
        files::read_bounded(path, max)
    }

    fn names(&self, folder: &Path) -> Result<Vec<String>, FileError> {
        let failed = |e| FileError::new("list", folder, e);
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names =
            entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>, _>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path, reserved: u64) -> Result<Box<dyn AppendFile>, FileError> {
        let file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(path);
        let file = file.map_err(|e| FileError::new("make", path, e))?;
        if let Err(error) = reserve(&file, reserved) {
            // Nothing was written yet, and whoever asked does not know the file.
            if let Err(left) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), error = %left, "an empty file is left behind");
            }
            return Err(FileError::new("reserve space for", path, error));
        }
        Ok(Box::new(RealFile { path: path.to_path_buf(), file }))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError> {
        let file = OpenOptions::new().append(true).open(path).map_err(|e| FileError::new("open", path, e))?;
        Ok(Box::new(RealFile { path: path.to_path_buf(), file }))
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        fs::remove_file(path).map_err(|e| FileError::new("remove", path, e))
    }

    fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        files::write_atomically(path, content, MODE)
    }

    fn create_folder(&self, path: &Path) -> Result<(), FileError> {
        files::create_private_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), FileError> {
        files::sync_folder(path)
    }
}

fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, i64::try_from(bytes).unwrap_or(i64::MAX)) {
        // Not every file system can; then a full disk is met later.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[derive(Debug)]
struct RealFile {
    path: PathBuf,
    file: File,
}

impl AppendFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).and_then(|()| self.file.sync_data()).map_err(|e| FileError::new("write", &self.path, e))
    }

    fn cut(&mut self, length: u64) -> Result<(), FileError> {
        let mut cut = || {
            self.file.set_len(length)?;
            self.file.seek(SeekFrom::End(0))?;
            self.file.sync_all()
        };
        cut().map_err(|e| FileError::new("cut", &self.path, e))
    }
}
