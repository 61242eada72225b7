//! A part of a file: its sums, and the body of a request that it is.

use md5::Md5;
use roadstead_http::{Body, Bytes, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::task::{JoinHandle, spawn_blocking};

/// What is in memory of a file at a time.
const PIECE: u64 = 256 * 1024;

/// A part of a file that is sent.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) file: Arc<File>,
    pub(crate) from: u64,
    pub(crate) bytes: u64,
}

/// Sums of what is sent.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    pub(crate) sha256: [u8; 32],
    pub(crate) md5: [u8; 16],
}

impl Sums {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::digest(bytes).into(), md5: Md5::digest(bytes).into() }
    }
}

fn piece(part: &Part, done: u64) -> io::Result<Bytes> {
    let count = usize::try_from(PIECE.min(part.bytes - done)).map_err(io::Error::other)?;
    let mut buffer = vec![0; count];
    part.file.read_exact_at(&mut buffer, part.from + done)?;
    Ok(buffer.into())
}

impl Part {
    /// A whole file, and how large it is.
    pub(crate) fn whole(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// All of an open file.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), from: 0, bytes })
    }

    /// Reads all of it for its sums.
    pub(crate) async fn sums(&self) -> io::Result<Sums> {
        let part = self.clone();
        let summed = spawn_blocking(move || {
            let (mut sha256, mut md5, mut done) = (Sha256::new(), Md5::new(), 0);
            while done < part.bytes {
                let piece = piece(&part, done)?;
                sha256.update(&piece);
                md5.update(&piece);
                done += piece.len() as u64;
            }
            Ok(Sums { sha256: sha256.finalize().into(), md5: md5.finalize().into() })
        });
        summed.await.map_err(io::Error::other)?
    }
}

/// The body of a request: nothing, a text, or a part of a file, of which every piece that goes is counted.
#[derive(Debug)]
pub(crate) enum Sent {
    Text(Option<Bytes>),
    File { part: Part, done: u64, next: Option<JoinHandle<io::Result<Bytes>>>, counted: Arc<AtomicU64> },
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().filter(|text| !text.is_empty()).map(|text| Ok(Frame::data(text)))),
            Self::File { part, done, next, counted } => {
                if *done >= part.bytes {
                    return Poll::Ready(None);
                }
                let reading = next.get_or_insert_with(|| {
                    let (part, done) = (part.clone(), *done);
                    spawn_blocking(move || piece(&part, done))
                });
                let read = std::task::ready!(Pin::new(reading).poll(context)).map_err(io::Error::other).flatten();
                *next = None;
                let Ok(bytes) = &read else { return Poll::Ready(Some(read.map(Frame::data))) };
                *done += bytes.len() as u64;
                counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Poll::Ready(Some(read.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.as_ref().is_none_or(Bytes::is_empty),
            Self::File { part, done, .. } => *done >= part.bytes,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Self::File { part, done, .. } => part.bytes - done,
        })
    }
}
