//! One question to a cluster: its servers are tried in turn, again and again with growing pauses, until one answers or time is up.

use roadstead_http::header::HeaderValue;
use roadstead_http::{Bytes, Full, Method, Outgoing, Request};
use roadstead_model::{HttpUrl, SecretPath};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::Zeroizing;

use super::answer::{self, is_unknown_lease, refusal};
use super::http::{Reply, Tls, exchange};
use crate::fault::{Fault, shown};
use crate::value::Value;

/// How long one server may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The first pause after all servers were tried; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Servers that send us on to one another.
const REDIRECTS_MAX: usize = 3;

/// The servers.
#[derive(Debug)]
pub(super) struct Cluster {
    addresses: Vec<HttpUrl>,
    namespace: Option<SecretPath>,
    /// Which answered last.
    last: AtomicUsize,
}

/// A question.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    path: &'a str,
    body: Option<&'a dyn ErasedBody>,
    token: Option<&'a Value>,
    about_a_lease: bool,
    /// Not within the namespace: of the server itself.
    of_server: bool,
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is sent along, as JSON.
pub(super) trait ErasedBody: Sync {
    fn json(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error>;
}

impl<T: Serialize + Sync> ErasedBody for T {
    fn json(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // Large enough that nothing is moved while it is written.
        let mut json = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer(&mut *json, self)?;
        Ok(json)
    }
}

impl<'a> Ask<'a> {
    /// Asks for what is at a path.
    pub(super) const fn get(path: &'a str) -> Self {
        Self { path, body: None, token: None, about_a_lease: false, of_server: false }
    }

    /// Sends something to a path.
    pub(super) const fn post(path: &'a str, body: &'a dyn ErasedBody) -> Self {
        Self { path, body: Some(body), token: None, about_a_lease: false, of_server: false }
    }

    pub(super) const fn about_a_lease(mut self) -> Self {
        self.about_a_lease = true;
        self
    }

    pub(super) const fn with_token(mut self, token: &'a Value) -> Self {
        self.token = Some(token);
        self
    }

    fn request(&self, url: &HttpUrl, namespace: Option<&SecretPath>) -> Result<Outgoing, &'static str> {
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut builder = Request::builder().method(method).uri(format!("/v1/{}", self.path));
        for (name, value) in [
            ("Host", url.authority().as_str()),
            ("User-Agent", "roadstead-agent"),
            ("Accept", "application/json"),
            ("Connection", "close"),
            ("X-Vault-Request", "true"),
        ] {
            builder = builder.header(name, value);
        }
        if let Some(namespace) = namespace.filter(|_| !self.of_server) {
            builder = builder.header("X-Vault-Namespace", namespace.as_str());
        }
        if let Some(token) = self.token {
            let mut value = HeaderValue::from_bytes(token.reveal()).map_err(|_| "the token holds what no header can hold")?;
            value.set_sensitive(true);
            builder = builder.header("X-Vault-Token", value);
        }
        let body = match self.body {
            None => Bytes::new(),
            Some(body) => {
                builder = builder.header("Content-Type", "application/json");
                Bytes::from_owner(body.json().map_err(|_| "what is to be asked is no JSON")?)
            }
        };
        builder.body(Full::new(body)).map_err(|_| "what is to be asked is no request")
    }
}

/// What one server said.
enum Said {
    Answer(Value),
    /// Another server is the one to ask.
    Ask(usize),
}

/// How a server does that answers.
#[derive(Debug)]
pub(super) struct Healthy {
    pub(super) address: String,
    pub(super) version: String,
}

impl Cluster {
    pub(super) const fn new(addresses: Vec<HttpUrl>, namespace: Option<SecretPath>) -> Self {
        Self { addresses, namespace, last: AtomicUsize::new(0) }
    }

    /// Whether TLS is spoken with any server.
    pub(super) fn speaks_tls(&self) -> bool {
        self.addresses.iter().any(|url| url.tls)
    }

    /// The servers, for people.
    pub(super) fn name(&self) -> String {
        self.addresses.iter().map(HttpUrl::authority).collect::<Vec<_>>().join(", ")
    }

    /// An answer of the server that answered last is not understood.
    pub(super) fn malformed(&self, what: &'static str) -> Fault {
        let at = self.last.load(Ordering::Relaxed);
        Fault::Malformed { from: self.addresses.get(at).map(HttpUrl::authority).unwrap_or_default(), what }
    }

    /// Asks until there is an answer that stands, or time is up.
    pub(super) async fn ask(&self, ask: Ask<'_>, tls: &Tls, until: Instant) -> Result<Value, Fault> {
        let mut pause = PAUSE_FIRST;
        let mut last = None;
        loop {
            let first = self.last.load(Ordering::Relaxed);
            for turn in 0..self.addresses.len() {
                match self.follow((first + turn) % self.addresses.len(), ask, tls, until).await {
                    Err(fault) if fault.is_transient() => last = Some(Box::new(fault)),
                    Err(Fault::Deadline { last: now }) => return Err(Fault::Deadline { last: last.or(now) }),
                    stands => return stands,
                }
            }
            let again = Instant::now() + pause;
            if again >= until {
                return Err(Fault::Deadline { last });
            }
            sleep_until(again).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks one server, and whom it names, as long as that is one of ours.
    async fn follow(&self, mut at: usize, ask: Ask<'_>, tls: &Tls, until: Instant) -> Result<Value, Fault> {
        for _ in 0..=REDIRECTS_MAX {
            match self.one(at, ask, tls, until).await? {
                Said::Answer(body) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(body);
                }
                Said::Ask(next) => at = next,
            }
        }
        Err(Fault::Busy { address: self.addresses[at].authority(), status: 307 })
    }

    async fn one(&self, at: usize, ask: Ask<'_>, tls: &Tls, until: Instant) -> Result<Said, Fault> {
        let reply = self.exchange(at, ask, tls, until).await?;
        let address = self.addresses[at].authority();
        match reply.status {
            200 | 204 => Ok(Said::Answer(reply.body)),
            307 | 308 => self.named(&reply, address).map(Said::Ask),
            400 if ask.about_a_lease && is_unknown_lease(reply.body.reveal()) => Err(Fault::LeaseGone { address }),
            status => Err(refusal(status, reply.body.reveal(), &address, ask.path)),
        }
    }

    async fn exchange(&self, at: usize, ask: Ask<'_>, tls: &Tls, until: Instant) -> Result<Reply, Fault> {
        let url = &self.addresses[at];
        let request = ask.request(url, self.namespace.as_ref()).map_err(|what| Fault::Malformed { from: "this host".to_owned(), what })?;
        let now = Instant::now();
        let within = until.min(now + ANSWER_WITHIN);
        match timeout_at(within, exchange(tls, url, request)).await {
            Ok(reply) => reply,
            Err(_) if within == until && until < now + ANSWER_WITHIN => {
                let why = format!("no answer within {} ms, which was all the time left", (until - now).as_millis());
                Err(Fault::Deadline { last: Some(Box::new(Fault::Unreachable { address: url.authority(), why })) })
            }
            Err(_) => {
                let why = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
                Err(Fault::Unreachable { address: url.authority(), why })
            }
        }
    }

    /// Which of the servers an answer sends us to: the same question is asked there, whatever else the answer says.
    fn named(&self, reply: &Reply, address: String) -> Result<usize, Fault> {
        let text = reply.location.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let elsewhere = |to: String| Fault::Elsewhere { address: address.clone(), to };
        let url = HttpUrl::parse(text).map_err(|_| elsewhere("nowhere in particular".to_owned()))?;
        let same = |known: &HttpUrl| (known.tls, &known.host, known.port) == (url.tls, &url.host, url.port);
        self.addresses.iter().position(same).ok_or_else(|| elsewhere(shown(&url.authority(), 120)))
    }

    /// How the first server that answers does. One that stands by is fine: it sends questions on, or answers them.
    pub(super) async fn health(&self, tls: &Tls, until: Instant) -> Result<Healthy, Fault> {
        let ask = Ask { of_server: true, ..Ask::get("sys/health") };
        let mut last = Fault::Deadline { last: None };
        for at in 0..self.addresses.len() {
            let address = self.addresses[at].authority();
            match self.exchange(at, ask, tls, until).await {
                Err(fault) => last = fault,
                Ok(reply) => match answer::health(reply.body.reveal()) {
                    Err(what) => last = Fault::Malformed { from: address, what },
                    Ok(health) if health.sealed || !health.initialized => last = Fault::Sealed { address },
                    Ok(health) => return Ok(Healthy { address, version: health.version }),
                },
            }
        }
        Err(last)
    }
}
