//! The file on the disk, and beside it the last one that nginx has taken, for as long as that is another.
//!
//! So whoever starts after a crash knows what nginx runs with, that a reload is due, and what to go back to.

use roadstead_model::{Failure, FailureKind, limits};
use roadstead_worker::failure::host_failure;
use roadstead_worker::files::{FileError, read_bounded, sync_folder, write_atomically};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::upstream;

/// Readable by all, as configuration is.
const MODE: u32 = 0o644;

/// The file, by its path.
#[derive(Debug, Clone)]
pub(super) struct UpstreamFile {
    path: PathBuf,
    before: PathBuf,
}

/// What lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnDisk {
    /// The file; empty when there is none.
    pub(super) text: String,
    /// The one that nginx has taken, when it is perhaps not this one; empty when there was none.
    pub(super) before: Option<String>,
}

impl OnDisk {
    /// What nginx runs with.
    pub(super) fn in_effect(&self) -> &str {
        self.before.as_deref().unwrap_or(&self.text)
    }
}

impl UpstreamFile {
    /// The file at a path. What lies beside it begins with a dot: nginx does not include it by `*`.
    pub(super) fn at(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self { path: path.to_path_buf(), before: path.with_file_name(format!(".{name}.before")) }
    }

    /// Reads it; a file of somebody else's is refused.
    pub(super) fn read(&self) -> Result<OnDisk, Failure> {
        let content = text(&self.path).map_err(|error| failure(&error))?.unwrap_or_default();
        if !upstream::is_ours(&content) {
            let path = self.path.display();
            return Err(Failure::new(
                FailureKind::Unfit,
                format!("{path} was not written by the agent, which does not write over it"),
                "move it away, or name another path: `file` under [traffic.APP] in agent.toml",
            ));
        }
        let before = text(&self.before).map_err(|error| failure(&error))?;
        Ok(OnDisk { text: content, before })
    }

    /// Writes a new text, which nginx has not taken yet.
    pub(super) fn write(&self, on_disk: &OnDisk, text: &str) -> Result<(), Failure> {
        let write = || {
            if on_disk.before.is_none() {
                write_atomically(&self.before, on_disk.text.as_bytes(), MODE)?;
            }
            write_atomically(&self.path, text.as_bytes(), MODE)
        };
        write().map_err(|error| failure(&error))
    }

    /// nginx has taken the new text.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        remove(&self.before).map_err(|error| failure(&error))
    }

    /// nginx does not take the new text: the one of before is back.
    pub(super) fn go_back(&self, before: &str) -> Result<(), Failure> {
        let back = || {
            if before.is_empty() { remove(&self.path) } else { write_atomically(&self.path, before.as_bytes(), MODE) }?;
            remove(&self.before)
        };
        back().map_err(|error| failure(&error))
    }
}

fn text(path: &Path) -> Result<Option<String>, FileError> {
    match read_bounded(path, limits::CONFIG_FILE_BYTES_MAX * 16) {
        Err(error) if error.is_missing() => Ok(None),
        bytes => Ok(Some(String::from_utf8_lossy(&bytes?).into_owned())),
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, error)),
        _ => sync_folder(path.parent().unwrap_or(Path::new("/"))),
    }
}

fn failure(error: &FileError) -> Failure {
    host_failure(
        error,
        "does the folder exist? The agent may write in /etc/nginx/conf.d; another needs ReadWritePaths= in a drop-in of roadstead-agent.service",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "# written by roadstead-agent: one\n";
    const TWO: &str = "# written by roadstead-agent: two\n";

    #[test]
    fn what_nginx_runs_with_is_known_until_it_has_taken_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roadstead-shop.conf");
        let file = UpstreamFile::at(&path);
        let nothing = file.read().unwrap();
        assert_eq!((nothing.text.as_str(), &nothing.before), ("", &None));
        file.write(&nothing, ONE).unwrap();
        let first = file.read().unwrap();
        assert_eq!((first.text.as_str(), first.in_effect()), (ONE, ""));
        file.go_back(first.in_effect()).unwrap();
        assert!(!path.exists(), "there was none");

        file.write(&file.read().unwrap(), ONE).unwrap();
        file.settle().unwrap();
        file.write(&file.read().unwrap(), TWO).unwrap();
        // A second change before nginx took the first.
        file.write(&file.read().unwrap(), "# written by roadstead-agent: three\n").unwrap();
        let on_disk = file.read().unwrap();
        assert_eq!(on_disk.in_effect(), ONE);
        file.go_back(on_disk.in_effect()).unwrap();
        assert_eq!(file.read().unwrap(), OnDisk { text: ONE.into(), before: None });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_of_somebody_elses_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.conf");
        fs::write(&path, "upstream shop { server 10.0.0.1; }\n").unwrap();
        let refused = UpstreamFile::at(&path).read().unwrap_err();
        assert!(refused.summary.contains("shop.conf was not written by the agent"), "{refused:?}");
        let nowhere = UpstreamFile::at(&folder.path().join("none/shop.conf"));
        let refused = nowhere.write(&nowhere.read().unwrap(), ONE).unwrap_err();
        assert!(refused.summary.contains("none") && refused.hint.contains("ReadWritePaths"), "{refused:?}");
    }
}
