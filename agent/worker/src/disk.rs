//! The file system as journals and states use it: the real one, or one made up whose power can fail.
//!
//! A name is durable only after its folder was synced, content only after it was synced; every method says which it does.

mod real;
mod sim;

use std::fmt::Debug;
use std::path::Path;

use crate::files::FileError;

pub use real::RealDisk;
pub use sim::{Room, SimDisk};

/// A file system. All of it is the agent's own: what is made here, only the agent may read.
pub trait Disk: Send + Sync + Debug {
    /// Reads a file that may not be larger than `max` bytes.
    fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, FileError>;

    /// The names in a folder, sorted; none when there is no such folder.
    fn names(&self, folder: &Path) -> Result<Vec<String>, FileError>;

    /// Makes a file that must not be there yet, with so many bytes of space reserved behind it. Its name is not durable yet.
    ///
    /// Where space cannot be reserved, a full disk is met when the file grows.
    fn create(&self, path: &Path, reserved: u64) -> Result<Box<dyn AppendFile>, FileError>;

    /// Opens a file that is there, for more.
    fn open(&self, path: &Path) -> Result<Box<dyn AppendFile>, FileError>;

    /// Removes a file. That it is gone is not durable yet.
    fn remove(&self, path: &Path) -> Result<(), FileError>;

    /// Replaces a file durably: after a crash it holds the old or the new content, never a part.
    fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), FileError>;

    /// Makes a folder and those above it, durably.
    fn create_folder(&self, path: &Path) -> Result<(), FileError>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> Result<(), FileError>;
}

/// A file that is open to grow.
pub trait AppendFile: Send + Debug {
    /// Adds bytes at the end: durable when this returns. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Cuts the file to a length, durably.
    fn cut(&mut self, length: u64) -> Result<(), FileError>;
}
