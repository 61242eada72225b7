//! Files that are handed out by the server to whoever asks: sent with how they are to be handed out, and compared with what is there.

use roadstead_http::HeaderMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::body::Part;
use crate::client::{Ask, Bucket, Content, length, plain_tag};
use crate::fault::{BucketError, Fault};
use crate::sign::hex;
use crate::transfer::{PART, counting, of_file};

/// The header in which the SHA-256 of an object's contents lies beside it.
const SUM: &str = "x-amz-meta-sha256";

/// How an object is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its `Cache-Control`.
    pub cache_control: String,
    /// The SHA-256 of its contents, in hex.
    sum: String,
}

impl Labels {
    /// How a file is handed out; both have to be what a header can hold.
    #[must_use]
    pub fn new(content_type: &str, cache_control: &str) -> Self {
        Self { content_type: content_type.to_owned(), cache_control: cache_control.to_owned(), sum: String::new() }
    }

    pub(crate) fn headers(&self) -> [(&'static str, String); 3] {
        [("content-type", self.content_type.clone()), ("cache-control", self.cache_control.clone()), (SUM, self.sum.clone())]
    }
}

impl Bucket {
    /// Sends an open file, with how it is to be handed out. `name` is told where it cannot be read; `told` is called with the bytes that
    /// have gone.
    ///
    /// # Errors
    /// [`BucketError`]: nothing of it is to be seen then.
    pub async fn put_labelled(
        &self,
        key: &str,
        file: File,
        name: &Path,
        labels: &Labels,
        told: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), BucketError> {
        let counted = Arc::new(AtomicU64::new(0));
        let sent = async {
            let whole = Part::of(file).map_err(|error| of_file(name, error))?;
            let sums = self.called_off(async { whole.sums().await.map_err(|error| of_file(name, error)) }).await?;
            let labels = Labels { sum: hex(&sums.sha256), ..labels.clone() };
            if whole.bytes <= PART {
                // The server compares what it gets with its sums: nothing is left to be looked at.
                let content = Content::File { part: whole, sums, counted: Arc::clone(&counted) };
                return self.text(&Ask { content, labels: Some(&labels), ..Ask::new("PUT", key) }).await.map(drop);
            }
            self.put_parts(key, &whole, name, Some(&labels), &counted).await?;
            let there = self.headers(key).await?.and_then(|headers| length(&headers)).unwrap_or(0);
            if there == whole.bytes { Ok(()) } else { Err(Fault::Size { there, expected: whole.bytes }) }
        };
        counting(sent, &counted, told).await.map_err(|fault| self.error("put", key, fault))
    }

    /// Whether an object has the contents of an open file, as far as its server says: by its tag, of which a list may have told already, or
    /// by the sum that came with it. What cannot be told is not the same.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn is_same(&self, key: &str, listed_tag: &str, file: File, name: &Path) -> Result<bool, BucketError> {
        let compared = async {
            let whole = Part::of(file).map_err(|error| of_file(name, error))?;
            let sums = self.called_off(async { whole.sums().await.map_err(|error| of_file(name, error)) }).await?;
            let (md5, sha256) = (hex(&sums.md5), hex(&sums.sha256));
            if listed_tag == md5 {
                return Ok(true);
            }
            let Some(headers) = self.headers(key).await? else { return Ok(false) };
            let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(plain_tag);
            let same_size = length(&headers).is_none_or(|there| there == whole.bytes);
            Ok(same_size && (of("etag") == Some(md5) || of(SUM) == Some(sha256)))
        };
        compared.await.map_err(|fault| self.error("look at", key, fault))
    }

    async fn headers(&self, key: &str) -> Result<Option<HeaderMap>, Fault> {
        match self.text(&Ask::new("HEAD", key)).await {
            Ok((headers, _)) => Ok(Some(headers)),
            Err(fault) if fault.is_missing() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
