//! HashiCorp Vault and OpenBao: values of the KV secrets engine, version 2, and what the database engine issues, by their documented API.

mod answer;
mod ask;
mod http;
mod kept;
mod session;
mod settings;

use async_trait::async_trait;
use roadstead_model::{ProviderName, SecretPath};
use roadstead_pki::ClientFiles;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use crate::fault::{Fault, shown};
use crate::provider::{Place, Provider};
use crate::secret::{Content, Document, Lease};
use crate::value::Value;
use answer::Issued;
use ask::{Ask, Cluster};
use kept::Kept;
use session::{Session, Sessions};

pub use settings::{Engine, Login, VaultSettings};

/// Whatever ends sooner than this cannot be kept up.
const RENEWAL_SOONEST: Duration = Duration::from_secs(1);

/// A cluster of Vault, as one host sees it.
#[derive(Debug)]
pub(crate) struct Vault {
    name: ProviderName,
    settings: VaultSettings,
    sessions: Sessions,
    cluster: Cluster,
}

#[derive(Serialize)]
struct OfLease<'a> {
    lease_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    increment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<bool>,
}

impl Vault {
    /// `logins` is the folder where its login outlasts the agent, if it is to.
    pub(crate) fn new(name: ProviderName, settings: VaultSettings, own: &ClientFiles, logins: Option<&Path>) -> Self {
        let cluster = Cluster::new(settings.addresses.clone(), settings.namespace.clone());
        let sessions = Sessions::new(&settings, own.clone(), logins.map(|folder| Kept::new(folder, name.as_str())));
        Self { name, settings, sessions, cluster }
    }

    /// Asks as the host that is logged in. A token may have ended, or have been revoked, since: one refusal of an older one is answered by
    /// a new login. When that is refused, too, it is the path and not the login, and the older one stays: what was issued lives as long as
    /// the login by which it was.
    async fn ask(&self, ask: Ask<'_>, until: Instant) -> Result<(Value, Arc<Session>), Fault> {
        let began = Instant::now();
        let session = self.sessions.open(&self.cluster, until).await?;
        match self.cluster.ask(ask.with_token(&session.token), &session.tls, until).await {
            Err(Fault::Denied { .. }) if session.began.is_none_or(|at| at < began) => {
                let fresh = self.sessions.anew(&session, &self.cluster, until).await?;
                let answered = self.cluster.ask(ask.with_token(&fresh.token), &fresh.tls, until).await;
                match &answered {
                    Err(Fault::Denied { .. }) => self.sessions.drop_unneeded(&fresh, &self.cluster, until).await,
                    _ => self.sessions.replace(&session, &fresh).await,
                }
                Ok((answered?, fresh))
            }
            answered => answered.map(|body| (body, session)),
        }
    }

    /// The mount that a path begins with, its engine, and the rest of the path.
    fn mounted<'a>(&self, path: &'a SecretPath) -> Result<(&str, Engine, &'a str), Fault> {
        self.settings.mounted(path).ok_or_else(|| Fault::UnknownMount(self.name.clone()))
    }

    fn lease(&self, issued: &Issued, session: &Session) -> Option<Lease> {
        let duration = Duration::from_secs(issued.lease_duration).min(session::LONGEST);
        let renew_in = session.due_in(Instant::now()).map_or(duration / 2, |due| due.min(duration / 2)).max(RENEWAL_SOONEST);
        let id = issued.lease_id.clone();
        (!id.is_empty()).then(|| Lease::new(self.name.clone(), id, duration, issued.renewable, renew_in))
    }
}

#[async_trait]
impl Provider for Vault {
    async fn read(&self, place: Place<'_>, until: Instant) -> Result<Document, Fault> {
        let (mount, engine, rest) = self.mounted(place.path)?;
        match engine {
            Engine::Kv => {
                let version = place.version.map(|version| format!("?version={version}")).unwrap_or_default();
                let path = format!("{mount}/data/{rest}{version}");
                let (body, _) = self.ask(Ask::get(&path), until).await?;
                let read = answer::kv(body.reveal()).map_err(|what| self.cluster.malformed(what))?;
                Ok(Document { content: Content::Keys(read.values), version: Some(read.version), lease: None })
            }
            Engine::Database => {
                if place.version.is_some() {
                    return Err(Fault::NoVersions);
                }
                if rest.contains('/') {
                    return Err(Fault::Path("behind the mount of a database engine stands the name of a role"));
                }
                let (body, session) = self.ask(Ask::get(&format!("{mount}/creds/{rest}")), until).await?;
                let issued = answer::issued(body.reveal()).map_err(|what| self.cluster.malformed(what))?;
                let lease = self.lease(&issued, &session);
                let values = issued.data.ok_or_else(|| self.cluster.malformed("it holds no values"))?;
                Ok(Document { content: Content::Keys(values.0), version: None, lease })
            }
        }
    }

    async fn newest(&self, place: Place<'_>, until: Instant) -> Result<u64, Fault> {
        let (mount, Engine::Kv, rest) = self.mounted(place.path)? else { return Err(Fault::NoVersions) };
        let (body, _) = self.ask(Ask::get(&format!("{mount}/metadata/{rest}")), until).await?;
        answer::newest(body.reveal()).map_err(|what| self.cluster.malformed(what))
    }

    async fn renew(&self, lease: &Lease, until: Instant) -> Result<Lease, Fault> {
        // What was issued to a token ends with the token: that is kept alive first.
        let increment = Some(lease.duration.as_secs()).filter(|seconds| *seconds > 0);
        let question = OfLease { lease_id: lease.id(), increment, sync: None };
        let (body, session) = self.ask(Ask::post("sys/leases/renew", &question).about_a_lease(), until).await?;
        let issued = answer::issued(body.reveal()).map_err(|what| self.cluster.malformed(what))?;
        self.lease(&issued, &session).ok_or_else(|| self.cluster.malformed("it names no lease"))
    }

    async fn revoke(&self, lease: &Lease, until: Instant) -> Result<(), Fault> {
        // It is over when the answer comes, not some time later.
        let question = OfLease { lease_id: lease.id(), increment: None, sync: Some(true) };
        self.ask(Ask::post("sys/leases/revoke", &question).about_a_lease(), until).await.map(drop)
    }

    async fn tend(&self, until: Instant) -> Result<Option<Duration>, Fault> {
        self.sessions.tend(&self.cluster, until).await
    }

    async fn look(&self, until: Instant) -> Result<String, Fault> {
        let health = self.cluster.health(&self.sessions.tls(&self.cluster)?, until).await?;
        let session = self.sessions.open(&self.cluster, until).await?;
        let version = shown(&health.version, 40);
        let held = session.life.map_or_else(|| "that does not end".to_owned(), |life| format!("for {} s", life.as_secs()));
        Ok(format!(
            "{} is version {version} and unsealed; this host logs in by {}, with a token {held}",
            health.address,
            self.settings.login.how()
        ))
    }
}
