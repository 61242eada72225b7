use super::*;
use roadstead_model::{Failure, FailureKind, OrderOutcome, RolloutId};

const KEY: OrderKey = OrderKey { rollout: RolloutId(1), sequence: 1 };

fn drain(outbox: &Outbox) -> Vec<Outgoing> {
    std::iter::from_fn(|| outbox.lock().pop()).collect()
}

fn texts(items: &[Outgoing]) -> Vec<&OutputText> {
    items.iter().filter_map(|item| if let Outgoing::Output(text) = item { Some(text) } else { None }).collect()
}

fn outcome() -> Report {
    Report::Order { key: KEY, outcome: OrderOutcome::Done { current: None } }
}

#[test]
fn the_head_and_the_tail_of_long_output_are_told_and_the_middle_is_counted() {
    let outbox = Arc::new(Outbox::default());
    let sink = OutputSink::new(KEY, Arc::clone(&outbox));
    let line = |n: usize| format!("line {n:06} {}", "x".repeat(86));
    let (mut told, mut dropped) = (String::new(), 0);
    let mut take = |told: &mut String| {
        for text in texts(&drain(&outbox)) {
            dropped += text.dropped;
            told.push_str(&text.text);
        }
    };
    for n in 0..10_000 {
        sink.line(StepName::Migrate, &line(n));
        take(&mut told);
    }
    assert!(told.len() <= limits::STEP_OUTPUT_HEAD_BYTES, "only the head is told while it runs");
    sink.finish();
    take(&mut told);
    assert!(told.starts_with(&line(0)) && told.trim_end().ends_with(&line(9_999)));
    assert!(told.len() <= limits::STEP_OUTPUT_HEAD_BYTES + limits::STEP_OUTPUT_TAIL_BYTES);
    assert_eq!(told.len() as u64 + dropped, 10_000 * 99);
}

#[test]
fn lines_stay_lines_whatever_message_they_travel_in() {
    let outbox = Arc::new(Outbox::default());
    let sink = OutputSink::new(KEY, Arc::clone(&outbox));
    let mut told = String::new();
    for lines in [&["one", ""][..], &["two"], &["three", "four"]] {
        lines.iter().for_each(|line| sink.line(StepName::Migrate, line));
        texts(&drain(&outbox)).iter().for_each(|text| told.push_str(&text.text));
    }
    sink.finish();
    texts(&drain(&outbox)).iter().for_each(|text| told.push_str(&text.text));
    assert_eq!(told, "one\n\ntwo\nthree\nfour\n");
}

#[test]
fn a_giant_line_is_cut_and_counted_and_cannot_command_a_terminal() {
    let outbox = Arc::new(Outbox::default());
    let sink = OutputSink::new(KEY, Arc::clone(&outbox));
    sink.line(StepName::Migrate, &"é".repeat(1 << 20));
    sink.line(StepName::Migrate, "\u{1b}[2Jred\u{7}\ttab");
    let items = drain(&outbox);
    let texts = texts(&items);
    assert!(texts[0].text.len() <= 2 * limits::OUTPUT_LINE_BYTES_MAX);
    assert_eq!(texts[0].dropped, (2 << 20) - limits::OUTPUT_LINE_BYTES_MAX as u64);
    assert!(texts[0].text.ends_with("\n[2Jred\ttab\n"), "{:?}", &texts[0].text[texts[0].text.len() - 20..]);
}

#[test]
fn what_waits_is_bounded_but_no_outcome_is_lost() {
    let outbox = Arc::new(Outbox::default());
    let sink = OutputSink::new(KEY, Arc::clone(&outbox));
    for round in 0..40 {
        for _ in 0..2_000 {
            sink.line(if round % 2 == 0 { StepName::Migrate } else { StepName::Fetch }, "some output of a step");
        }
    }
    let failure = Failure::new(FailureKind::Command, "it failed", "look");
    outbox.report(Report::Step(StepReport {
        key: KEY,
        step: StepName::Fetch,
        state: StepState::Failed { took: roadstead_model::Millis(1), failure },
    }));
    outbox.report(outcome());
    assert!(outbox.lock().bytes <= WAITING_BYTES_MAX + 256);
    let items = drain(&outbox);
    assert_eq!(items.last(), Some(&Outgoing::Report(outcome())));
    assert_eq!(outbox.lock().bytes, 0);
}

#[test]
fn a_new_session_repeats_no_outcome() {
    let outbox = Outbox::default();
    outbox.report(Report::Step(StepReport { key: KEY, step: StepName::Fetch, state: StepState::Started }));
    outbox.report(outcome());
    outbox.forget_outcomes();
    assert_eq!(drain(&outbox).len(), 1);
    assert_eq!(outbox.lock().bytes, 0);
}

#[test]
fn newer_progress_replaces_older_that_waits() {
    let outbox = Outbox::default();
    for done in 0..10 {
        outbox.report(Report::Step(StepReport {
            key: KEY,
            step: StepName::Fetch,
            state: StepState::Progress { done, total: 10, note: String::new() },
        }));
    }
    let items = drain(&outbox);
    assert_eq!(items.len(), 1);
    assert!(matches!(&items[0], Outgoing::Report(Report::Step(StepReport { state: StepState::Progress { done: 9, .. }, .. }))));
}

#[tokio::test]
async fn whoever_waits_is_told_at_once() {
    let outbox = Arc::new(Outbox::default());
    let waiting = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move { outbox.next().await }
    });
    tokio::task::yield_now().await;
    outbox.report(outcome());
    assert_eq!(waiting.await.unwrap(), Outgoing::Report(outcome()));
}

#[test]
fn of_what_a_balancer_sees_only_the_newest_of_each_app_waits() {
    let seen = |app: &str, sequence: u32| {
        let key = OrderKey { rollout: RolloutId(1), sequence };
        let app = roadstead_model::AppName::parse(app).unwrap();
        Outgoing::Traffic(Box::new(TrafficSeen { key, app, servers: std::collections::BTreeMap::new(), problem: None }))
    };
    let outbox = Outbox::default();
    outbox.lock().bytes = WAITING_BYTES_MAX;
    outbox.push(Outgoing::Report(outcome()));
    for item in [seen("erp", 1), seen("shop", 1), seen("erp", 2), seen("erp", 3)] {
        outbox.push(item);
    }
    assert_eq!(drain(&outbox), [Outgoing::Report(outcome()), seen("erp", 3), seen("shop", 1)], "also when much else waits");
    assert_eq!(outbox.lock().bytes, WAITING_BYTES_MAX, "what is counted for it goes with it");
}

#[test]
fn what_a_step_waits_for_is_told_in_one_line_within_its_limit() {
    let outbox = Arc::new(Outbox::default());
    let sink = ProgressSink::new(KEY, StepName::Confirm, Arc::clone(&outbox));
    sink.say(&format!("1 task\u{1b}[31m left\n{}", "é".repeat(limits::PROGRESS_NOTE_BYTES_MAX)));
    let Some(Outgoing::Report(Report::Step(StepReport { state: StepState::Progress { note, .. }, .. }))) = outbox.lock().pop() else {
        panic!("nothing was told")
    };
    assert!(note.starts_with("1 task[31m left") && note.len() <= limits::PROGRESS_NOTE_BYTES_MAX, "{note}");
}
