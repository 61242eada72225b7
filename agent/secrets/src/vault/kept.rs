//! A login that outlasts the agent: what was issued lives as long as the login by which it was, and an agent that starts anew while a
//! migration runs has to keep that one alive. It lies below `/run`, root's alone, and no disk ever holds it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::private_file;
use crate::value::Value;

/// Where a login is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept(PathBuf);

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    /// Whose it is, and where: a login of other settings is none.
    #[serde(borrow)]
    of: Cow<'a, str>,
    token: &'a str,
}

impl Kept {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    /// The token that was kept for `of`, if there is one. A file that somebody else could have written or that cannot be read holds none.
    pub(super) fn read(&self, of: &str) -> Option<Value> {
        let text = private_file::read(&self.0).ok()?;
        let written: Written<'_> = serde_json::from_slice(text.reveal()).ok()?;
        (written.of == of).then(|| Value::new(written.token.as_bytes().to_vec()))
    }

    /// Keeps a token for `of`. Where that does not work, the next agent logs in anew.
    pub(super) fn write(&self, of: &str, token: &Value) {
        if let Err(error) = self.try_write(of, token) {
            tracing::warn!(path = %self.0.display(), %error, "a login is not kept for an agent that starts anew");
            // Nor is the one before it: nobody renews that any more.
            remove(&self.0).ok();
        }
    }

    fn try_write(&self, of: &str, token: &Value) -> io::Result<()> {
        let token = token.reveal_text().ok_or(io::ErrorKind::InvalidData)?;
        // Large enough that nothing of it is moved elsewhere in memory.
        let mut text = Zeroizing::new(Vec::with_capacity(2 * (of.len() + token.len()) + 64));
        serde_json::to_writer(&mut *text, &Written { of: of.into(), token })?;
        if let Some(folder) = self.0.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // Whoever reads meanwhile reads one or the other.
        let new = self.0.with_extension("new");
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        fs::rename(&new, &self.0)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn it_is_root_s_alone_and_of_the_same_settings_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let logins = folder.path().join("logins");
        let kept = Kept::new(&logins, "vault");
        let of = "[\"https://vault.example.org\"] role";
        assert!(kept.read(of).is_none());
        kept.write(of, &Value::new(b"first".to_vec()));
        kept.write(of, &Value::new(b"second".to_vec()));
        assert_eq!(kept.read(of).unwrap().reveal(), b"second");
        assert!(kept.read("b").is_none(), "another role, or another server");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&logins), mode(&logins.join("vault"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&logins).unwrap().count(), 1);

        fs::set_permissions(logins.join("vault"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(kept.read(of).is_none(), "others may have read it");
        fs::set_permissions(logins.join("vault"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(logins.join("vault"), b"{\"of\":\"a\"").unwrap();
        assert!(kept.read("a").is_none());
        // A place where nothing can be kept is told and harms nothing.
        Kept::new(Path::new("/dev/null/none"), "vault").write(of, &Value::new(b"third".to_vec()));
    }
}
