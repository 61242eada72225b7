//! One blob, read part by part. All of it blocks.

use roadstead_bundle::store::{Store as Blobs, StoreError};
use roadstead_model::Digest;
use roadstead_proto::v1;
use std::io::{Cursor, Read, Seek as _, SeekFrom};
use tonic::Status;

use super::super::status::{internal, unknown};
use super::Want;

/// One part. A part that does not come whole is lost, so it is far smaller than what the wire allows: a line that breaks every so
/// often gets further each time.
const PART_BYTES: u64 = 16 * 1024;
/// A blob of fewer encoded bytes goes whole: a patch would save nothing.
const PATCH_BYTES_MIN: u64 = 128;
/// Larger blobs, and bases, are not held in memory for a patch: one window of the decoder.
const PATCHED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A patch is held in memory until it is taken: one that is larger than this goes as the whole blob, which lies on the disk.
const PATCH_BYTES_MAX: usize = 512 * 1024;
const PATCH_LEVEL: i32 = 12;

/// A blob on its way.
pub(super) struct Source {
    index: u32,
    digest: Digest,
    encoding: v1::BlobEncoding,
    from: Box<dyn Read + Send>,
    left: u64,
}

impl Source {
    /// Opens what is sent for a want: what differs from its base, or the blob as it lies.
    pub(super) fn open(blobs: &Blobs, index: u32, want: &Want) -> Result<Self, Status> {
        let digest = want.digest;
        let mut file = blobs.file(&digest).map_err(|error| match error {
            StoreError::Missing(digest) => unknown(format!("blob {} is not here", digest.short()), "push the release again"),
            other => internal(other),
        })?;
        let size = file.metadata().map_err(internal)?.len();
        if let Some(patch) = patch(blobs, want, size) {
            let left = patch.len() as u64;
            return Ok(Self { index, digest, encoding: v1::BlobEncoding::ZstdPatch, from: Box::new(Cursor::new(patch)), left });
        }
        file.seek(SeekFrom::Start(want.offset.min(size))).map_err(internal)?;
        Ok(Self { index, digest, encoding: v1::BlobEncoding::Zstd, from: Box::new(file), left: size.saturating_sub(want.offset) })
    }

    /// Its next part; the last one says so, and there is one even when no byte is left.
    pub(super) fn next(&mut self) -> Result<v1::BlobPart, Status> {
        let length = self.left.min(PART_BYTES);
        let mut data = Vec::new();
        (&mut self.from).take(length).read_to_end(&mut data).map_err(internal)?;
        if (data.len() as u64) < length {
            return Err(internal(format!("blob {} is cut short on disk", self.digest)));
        }
        self.left -= length;
        Ok(v1::BlobPart { index: self.index, encoding: self.encoding.into(), data, last: self.left == 0 })
    }
}

/// What a blob differs in from its base, when that is less than the blob as it lies. A base that is not here, or anything else
/// that does not work out, only means that the whole blob goes.
fn patch(blobs: &Blobs, want: &Want, whole: u64) -> Option<Vec<u8>> {
    let base = want.base.filter(|_| want.offset == 0 && whole > PATCH_BYTES_MIN)?;
    let base = blobs.read_checked(&base, PATCHED_BYTES_MAX).ok()?;
    let blob = blobs.read_checked(&want.digest, PATCHED_BYTES_MAX).ok()?;
    let mut compressor = zstd::bulk::Compressor::with_dictionary(PATCH_LEVEL, &base).ok()?;
    let patch = compressor.compress(&blob).ok()?;
    (patch.len() <= PATCH_BYTES_MAX && (patch.len() as u64) < whole).then_some(patch)
}
