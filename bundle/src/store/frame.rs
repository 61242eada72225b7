//! Blobs that come as zstd frames. A store of frames keeps a frame as it came, checked but not compressed again.

use roadstead_model::{Digest, DigestHasher};
use std::fs::File;
use std::io::{self, Read, Write as _};

use super::{Form, Incoming, PART, Sink, Store, StoreError, WINDOW_LOG_MAX};

/// A frame may be larger than its content by this much.
const SLACK: u64 = 64 * 1024;

/// Why a frame is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The disk, or the blob is not what was promised.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frame cannot be decoded, or its source broke off ([`io::ErrorKind::UnexpectedEof`]).
    #[error("it cannot be decoded: {0}")]
    Content(io::Error),
    /// There is more than one frame.
    #[error("there are bytes behind the end of a blob")]
    Behind,
}

impl Store {
    /// The most bytes that a frame of so many bytes of content may have.
    #[must_use]
    pub const fn frame_bytes_max(size: u64) -> u64 {
        size.saturating_add(SLACK)
    }

    /// Stores a blob that comes as one zstd frame, which is all that `frame` yields. Its content is counted and hashed while it
    /// streams; the window of the decoder is bounded.
    ///
    /// # Errors
    /// [`FrameError`]; the store is then as it was.
    pub fn take_frame(&self, digest: Digest, size: u64, frame: &mut dyn Read) -> Result<(), FrameError> {
        let (mut incoming, copy) = match self.form {
            Form::Raw => (self.begin(digest, size)?, None),
            Form::Compressed => {
                let (incoming, file) = self.begin_framed(digest, size)?;
                (incoming, Some(file))
            }
        };
        let mut source = Source { frame, copy, left: Self::frame_bytes_max(size), full: None };
        let decoded = decode(&mut source, &mut |part| incoming.write(part));
        // What the disk said comes first: the decoder only heard that its source broke.
        if let Some(error) = source.full {
            return Err(StoreError::Io { action: "write", path: incoming.path.clone(), source: error }.into());
        }
        decoded?;
        Ok(incoming.finish()?)
    }

    fn begin_framed(&self, digest: Digest, size: u64) -> Result<(Incoming, File), StoreError> {
        let (path, file) = self.new_file(digest, size)?;
        Ok((Incoming::new(digest, size, Sink::Framed, path, self.path_of(&digest)), file))
    }
}

/// Reads a blob that comes as one zstd frame through and checks its size and digest, in bounded memory.
///
/// # Errors
/// [`FrameError`].
pub(crate) fn check_frame(digest: Digest, size: u64, frame: &mut dyn Read) -> Result<(), FrameError> {
    let (mut hasher, mut seen) = (DigestHasher::new(), 0_u64);
    let mut source = Source { frame, copy: None, left: Store::frame_bytes_max(size), full: None };
    decode(&mut source, &mut |part| {
        seen += part.len() as u64;
        hasher.update(part);
        if seen > size { Err(StoreError::TooLarge { digest, allowed: size }) } else { Ok(()) }
    })?;
    let found = hasher.finish();
    if found == digest && seen == size { Ok(()) } else { Err(StoreError::Mismatch { expected: digest, found }.into()) }
}

/// What a frame holds, which is no more than `size` bytes.
///
/// # Errors
/// [`FrameError`].
pub(crate) fn unpacked(digest: Digest, size: u64, mut frame: impl Read) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let mut source = Source { frame: &mut frame, copy: None, left: Store::frame_bytes_max(size), full: None };
    decode(&mut source, &mut |part| {
        if bytes.len() as u64 + part.len() as u64 > size {
            return Err(StoreError::TooLarge { digest, allowed: size });
        }
        bytes.extend(part);
        Ok(())
    })?;
    Ok(bytes)
}

fn decode(source: &mut Source<'_>, take: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), FrameError> {
    let mut decoder = zstd::Decoder::new(source).map_err(FrameError::Content)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(FrameError::Content)?;
    let mut buffer = vec![0; PART];
    loop {
        let read = decoder.read(&mut buffer).map_err(FrameError::Content)?;
        if read == 0 {
            break;
        }
        take(&buffer[..read])?;
    }
    // What the decoder has read ahead, and what it has not read.
    let behind = io::copy(&mut decoder.finish(), &mut io::sink()).map_err(FrameError::Content)?;
    if behind > 0 { Err(FrameError::Behind) } else { Ok(()) }
}

/// The frame on its way to the decoder; what passes is written down as it is.
struct Source<'a> {
    frame: &'a mut dyn Read,
    copy: Option<File>,
    left: u64,
    full: Option<io::Error>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.frame.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other("its frame is larger than such a blob may need"))?;
        if let Some(file) = &mut self.copy
            && let Err(error) = file.write_all(&buffer[..count])
        {
            self.full = Some(error);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn store(form: Form) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), form).unwrap();
        (folder, store)
    }

    fn nothing_is_left(store: &Store) {
        assert_eq!(fs::read_dir(store.folder().join("new")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 1);
    }

    #[test]
    fn a_frame_is_kept_as_it_came_and_read_as_what_it_holds() {
        let content = b"roadstead ".repeat(20_000);
        let digest = Digest::of(&content);
        // another level than the store's own, so that a frame that was made anew would differ
        let frame = zstd::encode_all(&content[..], 1).unwrap();
        for form in [Form::Raw, Form::Compressed] {
            let (_folder, store) = store(form);
            store.take_frame(digest, content.len() as u64, &mut &frame[..]).unwrap();
            assert_eq!(store.read_checked(&digest, 1 << 20).unwrap(), content);
            let lies = fs::read(store.path_of(&digest)).unwrap();
            assert_eq!(lies, if form == Form::Raw { content.clone() } else { frame.clone() });
        }
    }

    #[test]
    fn what_is_no_such_frame_leaves_nothing_behind() {
        let content = b"roadstead".repeat(1000);
        let (digest, size) = (Digest::of(&content), content.len() as u64);
        let frame = zstd::encode_all(&content[..], 3).unwrap();
        let two = [&frame[..], &frame[..]].concat();
        let junk = [&frame[..], b"!"].concat();
        for form in [Form::Raw, Form::Compressed] {
            let (_folder, store) = store(form);
            let take = |size, bytes: &[u8]| store.take_frame(digest, size, &mut &*bytes).unwrap_err();
            assert!(matches!(take(size, &two), FrameError::Behind));
            assert!(matches!(take(size, &junk), FrameError::Behind));
            let cut = take(size, &frame[..frame.len() - 1]);
            assert!(matches!(cut, FrameError::Content(error) if error.kind() == io::ErrorKind::UnexpectedEof));
            assert!(matches!(take(size, b"no frame at all"), FrameError::Content(_)));
            assert!(matches!(take(size - 1, &frame), FrameError::Store(StoreError::TooLarge { .. })));
            assert!(matches!(take(size + 1, &frame), FrameError::Store(StoreError::Mismatch { .. })));
            let other = zstd::encode_all(&b"other"[..], 3).unwrap();
            assert!(matches!(take(5, &other), FrameError::Store(StoreError::Mismatch { .. })));
            nothing_is_left(&store);
        }
    }

    #[test]
    fn a_frame_that_never_ends_is_cut() {
        // the head of a frame, then blocks of no bytes for as long as anyone reads
        let head: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        let (_folder, store) = store(Form::Compressed);
        let error = store.take_frame(Digest::of(b""), 0, &mut head.chain(io::repeat(0))).unwrap_err();
        assert!(matches!(error, FrameError::Content(error) if error.to_string().contains("larger")));
        nothing_is_left(&store);
    }
}
