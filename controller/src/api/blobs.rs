//! Blobs as they lie, streamed to a host, from where an earlier attempt broke.

use roadstead_bundle::store::{Store as Blobs, StoreError};
use roadstead_model::{Digest, InvalidDigest, limits};
use roadstead_proto::v1;
use std::io::{Read as _, Seek as _, SeekFrom};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status::{internal, unknown};

/// Parts on their way that the connection has not taken yet.
const QUEUE: usize = 4;

/// A blob that a host wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    digest: Digest,
    offset: u64,
}

impl Want {
    pub(super) fn read(want: &v1::BlobWant) -> Result<Self, InvalidDigest> {
        Ok(Self { digest: Digest::from_slice(&want.digest)?, offset: want.offset })
    }
}

type Parts = mpsc::Sender<Result<v1::BlobPart, Status>>;

/// Streams blobs, in the order in which they are wanted.
pub(super) fn send(blobs: Blobs, wants: Vec<Want>) -> ReceiverStream<Result<v1::BlobPart, Status>> {
    let (parts, stream) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        for (index, want) in (0u32..).zip(wants) {
            match send_one(&blobs, index, want, &parts) {
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

fn send_one(blobs: &Blobs, index: u32, want: Want, parts: &Parts) -> Result<bool, Status> {
    let mut file = blobs.file(&want.digest).map_err(|error| match error {
        StoreError::Missing(digest) => unknown(format!("blob {} is not here", digest.short()), "push the release again"),
        other => internal(other),
    })?;
    let size = file.metadata().map_err(internal)?.len();
    let mut left = size.saturating_sub(want.offset);
    file.seek(SeekFrom::Start(want.offset.min(size))).map_err(internal)?;
    loop {
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
