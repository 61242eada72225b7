//! The digest of a folder's files, for what is built from a folder of the checkout.

use roadstead_model::{Digest, DigestHasher};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::{self, Result};

/// The digest of the names, contents and links below a folder.
pub(crate) fn digest_of_folder(folder: &Path) -> Result<Digest> {
    let mut hasher = DigestHasher::new();
    for path in files_below(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_bytes();
        let read = if path.is_symlink() { fs::read_link(&path).map(|link| link.as_os_str().as_bytes().to_vec()) } else { fs::read(&path) };
        let content = read.map_err(|error| failure::file("read", &path, &error))?;
        for part in [name, Digest::of(&content).as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(hasher.finish())
}

/// All files and links below a folder, sorted; links are not followed.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = fs::read_dir(&next).map_err(|error| failure::file("read the folder", &next, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failure::file("read the folder", &next, &error))?;
            let kind = entry.file_type().map_err(|error| failure::file("read", &entry.path(), &error))?;
            if kind.is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    Ok(found)
}
