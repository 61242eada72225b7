//! One request to one server, and its answer, bounded. Nothing is followed, kept or logged.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roadstead_model::HttpUrl;
use roadstead_pki::OutsideTls;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::fault::Fault;
use crate::value::{Buffer, Value};

/// What an answer's head may amount to.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// An answer: what a value can be of, as JSON, with room for what stands around it.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A request that can be sent.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// What came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) location: Option<HeaderValue>,
    pub(super) body: Value,
}

/// How servers are spoken to; none is where TLS is never spoken.
pub(super) type Tls = Option<OutsideTls>;

/// Sends a request to a server and reads its answer.
pub(super) async fn exchange(tls: &Tls, url: &HttpUrl, request: Outgoing) -> Result<Reply, Fault> {
    let stream = connect(url).await?;
    let address = url.authority();
    if !url.tls {
        return over(stream, request, &address).await;
    }
    let tls = tls.as_ref().ok_or_else(|| Fault::Tls { address: address.clone(), why: "it is not set up".to_owned() })?;
    match tls.connect(&url.host, stream).await {
        Ok(stream) => over(stream, request, &address).await,
        // A connection that breaks may be a server that starts; what TLS itself says stays so.
        Err(error) if error.kind() == io::ErrorKind::InvalidData || error.kind() == io::ErrorKind::Other => {
            Err(Fault::Tls { address, why: error.to_string() })
        }
        Err(error) => Err(Fault::Unreachable { address, why: error.to_string() }),
    }
}

async fn connect(url: &HttpUrl) -> Result<TcpStream, Fault> {
    let fault = |why: String| Fault::Unreachable { address: url.authority(), why };
    let found =
        lookup_host((url.host.as_str(), url.port)).await.map_err(|error| fault(format!("this host does not know its name: {error}")))?;
    let mut why = "its name has no address".to_owned();
    for address in found.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(fault(why))
}

async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Outgoing, address: &str) -> Result<Reply, Fault> {
    // What hyper says of an answer that is none may hold a part of it.
    let broken = |error: hyper::Error| {
        let why = if error.is_parse() { "what it answers is no HTTP" } else { "the connection breaks off" };
        Fault::Unreachable { address: address.to_owned(), why: why.to_owned() }
    };
    let mut builder = hyper::client::conn::http1::Builder::new();
    let builder = builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(response, address).await.map_err(|fault| fault.unwrap_or_else(broken))
    };
    // The connection is driven here and dropped with the question: nothing goes on behind it.
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        read = &mut answer => read,
        ended = &mut connection => match ended {
            // The last bytes may have come together with the end.
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
}

async fn read(mut response: Response<Incoming>, address: &str) -> Result<Reply, Result<Fault, hyper::Error>> {
    let (status, location) = (response.status().as_u16(), response.headers().get(LOCATION).cloned());
    let mut body = Buffer::default();
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(Err)?;
        let Some(data) = frame.data_ref() else { continue };
        body.push(data, BODY_BYTES_MAX).map_err(|()| Ok(Fault::TooLarge { from: address.to_owned(), max: BODY_BYTES_MAX }))?;
    }
    Ok(Reply { status, location, body: body.into_value() })
}
