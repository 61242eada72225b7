//! Files encrypted with age, in the tree of the app's own signed release. The host's operator has the identity that decrypts them.

use async_trait::async_trait;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use roadstead_model::SecretPath;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

use crate::child::{self, Run};
use crate::fault::Fault;
use crate::format::Format;
use crate::private_file;
use crate::provider::{Place, Provider};
use crate::secret::Document;
use crate::value::Value;

const WITHIN: Duration = Duration::from_secs(30);

/// How such files are decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeSettings {
    /// The program.
    pub program: PathBuf,
    /// Files of identities (secret keys); root's alone.
    pub identities: Vec<PathBuf>,
    /// What the decrypted files are.
    pub format: Format,
}

/// The provider.
#[derive(Debug)]
pub(crate) struct Age(pub(crate) AgeSettings);

impl Age {
    fn program(&self) -> String {
        self.0.program.display().to_string()
    }

    /// The files of identities are looked at each time: age itself takes one that everybody can read.
    fn check_identities(&self) -> Result<(), Fault> {
        self.0.identities.iter().try_for_each(|path| private_file::read(path).map(drop))
    }
}

#[async_trait]
impl Provider for Age {
    async fn read(&self, place: Place<'_>, until: Instant) -> Result<Document, Fault> {
        if place.version.is_some() {
            return Err(Fault::NoVersions);
        }
        let tree = place.asker.tree.ok_or(Fault::Path("there is no release whose tree could hold it"))?;
        self.check_identities()?;
        let encrypted = read_beneath(tree, place.path)?;
        let mut words = vec![self.program(), "--decrypt".to_owned()];
        words.extend(self.0.identities.iter().flat_map(|path| ["--identity".to_owned(), path.display().to_string()]));
        // Without a PATH worth its name no plugin of age is found: an identity is a key, not a program.
        let environment = [("PATH".to_owned(), "/nonexistent".to_owned())];
        let run = Run { words: &words, environment: &environment, user: None, input: Some(encrypted), within: WITHIN };
        let decrypted = child::run(run, until).await?;
        self.0.format.read(decrypted, &format!("{} decrypted", place.path)).map(Document::lasting)
    }

    async fn look(&self, until: Instant) -> Result<String, Fault> {
        self.check_identities()?;
        let words = [self.program(), "--version".to_owned()];
        let printed = child::run(Run { words: &words, environment: &[], user: None, input: None, within: WITHIN }, until).await?;
        let version = crate::fault::shown(&String::from_utf8_lossy(printed.reveal()), 40);
        Ok(format!("age {version}, identities in {}", list(&self.0.identities)))
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads a file of a tree; no link is followed, inside or out. (`openat2` would say so at once, and is not let through where
/// `RestrictSUIDSGID=` cannot look into what it is told.)
fn read_beneath(tree: &Path, path: &SecretPath) -> Result<Value, Fault> {
    let full = tree.join(path.as_str());
    let fault = |error: nix::Error| Fault::File { doing: "open", path: full.clone(), why: error.into() };
    let folder = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = open(tree, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fault)?;
    let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        at = openat(&at, part, folder, Mode::empty()).map_err(fault)?;
    }
    let file = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(openat(&at, name, file, Mode::empty()).map_err(fault)?);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Fault::NoFile { path: full, what: "it is no regular file" });
    }
    private_file::read_all(file, &full)
}
