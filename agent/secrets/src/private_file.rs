//! Files of the host that hold a secret: root's alone, and regular.

use nix::fcntl::OFlag;
use nix::unistd::Uid;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::value::{Buffer, Value};

/// Bytes of the largest such file.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Where a secret of the host itself is, such as a token: a file of root's, or a credential that systemd gives to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostFile {
    /// A file.
    Path(PathBuf),
    /// The credential of this name.
    Credential(String),
}

impl HostFile {
    /// Reads what it holds, without the line break at its end.
    pub(crate) fn read(&self) -> Result<Value, Fault> {
        let path = match self {
            Self::Path(path) => path.clone(),
            Self::Credential(name) => given_folder().ok_or_else(|| no_folder(name))?.join(name),
        };
        Ok(read(&path)?.without_line_end())
    }
}

fn no_folder(name: &str) -> Fault {
    Fault::NoFile {
        path: name.into(),
        what: "systemd gave the agent no credentials (LoadCredential= in a drop-in of roadstead-agent.service)",
    }
}

/// The folder of credentials that systemd gave to the agent.
pub(crate) fn given_folder() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|folder| folder.is_absolute())
}

/// Reads a file that only root, or whoever the agent runs as, can read or change.
pub(crate) fn read(path: &Path) -> Result<Value, Fault> {
    let (file, metadata) = open(path)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & 0o077 != 0 || !(owner == 0 || Uid::effective().as_raw() == owner) {
        return Err(Fault::Exposed { path: path.to_owned(), mode, owner });
    }
    read_all(file, path)
}

/// Opens a regular file; a pipe or a device is not waited for.
fn open(path: &Path) -> Result<(File, std::fs::Metadata), Fault> {
    let fault = |doing| move |why| Fault::File { doing, path: path.to_owned(), why };
    let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fault("open"))?;
    let metadata = file.metadata().map_err(fault("look at"))?;
    if !metadata.is_file() {
        return Err(Fault::NoFile { path: path.to_owned(), what: "it is no regular file" });
    }
    Ok((file, metadata))
}

/// Reads an open file; `path` is its name for people.
pub(crate) fn read_all(mut file: File, path: &Path) -> Result<Value, Fault> {
    let (mut buffer, mut part) = (Buffer::default(), zeroize::Zeroizing::new([0_u8; 8192]));
    loop {
        match file.read(&mut *part) {
            Ok(0) => return Ok(buffer.into_value()),
            Ok(length) => buffer
                .push(&part[..length], FILE_BYTES_MAX)
                .map_err(|()| Fault::TooLarge { from: path.display().to_string(), max: FILE_BYTES_MAX })?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Fault::File { doing: "read", path: path.to_owned(), why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "canary\n").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, Fault::Exposed { .. }) && error.hint().contains("anew"), "{mode:o}: {error}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(HostFile::Path(path.clone()).read().unwrap().reveal(), b"canary");
        }
    }

    #[test]
    fn what_is_no_file_or_has_no_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(Fault::NoFile { .. })));
        assert!(matches!(read(&folder.path().join("none")), Err(Fault::File { .. })));
        assert!(matches!(read(Path::new("/dev/zero")), Err(Fault::NoFile { .. })));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe), Err(Fault::NoFile { .. })), "nobody waits for a pipe's other end");
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
        fs::set_permissions(&large, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&large), Err(Fault::TooLarge { .. })));
    }
}
