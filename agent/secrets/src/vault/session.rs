//! The host's login: made when it is needed, kept alive while it is used, made anew when it ends.

use roadstead_model::SecretPath;
use roadstead_pki::{ClientFiles, OutsideTls};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::{self, Auth};
use super::ask::{Ask, Cluster};
use super::http::Tls;
use super::kept::Kept;
use super::settings::{Login, VaultSettings};
use crate::fault::Fault;
use crate::value::Value;

/// A token that holds for less is not worth renewing.
const WORTHWHILE: Duration = Duration::from_secs(10);
/// Nothing is believed to hold for longer: ten years.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Whatever ends sooner cannot be kept up.
const TEND_SOONEST: Duration = Duration::from_secs(1);
/// How often is looked after a token that cannot be renewed, or does not end.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// A login.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Value,
    /// How the server was spoken to: what it was shown then.
    pub(super) tls: Tls,
    pub(super) renewable: bool,
    /// When it was made; nothing where an agent before this one did.
    pub(super) began: Option<Instant>,
    /// When it was made or renewed.
    since: Instant,
    /// How long it holds from then; for ever otherwise.
    pub(super) life: Option<Duration>,
}

impl Session {
    /// A token is used for two thirds of its life at most: what is asked with it takes time, too.
    fn is_fresh(&self, now: Instant) -> bool {
        self.life.is_none_or(|life| now < self.since + life * 2 / 3)
    }

    /// How long until it wants to be renewed; never where it does not end.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.life.map(|life| (self.since + life / 2).saturating_duration_since(now))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due_in(now).is_some_and(|due| due.is_zero())
    }
}

/// The login of a host at one cluster.
#[derive(Debug)]
pub(super) struct Sessions {
    login: Login,
    mount: SecretPath,
    authorities: Option<PathBuf>,
    own: ClientFiles,
    /// Where a login outlasts the agent. A token of a file does so there.
    kept: Option<Kept>,
    /// What tells a login at this cluster from one of other settings, but for the role's id.
    place: String,
    current: Mutex<Option<Arc<Session>>>,
}

#[derive(Serialize)]
struct ByRole<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ByCertificate<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Nothing {}

impl Sessions {
    pub(super) fn new(settings: &VaultSettings, own: ClientFiles, kept: Option<Kept>) -> Self {
        let files = if let Login::Certificate { files, .. } = &settings.login { files.as_ref() } else { None };
        let place = format!("{:?} {:?} {} {files:?}", settings.addresses, settings.namespace, settings.login_mount);
        let VaultSettings { login, login_mount, authorities, .. } = settings.clone();
        let kept = kept.filter(|_| !matches!(login, Login::Token(_)));
        Self { login, mount: login_mount, authorities, own, kept, place, current: Mutex::const_new(None) }
    }

    /// How servers are spoken to, with what the files hold now.
    pub(super) fn tls(&self, cluster: &Cluster) -> Result<Tls, Fault> {
        if !cluster.speaks_tls() {
            return Ok(None);
        }
        let files = match &self.login {
            Login::Certificate { files, .. } => Some(files.as_ref().unwrap_or(&self.own)),
            Login::Token(_) | Login::AppRole { .. } => None,
        };
        let made = OutsideTls::new(self.authorities.as_deref(), files);
        made.map(Some).map_err(|error| Fault::Tls { address: cluster.name(), why: error.to_string() })
    }

    /// The login that there is, kept alive, or a new one.
    pub(super) async fn open(&self, cluster: &Cluster, until: Instant) -> Result<Arc<Session>, Fault> {
        // Whoever comes meanwhile waits for the same login.
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(session) = current.as_ref().filter(|session| !session.is_due(now)) {
            return Ok(Arc::clone(session));
        }
        // It stays until another takes its place: this may be called off at any time, and what was issued lives as long as its login.
        if let Some(session) = current.clone().filter(|session| session.renewable) {
            match self.renewed(&session, cluster, until).await {
                Ok(renewed) => return Ok(Arc::clone(current.insert(Arc::new(renewed)))),
                // It may have been revoked, or have reached the longest life that there is.
                Err(Fault::Denied { .. } | Fault::Refused { .. }) => {}
                Err(fault) if matches!(fault, Fault::Deadline { .. }) || !session.is_fresh(now) => return Err(fault),
                // What was asked went wrong in another way; the token still holds.
                Err(_) => return Ok(session),
            }
        }
        let before = match *current {
            None => self.of_before(cluster, until).await?,
            Some(_) => None,
        };
        let session = match before {
            Some(session) => session,
            None => self.log_in(cluster, until).await.inspect(|session| self.keep(session))?,
        };
        Ok(Arc::clone(current.insert(Arc::new(session))))
    }

    /// The login of an agent before this one, if it still holds.
    async fn of_before(&self, cluster: &Cluster, until: Instant) -> Result<Option<Session>, Fault> {
        let Some(token) = self.kept.as_ref().and_then(|kept| kept.read(&self.place_of_role()?)) else { return Ok(None) };
        match self.look_up(token, self.tls(cluster)?, cluster, until).await {
            // One without an end is none of a login: its last second is cut off.
            Ok(session) => Ok(session.life.is_some().then_some(Session { began: None, ..session })),
            Err(fault @ Fault::Login { .. }) => {
                tracing::warn!(%fault, "the login of before cannot be gone on with: what was issued to it ends with it");
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn keep(&self, session: &Session) {
        if let (Some(kept), Some(of)) = (&self.kept, self.place_of_role()) {
            kept.write(&of, &session.token);
        }
    }

    /// What tells a login from one of other settings; nothing where the role's id cannot be read.
    fn place_of_role(&self) -> Option<String> {
        let role = match &self.login {
            Login::Token(_) => return None,
            Login::AppRole { role_id, .. } => role_id.read().ok()?.reveal_text()?.to_owned(),
            Login::Certificate { role, .. } => role.clone().unwrap_or_default(),
        };
        Some(format!("{} {} {role}", self.place, self.login.how()))
    }

    /// A login that may do what an older one may not: the one that took its place meanwhile, or a new one, which has not yet.
    pub(super) async fn anew(&self, older: &Arc<Session>, cluster: &Cluster, until: Instant) -> Result<Arc<Session>, Fault> {
        let current = self.current.lock().await.clone();
        match current.filter(|session| !Arc::ptr_eq(session, older)) {
            Some(newer) => Ok(newer),
            None => self.log_in(cluster, until).await.map(Arc::new),
        }
    }

    /// A login takes the place of an older one, unless another has.
    pub(super) async fn replace(&self, older: &Arc<Session>, fresh: &Arc<Session>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|session| Arc::ptr_eq(session, older)) {
            *current = Some(Arc::clone(fresh));
            self.keep(fresh);
        }
    }

    /// Ends a login that was of no use. A token of a file is not this agent's to end, and one in use stays.
    pub(super) async fn drop_unneeded(&self, fresh: &Arc<Session>, cluster: &Cluster, until: Instant) {
        let is_used = self.current.lock().await.as_ref().is_some_and(|session| Arc::ptr_eq(session, fresh));
        if is_used || matches!(self.login, Login::Token(_)) {
            return;
        }
        let ended = cluster.ask(Ask::post("auth/token/revoke-self", &Nothing {}).with_token(&fresh.token), &fresh.tls, until).await;
        if let Err(fault) = ended {
            tracing::debug!(%fault, "a login that was of no use ends by itself");
        }
    }

    /// Keeps a token alive that nobody else would: one of a file. A login that nobody uses may end, it is made anew.
    pub(super) async fn tend(&self, cluster: &Cluster, until: Instant) -> Result<Option<Duration>, Fault> {
        if !matches!(self.login, Login::Token(_)) {
            return Ok(None);
        }
        let session = self.open(cluster, until).await?;
        let due = session.due_in(Instant::now()).filter(|_| session.renewable);
        Ok(Some(due.unwrap_or(LOOK_EVERY).clamp(TEND_SOONEST, LOOK_EVERY)))
    }

    async fn renewed(&self, session: &Session, cluster: &Cluster, until: Instant) -> Result<Session, Fault> {
        let body = cluster.ask(Ask::post("auth/token/renew-self", &Nothing {}).with_token(&session.token), &session.tls, until).await?;
        let auth = answer::auth(body.reveal()).map_err(|what| cluster.malformed(what))?;
        if Duration::from_secs(auth.lease_duration) < WORTHWHILE && auth.lease_duration > 0 {
            return Err(Fault::Denied { address: cluster.name() });
        }
        Ok(Session { began: session.began, ..held(auth, session.tls.clone()) })
    }

    async fn log_in(&self, cluster: &Cluster, until: Instant) -> Result<Session, Fault> {
        let tls = self.tls(cluster)?;
        let path = format!("auth/{}/login", self.mount);
        let answered = match &self.login {
            Login::Token(file) => return self.look_up(file.read()?, tls, cluster, until).await,
            Login::AppRole { role_id, secret_id } => {
                let (role, secret) = (role_id.read()?, secret_id.as_ref().map(|file| file.read()).transpose()?);
                let text = |value: &Value| value.reveal_text().map(str::to_owned).map(zeroize::Zeroizing::new);
                let wrong = || Fault::Malformed { from: "a file of the login".to_owned(), what: "it holds no text" };
                let role = text(&role).ok_or_else(wrong)?;
                let secret = secret.as_ref().map(|secret| text(secret).ok_or_else(wrong)).transpose()?;
                let question = ByRole { role_id: &role, secret_id: secret.as_ref().map(|secret| secret.as_str()) };
                cluster.ask(Ask::post(&path, &question), &tls, until).await
            }
            Login::Certificate { role, .. } => cluster.ask(Ask::post(&path, &ByCertificate { name: role.as_deref() }), &tls, until).await,
        };
        let body = answered.map_err(|fault| self.refused(fault))?;
        answer::auth(body.reveal()).map(|auth| held(auth, tls)).map_err(|what| cluster.malformed(what))
    }

    /// A token of a file: how long it holds has to be asked.
    async fn look_up(&self, token: Value, tls: Tls, cluster: &Cluster, until: Instant) -> Result<Session, Fault> {
        let asked = cluster.ask(Ask::get("auth/token/lookup-self").with_token(&token), &tls, until).await;
        let own = match asked {
            Ok(body) => answer::own_token(body.reveal()).map_err(|what| cluster.malformed(what))?,
            Err(fault) => return Err(self.refused(fault)),
        };
        Ok(held(Auth { client_token: token, lease_duration: own.ttl, renewable: own.renewable }, tls))
    }

    /// What a refusal means when it is the login that is refused.
    fn refused(&self, fault: Fault) -> Fault {
        let (address, status) = match fault {
            Fault::Denied { address } => (address, 403),
            Fault::Refused { address, status } => (address, status),
            other => return other,
        };
        Fault::Login { address, how: self.login.how(), status }
    }
}

fn held(auth: Auth, tls: Tls) -> Session {
    let now = Instant::now();
    let life = Some(Duration::from_secs(auth.lease_duration).min(LONGEST)).filter(|life| !life.is_zero());
    Session { token: auth.client_token, tls, renewable: auth.renewable, began: Some(now), since: now, life }
}
