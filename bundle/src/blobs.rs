//! Where blobs are read from: a [`Store`], or a bundle where it lies.

use roadstead_model::Digest;

use crate::store::{Store, StoreError};

/// Whoever has blobs.
pub trait Blobs {
    /// The whole of a blob of at most `max` bytes, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLarge`] or [`StoreError::Damaged`].
    fn read_checked(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError>;
}

impl Blobs for Store {
    fn read_checked(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        Self::read_checked(self, digest, max)
    }
}
