//! Releases from the controller: the manifest with its signatures, and the blobs that the host lacks.

pub(crate) mod receive;
pub(crate) mod shelf;
pub(crate) mod tree;

use async_trait::async_trait;
use roadstead_model::{Digest, Failure};
use roadstead_worker::output::ProgressSink;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// The largest blob that serves as dictionary: it is held in memory.
pub(crate) const BASE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A manifest and its signatures as they came: nothing of it is trusted before `verify`.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRelease {
    /// The encoded manifest; its digest is the one that was asked for.
    pub(crate) manifest: Vec<u8>,
    /// Signatures over it.
    pub(crate) signatures: Vec<ReceivedSignature>,
}

/// One signature as it came.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedSignature {
    /// Which key is said to have made it.
    pub(crate) key_id: Vec<u8>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

/// What a fetch amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Blobs that came.
    pub(crate) blobs: u64,
    /// Bytes of them as they lie on disk.
    pub(crate) bytes: u64,
    /// Bytes of them on the wire.
    pub(crate) wire_bytes: u64,
}

/// Where releases come from.
#[async_trait]
pub(crate) trait ReleaseSource: Send + Sync + std::fmt::Debug {
    /// The manifest with this digest, and its signatures. The digest is checked, the signatures are not.
    async fn release(&self, manifest: Digest, called_off: &CancellationToken) -> Result<ReceivedRelease, Failure>;

    /// Brings everything below these tree roots that the blob store in the folder `store` lacks; every blob is checked
    /// against its digest while it streams. `bases` are roots of trees that the host has, in the order of `roots` (the
    /// current release's): files at the same paths serve as dictionaries. Once it is called off it ends soon, and nothing of
    /// it writes to the store any more. May be repeated after any failure: what came is kept.
    async fn fetch(
        &self,
        roots: &[Digest],
        bases: &[Digest],
        store: &Path,
        progress: &ProgressSink,
        called_off: &CancellationToken,
    ) -> Result<Fetched, Failure>;
}
