//! A disk that remembers what was asked of it: a file system in user space that shows one file, on which a loop device stands.
//!
//! The kernel's loop device writes to its file what a file system above it writes to the disk, and syncs the file where the file system
//! flushes the disk, so the file sees both in the order in which they came. (A write that must be durable at once comes as a write and a
//! flush after it.) The thread that serves the file ends when it is unmounted, or with the process.

use crate::lab::error::{LabError, Result};
use crate::lab::recording::Recording;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner, MountOption,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// The name of the file that is shown.
const FILE: &str = "disk";
/// Nothing of the file changes but its content, and that through the kernel alone.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// The largest write that is taken at once.
const WRITE_BYTES_MAX: u32 = 1 << 20;

/// A disk whose writes and flushes can be recorded. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Disk>);

#[derive(Debug)]
struct Disk {
    /// Where the content really lies.
    path: PathBuf,
    file: File,
    size: u64,
    /// Held over every write, so that a recording begins between two of them.
    recording: Mutex<Option<Recording>>,
}

impl Recorder {
    /// Shows the file at `path` as `at/disk`.
    pub(crate) fn serve(path: &Path, at: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(LabError::io("open", path))?;
        let size = file.metadata().map_err(LabError::io("read", path))?.len();
        let recorder = Self(Arc::new(Disk { path: path.to_owned(), file, size, recording: Mutex::new(None) }));
        fs::create_dir_all(at).map_err(LabError::io("make", at))?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("roadstead-recorder".to_owned())];
        let session = Session::new(recorder.clone(), at, &config).map_err(LabError::io("mount", at))?;
        let thread = std::thread::Builder::new().name("recorder".to_owned());
        thread.spawn(move || session.run()).map_err(LabError::io("serve", at))?;
        Ok(recorder)
    }

    /// The file that `serve` shows in a folder.
    pub(crate) fn file(at: &Path) -> PathBuf {
        at.join(FILE)
    }

    /// Records from now on, into a folder. What was written until now counts as durable.
    pub fn begin(&self, folder: &Path) -> Result<()> {
        let mut recording = self.recording();
        *recording = Some(Recording::begin(folder, &self.0.path)?);
        Ok(())
    }

    /// How much was asked of the disk since the recording began.
    pub fn position(&self) -> usize {
        self.recording().as_ref().map_or(0, |recording| recording.requests().len())
    }

    /// Ends the recording and gives it away; none when none was begun.
    pub fn end(&self) -> Option<Recording> {
        self.recording().take()
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.0.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut recording = self.recording();
        self.0.file.write_all_at(bytes, offset)?;
        recording.as_mut().map_or(Ok(()), |recording| recording.write(offset, bytes))
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm) = if inode == INodeNo::ROOT { (FileType::Directory, 0o700) } else { (FileType::RegularFile, 0o600) };
        let (size, time) = (self.0.size, UNIX_EPOCH);
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Recorder {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // the most that can be had is as good
        config.set_max_write(WRITE_BYTES_MAX).or_else(|most| config.set_max_write(most)).map(drop).unwrap_or_default();
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == FILE {
            reply.entry(&FOREVER, &self.attributes(INodeNo(2)), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, size: u32, _: OpenFlags, _: Option<LockOwner>, reply: ReplyData) {
        let mut bytes = vec![0; size as usize];
        match self.0.file.read_at(&mut bytes, offset) {
            Ok(length) => reply.data(bytes.get(..length).unwrap_or_default()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match Self::write(self, offset, bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // a file handle was closed: nothing of a disk
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(recording) = self.recording().as_mut() {
            recording.flush();
        }
        reply.ok();
    }
}
