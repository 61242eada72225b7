//! A bundle that was read through: its blobs are read where they lie, and nothing of it is written anywhere.

use roadstead_model::{Digest, limits};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{BundleError, Frame, Frames, MAGIC, failed};
use crate::blobs::Blobs;
use crate::release::UntrustedRelease;
use crate::sign::Signature;
use crate::store::{FrameError, Store, StoreError, check_frame, unpacked};
use crate::walk::blobs;

/// A bundle whose every blob was checked against its digest.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    release: UntrustedRelease,
    places: BTreeMap<Digest, Place>,
}

/// Where the frame of a blob lies in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    length: u64,
    size: u64,
}

impl Bundle {
    /// Reads a bundle through: every blob is decoded and checked against its digest, in bounded memory.
    ///
    /// # Errors
    /// [`BundleError`], also when something follows, is missing, or belongs to no tree.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let open = || File::open(path).map_err(failed("open", path));
        let mut source = Source { file: BufReader::new(open()?), at: 0, path };
        let release = read_head(&mut source)?;
        let places = read_places(&mut source)?;
        let bundle = Self { path: path.to_owned(), file: open()?, release, places };
        let needed = blobs(&bundle, &bundle.release.claims()?)?;
        if needed.len() != bundle.places.len() {
            return Err(damaged(path, "it carries blobs that belong to no tree of the release"));
        }
        Ok(bundle)
    }

    /// The release that it carries, whoever signed it.
    #[must_use]
    pub const fn release(&self) -> &UntrustedRelease {
        &self.release
    }

    /// Digests and sizes of all blobs, in the order of the digests.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.places.iter().map(|(digest, place)| (*digest, place.size))
    }

    /// How many bytes the frame of a blob has; none where the blob is not here.
    #[must_use]
    pub fn frame_bytes(&self, digest: &Digest) -> Option<u64> {
        self.places.get(digest).map(|place| place.length)
    }

    /// The bytes of a blob's frame from an offset on, to fill a part.
    ///
    /// # Errors
    /// When there are no such bytes, or the file cannot be read.
    pub fn read_frame(&self, digest: &Digest, offset: u64, part: &mut [u8]) -> Result<(), BundleError> {
        let place = self.place(digest)?;
        if offset.saturating_add(part.len() as u64) > place.length {
            return Err(StoreError::Missing(*digest).into());
        }
        self.file.read_exact_at(part, place.at + offset).map_err(failed("read", &self.path))
    }

    fn place(&self, digest: &Digest) -> Result<&Place, StoreError> {
        self.places.get(digest).ok_or(StoreError::Missing(*digest))
    }

    fn packed(&self, place: &Place) -> Packed<'_> {
        Packed { file: &self.file, at: place.at, left: place.length }
    }
}

impl Blobs for Bundle {
    fn read_checked(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let place = self.place(digest)?;
        if place.size > max {
            return Err(StoreError::TooLarge { digest: *digest, allowed: max });
        }
        let bytes = unpacked(*digest, place.size, self.packed(place)).map_err(|_| StoreError::Damaged(*digest))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Damaged(*digest)) }
    }
}

impl Frames for Bundle {
    fn frame(&self, digest: &Digest) -> Result<Frame<'_>, BundleError> {
        let place = self.place(digest)?;
        Ok(Frame { length: place.length, bytes: Box::new(self.packed(place)) })
    }
}

/// A frame as it lies in the file.
struct Packed<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

fn read_head(source: &mut Source<'_>) -> Result<UntrustedRelease, BundleError> {
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
    Ok(UntrustedRelease::new(manifest, signatures)?)
}

fn read_places(source: &mut Source<'_>) -> Result<BTreeMap<Digest, Place>, BundleError> {
    let count = u64::from_le_bytes(source.array()?);
    if count > 2 * limits::RELEASE_ENTRIES_MAX {
        return Err(source.damaged("it has too many blobs"));
    }
    let mut places = BTreeMap::new();
    let mut total = 0_u64;
    for _ in 0..count {
        let digest = Digest::from_bytes(source.array()?);
        let (size, length) = (u64::from_le_bytes(source.array()?), u64::from_le_bytes(source.array()?));
        total = total.saturating_add(size);
        if places.last_key_value().is_some_and(|(before, _)| *before >= digest) {
            return Err(source.damaged("its blobs are out of order"));
        }
        if size > limits::BLOB_BYTES_MAX || length > Store::frame_bytes_max(size) || total > 2 * limits::RELEASE_BYTES_MAX {
            return Err(source.damaged("it has a blob that is too large"));
        }
        let place = Place { at: source.at, length, size };
        read_blob(source, digest, &place)?;
        places.insert(digest, place);
    }
    let mut rest = [0; 1];
    match source.file.read(&mut rest) {
        Ok(0) => Ok(places),
        _ => Err(source.damaged("something follows its end")),
    }
}

fn read_blob(source: &mut Source<'_>, digest: Digest, place: &Place) -> Result<(), BundleError> {
    let mut frame = (&mut source.file).take(place.length);
    let checked = check_frame(digest, place.size, &mut frame);
    let left = frame.limit();
    checked.map_err(|error| match error {
        FrameError::Store(error) => BundleError::Store(error),
        FrameError::Content(error) => damaged(source.path, &format!("blob {} is damaged: {error}", digest.short())),
        FrameError::Behind => damaged(source.path, &format!("something follows blob {} within its frame", digest.short())),
    })?;
    source.at += place.length;
    if left > 0 { Err(source.damaged("it ends too early")) } else { Ok(()) }
}

struct Source<'a> {
    file: BufReader<File>,
    at: u64,
    path: &'a Path,
}

impl Source<'_> {
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, BundleError> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BundleError> {
        self.file.read_exact(bytes).map_err(|_| self.damaged("it ends too early"))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn damaged(&self, what: &str) -> BundleError {
        damaged(self.path, what)
    }
}

fn damaged(path: &Path, what: &str) -> BundleError {
    BundleError::Damaged { path: path.to_owned(), what: what.to_owned() }
}
