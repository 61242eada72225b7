//! HTTP checks of an app: over its unix socket or a TCP address of this host, bounded in time and bytes, no redirects, no cookies.

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roadstead_bundle::spec::HttpCheck;
use roadstead_model::limits::HEALTH_BODY_BYTES_MAX;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

/// The pause between attempts: short at first, since most apps are up soon, then longer.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What an answer's head may amount to.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// How much of a wrong answer is shown.
const SHOWN_BYTES: usize = 300;

/// Where the app is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// An address of this host.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// What is asked and what counts as a pass.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    /// Path, headers, and the time for one answer.
    pub(crate) check: &'a HttpCheck,
    /// Take any answer below 500 for a pass: the app is up, whatever it thinks of the question.
    pub(crate) any_answer: bool,
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeError {
    /// Nobody listens.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or what came is not HTTP.
    #[error("the answer broke off or is not HTTP: {0}")]
    Broken(String),
    /// No complete answer in time.
    #[error("no complete answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// Another answer than expected.
    #[error("{why}; it answered {status} with {shown:?}")]
    Wrong {
        /// What was expected.
        why: String,
        /// The answer's status.
        status: u16,
        /// The beginning of its body.
        shown: String,
    },
    /// The check itself cannot be asked.
    #[error("the check cannot be asked: {0}")]
    Unaskable(String),
}

/// What is looked at between attempts.
#[async_trait]
pub(crate) trait Alive: Send {
    /// What is told when it is over.
    type Dead: Send;
    /// Looks: an error ends the waiting, for who has died will not answer any more.
    async fn look(&mut self) -> Result<(), Self::Dead>;
}

/// Asks until as many successes in a row have come as the check wants, or its time is over: then why the last attempt failed.
pub(crate) async fn until_passed<A: Alive>(
    address: &Address,
    question: &Question<'_>,
    within: Duration,
    mut alive: A,
) -> Result<Result<u32, ProbeError>, A::Dead> {
    let end = Instant::now() + within;
    let wanted = question.check.successes.max(1);
    let (mut attempts, mut successes, mut pause) = (0, 0, PAUSE_MIN);
    loop {
        attempts += 1;
        match ask(address, question).await {
            Ok(()) => {
                successes += 1;
                if successes >= wanted {
                    return Ok(Ok(attempts));
                }
            }
            Err(error @ ProbeError::Unaskable(_)) => return Ok(Err(error)),
            Err(error) => {
                successes = 0;
                if Instant::now() + pause >= end {
                    return Ok(Err(error));
                }
            }
        }
        alive.look().await?;
        sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// Asks once.
pub(crate) async fn ask(address: &Address, question: &Question<'_>) -> Result<(), ProbeError> {
    let within = question.check.timeout.to_duration();
    match timeout(within, exchange(address, question)).await {
        Ok(result) => result,
        Err(_) => Err(ProbeError::Slow(within)),
    }
}

async fn exchange(address: &Address, question: &Question<'_>) -> Result<(), ProbeError> {
    let refused = |error: std::io::Error| ProbeError::Connect(error.to_string());
    match address {
        Address::Unix(path) => over(tokio::net::UnixStream::connect(path).await.map_err(refused)?, question).await,
        Address::Tcp(address) => over(tokio::net::TcpStream::connect(address).await.map_err(refused)?, question).await,
    }
}

async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, question: &Question<'_>) -> Result<(), ProbeError> {
    let broken = |error: hyper::Error| ProbeError::Broken(roadstead_worker::failure::chain(&error));
    let request = request(question.check)?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    let builder = builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        judge(response, question).await
    };
    // The connection is driven here and dropped with the question: nothing goes on behind it.
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        judged = &mut answer => judged,
        ended = &mut connection => match ended {
            // The last bytes may have come together with the end.
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
}

fn request(check: &HttpCheck) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let unaskable = |error: http::Error| ProbeError::Unaskable(error.to_string());
    let mut builder = Request::get(check.path.as_str());
    let named = |name: &str| check.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    if !named("host") {
        builder = builder.header("Host", "localhost");
    }
    if !named("user-agent") {
        builder = builder.header("User-Agent", "roadstead-agent");
    }
    for (name, value) in &check.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    builder.header("Connection", "close").body(Empty::new()).map_err(unaskable)
}

async fn judge(mut response: Response<hyper::body::Incoming>, question: &Question<'_>) -> Result<(), ProbeError> {
    let status = response.status().as_u16();
    let check = question.check;
    let status_fits = if question.any_answer { status < 500 } else { status == check.status };
    if status_fits && (question.any_answer || check.contains.is_none()) {
        return Ok(());
    }
    let mut body = Vec::new();
    while body.len() < HEALTH_BODY_BYTES_MAX {
        match response.body_mut().frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let room = HEALTH_BODY_BYTES_MAX - body.len();
                    body.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Some(Err(error)) => return Err(ProbeError::Broken(roadstead_worker::failure::chain(&error))),
            None => break,
        }
        if status_fits && contains(&body, check.contains.as_deref()) {
            return Ok(());
        }
    }
    let why = match &check.contains {
        _ if question.any_answer => "an answer below 500 was expected".to_owned(),
        Some(text) if status_fits => format!("its body does not contain {text:?}"),
        _ => format!("status {} was expected", check.status),
    };
    let mut shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned();
    shown.retain(|c| !c.is_control() || c == '\n');
    Err(ProbeError::Wrong { why, status, shown })
}

fn contains(body: &[u8], text: Option<&str>) -> bool {
    text.is_none_or(|text| body.windows(text.len().max(1)).any(|window| window == text.as_bytes()) || text.is_empty())
}

#[cfg(test)]
mod tests;
