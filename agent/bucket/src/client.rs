//! Requests to a bucket: signed, answered within their time, tried again where that may help.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_http::{Answer, Bytes, HeaderMap, OutsideTls, Request, send};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::address::Place;
use crate::body::{Part, Sent, Sums};
use crate::fault::{BucketError, Fault, told};
use crate::labelled::Labels;
use crate::sign::{EMPTY, Keys, Moment, Signed, authorization, date, hex, query};
use crate::xml;

/// A connection on which nothing comes or goes for so long has ended.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer may take to what carries no file.
const WITHIN: Duration = Duration::from_secs(60);
/// What is read of an answer that is no file: a page of a list has a thousand keys of a kilobyte.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Attempts that end in vain one after the other.
const ATTEMPTS: u32 = 6;
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Pages of a list, of a thousand objects each.
const PAGES_MAX: usize = 100;

/// A bucket, and who asks.
#[derive(Debug)]
pub struct Bucket {
    place: Place,
    keys: Keys,
    tls: Result<OutsideTls, String>,
    cancelled: CancellationToken,
}

/// An object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is called.
    pub key: String,
    /// How large it is.
    pub bytes: u64,
    /// When it came, by the server's clock, such as `2026-11-27T19:00:00.000Z`.
    pub modified: String,
    /// What tells its contents apart, often their MD5; empty where the server does not say.
    pub tag: String,
}

impl Object {
    /// Whether it came before a moment, in seconds since 1970 began; not, where its server does not say when that was.
    #[must_use]
    pub fn is_before(&self, seconds: u64) -> bool {
        let (year, month, day) = date(seconds / 86_400);
        let rest = seconds % 86_400;
        let moment = format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
        let same = |(byte, other): (u8, u8)| byte == other || (byte.is_ascii_digit() && other.is_ascii_digit());
        self.modified.get(..moment.len()).is_some_and(|come| come.bytes().zip(moment.bytes()).all(same) && come < moment.as_str())
    }
}

/// What is asked of a bucket.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    pub(crate) key: &'a str,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) content: Content,
    /// What an object is handed out with that is made.
    pub(crate) labels: Option<&'a Labels>,
    /// From which byte on an object is wanted.
    pub(crate) from: u64,
}

/// What is sent along.
#[derive(Debug)]
pub(crate) enum Content {
    Text(String),
    File { part: Part, sums: Sums, counted: Arc<AtomicU64> },
}

impl<'a> Ask<'a> {
    pub(crate) const fn new(method: &'static str, key: &'a str) -> Self {
        Self { method, key, query: Vec::new(), content: Content::Text(String::new()), labels: None, from: 0 }
    }

    /// How long the head of its answer may take; what carries a file ends when nothing moves.
    const fn within(&self) -> Option<Duration> {
        match self.content {
            Content::Text(_) => Some(WITHIN),
            Content::File { .. } => None,
        }
    }
}

/// Attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    cancelled: &'a CancellationToken,
    in_vain: u32,
}

impl Attempts<'_> {
    /// Something came: what follows is tried as often again.
    pub(crate) const fn moved(&mut self) {
        self.in_vain = 0;
    }

    /// Waits before the next one, unless none would help.
    pub(crate) async fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        self.in_vain += 1;
        if !fault.is_transient() || self.in_vain >= ATTEMPTS {
            return Err(fault);
        }
        let pause = PAUSE_FIRST * 2_u32.pow(self.in_vain - 1);
        // Many hosts that were sent away together do not come back together.
        let share = getrandom::u32().map_or(0.5, |chance| f64::from(chance) / f64::from(u32::MAX));
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(Fault::CalledOff),
            () = sleep(pause.mul_f64(0.5 + share)) => Ok(()),
        }
    }
}

impl Bucket {
    /// A bucket. Servers are believed by the authorities of a file, or by those that this machine believes. `cancelled` calls off whatever is
    /// asked.
    #[must_use]
    pub fn new(place: Place, keys: Keys, authorities: Option<&Path>, cancelled: CancellationToken) -> Self {
        let tls = match place.endpoint.tls {
            true => OutsideTls::new(authorities, None).map_err(|error| error.to_string()),
            false => Err("it is not spoken".to_owned()),
        };
        Self { place, keys, tls, cancelled }
    }

    /// Whether it is there and may be listed with these keys.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn look(&self, prefix: &str) -> Result<(), BucketError> {
        let doing = || format!("look into {}", self.place.name(prefix));
        self.page(prefix, None, "1").await.map(drop).map_err(|fault| BucketError { doing: doing(), fault })
    }

    /// How large an object is; none where there is no such object.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn head(&self, key: &str) -> Result<Option<u64>, BucketError> {
        match self.text(&Ask::new("HEAD", key)).await {
            Ok((headers, _)) => length(&headers).map(Some).ok_or(Fault::Malformed("it tells no length")),
            Err(fault) if fault.is_missing() => Ok(None),
            Err(fault) => Err(fault),
        }
        .map_err(|fault| self.error("look at", key, fault))
    }

    /// Writes a small object.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn write(&self, key: &str, text: String) -> Result<(), BucketError> {
        let written = self.text(&Ask { content: Content::Text(text), ..Ask::new("PUT", key) }).await;
        written.map(drop).map_err(|fault| self.error("put", key, fault))
    }

    /// Removes an object; that there is none is as good.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.text(&Ask::new("DELETE", key)).await {
            Err(fault) if !fault.is_missing() => Err(self.error("remove", key, fault)),
            _ => Ok(()),
        }
    }

    /// All objects whose keys begin so.
    ///
    /// # Errors
    /// [`BucketError`], also where there are more than a hundred thousand.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, BucketError> {
        let mut found = Vec::new();
        self.visit(prefix, PAGES_MAX, &mut |object| found.push(object)).await?;
        Ok(found)
    }

    /// Shows all objects whose keys begin so, one after the other, on at most so many pages of a thousand each.
    ///
    /// # Errors
    /// [`BucketError`], also where there are more.
    pub async fn visit(&self, prefix: &str, pages: usize, found: &mut (dyn FnMut(Object) + Send)) -> Result<(), BucketError> {
        let mut next = None;
        for _ in 0..pages {
            let page = self.page(prefix, next.as_deref(), "1000").await.map_err(|fault| self.error("list", prefix, fault))?;
            page.objects.into_iter().for_each(&mut *found);
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
        Err(self.error("list", prefix, Fault::Unfit(format!("more than {} objects are there", pages * 1000))))
    }

    async fn page(&self, prefix: &str, next: Option<&str>, most: &str) -> Result<Page, Fault> {
        let mut query = vec![("list-type", "2"), ("prefix", prefix), ("max-keys", most)];
        query.extend(next.map(|next| ("continuation-token", next)));
        let (_, text) = self.text(&Ask { query, ..Ask::new("GET", "") }).await?;
        Page::read(&text)
    }

    /// Asks until there is an answer that stands, and reads it: its head, and what of it is text.
    pub(crate) async fn text(&self, ask: &Ask<'_>) -> Result<(HeaderMap, String), Fault> {
        let mut attempts = self.attempts();
        loop {
            match self.text_once(ask).await {
                Ok(read) => return Ok(read),
                Err(fault) => attempts.wait(fault).await?,
            }
        }
    }

    async fn text_once(&self, ask: &Ask<'_>) -> Result<(HeaderMap, String), Fault> {
        let counted = match &ask.content {
            Content::File { counted, .. } => Some((counted, counted.load(Ordering::Relaxed))),
            Content::Text(_) => None,
        };
        let read = async {
            let answer = self.once(ask).await?;
            let headers = answer.headers().clone();
            let (bytes, cut) = self.called_off(async { answer.beginning(ANSWER_BYTES_MAX).await.map_err(Fault::Connection) }).await?;
            let text = String::from_utf8(bytes.to_vec()).ok().filter(|_| !cut).ok_or(Fault::Malformed("it is no text, or too long"))?;
            // What takes long is answered well before it is known how it ends.
            match xml::within(&text, "Error") {
                Some(error) => Err(refused(200, error)),
                None => Ok((headers, text)),
            }
        };
        let read = read.await;
        if let (Err(_), Some((counted, before))) = (&read, counted) {
            counted.store(before, Ordering::Relaxed);
        }
        read
    }

    /// Asks once; an answer is one that does not refuse.
    pub(crate) async fn once(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let url = self.place.server();
        let asked = async {
            let request = self.request(ask, url.authority())?;
            let answer = send(self.tls.as_ref().map_err(String::as_str), &url, request, Some(IDLE)).await.map_err(Fault::Connection)?;
            if (200..300).contains(&answer.status()) {
                return Ok(answer);
            }
            let status = answer.status();
            let (bytes, _) = answer.beginning(64 * 1024).await.unwrap_or_default();
            Err(refused(status, &String::from_utf8_lossy(&bytes)))
        };
        self.called_off(async {
            match ask.within() {
                Some(within) => timeout(within, asked).await.unwrap_or(Err(Fault::TooLong(within.as_secs()))),
                None => asked.await,
            }
        })
        .await
    }

    fn request(&self, ask: &Ask<'_>, host: String) -> Result<Request<Sent>, Fault> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (at, path, query) = (Moment::of(at), self.place.path(ask.key), query(&ask.query));
        let (sent, sums) = match &ask.content {
            Content::Text(text) => (Sent::Text(Some(Bytes::from(text.clone()))), Sums::of(text.as_bytes())),
            Content::File { part, sums, counted } => {
                let counted = Arc::clone(counted);
                (Sent::File { part: part.clone(), done: 0, next: None, counted }, sums.clone())
            }
        };
        let length = roadstead_http::Body::size_hint(&sent).exact().unwrap_or(0);
        let body = if length == 0 { EMPTY.to_owned() } else { hex(&sums.sha256) };
        let mut headers = vec![("host", host), ("x-amz-content-sha256", body.clone()), ("x-amz-date", at.as_str().to_owned())];
        if matches!(ask.method, "PUT" | "POST") && length > 0 {
            // What object locks demand, and every server knows.
            headers.push(("content-md5", STANDARD.encode(sums.md5)));
        }
        if let Some(labels) = ask.labels {
            headers.extend(labels.headers());
        }
        if ask.from > 0 {
            headers.push(("range", format!("bytes={}-", ask.from)));
        }
        if let Some(token) = &self.keys.token {
            headers.push(("x-amz-security-token", token.as_str().to_owned()));
        }
        let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        headers.sort();
        let signed = Signed { method: ask.method, path: &path, query: &query, headers: &headers, body: &body };
        let authorization = authorization(&signed, &self.keys, &self.place.region, &at);
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut builder = Request::builder().method(ask.method).uri(target);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        builder = builder.header("user-agent", "roadstead-agent").header("authorization", authorization);
        if matches!(ask.method, "PUT" | "POST") {
            builder = builder.header("content-length", length);
        }
        // What it says of a key that no header can hold would show it.
        builder.body(sent).map_err(|_| Fault::Unfit("a key or a name holds what no request can hold".to_owned()))
    }

    pub(crate) const fn attempts(&self) -> Attempts<'_> {
        Attempts { cancelled: &self.cancelled, in_vain: 0 }
    }

    pub(crate) async fn called_off<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(Fault::CalledOff),
            done = work => done,
        }
    }

    pub(crate) fn error(&self, doing: &str, key: &str, fault: Fault) -> BucketError {
        BucketError { doing: format!("{doing} {}", self.place.name(key)), fault }
    }

    /// The same bucket, for what is cleared up behind what was called off.
    pub(crate) fn once_more(&self) -> Self {
        Self { place: self.place.clone(), keys: self.keys.clone(), tls: self.tls.clone(), cancelled: CancellationToken::new() }
    }
}

/// A tag without its quotes.
pub(crate) fn plain_tag(tag: &str) -> String {
    tag.trim().trim_matches('"').to_owned()
}

pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(roadstead_http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refused(status: u16, text: &str) -> Fault {
    let of = |name: &str| told(&xml::text(text, name).unwrap_or_default());
    Fault::Refused { status, code: of("Code"), message: of("Message") }
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let list = xml::within(text, "ListBucketResult").ok_or(Fault::Malformed("it is no list"))?;
        let object = |one: &str| {
            let (key, bytes) = (xml::text(one, "Key")?, xml::text(one, "Size")?.parse().ok()?);
            let of = |name: &str| xml::text(one, name).unwrap_or_default();
            Some(Object { key, bytes, modified: of("LastModified"), tag: plain_tag(&of("ETag")) })
        };
        let objects = xml::all(list, "Contents").map(object).collect::<Option<Vec<_>>>();
        let objects = objects.ok_or(Fault::Malformed("an object of its list has no name or no size"))?;
        let goes_on = xml::text(list, "IsTruncated").is_some_and(|text| text == "true");
        let next = xml::text(list, "NextContinuationToken").filter(|next| goes_on && !next.is_empty());
        if goes_on && next.is_none() {
            return Err(Fault::Malformed("its list goes on, and it does not say where"));
        }
        Ok(Self { objects, next })
    }
}
