//! What lives across releases: `shared/`, which belongs to the app's user.
//!
//! The agent is root and the app writes here, so a name that the app made must never lead the agent elsewhere: every part of a path is
//! opened from its folder, and links are not followed.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchown;
use roadstead_bundle::spec::RelativePath;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::host::user::Account;

/// Provides `path` below the shared folder. What the release carries at `seed` is copied there when nothing is there yet.
pub(crate) fn provide(shared: &Path, path: &RelativePath, seed: &Path, account: &Account) -> io::Result<()> {
    let parts: Vec<&str> = path.as_str().split('/').collect();
    let Some((last, above)) = parts.split_last() else { return Ok(()) };
    let mut folder = open_folder(File::open(shared)?.into(), ".")?;
    for part in above {
        folder = make_folder(&folder, part, account)?;
    }
    match fs::symlink_metadata(seed) {
        Ok(found) if found.is_dir() => {
            let fresh = is_missing(&folder, last)?;
            let into = make_folder(&folder, last, account)?;
            if fresh { copy_folder(seed, &into, account) } else { Ok(()) }
        }
        Ok(found) if found.is_file() => copy_file(seed, &folder, last, account),
        // Nothing to begin with: a folder is made, a file (by its name) is the app's to make.
        _ if last.trim_start_matches('.').contains('.') => Ok(()),
        _ => make_folder(&folder, last, account).map(drop),
    }
}

fn open_folder(at: OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(&at, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn is_missing(folder: &OwnedFd, name: &str) -> io::Result<bool> {
    match openat(folder, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(false),
        Err(nix::errno::Errno::ENOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn make_folder(folder: &OwnedFd, name: &str, account: &Account) -> io::Result<OwnedFd> {
    let made = match mkdirat(folder, name, Mode::from_bits_truncate(0o750)) {
        Ok(()) => true,
        Err(nix::errno::Errno::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let opened = openat(folder, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    if made {
        give(&opened, account)?;
    }
    Ok(opened)
}

fn copy_folder(from: &Path, into: &OwnedFd, account: &Account) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a name that is not UTF-8"))?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let below = make_folder(into, &name, account)?;
            copy_folder(&entry.path(), &below, account)?;
        } else if kind.is_file() {
            copy_file(&entry.path(), into, &name, account)?;
        }
        // Links of a release point into its tree: they make no sense outside.
    }
    Ok(())
}

/// Copies a file unless one is there. A copy, not a hard link: the app may change it.
fn copy_file(from: &Path, folder: &OwnedFd, name: &str, account: &Account) -> io::Result<()> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let to = match openat(folder, name, flags, Mode::from_bits_truncate(0o640)) {
        Err(nix::errno::Errno::EEXIST) => return Ok(()),
        opened => opened?,
    };
    give(&to, account)?;
    io::copy(&mut File::open(from)?, &mut File::from(to)).map(drop)
}

/// Gives something that was just made to the app's user. Without root's rights it stays its maker's.
fn give(made: &OwnedFd, account: &Account) -> io::Result<()> {
    if nix::unistd::Uid::effective().is_root() { Ok(fchown(made, Some(account.uid), Some(account.gid))?) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{Gid, Uid};
    use std::os::unix::fs::symlink;

    fn place() -> (tempfile::TempDir, Account) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("shared")).unwrap();
        fs::create_dir_all(folder.path().join("tree/media/logos")).unwrap();
        fs::write(folder.path().join("tree/media/logos/a.png"), "logo").unwrap();
        (folder, Account { name: "me".to_owned(), uid: Uid::current(), gid: Gid::current() })
    }

    fn path(text: &str) -> RelativePath {
        RelativePath::parse(text).unwrap()
    }

    #[test]
    fn what_the_release_carries_is_the_beginning_and_is_never_overwritten() {
        let (folder, account) = place();
        let (shared, seed) = (folder.path().join("shared"), folder.path().join("tree/media"));
        provide(&shared, &path("media"), &seed, &account).unwrap();
        assert_eq!(fs::read_to_string(shared.join("media/logos/a.png")).unwrap(), "logo");
        fs::write(shared.join("media/logos/a.png"), "theirs").unwrap();
        provide(&shared, &path("media"), &seed, &account).unwrap();
        assert_eq!(fs::read_to_string(shared.join("media/logos/a.png")).unwrap(), "theirs");
    }

    #[test]
    fn folders_are_made_and_files_are_left_to_the_app() {
        let (folder, account) = place();
        let shared = folder.path().join("shared");
        let nothing = folder.path().join("tree/none");
        provide(&shared, &path("var/uploads"), &nothing, &account).unwrap();
        provide(&shared, &path("data/db.sqlite3"), &nothing, &account).unwrap();
        assert!(shared.join("var/uploads").is_dir());
        assert!(shared.join("data").is_dir() && !shared.join("data/db.sqlite3").exists());
    }

    #[test]
    fn links_that_the_app_made_lead_nowhere() {
        let (folder, account) = place();
        let (shared, outside) = (folder.path().join("shared"), folder.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        symlink(&outside, shared.join("media")).unwrap();
        let seed = folder.path().join("tree/media");
        assert!(provide(&shared, &path("media"), &seed, &account).is_err());
        assert!(provide(&shared, &path("media/deep"), &seed, &account).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
