//! Where in a recording the power is cut: spread evenly over what the agent was about, not over what it wrote.

use crate::fleet::Moment;
use crate::lab::Request;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What the agent was seen to be about, and when.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// How much had been asked of the disk.
    pub(super) position: usize,
    /// The newest record of its journals.
    pub(super) moment: Moment,
    /// How many whole lines each journal had.
    pub(super) lines: BTreeMap<String, usize>,
}

/// A moment at which the power is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// How many requests had come to the disk.
    pub(super) position: usize,
    /// What the agent was about.
    pub(super) step: String,
    /// What became of the writes that were not flushed follows from it.
    pub(super) seed: u64,
}

/// The activity that a record begins or ends.
fn step(moment: &Moment) -> String {
    match moment.record.as_str() {
        record if record.starts_with("undo") => format!("undo of {}", moment.step),
        _ if moment.step.is_empty() => "between orders".to_owned(),
        _ => moment.step.clone(),
    }
}

/// Draws so many cuts of a recording: of every activity as many as of any other, or one more. Wherever it can be, something was written
/// after the last flush.
pub(super) fn draw(marks: &[Mark], requests: &[Request], count: usize, seed: u64) -> Vec<Cut> {
    let mut chance = Rng::with_seed(seed);
    let mut spans: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    let ends = marks.iter().skip(1).map(|mark| mark.position).chain([requests.len()]);
    for (mark, until) in marks.iter().zip(ends) {
        spans.entry(step(&mark.moment)).or_default().push((mark.position, until));
    }
    let mut steps: Vec<(String, Vec<(usize, usize)>)> = spans.into_iter().collect();
    chance.shuffle(&mut steps);
    let mut cuts: Vec<Cut> = steps
        .iter()
        .cycle()
        .take(if steps.is_empty() { 0 } else { count })
        .map(|(step, spans)| {
            let (from, until) = spans.get(chance.usize(..spans.len())).copied().unwrap_or_default();
            Cut { position: position(requests, from..=until, &mut chance), step: step.clone(), seed: chance.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.position);
    cuts
}

/// A position within a span, behind a write if there is one.
fn position(requests: &[Request], span: RangeInclusive<usize>, chance: &mut Rng) -> usize {
    let behind_a_write = |position: &usize| {
        let last = position.checked_sub(1).and_then(|last| requests.get(last));
        matches!(last, Some(Request::Write { .. }))
    };
    let writes: Vec<usize> = span.clone().filter(behind_a_write).collect();
    chance.choice(writes).unwrap_or(*span.start())
}

/// What must be there of each journal after a cut: every line but the newest that was seen before it, since a line is durable before the
/// next is written.
pub(super) fn durable_lines(marks: &[Mark], position: usize) -> BTreeMap<String, usize> {
    let mut durable = BTreeMap::new();
    for mark in marks.iter().take_while(|mark| mark.position <= position) {
        for (journal, lines) in &mark.lines {
            let known: &mut usize = durable.entry(journal.clone()).or_default();
            *known = (*known).max(lines.saturating_sub(1));
        }
    }
    durable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: usize, record: &str, step: &str, lines: usize) -> Mark {
        let moment = Moment { record: record.to_owned(), step: step.to_owned() };
        Mark { position, moment, lines: [("1-1.jsonl".to_owned(), lines)].into() }
    }

    #[test]
    fn every_activity_gets_its_share_however_little_it_writes() {
        let marks = [
            mark(0, "started", "fetch", 2),
            mark(10_000, "started", "cutover", 4),
            mark(10_003, "succeeded", "cutover", 5),
            mark(10_004, "undo-started", "cutover", 6),
            mark(10_009, "ended", "", 7),
        ];
        let mut requests = vec![Request::Flush; 10_010];
        let write = Request::Write { offset: 0, length: 4096, at: 0 };
        (requests[10_001], requests[5_000]) = (write, write);
        let cuts = draw(&marks, &requests, 40, 7);
        assert_eq!(cuts, draw(&marks, &requests, 40, 7));
        assert_ne!(cuts, draw(&marks, &requests, 40, 8));
        assert!(cuts.iter().any(|cut| cut.position == 5_001) && cuts.iter().any(|cut| cut.position == 10_002));
        assert!(!cuts.iter().any(|cut| cut.step == "fetch" && cut.position != 5_001), "something was written before the power failed");
        assert!(cuts.is_sorted_by_key(|cut| cut.position));
        let of = |step: &str| cuts.iter().filter(|cut| cut.step == step).map(|cut| cut.position).collect::<Vec<_>>();
        for (step, within) in
            [("fetch", 0..=10_000), ("cutover", 10_000..=10_004), ("undo of cutover", 10_004..=10_009), ("between orders", 10_009..=10_010)]
        {
            let positions = of(step);
            assert!(positions.len() == 10 && positions.iter().all(|position| within.contains(position)), "{step}: {positions:?}");
        }
        assert!(draw(&[], &[], 3, 1).is_empty());
    }

    #[test]
    fn a_line_is_durable_once_another_follows() {
        let marks = [mark(0, "header", "", 1), mark(5, "started", "fetch", 2), mark(9, "succeeded", "fetch", 3)];
        let lines = |position| durable_lines(&marks, position).get("1-1.jsonl").copied();
        assert_eq!((lines(4), lines(5), lines(8), lines(100)), (Some(0), Some(1), Some(1), Some(2)));
    }
}
