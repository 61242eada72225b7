//! One request and its answer, bounded in bytes. How long it may take is for whoever asks: dropped, it is over.

use roadstead_http::{Bytes, Fault, Full, Method, Outgoing, OutsideTls, Request, send};
use roadstead_model::HttpUrl;

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
    let told = |fault: Fault| match fault {
        // Who reads it sits at another machine.
        Fault::Name { name, why } => format!("the controller's machine does not know the name {name}: {why}"),
        other => other.to_string(),
    };
    let answer = send(tls.map_err(String::as_str), url, request, None).await.map_err(told)?;
    let status = answer.status();
    let (body, cut) = answer.beginning(body_max).await.map_err(told)?;
    Ok(Reply { status, body, cut })
}
