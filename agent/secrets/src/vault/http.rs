//! One request to one server, and its answer, whose body is a secret. Nothing is followed, kept or logged.

use roadstead_http::header::{HeaderValue, LOCATION};
use roadstead_http::{Outgoing, OutsideTls, send};
use roadstead_model::HttpUrl;

use crate::fault::Fault;
use crate::value::{Buffer, Value};

/// An answer: what a value can be of, as JSON, with room for what stands around it.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

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
    let address = url.authority();
    let told = |fault: roadstead_http::Fault| match fault {
        roadstead_http::Fault::Tls(why) => Fault::Tls { address: address.clone(), why },
        other => Fault::Unreachable { address: address.clone(), why: other.to_string() },
    };
    let mut answer = send(tls.as_ref().ok_or("it is not set up"), url, request, None).await.map_err(told)?;
    let (status, location) = (answer.status(), answer.headers().get(LOCATION).cloned());
    let mut body = Buffer::default();
    while let Some(data) = answer.next().await.map_err(told)? {
        body.push(&data, BODY_BYTES_MAX).map_err(|()| Fault::TooLarge { from: address.clone(), max: BODY_BYTES_MAX })?;
    }
    Ok(Reply { status, location, body: body.into_value() })
}
