//! The journal of an order, as an agent finds it after a crash, a worn disk or a curious person.

use roadstead_deployment::{Next, Record, Status, fold, next};
use roadstead_model::{AppName, DigestHasher, Failure, FailureKind, Millis, OrderKey, RolloutId, Timestamp};
use roadstead_worker::clock::WallClock;
use roadstead_worker::disk::{Disk as _, SimDisk};
use roadstead_worker::journal::Journals;
use std::path::Path;
use std::sync::Arc;

const KEY: OrderKey = OrderKey { rollout: RolloutId(1), sequence: 1 };
const FOLDER: &str = "/journal";
const FILE: &str = "/journal/erp/1-1.jsonl";

/// Bytes in the place of a journal are read or refused, never half of each: see `check`. The same goes for a journal whose lines are
/// these bytes' and whose checks hold: it says what its records amount to, and with one byte altered it says that it is damaged or
/// what all records but the last two at most amount to.
///
/// The first three bytes say which byte is altered, and how.
pub fn journal(bytes: &[u8]) {
    check(bytes);
    let Some((alteration, rest)) = bytes.split_at_checked(3) else { return };
    let entries: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let sealed = seal(&entries);
    let read = check(&sealed);
    let records: Option<Vec<Record>> = entries.iter().map(|entry| serde_json::from_slice(entry).ok()).collect();
    let Some(records) = records.filter(|records| fold(records).is_ok()) else { return };
    assert_eq!(read, fold(&records).ok(), "a whole journal is not what it says");
    let place = usize::from(u16::from_le_bytes([alteration[0], alteration[1]])) % sealed.len();
    let mut altered = sealed;
    altered[place] ^= alteration[2].max(1);
    if let Some(status) = check(&altered) {
        let prefixes = (records.len().saturating_sub(2)..=records.len()).filter_map(|count| fold(&records[..count]).ok());
        assert!(prefixes.into_iter().any(|before| before == status), "an altered journal says something new");
    }
}

/// What a journal of these bytes says, if anything. Looking changes nothing and sees what opening sees; opening cuts a torn end and
/// touches nothing else; doing it again gives the same; and what is added to it is read with it.
fn check(bytes: &[u8]) -> Option<Status> {
    let (disk, journals) = disk(bytes);
    let app = AppName::parse("erp").unwrap();
    let seen = journals.peek(&app);
    assert_eq!(disk.bytes(Path::new(FILE)).unwrap(), bytes, "looking changes a journal");
    let opened = journals.open(&app, KEY);
    let left = disk.bytes(Path::new(FILE));
    assert!(bytes.starts_with(left.as_deref().unwrap_or_default()), "more than a torn end is cut");
    let Ok(opened) = opened else {
        assert!(seen.is_err());
        return None;
    };
    let seen = seen.unwrap();
    let Some((mut file, status)) = opened else {
        assert!(seen.is_empty() && left.is_none());
        return None;
    };
    assert_eq!(seen, std::slice::from_ref(&status));
    let (_, again) = journals.open(&app, KEY).unwrap().unwrap();
    assert_eq!((again, disk.bytes(Path::new(FILE))), (status.clone(), left));
    if let Some(record) = following(&status) {
        let mut expected = status.clone();
        expected.apply(&record).unwrap();
        file.append(&record).unwrap();
        assert_eq!(journals.peek(&app).unwrap(), [expected], "what is added is not read");
    }
    Some(status)
}

/// A record that may follow: work begins, or ends badly.
fn following(status: &Status) -> Option<Record> {
    let failure = || Failure::new(FailureKind::Host, "no", "look");
    match next(status) {
        Next::Run(step) => Some(Record::Failed { step, failure: failure(), took: Millis(1) }),
        Next::Undo(step) => Some(Record::UndoStarted { step }),
        Next::Finish(ending) => Some(Record::Ended { outcome: ending.outcome(None) }),
        Next::Idle => None,
    }
}

fn disk(bytes: &[u8]) -> (SimDisk, Journals) {
    let disk = SimDisk::new(0);
    disk.create_folder(Path::new("/journal/erp")).unwrap();
    disk.create(Path::new(FILE), 0).unwrap().append(bytes).unwrap();
    disk.sync_folder(Path::new("/journal/erp")).unwrap();
    let journals = Journals::new(Arc::new(disk.clone()), WallClock::new(|| Timestamp(1)), FOLDER.into());
    (disk, journals)
}

/// A journal with these entries, whose checks hold.
fn seal(entries: &[&[u8]]) -> Vec<u8> {
    let (mut journal, mut check) = (Vec::new(), String::new());
    for entry in entries {
        let body = [b"\"at\":0,\"entry\":", *entry, b"}"].concat();
        let mut hasher = DigestHasher::new();
        hasher.update(check.as_bytes());
        hasher.update(&body);
        check = hasher.finish().to_string()[..16].to_owned();
        journal.extend([b"{\"check\":\"", check.as_bytes(), b"\",", &body, b"\n"].concat());
    }
    journal
}
