//! `roadstead-controller init`: the authority, the database, the first admin's credential. Run again, it makes what is missing.

use nix::unistd::{Gid, Uid};
use roadstead_pki::{ADMIN_LIFETIME, Authority, Credentials, Identity};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::args;
use crate::clock;
use crate::layout::Layout;
use crate::settings::Settings;
use crate::store::{CertificateRecord, Store};

/// The user that the daemon runs as, made by its package.
const SERVICE_USER: &str = "roadstead";

/// Why there is no controller yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// The file system refused.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The credential's file is there.
    #[error("{path} is there already and is not replaced: give another --out", path = path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The address is none.
    #[error("{0:?} is no HOST:PORT")]
    Address(String),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] roadstead_pki::AuthorityError),
    /// The credential.
    #[error(transparent)]
    Issue(#[from] roadstead_pki::IssueError),
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InitError {
    let path = path.to_path_buf();
    move |source| InitError::Io { doing, path, source }
}

/// Makes what is missing and says what was done.
///
/// # Errors
/// [`InitError`].
pub(crate) async fn init(settings: &Settings, arguments: &args::Init) -> Result<String, InitError> {
    let layout = Layout::new(&settings.state);
    let address = arguments.address.clone().unwrap_or_else(|| settings.reachable_at());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() || !address.chars().all(is_plain) {
        return Err(InitError::Address(address));
    }
    if arguments.out.exists() {
        return Err(InitError::Exists { path: arguments.out.clone() });
    }
    let mut said = String::new();
    make_private(&layout.pki())?;
    make_private(&layout.blobs())?;
    let authority = authority(&layout, &mut said)?;
    let store = Store::open(&layout.database()).await?;
    let known = store.admins().await?.into_iter().any(|(name, _)| name == arguments.admin);
    if known {
        said.push_str(&format!("admin {} is there already: `roadstead admin token` lets them in on another machine\n", arguments.admin));
    } else {
        let identity = Identity::Admin(arguments.admin.clone());
        let credentials = authority.issue_credentials(&identity, ADMIN_LIFETIME, clock::now())?;
        // Written first: a credential that nobody has must not be in the database.
        write_credential(&arguments.out, &address, &credentials)?;
        store.add_admin(arguments.admin.clone(), CertificateRecord::from(&credentials), clock::now()).await?;
        said.push_str(&format!("admin {} has a credential in {}\n", arguments.admin, arguments.out.display()));
        said.push_str(&format!(
            "next: systemctl start roadstead-controller, then roadstead login --credential {}\n",
            arguments.out.display()
        ));
    }
    store.close().await;
    hand_over(layout.state())?;
    Ok(said)
}

fn authority(layout: &Layout, said: &mut String) -> Result<Authority, InitError> {
    let path = layout.authority();
    if path.exists() {
        return Ok(Authority::load(&path)?);
    }
    let authority = Authority::create(clock::now())?;
    authority.save_new(&path)?;
    said.push_str(&format!("the authority of the fleet is in {}: keep a copy of it where nobody else comes\n", path.display()));
    Ok(authority)
}

fn make_private(folder: &Path) -> Result<(), InitError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("make", folder))
}

/// The credential: where the controller is, then key, certificate and authority.
fn write_credential(path: &Path, address: &str, credentials: &Credentials) -> Result<(), InitError> {
    let text = format!("controller = \"{address}\"\n{}", credentials.reveal());
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(io("make", path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write", path))
}

/// Gives everything to the daemon's user, when root runs this and there is such a user.
pub(crate) fn hand_over(state: &Path) -> Result<(), InitError> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let Ok(Some(user)) = nix::unistd::User::from_name(SERVICE_USER) else { return Ok(()) };
    give_away(state, user.uid, user.gid)
}

/// Gives a folder and all below it to a user. What goes away meanwhile needs no owner: the last connection to a
/// database removes its log a moment after it was closed.
fn give_away(folder: &Path, user: Uid, group: Gid) -> Result<(), InitError> {
    let mut paths = vec![folder.to_path_buf()];
    while let Some(path) = paths.pop() {
        let given = std::os::unix::fs::lchown(&path, Some(user.as_raw()), Some(group.as_raw()));
        if unless_gone(given).map_err(io("give away", &path))?.is_none() {
            continue;
        }
        let Some(found) = unless_gone(fs::symlink_metadata(&path)).map_err(io("look at", &path))? else { continue };
        if found.is_dir() {
            for entry in fs::read_dir(&path).map_err(io("list", &path))? {
                paths.push(entry.map_err(io("list", &path))?.path());
            }
        }
    }
    Ok(())
}

/// Nothing, for a file that is not there any more.
fn unless_gone<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn files_that_come_and_go_are_given_away_or_gone() {
        let state = tempfile::tempdir().unwrap();
        let log = state.path().join("roadstead.db-wal");
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::write(&log, b"frames").unwrap();
                    fs::remove_file(&log).unwrap();
                }
            });
            let given = (0..20_000).find_map(|_| give_away(state.path(), Uid::effective(), Gid::effective()).err());
            over.store(true, Ordering::Relaxed);
            assert!(given.is_none(), "{given:?}");
        });
    }
}
