//! A bundle: one file that carries a release. It holds no path at all; paths exist only in the nodes of its trees.
//!
//! Layout, numbers in little endian: `ROADSTEAD-BUNDLE-1\n` · manifest (u32 length, bytes) · signatures (u16 count; each 16 bytes of
//! key id and 64 of signature) · blobs (u64 count; each 32 bytes of digest, u64 size, u64 length of the frame, one zstd frame), sorted
//! by digest. Nothing follows.

mod opened;

pub use opened::Bundle;

use roadstead_model::Digest;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::blobs::Blobs;
use crate::manifest::InvalidManifest;
use crate::release::{Refused, UntrustedRelease};
use crate::store::{Form, Store, StoreError};
use crate::walk::{TreeError, blobs};

const MAGIC: &[u8] = b"ROADSTEAD-BUNDLE-1\n";

/// Why a bundle is not written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not a bundle, or a damaged one.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The release in it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The manifest in it.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// Its trees.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io { doing, path: path.clone(), source }
}

/// Writes a release whose blobs lie in a [`Form::Compressed`] store, or in another bundle; gives the number of bytes. A crash leaves no half
/// bundle under its name.
///
/// # Errors
/// [`BundleError`].
pub fn write(path: &Path, from: &impl Frames, release: &UntrustedRelease) -> Result<u64, BundleError> {
    let blobs = blobs(from, &release.claims()?)?;
    let new = path.with_added_extension(format!("new-{}", std::process::id()));
    let write = failed("write", path);
    let put = || -> Result<u64, BundleError> {
        let mut file = BufWriter::new(File::create(&new).map_err(&write)?);
        let mut head = MAGIC.to_vec();
        head.extend((u32::try_from(release.encoded().len()).unwrap_or(u32::MAX)).to_le_bytes());
        head.extend(release.encoded());
        head.extend((u16::try_from(release.signatures().len()).unwrap_or(u16::MAX)).to_le_bytes());
        for signature in release.signatures() {
            head.extend(signature.key.as_bytes());
            head.extend(signature.bytes);
        }
        head.extend((blobs.len() as u64).to_le_bytes());
        file.write_all(&head).map_err(&write)?;
        let mut total = head.len() as u64;
        for (digest, size) in &blobs {
            let mut frame = from.frame(digest)?;
            let length = frame.length;
            file.write_all(digest.as_bytes()).map_err(&write)?;
            file.write_all(&size.to_le_bytes()).map_err(&write)?;
            file.write_all(&length.to_le_bytes()).map_err(&write)?;
            let copied = io::copy(&mut frame.bytes, &mut file).map_err(&write)?;
            if copied != length {
                return Err(StoreError::Damaged(*digest).into());
            }
            total += 48 + length;
        }
        file.into_inner().map_err(|error| write(error.into_error()))?.sync_all().map_err(&write)?;
        std::fs::rename(&new, path).map_err(&write)?;
        Ok(total)
    };
    let written = put();
    if written.is_err() {
        // What is left has no name that anyone would use.
        drop(std::fs::remove_file(&new));
    }
    written
}

/// A blob as one zstd frame.
#[allow(missing_debug_implementations, reason = "it is read and gone")]
pub struct Frame<'a> {
    length: u64,
    bytes: Box<dyn Read + 'a>,
}

/// Whoever has blobs as frames.
pub trait Frames: Blobs {
    /// The frame of a blob.
    ///
    /// # Errors
    /// [`BundleError`].
    fn frame(&self, digest: &Digest) -> Result<Frame<'_>, BundleError>;
}

impl Frames for Store {
    fn frame(&self, digest: &Digest) -> Result<Frame<'_>, BundleError> {
        let path = self.path_of(digest);
        let file = self.file(digest)?;
        if self.form() == Form::Compressed {
            let length = file.metadata().map_err(failed("read", &path))?.len();
            return Ok(Frame { length, bytes: Box::new(file) });
        }
        // A raw store is a host's, where bundles are not written often: one blob in memory is enough.
        let encoded = zstd::encode_all(file, 9).map_err(failed("compress", &path))?;
        Ok(Frame { length: encoded.len() as u64, bytes: Box::new(io::Cursor::new(encoded)) })
    }
}
