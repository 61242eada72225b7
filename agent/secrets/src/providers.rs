//! All sources of secrets of a host, and the one way to them.

use roadstead_model::{AppName, ProviderName, SecretPath, SecretRef};
use roadstead_pki::ClientFiles;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use crate::age::{Age, AgeSettings};
use crate::allow::Pattern;
use crate::command::{CommandProvider, CommandSettings};
use crate::credential::{CredentialSettings, Credentials};
use crate::fault::{Asked, Fault, SecretError};
use crate::provider::{Asker, Place, Provider};
use crate::secret::{Document, Lease, Secret};
use crate::vault::{Engine, Vault, VaultSettings};

/// References that are resolved together.
pub const REFERENCES_MAX: usize = 256;

/// What the host's operator says of one source of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// What it is.
    pub kind: KindSettings,
    /// The apps that may have secrets of it; all where none is named.
    pub apps: BTreeSet<AppName>,
    /// What an app may have of it.
    pub allow: Vec<Pattern>,
}

/// What a source of secrets is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindSettings {
    /// HashiCorp Vault or OpenBao.
    Vault(Box<VaultSettings>),
    /// Credentials of systemd.
    Credential(CredentialSettings),
    /// Files encrypted with age in the release.
    Age(AgeSettings),
    /// A command of the operator's.
    Command(CommandSettings),
}

impl ProviderSettings {
    /// Whether an app may have anything of it.
    #[must_use]
    pub fn serves(&self, app: &AppName) -> bool {
        self.apps.is_empty() || self.apps.contains(app)
    }

    /// Whether an app may have what is at a path, whoever names it.
    #[must_use]
    pub fn allows(&self, app: &AppName, path: &SecretPath) -> bool {
        self.serves(app) && is_allowed(&self.allow, app, path)
    }

    /// Whether what is at a path is issued for a time.
    #[must_use]
    pub fn issues(&self, path: &SecretPath) -> bool {
        matches!(&self.kind, KindSettings::Vault(vault) if vault.mounted(path).is_some_and(|(_, engine, _)| engine == Engine::Database))
    }
}

fn is_allowed(allow: &[Pattern], app: &AppName, path: &SecretPath) -> bool {
    allow.iter().any(|pattern| pattern.fits(app, path))
}

#[derive(Debug)]
struct Entry {
    provider: Arc<dyn Provider>,
    apps: BTreeSet<AppName>,
    allow: Vec<Pattern>,
}

/// The sources of secrets of a host.
#[derive(Debug, Default)]
pub struct Providers(BTreeMap<ProviderName, Entry>);

impl Providers {
    /// Makes them by the settings. Nothing is asked or opened yet. `own` is what this host shows where a login by certificate names no
    /// files: the agent's own identity. `logins` is a folder in memory, of root's alone, where logins outlast the agent; without one they end
    /// with it.
    #[must_use]
    pub fn from_settings(settings: &BTreeMap<ProviderName, ProviderSettings>, own: &ClientFiles, logins: Option<&Path>) -> Self {
        let make = |(name, settings): (&ProviderName, &ProviderSettings)| {
            let provider: Arc<dyn Provider> = match &settings.kind {
                KindSettings::Vault(vault) => Arc::new(Vault::new(name.clone(), (**vault).clone(), own, logins)),
                KindSettings::Credential(credential) => Arc::new(Credentials::new(credential.clone())),
                KindSettings::Age(age) => Arc::new(Age(age.clone())),
                KindSettings::Command(command) => Arc::new(CommandProvider(command.clone())),
            };
            (name.clone(), Entry { provider, apps: settings.apps.clone(), allow: settings.allow.clone() })
        };
        Self(settings.iter().map(make).collect())
    }

    /// With one more, such as one of a test's own.
    #[must_use]
    pub fn with(mut self, name: ProviderName, provider: Arc<dyn Provider>, allow: Vec<Pattern>) -> Self {
        self.0.insert(name, Entry { provider, apps: BTreeSet::new(), allow });
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Resolves one reference, until a time.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn resolve(&self, asker: Asker<'_>, reference: &SecretRef, until: Instant) -> Result<Secret, SecretError> {
        let document = self.document(asker, reference, until).await;
        let secret = document.and_then(|document| document.secret(reference.key.as_ref()));
        secret.map_err(|fault| SecretError { of: Asked::Secret(reference.clone()), fault })
    }

    /// Resolves references together, in their order: each place is read once, so that a user and a password that are issued together
    /// belong together, and values of one version to one another. All are allowed before the first is asked for.
    ///
    /// What is issued on the way is put into `issued` as it comes, each lease once: whatever comes of the rest, also when this is called
    /// off, it is for the caller to end.
    ///
    /// # Errors
    /// [`SecretError`] of the first that cannot be had.
    pub async fn resolve_all(
        &self,
        asker: Asker<'_>,
        references: &[SecretRef],
        until: Instant,
        issued: &mut Vec<Lease>,
    ) -> Result<Vec<Secret>, SecretError> {
        let failed = |reference: &SecretRef| {
            let of = Asked::Secret(reference.clone());
            move |fault| SecretError { of, fault }
        };
        for reference in references {
            self.entry(asker, reference).map_err(failed(reference))?;
        }
        if let Some(reference) = references.get(REFERENCES_MAX) {
            return Err(failed(reference)(Fault::TooMany { max: REFERENCES_MAX }));
        }
        let mut read: BTreeMap<SecretRef, Document> = BTreeMap::new();
        let mut secrets = Vec::with_capacity(references.len());
        for reference in references {
            secrets.push(self.one_of_all(asker, reference, &mut read, until, issued).await.map_err(failed(reference))?);
        }
        Ok(secrets)
    }

    /// Ends what was issued and is of no use, as far as that can be done now.
    pub async fn end_in_vain(&self, leases: &[Lease]) {
        for lease in leases {
            if let Err(error) = self.revoke(lease, Instant::now() + CLEARING_UP).await {
                tracing::warn!(provider = %lease.provider, error = %error.fault, "what was issued in vain is not ended: it ends by itself");
            }
        }
    }

    async fn one_of_all(
        &self,
        asker: Asker<'_>,
        reference: &SecretRef,
        read: &mut BTreeMap<SecretRef, Document>,
        until: Instant,
        issued: &mut Vec<Lease>,
    ) -> Result<Secret, Fault> {
        let by_key = self.entry(asker, reference)?.provider.reads_by_key();
        let place = SecretRef { key: reference.key.clone().filter(|_| by_key), ..reference.clone() };
        let document = match read.entry(place) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let document = self.document(asker, reference, until).await?;
                issued.extend(document.lease.clone());
                new.insert(document)
            }
        };
        document.secret(reference.key.as_ref())
    }

    async fn document(&self, asker: Asker<'_>, reference: &SecretRef, until: Instant) -> Result<Document, Fault> {
        let entry = self.entry(asker, reference)?;
        in_time(until, entry.provider.read(place(asker, reference), until)).await
    }

    /// The provider of a reference, if the app may have what it refers to.
    fn entry(&self, asker: Asker<'_>, reference: &SecretRef) -> Result<&Entry, Fault> {
        let entry = self.known(&reference.provider)?;
        let app_may = entry.apps.is_empty() || entry.apps.contains(asker.app);
        if app_may && (asker.by_operator || is_allowed(&entry.allow, asker.app, &reference.path)) {
            return Ok(entry);
        }
        Err(Fault::NotAllowed { app: asker.app.clone(), provider: reference.provider.clone() })
    }

    fn known(&self, name: &ProviderName) -> Result<&Entry, Fault> {
        self.0.get(name).ok_or_else(|| Fault::NoProvider(name.clone()))
    }

    /// The number of the newest version of what a reference is about.
    ///
    /// # Errors
    /// [`SecretError`], also where the provider keeps no versions.
    pub async fn newest(&self, asker: Asker<'_>, reference: &SecretRef, until: Instant) -> Result<u64, SecretError> {
        let newest = async {
            let entry = self.entry(asker, reference)?;
            in_time(until, entry.provider.newest(place(asker, reference), until)).await
        };
        newest.await.map_err(|fault| SecretError { of: Asked::Secret(reference.clone()), fault })
    }

    /// Makes what was issued hold longer, and the login with which it would end. Whoever needs it for longer calls this again each
    /// [`Lease::renew_in`].
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn renew(&self, lease: &Lease, until: Instant) -> Result<Lease, SecretError> {
        let renewed = async { in_time(until, self.known(&lease.provider)?.provider.renew(lease, until)).await };
        renewed.await.map_err(|fault| of_provider(&lease.provider, fault))
    }

    /// Ends what was issued, now; that it has ended already is as good.
    ///
    /// # Errors
    /// [`SecretError`]: it may still hold, until it ends by itself.
    pub async fn revoke(&self, lease: &Lease, until: Instant) -> Result<(), SecretError> {
        let revoked = async { in_time(until, self.known(&lease.provider)?.provider.revoke(lease, until)).await };
        match revoked.await {
            Ok(()) | Err(Fault::LeaseGone { .. }) => Ok(()),
            Err(fault) => Err(of_provider(&lease.provider, fault)),
        }
    }

    /// Keeps alive what the host logs in with, each `within` a time of its own; gives when to do so again, where anything has to be.
    pub async fn tend(&self, within: Duration) -> Option<Duration> {
        let mut soonest = None;
        for (name, entry) in &self.0 {
            let until = Instant::now() + within;
            match in_time(until, entry.provider.tend(until)).await {
                Ok(next) => soonest = soonest.into_iter().chain(next).min(),
                Err(fault) => {
                    tracing::warn!(provider = %name, error = %fault, hint = fault.hint(), "the host's login at a provider of secrets is not kept alive");
                    soonest = soonest.into_iter().chain([TEND_AGAIN]).min();
                }
            }
        }
        soonest
    }

    /// Whether one works, as far as can be seen without reading a secret; what was seen.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn look(&self, name: &ProviderName, until: Instant) -> Result<String, SecretError> {
        let seen = async { in_time(until, self.known(name)?.provider.look(until)).await };
        seen.await.map_err(|fault| of_provider(name, fault))
    }
}

/// How soon keeping a login alive is tried again.
const TEND_AGAIN: Duration = Duration::from_secs(60);
/// How long ending what was issued in vain may take.
const CLEARING_UP: Duration = Duration::from_secs(10);
/// What a provider may take beyond its time, to say what it waited for.
const GRACE: Duration = Duration::from_secs(2);

fn place<'a>(asker: Asker<'a>, reference: &'a SecretRef) -> Place<'a> {
    Place { asker, path: &reference.path, key: reference.key.as_ref(), version: reference.version }
}

fn of_provider(name: &ProviderName, fault: Fault) -> SecretError {
    SecretError { of: Asked::Provider(name.clone()), fault }
}

/// A provider keeps to its time; that it does is not believed.
async fn in_time<T>(until: Instant, asked: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout_at(until + GRACE, asked).await.unwrap_or(Err(Fault::Deadline { last: None }))
}
