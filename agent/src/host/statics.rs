//! The union of static files: those of the serving release and of the one before, so that no page finds its files gone in a mixed fleet.
//!
//! A release's collected files may be the app user's: they are walked by descriptors, without following links, and only regular files
//! are taken, so that no file of the host can be made public by a link put in its way.

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::linkat;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use roadstead_model::limits::{RELEASE_ENTRIES_MAX, TREE_DEPTH_MAX};

/// What one merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Files of the source.
    pub(crate) files: u64,
    /// Files that came to the union or were replaced in it.
    pub(crate) changed: u64,
}

/// Brings the files below `source` into `target`. A file of the same name stays as it is, unless `replace`: then it is replaced by a rename.
pub(crate) fn merge(target: &Path, source: &Path, replace: bool) -> io::Result<Merged> {
    let mut merged = Merged::default();
    walk(source, &mut |relative, entry| {
        let path = target.join(relative);
        match entry {
            Found::Folder => make_folder(&path),
            Found::File(file) => {
                merged.files += 1;
                if merged.files > RELEASE_ENTRIES_MAX {
                    return Err(io::Error::other("there are more static files than a release may have"));
                }
                merged.changed += u64::from(place(&path, &file, replace)?);
                Ok(())
            }
        }
    })?;
    Ok(merged)
}

/// Removes from `target` what is in none of the sources.
pub(crate) fn sweep(target: &Path, sources: &[&Path]) -> io::Result<u64> {
    let mut wanted = BTreeSet::new();
    for source in sources {
        walk(source, &mut |relative, _| {
            wanted.insert(relative.to_path_buf());
            Ok(())
        })?;
    }
    let mut excess = Vec::new();
    walk(target, &mut |relative, entry| {
        if !wanted.contains(relative) {
            excess.push((relative.to_path_buf(), matches!(entry, Found::Folder)));
        }
        Ok(())
    })?;
    let removed = excess.len() as u64;
    // Folders come before what is in them: backwards, they are empty when their turn comes.
    for (relative, folder) in excess.into_iter().rev() {
        let path = target.join(relative);
        if folder { std::fs::remove_dir(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(removed)
}

/// The regular files below `source`, in order, and how large each is.
pub(crate) fn list(source: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    walk(source, &mut |relative, entry| {
        if let Found::File(file) = entry {
            if files.len() as u64 >= RELEASE_ENTRIES_MAX {
                return Err(io::Error::other("there are more static files than a release may have"));
            }
            let name = relative.to_str().ok_or_else(|| io::Error::other("a file name is not UTF-8"))?;
            files.push((name.to_owned(), file.metadata()?.len()));
        }
        Ok(())
    })?;
    Ok(files)
}

/// Opens a regular file below a folder. No link is followed on the way.
pub(crate) fn open_below(folder: &Path, relative: &str) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut at = open(folder, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut parts = Path::new(relative).components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(io::Error::other("no plain path")) };
        let folder = if parts.peek().is_some() { OFlag::O_DIRECTORY } else { OFlag::empty() };
        at = openat(at.as_fd(), name, flags | folder, Mode::empty())?;
    }
    let file = File::from(at);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

enum Found {
    Folder,
    File(File),
}

/// Calls `visit` with each folder, then what is in it. A source that is not there is empty.
fn walk(source: &Path, visit: &mut dyn FnMut(&Path, Found) -> io::Result<()>) -> io::Result<()> {
    match open(source, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(folder) => walk_folder(&folder, &PathBuf::new(), 0, visit),
        Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn walk_folder(folder: &OwnedFd, relative: &Path, depth: usize, visit: &mut dyn FnMut(&Path, Found) -> io::Result<()>) -> io::Result<()> {
    if depth > TREE_DEPTH_MAX {
        return Err(io::Error::other(format!("{} lies in too many folders", relative.display())));
    }
    let mut names = Vec::new();
    for entry in Dir::from_fd(folder.try_clone()?)?.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let inner = match openat(folder.as_fd(), name.as_c_str(), flags, Mode::empty()) {
            Ok(inner) => inner,
            // A link, a socket, or gone in between.
            Err(nix::errno::Errno::ELOOP | nix::errno::Errno::ENXIO | nix::errno::Errno::ENOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let path = relative.join(std::ffi::OsStr::new(name.to_str().map_err(|_| io::Error::other("a file name is not UTF-8"))?));
        let kind = SFlag::from_bits_truncate(fstat(&inner)?.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            visit(&path, Found::Folder)?;
            walk_folder(&inner, &path, depth + 1, visit)?;
        } else if kind == SFlag::S_IFREG {
            visit(&path, Found::File(File::from(inner)))?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::symlink_metadata(path)?.is_dir() {
                return Ok(());
            }
            // A file was where a newer release has a folder.
            std::fs::remove_file(path)?;
            std::fs::DirBuilder::new().mode(0o755).create(path)?;
        }
        other => other?,
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Puts a file at a path; whether that changed anything.
fn place(path: &Path, file: &File, replace: bool) -> io::Result<bool> {
    let metadata = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.ino() == metadata.ino() && there.dev() == metadata.dev() => return Ok(false),
        Ok(_) if !replace => return Ok(false),
        Ok(there) if there.is_dir() => std::fs::remove_dir_all(path)?,
        _ => {}
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".new-{name}"));
    super::links::remove(&fresh)?;
    if metadata.mode() & 0o444 != 0o444 {
        fchmod(file, Mode::from_bits_truncate(0o644))?;
    }
    // By way of the descriptor: this very file, whatever its name means by now.
    let itself = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if linkat(AT_FDCWD, &itself, AT_FDCWD, &fresh, AtFlags::AT_SYMLINK_FOLLOW).is_err() {
        let mut copy = File::create_new(&fresh)?;
        io::copy(&mut { file }, &mut copy)?;
        copy.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    std::fs::rename(&fresh, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(root: &Path, path: &str) -> String {
        std::fs::read_to_string(root.join(path)).unwrap()
    }

    #[test]
    fn the_union_has_both_and_prefers_as_told() {
        let folder = tempfile::tempdir().unwrap();
        let (union, old, new) = (folder.path().join("static"), folder.path().join("1"), folder.path().join("2"));
        std::fs::create_dir(&union).unwrap();
        write(&old, "css/a.111.css", "old");
        write(&old, "css/a.css", "old");
        write(&new, "css/a.222.css", "new");
        write(&new, "css/a.css", "new");
        std::fs::set_permissions(new.join("css/a.css"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(merge(&union, &old, false).unwrap(), Merged { files: 2, changed: 2 });
        assert_eq!(merge(&union, &new, false).unwrap(), Merged { files: 2, changed: 1 });
        assert_eq!(read(&union, "css/a.css"), "old");
        assert_eq!(merge(&union, &new, true).unwrap(), Merged { files: 2, changed: 1 });
        assert_eq!(read(&union, "css/a.css"), "new");
        assert_eq!(std::fs::metadata(union.join("css/a.css")).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(sweep(&union, &[&new]).unwrap(), 1);
        assert!(!union.join("css/a.111.css").exists() && union.join("css/a.222.css").exists());
        assert_eq!(sweep(&union, &[]).unwrap(), 3);
        assert_eq!(std::fs::read_dir(&union).unwrap().count(), 0);
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (union, source, secret) = (folder.path().join("static"), folder.path().join("1"), folder.path().join("secret"));
        std::fs::create_dir(&union).unwrap();
        write(&secret, "key", "secret");
        write(&source, "a.css", "a");
        std::os::unix::fs::symlink(&secret, source.join("folder")).unwrap();
        std::os::unix::fs::symlink(secret.join("key"), source.join("file")).unwrap();
        assert_eq!(merge(&union, &source, true).unwrap().files, 1);
        assert_eq!(std::fs::read_dir(&union).unwrap().count(), 1);
        write(&source, "css/b.css", "bb");
        assert_eq!(list(&source).unwrap(), [("a.css".to_owned(), 1), ("css/b.css".to_owned(), 2)]);
        assert_eq!(io::read_to_string(open_below(&source, "css/b.css").unwrap()).unwrap(), "bb");
        for bad in ["file", "folder/key", "../secret/key", "css", "", "none", "/etc/passwd", "a.css/x"] {
            assert!(open_below(&source, bad).is_err(), "{bad}");
        }
        assert_eq!(merge(&union, &folder.path().join("none"), true).unwrap(), Merged::default());
    }
}
