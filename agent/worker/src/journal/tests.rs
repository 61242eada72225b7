mod power;

use super::*;
use roadstead_deployment::{Next, next};
use roadstead_model::{
    Backup, Digest, EnvironmentName, Fence, Loss, Millis, OrderKind, ReleaseId, ReleaseRef, RolloutId, Safeguard, StepName, Version,
    samples,
};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::disk::RealDisk;

fn order(sequence: u32) -> Order {
    let manifest = Digest::of(b"manifest");
    let release = ReleaseRef { id: ReleaseId::of(&Version::parse("1.0").unwrap(), &manifest), manifest };
    Order {
        fence: Fence { term: 1, rollout: RolloutId(7), sequence },
        environment: EnvironmentName::parse("staging").unwrap(),
        app: AppName::parse("erp").unwrap(),
        kind: OrderKind::Activate { release, expected: None, confirm_within: Millis(1000) },
        deadline: Millis(1000),
    }
}

fn some_records() -> Vec<Record> {
    let step = StepName::Candidate;
    vec![Record::Started { step }, Record::Succeeded { step, note: "2 units, \"ready\"\n".into(), took: Millis(5), safeguard: None }]
}

/// What a step may tell of a database: each kind has a name of its own, and none has a field of that name.
#[test]
fn what_is_told_of_a_database_reads_back() {
    let evidence = Backup { digest: "ab".into(), ..samples::backup("erp-r-7-5") };
    let loss = Loss { shape: vec!["x".into()], kept_as: "erp_before".into(), ..samples::loss(evidence.clone()) };
    let told = [Safeguard::NotNeeded { why: "empty".into() }, Safeguard::Made(Box::new(evidence)), Safeguard::Loss(Box::new(loss))];
    for safeguard in told {
        let record = Record::Succeeded { step: StepName::Survey, note: String::new(), took: Millis(1), safeguard: Some(safeguard) };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record, "{line}");
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn journals(&self) -> Journals {
        Journals::new(Arc::new(RealDisk), WallClock::of_host(), self.0.path().join("journal"))
    }

    fn open(&self, sequence: u32) -> Result<Option<(JournalFile, Status)>, JournalError> {
        self.journals().open(&order(sequence).app, order(sequence).key())
    }

    fn write(&self, sequence: u32) -> PathBuf {
        let order = order(sequence);
        let mut journal = self.journals().create(&order).unwrap();
        for record in some_records() {
            journal.append(&record).unwrap();
        }
        journal.path().to_path_buf()
    }
}

#[test]
fn what_was_appended_is_read_back_and_can_go_on() {
    let place = Place::new();
    let path = place.write(2);
    assert!(path.ends_with("journal/erp/7-2.jsonl"));
    let (mut journal, status) = place.open(2).unwrap().unwrap();
    assert_eq!(next(&status), Next::Run(StepName::Cutover));
    journal.append(&Record::Started { step: StepName::Cutover }).unwrap();
    place.write(3);
    let statuses = place.journals().read(&order(1).app).unwrap();
    assert_eq!(statuses.len(), 2);
    assert_eq!(place.journals().apps().unwrap(), [order(1).app]);
    place.journals().remove(&order(1).app, order(2).key()).unwrap();
    assert_eq!(place.journals().read(&order(1).app).unwrap().len(), 1);
}

#[test]
fn every_line_is_json_for_other_readers() {
    let place = Place::new();
    let text = fs::read_to_string(place.write(1)).unwrap();
    assert_eq!(text.lines().count(), 3);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["check"].is_string() && value["at"].is_u64() && value["entry"]["record"].is_string(), "{line}");
    }
}

#[test]
fn only_the_agent_may_read_a_journal() {
    let place = Place::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = place.write(1);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_torn_end_is_cut_wherever_it_tore() {
    let place = Place::new();
    let path = place.write(1);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for length in last..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (mut journal, status) = place.open(1).unwrap().unwrap();
        assert_eq!(next(&status), Next::Run(StepName::Candidate), "cut at {length}");
        assert_eq!(fs::metadata(&path).unwrap().len(), last as u64);
        journal.append(&some_records()[1]).unwrap();
        let (_, status) = place.open(1).unwrap().unwrap();
        assert_eq!(next(&status), Next::Run(StepName::Cutover), "cut at {length}");
    }
    // A disk that had made the file longer before it had the content.
    for torn in [&b"\0\0\0\0\0\0"[..], b"\0\0\0\n", b"garbage\n"] {
        fs::write(&path, [&whole[..last], torn].concat()).unwrap();
        let (_, status) = place.open(1).unwrap().unwrap();
        assert_eq!(next(&status), Next::Run(StepName::Candidate));
    }
}

#[test]
fn a_journal_without_a_whole_header_never_was() {
    let place = Place::new();
    let path = place.write(1);
    let whole = fs::read(&path).unwrap();
    let header = whole.iter().position(|b| *b == b'\n').unwrap();
    for length in [0, 1, header / 2, header] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(place.open(1).unwrap().is_none());
        assert!(!path.exists());
    }
}

#[test]
fn any_other_damage_is_named_with_its_line() {
    let place = Place::new();
    let path = place.write(1);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = |lines: &[&str]| {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        match place.open(1) {
            Err(JournalError::Damaged { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    };
    let altered = lines[1].replace("candidate", "cutover");
    assert_eq!(damaged(&[lines[0], &altered, lines[2]]), 2);
    assert_eq!(damaged(&[lines[0], lines[2], lines[1]]), 2, "lines that changed places");
    assert_eq!(damaged(&[lines[1], lines[2]]), 1, "a line that is gone");
    assert_eq!(damaged(&["", lines[0], lines[1]]), 1);
    // One bit of a line that is not the last.
    let mut bytes = whole.clone().into_bytes();
    bytes[lines[0].len() / 2] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(place.open(1).is_err());
    let error = place.journals().read(&order(1).app).unwrap_err();
    assert!(crate::failure::chain(&error).contains("7-1.jsonl"), "{error}");
}

#[test]
fn no_altered_byte_leads_to_another_story() {
    let place = Place::new();
    let path = place.write(1);
    let whole = fs::read(&path).unwrap();
    let mut prefixes = Vec::new();
    for end in (0..whole.len()).filter(|index| whole[*index] == b'\n') {
        fs::write(&path, &whole[..=end]).unwrap();
        prefixes.push(place.open(1).unwrap().unwrap().1);
    }
    for index in 0..whole.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[index] ^= bit;
            fs::write(&path, &bytes).unwrap();
            match place.open(1) {
                Err(JournalError::Damaged { .. }) => {}
                Ok(Some((_, status))) => assert!(prefixes.contains(&status), "byte {index}"),
                other => panic!("byte {index}: {other:?}"),
            }
        }
    }
}

#[test]
fn records_that_hold_but_make_no_sense_are_refused() {
    let place = Place::new();
    let order = order(1);
    let mut journal = place.journals().create(&order).unwrap();
    journal.append(&Record::UndoStarted { step: StepName::Cutover }).unwrap();
    assert!(matches!(place.open(1), Err(JournalError::Senseless { .. })));
}

#[test]
fn a_journal_is_begun_once() {
    let place = Place::new();
    place.write(1);
    assert!(place.journals().create(&order(1)).is_err());
    assert_eq!(place.journals().read(&order(1).app).unwrap().len(), 1, "the first is untouched");
}
