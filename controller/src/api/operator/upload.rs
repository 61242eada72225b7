//! Blobs on their way in: checked while they stream, and kept as they came.

use roadstead_bundle::store::{FrameError, Store as Blobs, StoreError};
use roadstead_model::{Digest, limits};
use roadstead_proto::v1;
use std::io::{self, Read};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::super::Context;
use super::super::status::{internal, invalid, status};
use super::Admin;

/// Digests that one question may name.
const QUESTION_MAX: usize = 16 * 1024;
/// Parts that wait for the disk.
const QUEUE: usize = 16;

pub(super) async fn missing(context: &Context, request: v1::MissingBlobsRequest) -> Result<v1::MissingBlobsResponse, Status> {
    if request.digests.len() > QUESTION_MAX {
        return Err(invalid(format!("one question may name {QUESTION_MAX} blobs")));
    }
    let digests = request.digests.iter().map(|d| Digest::from_slice(d)).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let blobs = context.blobs.clone();
    let lacking = tokio::task::spawn_blocking(move || lacking(&blobs, digests)).await.map_err(internal)?;
    Ok(v1::MissingBlobsResponse { digests: lacking.iter().map(|digest| digest.as_bytes().to_vec()).collect() })
}

/// What is not here. When all seems to be here, someone pushes again what they pushed before, as they are told to when a host found a
/// blob damaged: then everything is read through, and what does not hold goes and is sent again.
fn lacking(blobs: &Blobs, digests: Vec<Digest>) -> Vec<Digest> {
    let (here, mut lacking): (Vec<_>, Vec<_>) = digests.into_iter().partition(|digest| blobs.has(digest));
    if !lacking.is_empty() {
        return lacking;
    }
    for digest in here {
        if let Err(StoreError::Damaged(_)) = blobs.read_through(&digest, limits::BLOB_BYTES_MAX) {
            tracing::warn!(%digest, "a blob on the disk was damaged and is removed");
            if let Err(error) = blobs.remove(&digest) {
                tracing::error!(%error, "a damaged blob is not removed");
            }
            lacking.push(digest);
        }
    }
    lacking
}

pub(super) async fn take(
    context: &Context,
    admin: &Admin,
    mut parts: Streaming<v1::UploadPart>,
) -> Result<v1::UploadBlobsResponse, Status> {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let blobs = context.blobs.clone();
    let storing = tokio::task::spawn_blocking(move || store_all(&blobs, waiting));
    loop {
        let part = tokio::select! {
            part = parts.message() => part?,
            () = admin.cut.cancelled() => return Err(super::super::status::denied(crate::access::Denied::Revoked)),
        };
        let Some(part) = part else { break };
        // The other side ends early only with an error, which is told below.
        if queue.send(part).await.is_err() {
            break;
        }
    }
    drop(queue);
    let stored = storing.await.map_err(internal)??;
    Ok(v1::UploadBlobsResponse { stored })
}

/// Stores blob after blob, then makes all of them durable at once.
fn store_all(blobs: &Blobs, parts: mpsc::Receiver<v1::UploadPart>) -> Result<u64, Status> {
    let mut source = Source { parts, current: None };
    let mut stored = 0;
    while let Some((digest, size)) = source.next_blob()? {
        if blobs.has(&digest) {
            io::copy(&mut source, &mut io::sink()).map_err(broken)?;
        } else {
            store_one(blobs, digest, size, &mut source)?;
            stored += 1;
        }
    }
    blobs.sync().map_err(internal)?;
    Ok(stored)
}

fn store_one(blobs: &Blobs, digest: Digest, size: u64, source: &mut Source) -> Result<(), Status> {
    blobs.take_frame(digest, size, source).map_err(|error| match error {
        FrameError::Store(error) => refused(error),
        FrameError::Content(error) => broken(error),
        FrameError::Behind => invalid(error),
    })
}

fn broken(error: io::Error) -> Status {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return status(tonic::Code::Aborted, "the upload ended in the middle of a blob", "push again: what arrived stays");
    }
    invalid(format!("a blob cannot be decoded: {error}"))
}

fn refused(error: StoreError) -> Status {
    match error {
        StoreError::Mismatch { .. } | StoreError::TooLarge { .. } => invalid(error),
        StoreError::Io { .. } => {
            status(tonic::Code::ResourceExhausted, error.to_string(), "make room on the controller's disk, then push again")
        }
        other => internal(other),
    }
}

/// The encoded bytes of one blob after the other.
struct Source {
    parts: mpsc::Receiver<v1::UploadPart>,
    current: Option<Current>,
}

struct Current {
    digest: Vec<u8>,
    data: Vec<u8>,
    at: usize,
    last: bool,
}

impl Source {
    /// Goes to the next blob; nothing when the upload has ended.
    fn next_blob(&mut self) -> Result<Option<(Digest, u64)>, Status> {
        let Some(part) = self.parts.blocking_recv() else { return Ok(None) };
        let digest = Digest::from_slice(&part.digest).map_err(invalid)?;
        if part.size > limits::BLOB_BYTES_MAX {
            return Err(invalid(format!("a blob of {} bytes is larger than allowed", part.size)));
        }
        let size = part.size;
        self.current = Some(Current { digest: part.digest, data: part.data, at: 0, last: part.last });
        Ok(Some((digest, size)))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(current) = &mut self.current else { return Ok(0) };
            let rest = &current.data[current.at..];
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                current.at += count;
                return Ok(count);
            }
            if current.last {
                return Ok(0);
            }
            let part = self.parts.blocking_recv().ok_or(io::ErrorKind::UnexpectedEof)?;
            if !part.digest.is_empty() && part.digest != current.digest {
                return Err(io::Error::other("another blob began before this one ended"));
            }
            (current.data, current.at, current.last) = (part.data, 0, part.last);
        }
    }
}
