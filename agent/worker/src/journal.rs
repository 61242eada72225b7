//! The journal of one order: `journal/APP/ROLLOUT-SEQUENCE.jsonl`, one record a line, each durable before it is acted on.
//!
//! A line is `{"check":"<16 hex>","at":<ms>,"entry":{…}}`; the check covers the check of the line before it and everything
//! behind its own, so that no line can be altered, dropped or moved unseen. Format 1 is the first.

use roadstead_deployment::{FoldError, JOURNAL_FORMAT, Record, Status, fold};
use roadstead_model::{AppName, DigestHasher, Millis, Order, OrderKey, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::WallClock;
use crate::disk::{AppendFile, Disk};
use crate::files::FileError;

/// The largest journal that is read: an order of one message, its steps and their failures.
const JOURNAL_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Space that is reserved behind a new journal, so that a disk that fills up later does not silence it.
const RESERVED_BYTES: u64 = 64 * 1024;
const CHECK_DIGITS: usize = 16;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
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
pub struct JournalFile {
    path: PathBuf,
    file: Box<dyn AppendFile>,
    clock: WallClock,
    check: String,
    /// When the last line was written, by the clock of then.
    last: Timestamp,
}

impl JournalFile {
    /// Adds a record: it is durable when this returns.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let entry = serde_json::to_string(record).map_err(|e| FileError::new("write", &self.path, io::Error::other(e)))?;
        let at = self.clock.now();
        let body = format!("\"at\":{},\"entry\":{entry}}}", at.0);
        let check = check_of(&self.check, &body);
        let line = format!("{{\"check\":\"{check}\",{body}\n");
        self.file.append(line.as_bytes())?;
        (self.check, self.last) = (check, at);
        Ok(())
    }

    /// How long ago its last line was written, as far as clocks can be believed.
    pub fn rested(&self) -> Millis {
        self.clock.now().since(self.last)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The journals of all apps.
#[derive(Debug, Clone)]
pub struct Journals {
    disk: Arc<dyn Disk>,
    clock: WallClock,
    folder: PathBuf,
}

impl Journals {
    /// The journals in a folder of a disk; the clock is what their lines are stamped with.
    pub const fn new(disk: Arc<dyn Disk>, clock: WallClock, folder: PathBuf) -> Self {
        Self { disk, clock, folder }
    }

    /// Begins the journal of an order: the order is accepted when this returns.
    pub fn create(&self, order: &Order) -> Result<JournalFile, JournalError> {
        let folder = self.of(&order.app);
        self.disk.create_folder(&folder)?;
        let path = folder.join(name_of(order.key()));
        let file = self.disk.create(&path, RESERVED_BYTES)?;
        let mut journal = JournalFile { path, file, clock: self.clock.clone(), check: String::new(), last: Timestamp(0) };
        let begun = journal.append(&Record::Header { format: JOURNAL_FORMAT, order: order.clone() });
        if let Err(error) = begun.and_then(|()| Ok(self.disk.sync_folder(&folder)?)) {
            // Nothing was done yet: the order counts as never given, after a power cut too.
            if let Err(left) = self.disk.remove(&journal.path).and_then(|()| self.disk.sync_folder(&folder)) {
                tracing::warn!(path = %journal.path.display(), error = %left.source, "the journal of a refused order may be left behind");
            }
            return Err(error);
        }
        Ok(journal)
    }

    /// Reads the journal of an order and opens it for more records. `None` when no order was accepted in it: then it is gone.
    pub fn open(&self, app: &AppName, key: OrderKey) -> Result<Option<(JournalFile, Status)>, JournalError> {
        self.open_at(&self.of(app).join(name_of(key)))
    }

    fn open_at(&self, path: &Path) -> Result<Option<(JournalFile, Status)>, JournalError> {
        let bytes = self.disk.read(path, JOURNAL_BYTES_MAX)?;
        let Whole { records, length, check, last } = parse(path, &bytes)?;
        if records.is_empty() {
            tracing::warn!(path = %path.display(), "a journal holds no accepted order; it is removed");
            self.disk.remove(path)?;
            return Ok(None);
        }
        let mut file = self.disk.open(path)?;
        if length < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - length, "the torn end of a journal is cut off");
            file.cut(length as u64)?;
        }
        let status = status_of(path, &records)?;
        Ok(Some((JournalFile { path: path.to_path_buf(), file, clock: self.clock.clone(), check, last }, status)))
    }

    /// Reads a journal that someone else may be writing, and changes nothing.
    fn peek_at(&self, path: &Path) -> Result<Option<Status>, JournalError> {
        let records = parse(path, &self.disk.read(path, JOURNAL_BYTES_MAX)?)?.records;
        if records.is_empty() { Ok(None) } else { status_of(path, &records).map(Some) }
    }

    /// Apps that have journals.
    pub fn apps(&self) -> Result<Vec<AppName>, FileError> {
        Ok(self.disk.names(&self.folder)?.iter().filter_map(|name| AppName::parse(name).ok()).collect())
    }

    /// Where every order about an app stands; what tore at a crash is put right.
    pub fn read(&self, app: &AppName) -> Result<Vec<Status>, JournalError> {
        self.each(app, |path| Ok(self.open_at(path)?.map(|(_, status)| status)))
    }

    /// Where every order about an app stands, for onlookers: changes nothing.
    pub fn peek(&self, app: &AppName) -> Result<Vec<Status>, JournalError> {
        self.each(app, |path| self.peek_at(path))
    }

    fn each(&self, app: &AppName, read: impl Fn(&Path) -> Result<Option<Status>, JournalError>) -> Result<Vec<Status>, JournalError> {
        let folder = self.of(app);
        let names = self.disk.names(&folder)?;
        let journals = names.iter().filter(|name| name.ends_with(".jsonl") && !name.starts_with('.'));
        journals.filter_map(|name| read(&folder.join(name)).transpose()).collect()
    }

    /// Forgets the journal of an order that ended.
    pub fn remove(&self, app: &AppName, key: OrderKey) -> Result<(), FileError> {
        self.disk.remove(&self.of(app).join(name_of(key)))
    }

    fn of(&self, app: &AppName) -> PathBuf {
        self.folder.join(app.as_str())
    }
}

fn name_of(key: OrderKey) -> String {
    format!("{}-{}.jsonl", key.rollout.0, key.sequence)
}

fn status_of(path: &Path, records: &[Record]) -> Result<Status, JournalError> {
    fold(records).map_err(|source| JournalError::Senseless { path: path.to_path_buf(), source })
}

fn check_of(before: &str, body: &str) -> String {
    let mut hasher = DigestHasher::new();
    hasher.update(before.as_bytes());
    hasher.update(body.as_bytes());
    let mut digits = hasher.finish().to_string();
    digits.truncate(CHECK_DIGITS);
    digits
}

/// What a journal holds up to its last whole line.
#[derive(Debug, Default)]
struct Whole {
    records: Vec<Record>,
    /// In bytes.
    length: usize,
    /// That of the last line.
    check: String,
    /// When the last line was written.
    last: Timestamp,
}

/// Reads the lines of a journal.
///
/// A last line that does not hold was never acknowledged, so nothing was done upon it: it is left out. Any other line must hold.
fn parse(path: &Path, bytes: &[u8]) -> Result<Whole, JournalError> {
    let mut whole = Whole::default();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match parse_line(line, &whole.check) {
            Ok((record, check, at)) => {
                whole.records.push(record);
                whole.length += line.len();
                (whole.check, whole.last) = (check, at);
            }
            Err(_) if whole.length + line.len() == bytes.len() => break,
            Err(why) => return Err(JournalError::Damaged { path: path.to_path_buf(), line: index + 1, why }),
        }
    }
    Ok(whole)
}

/// A record, its check, and when it was written.
fn parse_line(line: &[u8], before: &str) -> Result<(Record, String, Timestamp), String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    let line = text.strip_suffix('\n').ok_or("it does not end")?;
    let rest = line.strip_prefix("{\"check\":\"").ok_or("it does not begin with a check")?;
    let (check, body) = rest.split_once("\",").ok_or("its check does not end")?;
    if check_of(before, body) != check {
        return Err("its check does not hold".to_owned());
    }
    let (at, entry) = body.split_once(",\"entry\":").ok_or("it has no entry")?;
    let at = at.strip_prefix("\"at\":").and_then(|at| at.parse().ok()).ok_or("it has no time")?;
    let entry = entry.strip_suffix('}').ok_or("its entry does not end")?;
    let record = serde_json::from_str(entry).map_err(|e| e.to_string())?;
    Ok((record, check.to_owned(), Timestamp(at)))
}

#[cfg(test)]
mod tests;
