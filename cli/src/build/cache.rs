//! What builds share: `~/.cache/roadstead`. Everything in it can be deleted at any time; it is only ever added by a rename.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};

/// The cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// A folder for one build's work. It goes when the build ends; if the build was killed, when the next one begins.
#[derive(Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    _lock: nix::fcntl::Flock<File>,
}

impl Cache {
    /// The cache of this user: `$ROADSTEAD_CACHE_DIR`, else `$XDG_CACHE_HOME/roadstead`, else `~/.cache/roadstead`.
    pub(crate) fn open() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || variable("HOME").or_else(|| nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir));
        let root = variable("ROADSTEAD_CACHE_DIR")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("roadstead")))
            .or_else(|| home().map(|folder| folder.join(".cache/roadstead")))
            .ok_or_else(|| {
                Failure::failed("there is no folder for the build cache").hint("set HOME, XDG_CACHE_HOME or ROADSTEAD_CACHE_DIR")
            })?;
        Self::at(root)
    }

    /// The cache in this folder.
    pub(crate) fn at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).map_err(|error| failure::file("make the cache folder", &root, &error))?;
        let root = root.canonicalize().map_err(|error| failure::file("open the cache folder", &root, &error))?;
        Ok(Self { root })
    }

    /// A place in the cache; the folder above it is made.
    pub(crate) fn place(&self, kind: &str, key: &str) -> Result<PathBuf> {
        let folder = self.root.join(kind);
        fs::create_dir_all(&folder).map_err(|error| failure::file("make the cache folder", &folder, &error))?;
        Ok(folder.join(key))
    }

    /// A fresh work folder. Those of builds that are gone are removed first.
    pub(crate) fn work(&self) -> Result<Work> {
        let all = self.root.join("work");
        fs::create_dir_all(&all).map_err(|error| failure::file("make the work folder", &all, &error))?;
        sweep(&all);
        let folder = tempfile::Builder::new().prefix("build-").tempdir_in(&all);
        let folder = folder.map_err(|error| failure::file("make a work folder in", &all, &error))?.keep();
        let lock = lock(&folder).map_err(|error| failure::file("lock", &folder, &error))?;
        lock.map(|lock| Work { folder: folder.clone(), _lock: lock })
            .ok_or_else(|| Failure::failed(format!("{} is in use by another build", folder.display())))
    }

    /// Moves a finished folder or file into its place. When another build was faster, its result stays: keys name contents.
    pub(crate) fn publish(&self, finished: &Path, place: &Path) -> Result<()> {
        match fs::rename(finished, place) {
            Ok(()) => Ok(()),
            Err(_) if place.exists() => Ok(()),
            Err(error) => Err(failure::file("move into the cache", place, &error)),
        }
    }
}

impl Work {
    /// A path in the work folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new, empty folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        fs::create_dir_all(&path).map_err(|error| failure::file("make", &path, &error))?;
        Ok(path)
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).map_err(|error| failure::file("write", &path, &error))?;
        Ok(path)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

fn lock(folder: &Path) -> std::io::Result<Option<nix::fcntl::Flock<File>>> {
    let file = File::create(folder.with_extension("lock"))?;
    Ok(nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).ok())
}

fn sweep(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // A folder whose lock can be had belongs to a build that is gone; one without a lock is being made right now.
        if path.is_dir() && path.with_extension("lock").exists() && matches!(lock(&path), Ok(Some(_))) {
            remove(&path);
        }
    }
}

fn remove(folder: &Path) {
    // Nothing depends on it: what cannot be removed now is swept by the next build.
    drop(fs::remove_dir_all(folder));
    drop(fs::remove_file(folder.with_extension("lock")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_folders_go_with_their_build_and_leftovers_with_the_next() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path().to_owned()).unwrap();
        let work = cache.work().unwrap();
        let leftover = root.path().join("work/build-old");
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.with_extension("lock"), "").unwrap();
        let second = cache.work().unwrap();
        assert!(!leftover.exists(), "the leftover of a killed build is swept");
        assert!(work.join(".").exists(), "a running build keeps its folder");
        let (first, second_path) = (work.join(""), second.join(""));
        drop((work, second));
        assert!(!first.exists() && !second_path.exists());
    }

    #[test]
    fn the_first_publication_stays() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path().to_owned()).unwrap();
        let place = cache.place("packages", "k").unwrap();
        for name in ["one", "two"] {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("who"), name).unwrap();
            cache.publish(&folder, &place).unwrap();
        }
        assert_eq!(fs::read_to_string(place.join("who")).unwrap(), "one");
    }
}
