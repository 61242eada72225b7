//! One request and its answer, bounded in bytes. How long it may take is for whoever asks: dropped, it is over. No redirect is followed,
//! no proxy is asked, nothing is kept.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use roadstead_model::HttpUrl;
use roadstead_pki::OutsideTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use super::Outgoing;

/// What an answer's head may amount to.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The body, or its beginning.
    pub(super) body: Bytes,
    /// Whether there was more of it.
    pub(super) cut: bool,
}

/// A request to a server for a path; with a form where there is one.
pub(super) fn request(method: Method, url: &HttpUrl, path: &str, form: Option<String>) -> Result<Outgoing, String> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in
        [("Host", url.authority().as_str()), ("User-Agent", "roadstead-controller"), ("Accept", "*/*"), ("Connection", "close")]
    {
        builder = builder.header(name, value);
    }
    if form.is_some() {
        builder = builder.header("Content-Type", "application/x-www-form-urlencoded");
    }
    builder.body(Full::new(Bytes::from(form.unwrap_or_default()))).map_err(|error| error.to_string())
}

/// Sends a request and reads so much of the answer.
pub(super) async fn exchange(
    tls: Result<&OutsideTls, &String>,
    url: &HttpUrl,
    request: Outgoing,
    body_max: usize,
) -> Result<Reply, String> {
    let stream = connect(url).await?;
    if !url.tls {
        return over(stream, request, body_max).await;
    }
    let stream = tls.map_err(Clone::clone)?.connect(&url.host, stream).await;
    over(stream.map_err(|error| format!("TLS: {error}"))?, request, body_max).await
}

async fn connect(url: &HttpUrl) -> Result<TcpStream, String> {
    let found = lookup_host((url.host.as_str(), url.port)).await;
    let found = found.map_err(|error| format!("the controller's machine does not know the name {}: {error}", url.host))?;
    let mut why = format!("the name {} has no address", url.host);
    for address in found.take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(why)
}

async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Outgoing, body_max: usize) -> Result<Reply, String> {
    let broken = |error: hyper::Error| format!("the answer breaks off or is not HTTP: {error}");
    let mut builder = hyper::client::conn::http1::Builder::new();
    let builder = builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(response, body_max).await.map_err(broken)
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

async fn read(mut response: Response<Incoming>, body_max: usize) -> Result<Reply, hyper::Error> {
    let status = response.status().as_u16();
    let (mut body, mut cut) = (Vec::new(), false);
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else { continue };
        let room = body_max - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Reply { status, body: body.into(), cut })
}
