//! The journal of one order: `journal/APP/ROLLOUT-SEQUENCE.jsonl`, one record a line, each durable before it is acted on.
//!
//! A line is `{"check":"<16 hex>","at":<ms>,"entry":{…}}`; the check covers the check of the line before it and everything
//! behind its own, so that no line can be altered, dropped or moved unseen. Format 1 is the first.

use roadstead_deployment::{FoldError, JOURNAL_FORMAT, Record, Status, fold};
use roadstead_model::{AppName, DigestHasher, Order, OrderKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::files::{FileError, create_private_folder, read_bounded, sync_folder};
use crate::layout::Layout;

/// The largest journal that is read: an order of one message, its steps and their failures.
const JOURNAL_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Space that is reserved behind a new journal, so that a disk that fills up later does not silence it.
const RESERVED_BYTES: i64 = 64 * 1024;
const CHECK_DIGITS: usize = 16;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The file system did not do as told.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not what was written.
    #[error("the journal {} is damaged at line {line}: {why}; move the file away to let the app be deployed again", path.display())]
    Damaged {
        /// Which journal.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Its records make no sense.
    #[error("the journal {} makes no sense; move the file away to let the app be deployed again", path.display())]
    Senseless {
        /// Which journal.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: FoldError,
    },
}

/// A journal that is open for more records.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    check: String,
}

impl JournalFile {
    /// Begins the journal of an order in the folder of its app: the order is accepted when this returns.
    pub(crate) fn create(folder: &Path, order: &Order) -> Result<Self, JournalError> {
        create_private_folder(folder)?;
        let path = folder.join(name_of(order.key()));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| FileError::new("make", &path, e))?;
        let mut journal = Self { path, file, check: String::new() };
        let begun = journal.reserve().and_then(|()| journal.append(&Record::Header { format: JOURNAL_FORMAT, order: order.clone() }));
        if let Err(error) = begun.and_then(|()| Ok(sync_folder(folder)?)) {
            // Nothing was done yet: the order counts as never given.
            if let Err(left) = fs::remove_file(&journal.path) {
                tracing::warn!(path = %journal.path.display(), error = %left, "an empty journal is left behind");
            }
            return Err(error);
        }
        Ok(journal)
    }

    /// Reads a journal and opens it for more records. `None` when no order was accepted in it: then it is gone.
    pub(crate) fn open(path: &Path) -> Result<Option<(Self, Status)>, JournalError> {
        let bytes = read_bounded(path, JOURNAL_BYTES_MAX)?;
        let (records, whole, check) = parse(path, &bytes)?;
        if records.is_empty() {
            tracing::warn!(path = %path.display(), "a journal holds no accepted order; it is removed");
            fs::remove_file(path).map_err(|e| FileError::new("remove", path, e))?;
            return Ok(None);
        }
        let mut file = OpenOptions::new().append(true).open(path).map_err(|e| FileError::new("open", path, e))?;
        if whole < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - whole, "the torn end of a journal is cut off");
            let cut = |file: &mut File| {
                file.set_len(whole as u64)?;
                file.seek(SeekFrom::End(0))?;
                file.sync_all()
            };
            cut(&mut file).map_err(|e| FileError::new("cut", path, e))?;
        }
        let status = status_of(path, &records)?;
        Ok(Some((Self { path: path.to_path_buf(), file, check }, status)))
    }

    /// Reads a journal that someone else may be writing, and changes nothing.
    fn peek(path: &Path) -> Result<Option<Status>, JournalError> {
        let (records, ..) = parse(path, &read_bounded(path, JOURNAL_BYTES_MAX)?)?;
        if records.is_empty() { Ok(None) } else { status_of(path, &records).map(Some) }
    }

    /// Adds a record: it is durable when this returns.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let failed = |e| FileError::new("write", &self.path, e);
        let entry = serde_json::to_string(record).map_err(|e| failed(io::Error::other(e)))?;
        let body = format!("\"at\":{},\"entry\":{entry}}}", clock::now().0);
        let check = check_of(&self.check, &body);
        let line = format!("{{\"check\":\"{check}\",{body}\n");
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()).map_err(failed)?;
        self.check = check;
        Ok(())
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn reserve(&self) -> Result<(), JournalError> {
        use nix::fcntl::{FallocateFlags, fallocate};
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, RESERVED_BYTES) {
            // Not every file system can; then a full disk is met later.
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => Ok(()),
            Err(errno) => Err(FileError::new("reserve space for", &self.path, errno.into()).into()),
        }
    }
}

/// The journals of all apps.
#[derive(Debug, Clone)]
pub(crate) struct Journals {
    folder: PathBuf,
}

impl Journals {
    /// The journals in a folder.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The journals of the agent.
    pub(crate) fn of_agent(layout: &Layout) -> Self {
        Self::new(layout.agent_state().join("journal"))
    }

    /// Where the journals of an app are.
    pub(crate) fn of(&self, app: &AppName) -> PathBuf {
        self.folder.join(app.as_str())
    }

    /// Where the journal of an order is.
    pub(crate) fn path(&self, app: &AppName, key: OrderKey) -> PathBuf {
        self.of(app).join(name_of(key))
    }

    /// Apps that have journals.
    pub(crate) fn apps(&self) -> Result<Vec<AppName>, FileError> {
        Ok(names_in(&self.folder)?.iter().filter_map(|name| AppName::parse(name).ok()).collect())
    }

    /// Where every order about an app stands; what tore at a crash is put right.
    pub(crate) fn read(&self, app: &AppName) -> Result<Vec<Status>, JournalError> {
        self.each(app, |path| Ok(JournalFile::open(path)?.map(|(_, status)| status)))
    }

    /// Where every order about an app stands, for onlookers: changes nothing.
    pub(crate) fn peek(&self, app: &AppName) -> Result<Vec<Status>, JournalError> {
        self.each(app, JournalFile::peek)
    }

    fn each(&self, app: &AppName, read: impl Fn(&Path) -> Result<Option<Status>, JournalError>) -> Result<Vec<Status>, JournalError> {
        let folder = self.of(app);
        let names = names_in(&folder)?;
        let journals = names.iter().filter(|name| name.ends_with(".jsonl") && !name.starts_with('.'));
        journals.filter_map(|name| read(&folder.join(name)).transpose()).collect()
    }

    /// Forgets the journal of an order that ended.
    pub(crate) fn remove(&self, app: &AppName, key: OrderKey) -> Result<(), FileError> {
        let path = self.path(app, key);
        fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))
    }
}

fn name_of(key: OrderKey) -> String {
    format!("{}-{}.jsonl", key.rollout.0, key.sequence)
}

fn status_of(path: &Path, records: &[Record]) -> Result<Status, JournalError> {
    fold(records).map_err(|source| JournalError::Senseless { path: path.to_path_buf(), source })
}

fn names_in(folder: &Path) -> Result<Vec<String>, FileError> {
    let failed = |e| FileError::new("list", folder, e);
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

fn check_of(before: &str, body: &str) -> String {
    let mut hasher = DigestHasher::new();
    hasher.update(before.as_bytes());
    hasher.update(body.as_bytes());
    let mut digits = hasher.finish().to_string();
    digits.truncate(CHECK_DIGITS);
    digits
}

/// The records of a journal, the length of its whole part, and the check of its last whole line.
///
/// A last line that does not hold was never acknowledged, so nothing was done upon it: it is left out. Any other line must hold.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, usize, String), JournalError> {
    let (mut records, mut whole, mut check) = (Vec::new(), 0, String::new());
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match parse_line(line, &check) {
            Ok((record, own)) => {
                records.push(record);
                check = own;
                whole += line.len();
            }
            Err(_) if whole + line.len() == bytes.len() => break,
            Err(why) => return Err(JournalError::Damaged { path: path.to_path_buf(), line: index + 1, why }),
        }
    }
    Ok((records, whole, check))
}

fn parse_line(line: &[u8], before: &str) -> Result<(Record, String), String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    let line = text.strip_suffix('\n').ok_or("it does not end")?;
    let rest = line.strip_prefix("{\"check\":\"").ok_or("it does not begin with a check")?;
    let (check, body) = rest.split_once("\",").ok_or("its check does not end")?;
    if check_of(before, body) != check {
        return Err("its check does not hold".to_owned());
    }
    let entry = body.split_once(",\"entry\":").and_then(|(_, entry)| entry.strip_suffix('}')).ok_or("it has no entry")?;
    let record = serde_json::from_str(entry).map_err(|e| e.to_string())?;
    Ok((record, check.to_owned()))
}

#[cfg(test)]
mod tests;
