//! Credentials of systemd: those that it gave to the agent, and those in the host's credential stores, encrypted ones decrypted by
//! `systemd-creds` with the host's own key (or its TPM).

use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

use crate::child::{self, Run};
use crate::fault::Fault;
use crate::format::Format;
use crate::private_file::{self, given_folder};
use crate::provider::{Place, Provider};
use crate::secret::Document;
use crate::value::Value;

const WITHIN: Duration = Duration::from_secs(30);
const PROGRAM: &str = "/usr/bin/systemd-creds";

/// Where credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Folders of encrypted credentials.
    pub encrypted: Vec<PathBuf>,
    /// Folders of plain ones.
    pub plain: Vec<PathBuf>,
    /// What they are.
    pub format: Format,
}

impl Default for CredentialSettings {
    fn default() -> Self {
        Self { encrypted: vec!["/etc/credstore.encrypted".into()], plain: vec!["/etc/credstore".into()], format: Format::default() }
    }
}

/// The provider.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) settings: CredentialSettings,
    /// The folder that systemd gave to the agent.
    pub(crate) given: Option<PathBuf>,
}

impl Credentials {
    pub(crate) fn new(settings: CredentialSettings) -> Self {
        Self { settings, given: given_folder() }
    }

    async fn find(&self, name: &str, until: Instant) -> Result<Value, Fault> {
        for folder in self.given.iter().chain(&self.settings.plain) {
            match private_file::read(&folder.join(name)) {
                Err(fault) if is_missing(&fault) => {}
                found => return found,
            }
        }
        for folder in &self.settings.encrypted {
            match private_file::read(&folder.join(name)) {
                Err(fault) if is_missing(&fault) => {}
                Err(fault) => return Err(fault),
                Ok(encrypted) => return decrypt(name, encrypted, until).await,
            }
        }
        let folders = self.given.iter().chain(&self.settings.plain).chain(&self.settings.encrypted);
        let place = folders.map(|folder| folder.join(name).display().to_string()).collect::<Vec<_>>().join(", ");
        Err(Fault::Missing { place })
    }
}

fn is_missing(fault: &Fault) -> bool {
    matches!(fault, Fault::File { why, .. } if why.kind() == io::ErrorKind::NotFound)
}

/// Decrypts a credential. Its name is a part of it: a file under another name is refused.
async fn decrypt(name: &str, encrypted: Value, until: Instant) -> Result<Value, Fault> {
    let words = [PROGRAM.to_owned(), "decrypt".to_owned(), format!("--name={name}"), "-".to_owned(), "-".to_owned()];
    child::run(Run { words: &words, environment: &[], user: None, input: Some(encrypted), within: WITHIN }, until).await
}

#[async_trait]
impl Provider for Credentials {
    async fn read(&self, place: Place<'_>, until: Instant) -> Result<Document, Fault> {
        if place.version.is_some() {
            return Err(Fault::NoVersions);
        }
        if place.path.segments().nth(1).is_some() {
            return Err(Fault::Path("the name of a credential has no '/'"));
        }
        let name = place.path.as_str();
        let value = self.find(name, until).await?;
        self.settings.format.read(value, &format!("the credential {name}")).map(Document::lasting)
    }

    async fn look(&self, _until: Instant) -> Result<String, Fault> {
        let there = |folders: &[PathBuf]| folders.iter().any(|folder| folder.is_dir());
        if there(&self.settings.encrypted) && !Path::new(PROGRAM).is_file() {
            return Err(Fault::Program { program: PROGRAM.to_owned(), how: "is not there".to_owned() });
        }
        let folders = self.given.iter().chain(&self.settings.plain).chain(&self.settings.encrypted).filter(|folder| folder.is_dir());
        let folders: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
        Ok(if folders.is_empty() { "no credentials are there yet".to_owned() } else { format!("credentials in {}", folders.join(", ")) })
    }
}
