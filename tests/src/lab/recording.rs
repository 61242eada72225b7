//! All that a file system asked of its disk, in order: what a disk may hold after a power cut at any moment is made from it.

use crate::lab::command::run;
use crate::lab::error::{LabError, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// One thing that was asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Bytes went to a place. Until the next flush is done they may be lost.
    Write {
        /// Where on the disk.
        offset: u64,
        /// How many.
        length: usize,
        /// Where in the recording's own data they are.
        at: u64,
    },
    /// All that was written before is durable.
    Flush,
}

/// A disk as it was, and what was asked of it since: three files in a folder.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    requests: Vec<Request>,
    data: File,
    length: u64,
}

impl Recording {
    /// Begins with a copy of the disk as it is now, of which all counts as durable.
    pub(crate) fn begin(folder: &Path, disk: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
        run(&["cp", "--sparse=always", &disk.to_string_lossy(), &folder.join("base").to_string_lossy()])?;
        let path = folder.join("data");
        let data = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).map_err(LabError::io("make", path))?;
        Ok(Self { folder: folder.to_owned(), requests: Vec::new(), data, length: 0 })
    }

    /// Takes down a write.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.data.write_all_at(bytes, self.length)?;
        self.requests.push(Request::Write { offset, length: bytes.len(), at: self.length });
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Takes down a flush.
    pub(crate) fn flush(&mut self) {
        self.requests.push(Request::Flush);
    }

    /// What was asked, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The bytes of the recording's own data at a place.
    pub fn bytes(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.data.read_exact_at(&mut bytes, at).map_err(LabError::io("read", self.folder.join("data")))?;
        Ok(bytes)
    }

    /// The disk as it was when the recording began.
    pub fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down what is only in memory, so that another process can load the recording.
    pub fn save(&self) -> Result<()> {
        let path = self.folder.join("requests");
        let failed = || LabError::io("write", &path);
        let mut file = BufWriter::new(File::create(&path).map_err(failed())?);
        for request in &self.requests {
            match request {
                Request::Write { offset, length, at } => writeln!(file, "{offset} {length} {at}"),
                Request::Flush => writeln!(file, "flush"),
            }
            .map_err(failed())?;
        }
        file.flush().map_err(failed())
    }

    /// Loads a recording that was saved.
    pub fn load(folder: &Path) -> Result<Self> {
        let (path, data) = (folder.join("requests"), folder.join("data"));
        let text = fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        let malformed = || LabError::io("understand", &path)(std::io::ErrorKind::InvalidData.into());
        let requests = text.lines().map(|line| request(line).ok_or_else(malformed)).collect::<Result<Vec<_>>>()?;
        let data = File::open(&data).map_err(LabError::io("open", data))?;
        let length = data.metadata().map_err(LabError::io("read", folder))?.len();
        Ok(Self { folder: folder.to_owned(), requests, data, length })
    }
}

fn request(line: &str) -> Option<Request> {
    if line == "flush" {
        return Some(Request::Flush);
    }
    let mut numbers = line.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    Some(Request::Write { offset: next()?, length: usize::try_from(next()?).ok()?, at: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::write(&disk, [7; 8192]).unwrap();
        let mut recording = Recording::begin(&folder.path().join("recording"), &disk).unwrap();
        recording.write(4096, b"one").unwrap();
        recording.flush();
        recording.write(0, b"three").unwrap();
        recording.save().unwrap();
        let back = Recording::load(recording.folder()).unwrap();
        let write = |offset, length, at| Request::Write { offset, length, at };
        assert_eq!(back.requests(), [write(4096, 3, 0), Request::Flush, write(0, 5, 3)]);
        assert_eq!(back.bytes(3, 5).unwrap(), b"three");
        assert_eq!(fs::read(back.base()).unwrap(), [7; 8192]);
    }
}
