//! Power fails at any write of a journal.

use proptest::prelude::*;
use roadstead_model::{Failure, FailureKind, Timestamp};

use super::*;
use crate::disk::SimDisk;

/// What comes after some records of an order whose steps end well, until one of them fails.
fn following(records: &[Record], fails: usize) -> Option<Record> {
    let status = fold(records).unwrap();
    let announced = matches!(records.last(), Some(Record::Started { .. } | Record::UndoStarted { .. }));
    Some(match next(&status) {
        Next::Run(step) if !announced => Record::Started { step },
        Next::Run(step) if records.len() < fails => Record::Succeeded { step, note: "done".into(), took: Millis(1), safeguard: None },
        Next::Run(step) => Record::Failed { step, failure: Failure::new(FailureKind::Check, "it failed", "look"), took: Millis(1) },
        Next::Undo(step) if !announced => Record::UndoStarted { step },
        Next::Undo(step) => Record::UndoFinished { step },
        Next::Finish(ending) => Record::Ended { outcome: ending.outcome(None) },
        Next::Idle => return None,
    })
}

fn whole(fails: usize) -> Vec<Record> {
    let mut records = vec![Record::Header { format: JOURNAL_FORMAT, order: order(1) }];
    while let Some(record) = following(&records, fails) {
        records.push(record);
    }
    records
}

fn journals(disk: &SimDisk) -> Journals {
    Journals::new(Arc::new(disk.clone()), WallClock::new(|| Timestamp(1)), PathBuf::from("/agent/journal"))
}

/// Writes on from where a journal stands, until all is written or the power fails: how many records it then holds at least, and at most.
fn write_on(journals: &Journals, records: &[Record], stands: usize) -> (usize, usize) {
    let opened = match stands {
        0 => journals.create(&order(1)),
        _ => journals.open(&order(1).app, order(1).key()).map(|opened| opened.unwrap().0),
    };
    let Ok(mut journal) = opened else { return (stands, stands.max(1)) };
    for (done, record) in records.iter().enumerate().skip(stands.max(1)) {
        if journal.append(record).is_err() {
            return (done, done + 1);
        }
    }
    (records.len(), records.len())
}

/// How many records lie on the disk; what else lies there fails the test.
fn standing(journals: &Journals, records: &[Record]) -> usize {
    let found = journals.read(&order(1).app).unwrap();
    let Some(status) = found.first() else { return 0 };
    assert_eq!(found.len(), 1);
    (1..=records.len()).find(|end| fold(&records[..*end]).as_ref() == Ok(status)).expect("a part of what was appended")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_that_was_not_tried(
        seed: u64,
        fails in 1..20usize,
        crashes in proptest::collection::vec(1..30u64, 1..6),
    ) {
        let disk = SimDisk::new(seed);
        let (journals, records) = (journals(&disk), whole(fails));
        let mut stands = 0;
        for crash in crashes {
            disk.crash_at(Some(disk.writes() + crash));
            let (at_least, at_most) = write_on(&journals, &records, stands);
            disk.crash();
            stands = standing(&journals, &records);
            prop_assert!((at_least..=at_most).contains(&stands), "{} of {} to {}", stands, at_least, at_most);
        }
        prop_assert_eq!(write_on(&journals, &records, stands), (records.len(), records.len()));
        disk.crash();
        prop_assert_eq!(standing(&journals, &records), records.len());
    }
}

#[test]
fn an_order_that_could_not_be_written_down_does_not_come_back_after_a_power_cut() {
    for seed in 0..50 {
        for write in 1..5 {
            let disk = SimDisk::new(seed);
            let journals = journals(&disk);
            disk.create_folder(&PathBuf::from("/agent/journal").join(order(1).app.as_str())).unwrap();
            disk.fail_at(disk.writes() + write);
            assert!(journals.create(&order(1)).is_err(), "seed {seed}, write {write}");
            disk.crash();
            assert!(journals.read(&order(1).app).unwrap().is_empty(), "seed {seed}, write {write}");
        }
    }
}
