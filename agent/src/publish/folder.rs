//! A folder as the place that static files are handed out from. It may be somebody else's, and lie on another machine: it is walked by
//! descriptors, no link in it is followed, and a file has its name only when it is complete.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::host::statics;

/// What is compared at a time.
const PIECE: usize = 64 * 1024;
const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_CLOEXEC);

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// The folder in which a file lies, and its name there.
type Place<'a> = (OwnedFd, &'a OsStr);

impl Folder {
    /// The folder. It is never made: where a mount is missing, nothing is to be written in its place.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Whether it is there.
    pub(crate) fn look(&self) -> io::Result<()> {
        self.open().map(drop)
    }

    fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&self.root, FOLDER, Mode::empty())?)
    }

    /// How large a file is; none where there is none.
    pub(crate) fn seen(&self, path: &str) -> io::Result<Option<u64>> {
        let found = match self.place(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            place => {
                let (folder, name) = place?;
                fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)
            }
        };
        match found {
            Err(Errno::ENOENT) => Ok(None),
            Ok(found) if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG => {
                Ok(Some(u64::try_from(found.st_size).unwrap_or(0)))
            }
            Ok(_) => Err(io::Error::other("something is in its place that is no regular file")),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file has the contents of another.
    pub(crate) fn is_same(&self, path: &str, file: File) -> io::Result<bool> {
        let (mut there, mut file) = (statics::open_below(&self.root, path)?, file);
        let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let (read, also) = (fill(&mut there, &mut one)?, fill(&mut file, &mut other)?);
            if one[..read] != other[..also] {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
        }
    }

    /// Puts a file in its place, whatever was there: whoever asks for it gets the one or the other, and all of it.
    pub(crate) fn put(&self, path: &str, file: File) -> io::Result<()> {
        let (folder, name) = self.place(path, true)?;
        // Of this attempt alone: one that hung, and that nobody waits for any more, does not write into another's.
        let chance = getrandom::u64().map_err(io::Error::other)?;
        let fresh = format!(".roadstead-{chance:016x}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let copy = File::from(openat(folder.as_fd(), fresh.as_str(), flags, Mode::from_bits_truncate(0o644))?);
        let written = fill_with(copy, file).and_then(|()| Ok(renameat(folder.as_fd(), fresh.as_str(), folder.as_fd(), name)?));
        if written.is_err() {
            // Its name means nothing to anybody.
            unlinkat(folder.as_fd(), fresh.as_str(), UnlinkatFlags::NoRemoveDir).ok();
        }
        written
    }

    fn place<'a>(&self, path: &'a str, make: bool) -> io::Result<Place<'a>> {
        let mut folder = self.open()?;
        let mut parts = Path::new(path).components().peekable();
        while let Some(Component::Normal(name)) = parts.next() {
            if parts.peek().is_none() {
                return Ok((folder, name));
            }
            folder = step(&folder, name, make)?;
        }
        Err(io::Error::other("no plain path"))
    }
}

/// A folder within another, made where it is missing.
fn step(folder: &OwnedFd, name: &OsStr, make: bool) -> io::Result<OwnedFd> {
    match openat(folder.as_fd(), name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty()) {
        Err(Errno::ENOENT) if make => {}
        opened => return Ok(opened?),
    }
    let mode = Mode::from_bits_truncate(0o755);
    let made = match mkdirat(folder.as_fd(), name, mode) {
        Ok(()) => true,
        // Another host was faster.
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let inner = openat(folder.as_fd(), name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty())?;
    if made {
        fchmod(&inner, mode)?;
    }
    Ok(inner)
}

/// Writes all of a file to another, for everybody to read.
fn fill_with(mut copy: File, mut file: File) -> io::Result<()> {
    fchmod(&copy, Mode::from_bits_truncate(0o644))?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_data()
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match from.read(&mut buffer[done..])? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn file(folder: &Path, text: &str) -> File {
        let path = folder.join("file");
        std::fs::write(&path, text).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn a_file_comes_to_its_place_and_is_compared() {
        let (root, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::at(root.path());
        assert_eq!(folder.seen("css/deep/a.css").unwrap(), None);
        for text in ["", "one", "two and more", &"x".repeat(PIECE + 7)] {
            folder.put("css/deep/a.css", file(own.path(), text)).unwrap();
            assert_eq!(folder.seen("css/deep/a.css").unwrap(), Some(text.len() as u64));
            assert!(folder.is_same("css/deep/a.css", file(own.path(), text)).unwrap());
            assert!(!folder.is_same("css/deep/a.css", file(own.path(), &format!("{text}."))).unwrap());
        }
        let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("css"), mode("css/deep"), mode("css/deep/a.css")), (0o755, 0o755, 0o644));
        assert_eq!(std::fs::read_dir(root.path().join("css/deep")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_link_is_followed_and_nothing_leaves_the_folder() {
        let (root, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::at(root.path());
        std::fs::write(own.path().join("theirs"), "theirs").unwrap();
        symlink(own.path(), root.path().join("css")).unwrap();
        symlink(own.path().join("theirs"), root.path().join("a.css")).unwrap();
        for bad in ["css/theirs", "../x", "/etc/x", ""] {
            assert!(folder.put(bad, file(own.path(), "mine")).is_err(), "{bad}");
        }
        assert!(folder.seen("css/theirs").is_err() && folder.seen("a.css").is_err());
        folder.put("a.css", file(own.path(), "mine")).unwrap();
        assert_eq!(std::fs::read_to_string(own.path().join("theirs")).unwrap(), "theirs");
        assert_eq!(std::fs::read_to_string(root.path().join("a.css")).unwrap(), "mine");
        std::fs::create_dir(root.path().join("b.css")).unwrap();
        assert!(folder.put("b.css", file(own.path(), "mine")).is_err());
    }

    #[test]
    fn a_folder_that_is_missing_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(&root.path().join("none"));
        assert_eq!(folder.look().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(folder.put("a.css", file(root.path(), "a")).is_err() && !root.path().join("none").exists());
    }
}
