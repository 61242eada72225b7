//! A folder of blobs named by their digests: `ab/cdef…`.
//!
//! What has its name is whole: a blob is written beside it, checked, and renamed. Blobs are not synced one by one;
//! [`Store::sync`] makes all of them durable before anything that depends on them is said to be done.

mod frame;

pub use frame::FrameError;
pub(crate) use frame::{check_frame, unpacked};

use roadstead_model::{Digest, DigestHasher, limits};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are moved at a time.
const PART: usize = 64 * 1024;
/// The largest window that a compressed blob may ask for: 8 MiB, so that a hostile frame cannot fill the memory.
const WINDOW_LOG_MAX: u32 = 23;
/// A moderate level: blobs are compressed once and read often.
const LEVEL: i32 = 9;

/// How blobs lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are, so that release trees can be hard links of them.
    Raw,
    /// Each as a zstd frame, so that they can be sent as they lie.
    Compressed,
}

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    form: Form,
}

/// Why a store does not do as told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The blob is not there.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// Bytes that came are not the blob that they should be.
    #[error("what arrived as blob {expected} is something else ({found})")]
    Mismatch {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// More bytes than were promised or allowed.
    #[error("blob {digest} has more than the {allowed} bytes that were announced")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// The bound.
        allowed: u64,
    },
    /// A blob on disk is damaged. It was not used.
    #[error("blob {0} is damaged on disk: remove it and fetch it again")]
    Damaged(Digest),
}

impl StoreError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Store {
    /// Opens a store, making its folder where there is none.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, form: Form) -> Result<Self, StoreError> {
        fs::create_dir_all(folder.join("new")).map_err(StoreError::io("make", folder))?;
        Ok(Self { folder: folder.to_owned(), form })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How blobs lie on disk.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Where a blob lies, or would lie.
    #[must_use]
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        let (shelf, name) = hex.split_at(2);
        self.folder.join(shelf).join(name)
    }

    /// Whether the blob is there.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.path_of(digest).exists()
    }

    /// Stores bytes that are at hand and gives their digest.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.has(&digest) {
            let mut incoming = self.begin(digest, bytes.len() as u64)?;
            incoming.write(bytes)?;
            incoming.finish()?;
        }
        Ok(digest)
    }

    /// Stores a file's content. The digest is that of what was read, whatever happens to the file meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read, changes while it is read, or the disk does not take it.
    pub fn put_file(&self, path: &Path) -> Result<(Digest, u64), StoreError> {
        let read = || StoreError::io("read", path);
        let mut hasher = DigestHasher::new();
        let mut buffer = vec![0; PART];
        let mut size = 0;
        let mut file = File::open(path).map_err(read())?;
        loop {
            let count = file.read(&mut buffer).map_err(read())?;
            if count == 0 {
                break;
            }
            size += count as u64;
            hasher.update(&buffer[..count]);
        }
        let digest = hasher.finish();
        if !self.has(&digest) {
            let mut incoming = self.begin(digest, size)?;
            let mut file = File::open(path).map_err(read())?;
            loop {
                let count = file.read(&mut buffer).map_err(read())?;
                if count == 0 {
                    break;
                }
                incoming.write(&buffer[..count])?;
            }
            incoming.finish()?;
        }
        Ok((digest, size))
    }

    /// Begins to store a blob whose digest and size are known.
    ///
    /// # Errors
    /// When the size is not allowed or no file can be made.
    pub fn begin(&self, digest: Digest, size: u64) -> Result<Incoming, StoreError> {
        let (path, file) = self.new_file(digest, size)?;
        let sink = match self.form {
            Form::Raw => Sink::Raw(file),
            Form::Compressed => Sink::Compressed(zstd::Encoder::new(file, LEVEL).map_err(StoreError::io("compress", &path))?),
        };
        Ok(Incoming::new(digest, size, sink, path, self.path_of(&digest)))
    }

    /// A file that is not a blob yet. Two writers of one blob write the same bytes to two files: the process and a counter keep them apart.
    fn new_file(&self, digest: Digest, size: u64) -> Result<(PathBuf, File), StoreError> {
        if size > limits::BLOB_BYTES_MAX {
            return Err(StoreError::TooLarge { digest, allowed: limits::BLOB_BYTES_MAX });
        }
        let path = self.folder.join("new").join(format!("{digest}.{}.{}", std::process::id(), next_number()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path).map_err(StoreError::io("make", &path))?;
        Ok((path, file))
    }

    /// The blob's content, to be read in parts. What is read is not checked: see [`Store::read_checked`] and [`Store::check`].
    ///
    /// # Errors
    /// [`StoreError::Missing`], or when it cannot be opened.
    pub fn reader(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, StoreError> {
        let file = self.file(digest)?;
        Ok(match self.form {
            Form::Raw => Box::new(file),
            Form::Compressed => Box::new(decoder(file).map_err(StoreError::io("read", &self.path_of(digest)))?),
        })
    }

    /// The file in which the blob lies: raw or a zstd frame, by the form of the store.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or when it cannot be opened.
    pub fn file(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path_of(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(*digest),
            _ => StoreError::Io { action: "open", path, source: error },
        })
    }

    /// The whole of a blob of at most `max` bytes, checked against its digest.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLarge`] or [`StoreError::Damaged`].
    pub fn read_checked(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = self.reader(digest)?.take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|_| StoreError::Damaged(*digest))?;
        if bytes.len() as u64 > max {
            return Err(StoreError::TooLarge { digest: *digest, allowed: max });
        }
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(StoreError::Damaged(*digest)) }
    }

    /// Reads a blob through and checks digest and size, in bounded memory.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`].
    pub fn check(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        if self.read_through(digest, size)? == size { Ok(()) } else { Err(StoreError::Damaged(*digest)) }
    }

    /// Reads a blob of at most `max` bytes through, in bounded memory, and checks its digest; gives its size.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`].
    pub fn read_through(&self, digest: &Digest, max: u64) -> Result<u64, StoreError> {
        let damaged = || StoreError::Damaged(*digest);
        let mut reader = self.reader(digest)?.take(max.saturating_add(1));
        let mut hasher = DigestHasher::new();
        // Most files are small, and a release has thousands: none of them pays for a large one's buffer.
        let mut buffer = vec![0; usize::try_from(max).map_or(PART, |max| PART.min(max.saturating_add(1)))];
        let mut seen = 0;
        loop {
            let count = reader.read(&mut buffer).map_err(|_| damaged())?;
            if count == 0 {
                break;
            }
            seen += count as u64;
            hasher.update(&buffer[..count]);
        }
        if seen <= max && hasher.finish() == *digest { Ok(seen) } else { Err(damaged()) }
    }

    /// Removes a blob, for instance one that was found damaged.
    ///
    /// # Errors
    /// When the file system refuses; a blob that is not there is no error.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path_of(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { action: "remove", path, source: error }),
            _ => Ok(()),
        }
    }

    /// Makes everything stored so far durable: one `syncfs(2)` instead of an `fsync` per blob.
    ///
    /// # Errors
    /// When the system cannot write it out.
    pub fn sync(&self) -> Result<(), StoreError> {
        sync_file_system(&self.folder).map_err(StoreError::io("sync", &self.folder))
    }

    /// Removes every blob that is not in `keep` and what unfinished writers left, and tells how many bytes that freed.
    ///
    /// # Errors
    /// At the first file that cannot be listed or removed.
    pub fn remove_all_but(&self, keep: &HashSet<Digest>) -> Result<u64, StoreError> {
        let mut freed = 0;
        for shelf in list(&self.folder)? {
            let leftovers = shelf.file_name().is_some_and(|name| name == "new");
            for path in list(&shelf)? {
                let kept = !leftovers && digest_of_path(&path).is_some_and(|digest| keep.contains(&digest));
                if !kept {
                    let size = fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
                    match fs::remove_file(&path) {
                        // Somebody else was first.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        removed => removed.map_err(StoreError::io("remove", &path))?,
                    }
                    freed += size;
                }
            }
        }
        Ok(freed)
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(folder).map_err(StoreError::io("list", folder))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(StoreError::io("list", folder))).collect()
}

fn digest_of_path(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    let shelf = path.parent()?.file_name()?.to_str()?;
    // An executable twin (`.x`) lives and dies with its blob.
    format!("{shelf}{}", name.strip_suffix(".x").unwrap_or(name)).parse().ok()
}

fn next_number() -> u64 {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Writes out everything of the file system that holds `path`.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    nix::unistd::syncfs(&folder).map_err(io::Error::from)
}

fn decoder(file: File) -> io::Result<zstd::Decoder<'static, io::BufReader<File>>> {
    let mut decoder = zstd::Decoder::new(file)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// A blob on its way into a store. Dropped before [`Incoming::finish`] it leaves nothing behind.
pub struct Incoming {
    digest: Digest,
    size: u64,
    seen: u64,
    hasher: DigestHasher,
    sink: Option<Sink>,
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

enum Sink {
    Raw(File),
    Compressed(zstd::Encoder<'static, File>),
    /// The frame is written by whoever reads it: what passes here is only counted and hashed.
    Framed,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("digest", &self.digest).field("size", &self.size).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Incoming {
    fn new(digest: Digest, size: u64, sink: Sink, path: PathBuf, target: PathBuf) -> Self {
        Self { digest, size, seen: 0, hasher: DigestHasher::new(), sink: Some(sink), path, target, kept: false }
    }

    /// Takes in the next part.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] as soon as there is more than was announced, or when the disk does not take it.
    pub fn write(&mut self, part: &[u8]) -> Result<(), StoreError> {
        self.seen = self.seen.saturating_add(part.len() as u64);
        if self.seen > self.size {
            return Err(StoreError::TooLarge { digest: self.digest, allowed: self.size });
        }
        self.hasher.update(part);
        let written = match &mut self.sink {
            Some(Sink::Raw(file)) => file.write_all(part),
            Some(Sink::Compressed(encoder)) => encoder.write_all(part),
            Some(Sink::Framed) => Ok(()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(StoreError::io("write", &self.path))
    }

    /// Checks the digest and gives the blob its name.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when other bytes came than were promised; the store is as it was.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let found = self.hasher.finish();
        if found != self.digest || self.seen != self.size {
            return Err(StoreError::Mismatch { expected: self.digest, found });
        }
        if let Some(Sink::Compressed(encoder)) = self.sink.take() {
            drop(encoder.finish().map_err(StoreError::io("write", &self.path))?);
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o444)).map_err(StoreError::io("write", &self.path))?;
        if let Some(shelf) = self.target.parent() {
            fs::create_dir_all(shelf).map_err(StoreError::io("make", shelf))?;
        }
        fs::rename(&self.path, &self.target).map_err(StoreError::io("store", &self.target))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing depends on the file: what cannot be removed now goes with the next clean-up.
            let _removed: io::Result<()> = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> Vec<(tempfile::TempDir, Store)> {
        [Form::Raw, Form::Compressed]
            .map(|form| {
                let folder = tempfile::tempdir().unwrap();
                let store = Store::open(folder.path(), form).unwrap();
                (folder, store)
            })
            .into()
    }

    fn leftovers(store: &Store) -> usize {
        fs::read_dir(store.folder().join("new")).unwrap().count()
    }

    #[test]
    fn what_goes_in_comes_out() {
        for (_folder, store) in stores() {
            let digest = store.put(b"roadstead").unwrap();
            assert!(store.has(&digest));
            assert_eq!(store.read_checked(&digest, 100).unwrap(), b"roadstead");
            store.check(&digest, 9).unwrap();
            store.sync().unwrap();
            assert!(matches!(store.check(&digest, 8), Err(StoreError::Damaged(_))));
            assert!(matches!(store.read_checked(&digest, 3), Err(StoreError::TooLarge { .. })));
            assert!(matches!(store.reader(&Digest::of(b"other")), Err(StoreError::Missing(_))));
        }
    }

    #[test]
    fn wrong_bytes_leave_nothing_behind() {
        for (_folder, store) in stores() {
            let digest = Digest::of(b"promised");
            let mut incoming = store.begin(digest, 8).unwrap();
            incoming.write(b"somethin").unwrap();
            assert!(matches!(incoming.finish(), Err(StoreError::Mismatch { .. })));
            let mut incoming = store.begin(digest, 8).unwrap();
            assert!(matches!(incoming.write(b"promised and more"), Err(StoreError::TooLarge { .. })));
            drop(incoming);
            drop(store.begin(digest, 8).unwrap());
            assert!(!store.has(&digest));
            assert_eq!(leftovers(&store), 0);
        }
    }

    #[test]
    fn damage_on_disk_is_seen() {
        for (_folder, store) in stores() {
            let digest = store.put(&vec![7; 100_000]).unwrap();
            let path = store.path_of(&digest);
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            assert!(matches!(store.check(&digest, 100_000), Err(StoreError::Damaged(_))));
            assert!(matches!(store.read_checked(&digest, 200_000), Err(StoreError::Damaged(_))));
        }
    }

    #[test]
    fn clean_up_keeps_what_is_asked_for() {
        for (_folder, store) in stores() {
            let (kept, gone) = (store.put(b"kept").unwrap(), store.put(b"gone").unwrap());
            assert!(store.remove_all_but(&HashSet::from([kept])).unwrap() > 0);
            assert!(store.has(&kept) && !store.has(&gone));
        }
    }

    #[test]
    fn a_blob_is_stored_once_however_many_put_it() {
        let (_folder, store) = stores().remove(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.put(&vec![1; 1_000_000]).unwrap());
            }
        });
        store.check(&Digest::of(&vec![1; 1_000_000]), 1_000_000).unwrap();
        assert_eq!(leftovers(&store), 0);
    }
}
