//! All that an agent remembers of an app after a restart: many journals together.

use roadstead_deployment::{Admission, History, Next, Phase, Record, Status, fold, next};
use roadstead_model::{Failure, FailureKind, Fence, Millis, Report, StepName};
use std::collections::BTreeMap;

/// Steps and their undoing, twice over.
const RECORDS_MAX: usize = 128;

/// Whatever the journals say: no order is obeyed twice, none below the highest, only ended ones are forgotten, and each one that has
/// not ended comes to its end.
///
/// An input is journals with an empty line between them, each one record a line.
pub fn history(bytes: &[u8]) {
    let mut orders = BTreeMap::new();
    let mut records = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        if !line.is_empty() {
            records.extend(serde_json::from_slice::<Record>(line));
            continue;
        }
        if let Ok(status) = fold(&std::mem::take(&mut records)) {
            // A journal is named by the order's key.
            orders.entry(status.order.key()).or_insert(status);
        }
    }
    for status in orders.values() {
        comes_to_its_end(status.clone());
    }
    holds_together(&History::new(None, orders.into_values()));
}

fn comes_to_its_end(mut status: Status) {
    let mut records = 0;
    while let Some(record) = done(&status) {
        status.apply(&record).unwrap();
        records += 1;
        assert!(records < RECORDS_MAX, "an order has no end");
    }
    assert!(status.outcome().is_some() && status.report().is_some());
}

/// What a host writes whose every step and undoing works, but for the health of a release.
fn done(status: &Status) -> Option<Record> {
    let started = matches!(status.phase, Phase::Running { .. } | Phase::Undoing { started: true, .. });
    match next(status) {
        Next::Run(step) if !started => Some(Record::Started { step }),
        Next::Run(step) if step == StepName::Health => {
            Some(Record::Failed { step, failure: Failure::new(FailureKind::Check, "ill", "look"), took: Millis(1) })
        }
        Next::Run(step) => Some(Record::Succeeded { step, note: String::new(), took: Millis(1), safeguard: None }),
        Next::Undo(step) if !started => Some(Record::UndoStarted { step }),
        Next::Undo(step) => Some(Record::UndoFinished { step }),
        Next::Finish(ending) => Some(Record::Ended { outcome: ending.outcome(None) }),
        Next::Idle => None,
    }
}

fn holds_together(history: &History) {
    let fences: Vec<Fence> = history.orders().map(|status| status.order.fence).collect();
    assert!(fences.is_sorted());
    assert_eq!(history.highest(), fences.last().copied());
    for status in history.orders() {
        match (history.admit(&status.order), status.report()) {
            (Admission::Answer(told), Some(report)) => assert_eq!(told, report),
            (Admission::Known, None) => {}
            other => panic!("a known order is not known: {other:?}"),
        }
        let mut older = status.order.clone();
        older.fence.sequence ^= 1;
        if older.fence <= status.order.fence && history.get(older.key()).is_none() {
            assert!(matches!(history.admit(&older), Admission::Refuse { highest: Some(_), .. }), "an older order is obeyed");
        }
    }
    for keep in 0..=fences.len() {
        let mut rest = history.clone();
        for key in rest.forget(keep) {
            assert!(history.get(key).unwrap().outcome().is_some(), "what has not ended is forgotten");
        }
        assert_eq!(rest.highest(), history.highest());
        assert!(rest.unfinished().eq(history.unfinished()));
    }
    assert_eq!(history.reports().count() + history.unfinished().count(), fences.len());
    assert!(history.watch().is_none() || !fences.is_empty());
    assert!(history.steps_done().all(|report| matches!(report, Report::Step(_))));
}
