//! Blobs as they come: decoded, counted and checked while they stream, and put aside when they hold.

use roadstead_model::{Digest, DigestHasher};
use roadstead_worker::files::FileError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::shelf::Shelf;

/// The largest window that an encoded blob may ask the decoder to hold, as a power of two: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
/// An encoded blob may be larger than the blob by this much.
const ENCODED_SLACK_BYTES: u64 = 64 * 1024;

/// Blobs up to this size are decoded in one go.
const SMALL_BYTES_MAX: u64 = 256 * 1024;

/// A blob that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its size: exactly (a file) or at most (a folder's node).
    pub(crate) size: Size,
    /// A blob of the store that may serve as dictionary.
    pub(crate) base: Option<Digest>,
}

/// What is known of a blob's size before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Exactly so many bytes.
    Exactly(u64),
    /// Not more than so many.
    AtMost(u64),
}

impl Size {
    /// The most that it may be.
    pub(crate) const fn max(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }
}

/// How a blob is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// By itself.
    Plain,
    /// With the base as dictionary.
    Patch,
}

/// One part of a blob, in the order of the wants.
#[derive(Debug)]
pub(crate) struct Part {
    /// Index of the want.
    pub(crate) index: usize,
    /// How the blob is encoded.
    pub(crate) encoding: Encoding,
    /// The bytes.
    pub(crate) data: Vec<u8>,
    /// The last one of its blob.
    pub(crate) last: bool,
}

/// Why a blob is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The host's disk did not do as told.
    #[error(transparent)]
    File(#[from] FileError),
    /// The controller sent something else than was asked for.
    #[error("the controller sent {0}")]
    Disorder(&'static str),
    /// The blob is not what its name says.
    #[error("blob {} is not what its digest says: {why}", digest.short())]
    Wrong {
        /// Which blob.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
}

/// Takes the parts that answer one request.
#[derive(Debug)]
pub(crate) struct Receiver {
    shelf: Shelf,
    wants: Vec<Want>,
    index: usize,
    /// The encoded bytes of the blob that has begun, when it comes in several parts.
    collecting: Option<File>,
    collected: u64,
    small: SmallDecoder,
}

/// One decoder for all small blobs: most files of a release are small, and a decoder is not.
#[derive(Default)]
struct SmallDecoder(Option<zstd::bulk::Decompressor<'static>>);

impl std::fmt::Debug for SmallDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmallDecoder").finish_non_exhaustive()
    }
}

impl SmallDecoder {
    /// The decoded bytes, of which there are at most `max`.
    fn decode(&mut self, encoded: &[u8], max: usize) -> io::Result<Vec<u8>> {
        let decoder = match &mut self.0 {
            Some(decoder) => decoder,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        decoder.decompress(encoded, max)
    }
}

impl Receiver {
    /// A receiver for an answer that begins with the first want.
    pub(crate) fn new(shelf: Shelf, wants: Vec<Want>) -> Self {
        Self { shelf, wants, index: 0, collecting: None, collected: 0, small: SmallDecoder::default() }
    }

    /// Encoded bytes of a want that an earlier attempt left: the answer may begin behind them.
    pub(crate) fn resume_at(shelf: &Shelf, want: &Want) -> u64 {
        fs::metadata(shelf.encoded(&want.digest)).map_or(0, |meta| meta.len())
    }

    /// Whether everything came.
    pub(crate) fn is_complete(&self) -> bool {
        self.index == self.wants.len()
    }

    /// Takes the next part. When it ends a blob, that blob lies aside, checked, and its digest and size are returned.
    pub(crate) fn take(&mut self, part: &Part) -> Result<Option<(Digest, u64)>, ReceiveError> {
        let want = *self.wants.get(self.index).ok_or(ReceiveError::Disorder("more than was asked for"))?;
        if part.index != self.index {
            return Err(ReceiveError::Disorder("a blob out of its order"));
        }
        let resumed = Self::resume_at(&self.shelf, &want) > 0;
        if resumed && part.encoding == Encoding::Patch {
            return Err(ReceiveError::Disorder("a patch where the rest of a blob was asked for"));
        }
        let size = if part.last && self.collecting.is_none() && !resumed {
            let small = match want.size {
                Size::Exactly(size) if size <= SMALL_BYTES_MAX && part.encoding == Encoding::Plain => {
                    self.take_small(&want, size, &part.data)?
                }
                _ => None,
            };
            match small {
                Some(size) => size,
                // Also for a small one that does not hold: here it is told why.
                None => self.decode(&want, part.encoding, part.data.as_slice())?,
            }
        } else {
            self.collect(&want, part)?;
            if !part.last {
                return Ok(None);
            }
            self.decode_collected(&want, part.encoding)?
        };
        self.index += 1;
        Ok(Some((want.digest, size)))
    }

    /// Where the parts of a blob are collected. Only those of a plain blob serve a later attempt: a patch is small.
    fn collecting_place(&self, want: &Want, encoding: Encoding) -> PathBuf {
        match encoding {
            Encoding::Plain => self.shelf.encoded(&want.digest),
            Encoding::Patch => self.shelf.encoded_patch(&want.digest),
        }
    }

    fn collect(&mut self, want: &Want, part: &Part) -> Result<(), ReceiveError> {
        let path = self.collecting_place(want, part.encoding);
        let file = match &mut self.collecting {
            Some(file) => file,
            none => {
                if part.encoding == Encoding::Patch {
                    drop(fs::remove_file(&path));
                }
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
                let file = file.map_err(|e| FileError::new("make", &path, e))?;
                self.collected = file.metadata().map_err(|e| FileError::new("look at", &path, e))?.len();
                none.insert(file)
            }
        };
        self.collected += part.data.len() as u64;
        if self.collected > want.size.max() + ENCODED_SLACK_BYTES {
            self.drop_collected(&path);
            return Err(ReceiveError::Wrong { digest: want.digest, why: "it is larger than announced".to_owned() });
        }
        Ok(file.write_all(&part.data).map_err(|e| FileError::new("write", &path, e))?)
    }

    fn decode_collected(&mut self, want: &Want, encoding: Encoding) -> Result<u64, ReceiveError> {
        let path = self.collecting_place(want, encoding);
        let encoded = File::open(&path).map_err(|e| FileError::new("open", &path, e))?;
        let decoded = self.decode(want, encoding, encoded);
        // Whole or wrong: what was collected has served.
        self.drop_collected(&path);
        decoded
    }

    fn drop_collected(&mut self, path: &Path) {
        self.collecting = None;
        self.collected = 0;
        drop(fs::remove_file(path));
    }

    /// Puts a small blob aside that holds; `None` for one that does not, and nothing is written of it.
    fn take_small(&mut self, want: &Want, size: u64, encoded: &[u8]) -> Result<Option<u64>, FileError> {
        let decoded = usize::try_from(size).ok().and_then(|max| self.small.decode(encoded, max).ok());
        let Some(bytes) = decoded.filter(|bytes| bytes.len() as u64 == size && Digest::of(bytes) == want.digest) else {
            return Ok(None);
        };
        let aside = self.shelf.aside(&want.digest);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o444).open(&aside);
        let written = file.and_then(|mut file| file.write_all(&bytes));
        written.map_err(|e| {
            drop(fs::remove_file(&aside));
            FileError::new("write", &aside, e)
        })?;
        Ok(Some(size))
    }

    fn decode(&self, want: &Want, encoding: Encoding, encoded: impl io::Read) -> Result<u64, ReceiveError> {
        let path = self.shelf.unchecked(&want.digest);
        let decoded = self.decode_into(&path, want, encoding, encoded);
        let kept = decoded.and_then(|size| {
            let aside = self.shelf.aside(&want.digest);
            fs::rename(&path, &aside).map_err(|e| FileError::new("put aside", &aside, e))?;
            Ok(size)
        });
        if kept.is_err() {
            drop(fs::remove_file(&path));
        }
        kept
    }

    fn decode_into(&self, path: &Path, want: &Want, encoding: Encoding, encoded: impl io::Read) -> Result<u64, ReceiveError> {
        let wrong = |why: String| ReceiveError::Wrong { digest: want.digest, why };
        let dictionary = match (encoding, want.base) {
            (Encoding::Plain, _) => Vec::new(),
            (Encoding::Patch, None) => return Err(ReceiveError::Disorder("a patch without a base")),
            (Encoding::Patch, Some(base)) => {
                self.shelf.read(&base, super::BASE_BYTES_MAX).ok_or_else(|| wrong("its base is not there any more".to_owned()))?
            }
        };
        let decoder = zstd::stream::read::Decoder::with_dictionary(io::BufReader::new(encoded), &dictionary);
        let mut decoder = decoder.map_err(|e| wrong(e.to_string()))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| wrong(e.to_string()))?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o444).open(path);
        let mut file = file.map_err(|e| FileError::new("make", path, e))?;
        let (mut hasher, mut size) = (DigestHasher::new(), 0);
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let read = decoder.read(&mut buffer).map_err(|e| wrong(e.to_string()))?;
            if read == 0 {
                break;
            }
            size += read as u64;
            if size > want.size.max() {
                return Err(wrong("it is larger than announced".to_owned()));
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(|e| FileError::new("write", path, e))?;
        }
        match want.size {
            Size::Exactly(bytes) if bytes != size => Err(wrong(format!("it has {size} bytes instead of {bytes}"))),
            _ if hasher.finish() != want.digest => Err(wrong("its content differs".to_owned())),
            _ => Ok(size),
        }
    }
}
