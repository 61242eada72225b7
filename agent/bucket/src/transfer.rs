//! Files that go up and come down.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::body::Part;
use crate::client::{Ask, Bucket, Content};
use crate::fault::{BucketError, Fault};
use crate::labelled::Labels;
use crate::xml;

/// A file of this size goes up as one, a larger one in parts of it.
pub(crate) const PART: u64 = 16 * 1024 * 1024;
/// S3 takes no more parts than this of one object: those of a very large file are larger.
const PARTS_MAX: u64 = 10_000;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long clearing up behind an upload may take that was called off.
const CLEARING_UP: Duration = Duration::from_secs(10);

/// Bytes of the parts of a file: whole mebibytes.
pub(crate) const fn part_of(bytes: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    let least = bytes.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB;
    if least > PART { least } else { PART }
}

impl Bucket {
    /// Sends a file, and looks whether all of it is there. `told` is called with the bytes that have gone.
    ///
    /// # Errors
    /// [`BucketError`]: nothing of it counts then, and no part of it is kept where the server could be told so.
    pub async fn put(&self, key: &str, file: &Path, told: &mut (dyn FnMut(u64) + Send)) -> Result<(), BucketError> {
        let counted = Arc::new(AtomicU64::new(0));
        let sent = async {
            let whole = Part::whole(file).map_err(|error| of_file(file, error))?;
            if whole.bytes <= PART {
                self.put_one(key, &whole, file, &counted).await?;
            } else {
                self.put_parts(key, &whole, file, None, &counted).await?;
            }
            Ok(whole.bytes)
        };
        let bytes = counting(sent, &counted, told).await.map_err(|fault| self.error("put", key, fault))?;
        let there = self.head(key).await?.unwrap_or(0);
        if there == bytes { Ok(()) } else { Err(self.error("put", key, Fault::Size { there, expected: bytes })) }
    }

    async fn put_one(&self, key: &str, whole: &Part, file: &Path, counted: &Arc<AtomicU64>) -> Result<(), Fault> {
        let content = content(whole, file, counted).await?;
        self.text(&Ask { content, ..Ask::new("PUT", key) }).await.map(drop)
    }

    pub(crate) async fn put_parts(
        &self,
        key: &str,
        whole: &Part,
        file: &Path,
        labels: Option<&Labels>,
        counted: &Arc<AtomicU64>,
    ) -> Result<(), Fault> {
        let (_, begun) = self.text(&Ask { query: vec![("uploads", "")], labels, ..Ask::new("POST", key) }).await?;
        let upload = xml::text(&begun, "UploadId").filter(|id| !id.is_empty()).ok_or(Fault::Malformed("it names no upload"))?;
        let sent = self.called_off(self.send_parts(key, &upload, whole, file, counted)).await;
        if sent.is_err() {
            // Parts of an upload that is not ended are stored, and paid for, where nobody sees them.
            let after = self.once_more();
            let abort = Ask { query: vec![("uploadId", &upload)], ..Ask::new("DELETE", key) };
            let _told_by_the_lifecycle_of_the_bucket = timeout(CLEARING_UP, after.text(&abort)).await;
        }
        sent
    }

    async fn send_parts(&self, key: &str, upload: &str, whole: &Part, file: &Path, counted: &Arc<AtomicU64>) -> Result<(), Fault> {
        let size = part_of(whole.bytes);
        let mut list = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for number in 1..=whole.bytes.div_ceil(size) {
            let from = (number - 1) * size;
            let part = Part { file: Arc::clone(&whole.file), from, bytes: size.min(whole.bytes - from) };
            let (content, name) = (content(&part, file, counted).await?, number.to_string());
            let query = vec![("partNumber", name.as_str()), ("uploadId", upload)];
            let (headers, _) = self.text(&Ask { query, content, ..Ask::new("PUT", key) }).await?;
            let tag = headers.get("etag").and_then(|tag| tag.to_str().ok()).ok_or(Fault::Malformed("it names no tag of a part"))?;
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", xml::escaped(tag));
        }
        list += "</CompleteMultipartUpload>";
        let complete = Ask { query: vec![("uploadId", upload)], content: Content::Text(list), ..Ask::new("POST", key) };
        match self.text(&complete).await {
            // An attempt before may have come about though its answer was lost: how large the object is will tell.
            Err(Fault::Refused { code, .. }) if code == "NoSuchUpload" => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Brings an object of a known size into a file that its owner alone can read. What breaks off is gone on with.
    ///
    /// # Errors
    /// [`BucketError`]; the file is not there then.
    pub async fn get(&self, key: &str, to: &Path, expected: u64, told: &mut (dyn FnMut(u64) + Send)) -> Result<(), BucketError> {
        let came = self.come(key, to, expected, told).await;
        if came.is_err() {
            let _nothing_of_it_counts = std::fs::remove_file(to);
        }
        came.map_err(|fault| self.error("get", key, fault))
    }

    async fn come(&self, key: &str, to: &Path, expected: u64, told: &mut (dyn FnMut(u64) + Send)) -> Result<(), Fault> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
        let mut file = tokio::fs::File::from_std(opened.map_err(|error| of_file(to, error))?);
        let (mut attempts, mut have) = (self.attempts(), 0);
        loop {
            let before = have;
            match self.called_off(self.come_on(key, &mut file, to, &mut have, expected, told)).await {
                Ok(()) => break,
                // It broke off behind the last byte.
                Err(fault) if have == expected && fault.is_transient() => break,
                Err(fault) => {
                    if have > before {
                        attempts.moved();
                    }
                    attempts.wait(fault).await?;
                }
            }
        }
        file.sync_all().await.map_err(|error| of_file(to, error))
    }

    /// Goes on with what there is already.
    async fn come_on(
        &self,
        key: &str,
        file: &mut tokio::fs::File,
        to: &Path,
        have: &mut u64,
        expected: u64,
        told: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Fault> {
        let mut answer = self.once(&Ask { from: *have, ..Ask::new("GET", key) }).await?;
        if answer.status() != 206 {
            *have = 0;
        }
        // What was written of an attempt before, and not counted, is written over.
        file.seek(std::io::SeekFrom::Start(*have)).await.map_err(|error| of_file(to, error))?;
        while let Some(bytes) = answer.next().await.map_err(Fault::Connection)? {
            let there = *have + bytes.len() as u64;
            if there > expected {
                return Err(Fault::Size { there, expected });
            }
            file.write_all(&bytes).await.map_err(|error| of_file(to, error))?;
            *have = there;
            told(there);
        }
        file.flush().await.map_err(|error| of_file(to, error))?;
        if *have == expected { Ok(()) } else { Err(Fault::Size { there: *have, expected }) }
    }

    /// A small object, of so many bytes at most; none where there is no such object.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn read(&self, key: &str, max: usize) -> Result<Option<Vec<u8>>, BucketError> {
        let mut attempts = self.attempts();
        let read = async {
            loop {
                let once = async {
                    let answer = self.once(&Ask::new("GET", key)).await?;
                    answer.beginning(max).await.map_err(Fault::Connection)
                };
                match self.called_off(once).await {
                    Ok((_, true)) => return Err(Fault::Unfit(format!("it is larger than {max} bytes"))),
                    Ok((bytes, false)) => return Ok(Some(bytes.to_vec())),
                    Err(fault) if fault.is_missing() => return Ok(None),
                    Err(fault) => attempts.wait(fault).await?,
                }
            }
        };
        read.await.map_err(|fault| self.error("read", key, fault))
    }
}

async fn content(part: &Part, file: &Path, counted: &Arc<AtomicU64>) -> Result<Content, Fault> {
    let sums = part.sums().await.map_err(|error| of_file(file, error))?;
    Ok(Content::File { part: part.clone(), sums, counted: Arc::clone(counted) })
}

/// Tells now and then how far it is.
pub(crate) async fn counting<T>(work: impl Future<Output = T>, counted: &AtomicU64, told: &mut (dyn FnMut(u64) + Send)) -> T {
    let mut work = pin!(work);
    let mut ticks = interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                told(counted.load(Ordering::Relaxed));
                return done;
            }
            _ = ticks.tick() => told(counted.load(Ordering::Relaxed)),
        }
    }
}

pub(crate) fn of_file(path: &Path, error: std::io::Error) -> Fault {
    Fault::File { path: path.to_path_buf(), error }
}
