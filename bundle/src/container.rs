//! A bundle: one file that carries a release. It holds no path at all; paths exist only in the nodes of its trees.
//!
//! Layout, numbers in little endian: `ROADSTEAD-BUNDLE-1\n` · manifest (u32 length, bytes) · signatures (u16 count; each 16 bytes of
//! key id and 64 of signature) · blobs (u64 count; each 32 bytes of digest, u64 size, u64 length of the frame, one zstd frame), sorted
//! by digest. Nothing follows.

use roadstead_model::{Digest, limits};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::manifest::InvalidManifest;
use crate::release::{Refused, UntrustedRelease};
use crate::sign::Signature;
use crate::store::{Form, FrameError, Store, StoreError};
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

/// Writes a release whose blobs lie in a [`Form::Compressed`] store; gives the number of bytes. A crash leaves no half bundle under its name.
///
/// # Errors
/// [`BundleError`].
pub fn write(path: &Path, store: &Store, release: &UntrustedRelease) -> Result<u64, BundleError> {
    let blobs = blobs(store, &release.claims()?)?;
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
            let mut frame = frame(store, digest)?;
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

struct Frame {
    length: u64,
    bytes: Box<dyn Read>,
}

fn frame(store: &Store, digest: &Digest) -> Result<Frame, BundleError> {
    let path = store.path_of(digest);
    let file = store.file(digest)?;
    if store.form() == Form::Compressed {
        let length = file.metadata().map_err(failed("read", &path))?.len();
        return Ok(Frame { length, bytes: Box::new(file) });
    }
    // A raw store is a host's, where bundles are not written often: one blob in memory is enough.
    let encoded = zstd::encode_all(file, 9).map_err(failed("compress", &path))?;
    Ok(Frame { length: encoded.len() as u64, bytes: Box::new(io::Cursor::new(encoded)) })
}

/// Reads a bundle into a store: every blob is checked against its digest while it streams. The store should be an empty one of the
/// caller's own: blobs come in the order of their digests, so a node may be there before what is below it until all is read.
///
/// # Errors
/// [`BundleError`], also when something follows, is missing, or belongs to no tree.
pub fn read(path: &Path, store: &Store) -> Result<UntrustedRelease, BundleError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut source = Source { file: BufReader::new(file), path };
    if source.bytes(MAGIC.len()).ok().as_deref() != Some(MAGIC) {
        return Err(source.damaged("it is no bundle, or one of another version of Roadstead"));
    }
    let length = u64::from(u32::from_le_bytes(source.array()?));
    if length > limits::MANIFEST_BYTES_MAX {
        return Err(source.damaged("its manifest is too large"));
    }
    let manifest = source.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
    let count = usize::from(u16::from_le_bytes(source.array()?));
    if count > limits::SIGNATURES_MAX {
        return Err(source.damaged("it has too many signatures"));
    }
    let mut signatures = Vec::new();
    for _ in 0..count {
        let (key, bytes): ([u8; 16], [u8; 64]) = (source.array()?, source.array()?);
        signatures.push(Signature::from_parts(&key, &bytes).map_err(|error| source.damaged(&error.to_string()))?);
    }
    let release = UntrustedRelease::new(manifest, signatures)?;
    let came = read_blobs(&mut source, store)?;
    let needed = blobs(store, &release.claims()?)?;
    if needed.len() as u64 != came {
        return Err(source.damaged("it carries blobs that belong to no tree of the release"));
    }
    Ok(release)
}

fn read_blobs(source: &mut Source<'_>, store: &Store) -> Result<u64, BundleError> {
    let count = u64::from_le_bytes(source.array()?);
    if count > 2 * limits::RELEASE_ENTRIES_MAX {
        return Err(source.damaged("it has too many blobs"));
    }
    let mut before: Option<Digest> = None;
    let mut total = 0_u64;
    for _ in 0..count {
        let digest = Digest::from_bytes(source.array()?);
        let (size, length) = (u64::from_le_bytes(source.array()?), u64::from_le_bytes(source.array()?));
        total = total.saturating_add(size);
        if before >= Some(digest) {
            return Err(source.damaged("its blobs are out of order"));
        }
        if size > limits::BLOB_BYTES_MAX || length > Store::frame_bytes_max(size) || total > 2 * limits::RELEASE_BYTES_MAX {
            return Err(source.damaged("it has a blob that is too large"));
        }
        read_blob(source, store, digest, size, length)?;
        before = Some(digest);
    }
    let mut rest = [0; 1];
    match source.file.read(&mut rest) {
        Ok(0) => Ok(count),
        _ => Err(source.damaged("something follows its end")),
    }
}

fn read_blob(source: &mut Source<'_>, store: &Store, digest: Digest, size: u64, length: u64) -> Result<(), BundleError> {
    let path = source.path.to_owned();
    let mut frame = (&mut source.file).take(length);
    let taken = store.take_frame(digest, size, &mut frame);
    let left = frame.limit();
    taken.map_err(|error| match error {
        FrameError::Store(error) => BundleError::Store(error),
        FrameError::Content(error) => BundleError::Damaged { path, what: format!("blob {} is damaged: {error}", digest.short()) },
        FrameError::Behind => BundleError::Damaged { path, what: format!("something follows blob {} within its frame", digest.short()) },
    })?;
    if left > 0 { Err(source.damaged("it ends too early")) } else { Ok(()) }
}

struct Source<'a> {
    file: BufReader<File>,
    path: &'a Path,
}

impl Source<'_> {
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, BundleError> {
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged("it ends too early"))?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged("it ends too early"))?;
        Ok(bytes)
    }

    fn damaged(&self, what: &str) -> BundleError {
        BundleError::Damaged { path: self.path.to_owned(), what: what.to_owned() }
    }
}
