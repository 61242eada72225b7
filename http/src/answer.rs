//! A request that is sent, and the answer to it.

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use roadstead_model::HttpUrl;
use roadstead_pki::OutsideTls;
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::idle::{Idle, is_idle};

/// What an answer's head may amount to.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why there is no answer, or no end of it. None of it shows what was asked or what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server has no address here.
    #[error("the name {name} has no address here: {why}")]
    Name {
        /// The server.
        name: String,
        /// Why.
        why: String,
    },
    /// Nobody takes the connection.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// An address of the server.
        address: String,
        /// Why.
        why: String,
    },
    /// The server is not believed, or TLS is not spoken.
    #[error("TLS: {0}")]
    Tls(String),
    /// Something else answers.
    #[error("what it answers is no HTTP")]
    NoHttp,
    /// It ends too early.
    #[error("the connection breaks off")]
    Broken,
    /// Nothing came or went for so long.
    #[error("nothing came or went for {} s", .0.as_secs())]
    Idle(Duration),
    /// What was to be sent could not be read.
    #[error("what is to be sent cannot be read: {0}")]
    Source(String),
}

impl Fault {
    /// Whether another attempt may end otherwise. What TLS says stays so.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Tls(_) | Self::Source(_))
    }
}

/// Drives the connection; ends with it.
type Connection = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// An answer whose head has come.
pub struct Answer {
    response: Response<Incoming>,
    connection: Option<Connection>,
    idle: Option<Duration>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Answer {
    /// What became of the request.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// What was said along.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next bytes; none at the end of what was announced.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let body = self.response.body_mut();
            let frame = driven(&mut self.connection, self.idle, async { body.frame().await.transpose() }).await?;
            match frame.map(hyper::body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(data)) => return Ok(Some(data)),
                // Trailers.
                Some(Err(_)) => {}
            }
        }
    }

    /// So many bytes at most, and whether there was more.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn beginning(mut self, max: usize) -> Result<(Bytes, bool), Fault> {
        let mut body = Vec::new();
        while let Some(data) = self.next().await? {
            let room = max - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((body.into(), true));
            }
        }
        Ok((body.into(), false))
    }
}

/// Sends a request to a server, and waits for the head of its answer. `tls` is how servers are spoken to, or why they cannot be. With
/// `idle`, a connection on which nothing comes or goes for so long has ended, from its first byte to the last of the answer.
///
/// # Errors
/// [`Fault`].
pub async fn send<Sent>(
    tls: Result<&OutsideTls, &str>,
    url: &HttpUrl,
    request: Request<Sent>,
    idle: Option<Duration>,
) -> Result<Answer, Fault>
where
    Sent: Body<Data = Bytes> + Send + 'static,
    Sent::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = match idle {
        Some(most) => timeout(most, connect(url)).await.unwrap_or(Err(Fault::Idle(most)))?,
        None => connect(url).await?,
    };
    let stream = Idle::new(stream, idle);
    if !url.tls {
        return over(stream, request, idle).await;
    }
    let tls = tls.map_err(|why| Fault::Tls(why.to_owned()))?;
    match tls.connect(&url.host, stream).await {
        Ok(stream) => over(stream, request, idle).await,
        Err(error) if is_idle(&error) => Err(Fault::Idle(idle.unwrap_or_default())),
        // A connection that breaks may be a server that starts; what TLS itself says stays so.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other) => Err(Fault::Tls(error.to_string())),
        Err(_) => Err(Fault::Broken),
    }
}

async fn connect(url: &HttpUrl) -> Result<TcpStream, Fault> {
    let unknown = |why: String| Fault::Name { name: url.host.clone(), why };
    let found = lookup_host((url.host.as_str(), url.port)).await.map_err(|error| unknown(error.to_string()))?;
    let mut last = unknown("none is known".to_owned());
    for address in found.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Fault::Connect { address: address.to_string(), why: error.to_string() },
        }
    }
    Err(last)
}

async fn over<Sent>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Sent>,
    idle: Option<Duration>,
) -> Result<Answer, Fault>
where
    Sent: Body<Data = Bytes> + Send + 'static,
    Sent::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = hyper::client::conn::http1::Builder::new();
    let builder = builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| fault(&error, idle))?;
    let mut connection: Option<Connection> = Some(Box::pin(connection));
    let response = driven(&mut connection, idle, sender.send_request(request)).await?;
    Ok(Answer { response, connection, idle })
}

/// Does what needs the connection to move on, and moves it on: nothing goes on behind whoever asks.
async fn driven<T>(
    connection: &mut Option<Connection>,
    idle: Option<Duration>,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, Fault> {
    let mut work = pin!(work);
    let Some(driver) = connection else { return work.await.map_err(|error| fault(&error, idle)) };
    let ended = tokio::select! {
        biased;
        done = &mut work => return done.map_err(|error| fault(&error, idle)),
        ended = driver => ended,
    };
    *connection = None;
    match ended {
        // The last bytes may have come together with the end.
        Ok(()) => work.await.map_err(|error| fault(&error, idle)),
        Err(error) => Err(fault(&error, idle)),
    }
}

/// What hyper says of an answer that is none may hold a part of it, and is not told.
fn fault(error: &hyper::Error, idle: Option<Duration>) -> Fault {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(source) if is_idle(source) => Fault::Idle(idle.unwrap_or_default()),
        Some(source) if error.is_user() => Fault::Source(source.to_string()),
        _ if error.is_parse() => Fault::NoHttp,
        _ => Fault::Broken,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
