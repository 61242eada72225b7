//! Blobs streamed to a host: as they lie, from where an earlier attempt broke, or as what differs from one that the host has.

use roadstead_bundle::store::{Store as Blobs, StoreError};
use roadstead_model::{Digest, InvalidDigest, limits};
use roadstead_proto::v1;
use std::io::{Read as _, Seek as _, SeekFrom};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::status::{denied, internal, unknown};
use crate::access::Denied;

/// Parts on their way that the connection has not taken yet.
const QUEUE: usize = 4;

/// A blob of fewer encoded bytes goes whole: a patch would save nothing.
const PATCH_BYTES_MIN: u64 = 128;
/// Larger blobs, and bases, are not held in memory for a patch: one window of the decoder.
const PATCHED_BYTES_MAX: u64 = 4 * 1024 * 1024;
const PATCH_LEVEL: i32 = 12;

/// A blob that a host wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    digest: Digest,
    base: Option<Digest>,
    offset: u64,
}

impl Want {
    pub(super) fn read(want: &v1::BlobWant) -> Result<Self, InvalidDigest> {
        let base = if want.base.is_empty() { None } else { Some(Digest::from_slice(&want.base)?) };
        Ok(Self { digest: Digest::from_slice(&want.digest)?, base, offset: want.offset })
    }
}

type Parts = mpsc::Sender<Result<v1::BlobPart, Status>>;

/// Streams blobs, in the order in which they are wanted, until the host is cut off.
pub(super) fn send(blobs: Blobs, wants: Vec<Want>, cut: CancellationToken) -> ReceiverStream<Result<v1::BlobPart, Status>> {
    let (parts, stream) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        for (index, want) in (0u32..).zip(wants) {
            match send_one(&blobs, index, want, &parts, &cut) {
                Ok(true) => {}
                // The host has gone.
                Ok(false) => return,
                Err(status) => {
                    drop(parts.blocking_send(Err(status)));
                    return;
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

fn send_patch(index: u32, patch: &[u8], parts: &Parts) -> bool {
    let count = patch.len().div_ceil(limits::BLOB_PART_BYTES);
    patch.chunks(limits::BLOB_PART_BYTES).enumerate().all(|(number, data)| {
        let encoding = v1::BlobEncoding::ZstdPatch.into();
        let part = v1::BlobPart { index, encoding, data: data.to_vec(), last: number + 1 == count };
        parts.blocking_send(Ok(part)).is_ok()
    })
}

/// What a blob differs in from its base, when that is less than the blob as it lies. A base that is not here, or anything else
/// that does not work out, only means that the whole blob goes.
fn patch(blobs: &Blobs, want: &Want, whole: u64) -> Option<Vec<u8>> {
    let base = want.base.filter(|_| want.offset == 0 && whole > PATCH_BYTES_MIN)?;
    let base = blobs.read_checked(&base, PATCHED_BYTES_MAX).ok()?;
    let blob = blobs.read_checked(&want.digest, PATCHED_BYTES_MAX).ok()?;
    let mut compressor = zstd::bulk::Compressor::with_dictionary(PATCH_LEVEL, &base).ok()?;
    let patch = compressor.compress(&blob).ok()?;
    ((patch.len() as u64) < whole).then_some(patch)
}

fn send_one(blobs: &Blobs, index: u32, want: Want, parts: &Parts, cut: &CancellationToken) -> Result<bool, Status> {
    let mut file = blobs.file(&want.digest).map_err(|error| match error {
        StoreError::Missing(digest) => unknown(format!("blob {} is not here", digest.short()), "push the release again"),
        other => internal(other),
    })?;
    let size = file.metadata().map_err(internal)?.len();
    if let Some(patch) = patch(blobs, &want, size) {
        return Ok(send_patch(index, &patch, parts));
    }
    let mut left = size.saturating_sub(want.offset);
    file.seek(SeekFrom::Start(want.offset.min(size))).map_err(internal)?;
    loop {
        if cut.is_cancelled() {
            return Err(denied(Denied::Revoked));
        }
        let length = left.min(limits::BLOB_PART_BYTES as u64);
        let mut data = Vec::new();
        (&mut file).take(length).read_to_end(&mut data).map_err(internal)?;
        if (data.len() as u64) < length {
            return Err(internal(format!("blob {} is cut short on disk", want.digest)));
        }
        left -= length;
        let part = v1::BlobPart { index, encoding: v1::BlobEncoding::Zstd.into(), data, last: left == 0 };
        if parts.blocking_send(Ok(part)).is_err() {
            return Ok(false);
        }
        if left == 0 {
            return Ok(true);
        }
    }
}
