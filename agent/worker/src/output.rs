//! What is on its way to the controller: reports, output, progress. Bounded, and never in the way of a step.
//!
//! Outcomes are never dropped here and need not be: they lie in the journals, and each session begins with all of them.
//! Everything else is best effort: when the controller is away for long, it is counted and dropped.

use roadstead_model::{HostFacts, LeaseAsk, OrderKey, Report, StepName, StepReport, StepState, TrafficSeen, limits};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// Bytes of reports and output that wait for the controller.
const WAITING_BYTES_MAX: usize = 512 * 1024;
/// What one server of a balancer is counted as.
const SERVER_BYTES: usize = 64;
/// Lines are joined into one message up to this size.
const MESSAGE_TEXT_BYTES: usize = 16 * 1024;
/// Progress of a step is told no more often than this.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// One thing to tell the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// A report.
    Report(Report),
    /// Output of a step.
    Output(OutputText),
    /// Facts that changed.
    Facts(Box<HostFacts>),
    /// What a balancer sees.
    Traffic(Box<TrafficSeen>),
    /// A question for a lease.
    Lease(LeaseAsk),
}

/// Lines of a step's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputText {
    /// The order.
    pub key: OrderKey,
    /// The step.
    pub step: StepName,
    /// Counted up within the step.
    pub sequence: u64,
    /// The lines, each with its line feed.
    pub text: String,
    /// Bytes that were dropped before this text.
    pub dropped: u64,
}

/// What waits for the controller.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    dropped: u64,
}

impl Outbox {
    /// Adds something. Never waits.
    pub fn push(&self, item: Outgoing) {
        self.lock().push(item);
        self.arrived.notify_one();
    }

    /// Adds a report.
    pub fn report(&self, report: Report) {
        self.push(Outgoing::Report(report));
    }

    /// The next thing to tell; waits until there is one. Safe to drop.
    pub async fn next(&self) -> Outgoing {
        loop {
            let arrived = self.arrived.notified();
            if let Some(item) = self.lock().pop() {
                return item;
            }
            arrived.await;
        }
    }

    /// A session begins and tells all outcomes itself: those that wait are left out.
    pub fn forget_outcomes(&self) {
        let mut waiting = self.lock();
        waiting.queue.retain(|item| !item.is_outcome());
        waiting.bytes = waiting.queue.iter().map(Outgoing::weight).sum();
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            tracing::info!(dropped, "reports of steps and output were dropped while the controller was away");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, item: Outgoing) {
        if self.joined(&item) {
            return;
        }
        let weight = item.weight();
        if item.may_be_dropped() && self.bytes + weight > WAITING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes += weight;
        self.queue.push_back(item);
    }

    fn pop(&mut self) -> Option<Outgoing> {
        let item = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.weight());
        Some(item)
    }

    /// Joins an item into what waits: lines into text, newer progress, facts, sights and questions over older.
    fn joined(&mut self, item: &Outgoing) -> bool {
        if let Outgoing::Traffic(seen) = item {
            let of_app = |known: &Outgoing| matches!(known, Outgoing::Traffic(older) if older.app == seen.app);
            let Some(older) = self.queue.iter_mut().find(|known| of_app(known)) else { return false };
            self.bytes = (self.bytes + item.weight()).saturating_sub(older.weight());
            older.clone_from(item);
            return true;
        }
        if let Outgoing::Lease(ask) = item {
            let waiting = self.queue.iter_mut().find_map(|known| match known {
                Outgoing::Lease(older) if older.app == ask.app => Some(older),
                _ => None,
            });
            return waiting.map(|older| older.clone_from(ask)).is_some();
        }
        if let Outgoing::Facts(facts) = item {
            let waiting = self.queue.iter_mut().find_map(|known| if let Outgoing::Facts(f) = known { Some(f) } else { None });
            return waiting.map(|older| older.clone_from(facts)).is_some();
        }
        match (self.queue.back_mut(), item) {
            (Some(Outgoing::Output(last)), Outgoing::Output(new))
                if (last.key, last.step) == (new.key, new.step)
                    && new.dropped == 0
                    && last.text.len() + new.text.len() < MESSAGE_TEXT_BYTES
                    && self.bytes + new.text.len() < WAITING_BYTES_MAX =>
            {
                last.text.push_str(&new.text);
                self.bytes += new.text.len();
                true
            }
            (Some(Outgoing::Report(Report::Step(last))), Outgoing::Report(Report::Step(new)))
                if (last.key, last.step) == (new.key, new.step)
                    && matches!((&last.state, &new.state), (StepState::Progress { .. }, StepState::Progress { .. })) =>
            {
                last.clone_from(new);
                true
            }
            _ => false,
        }
    }
}

impl Outgoing {
    const fn is_outcome(&self) -> bool {
        matches!(self, Self::Report(Report::Order { .. } | Report::WentBack { .. } | Report::Refused { .. }))
    }

    /// The evidence of a backup is as good as an outcome. Of what a balancer sees, and of questions, one waits for each app.
    const fn may_be_dropped(&self) -> bool {
        let keeps = matches!(self, Self::Report(Report::Step(StepReport { state: StepState::Succeeded { safeguard: Some(_), .. }, .. })));
        !self.is_outcome() && !keeps && !matches!(self, Self::Traffic(_) | Self::Lease(_))
    }

    fn weight(&self) -> usize {
        let text = match self {
            Self::Output(output) => output.text.len(),
            Self::Report(Report::Step(StepReport { state: StepState::Failed { failure, .. }, .. })) => failure.detail.len(),
            Self::Traffic(seen) => SERVER_BYTES * seen.servers.len() + seen.problem.as_ref().map_or(0, |problem| problem.detail.len()),
            Self::Report(_) | Self::Facts(_) | Self::Lease(_) => 0,
        };
        text + 256
    }
}

/// Where the output of a step's commands goes: the beginning is told at once, the end when the step ends, the middle is counted.
#[derive(Debug, Clone)]
pub struct OutputSink {
    key: OrderKey,
    outbox: Arc<Outbox>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    step: Option<StepName>,
    sequence: u64,
    told: usize,
    tail: VecDeque<String>,
    tail_bytes: usize,
    dropped: u64,
}

impl OutputSink {
    /// A sink for one order.
    pub fn new(key: OrderKey, outbox: Arc<Outbox>) -> Self {
        Self { key, outbox, kept: Arc::default() }
    }

    /// Takes one line, without its line feed. Never waits.
    pub fn line(&self, step: StepName, text: &str) {
        let (text, cut) = clean(text);
        let mut kept = self.lock();
        if kept.step != Some(step) {
            self.flush(&mut kept);
            *kept = Kept { step: Some(step), ..Kept::default() };
        }
        kept.dropped += cut;
        if kept.told + text.len() <= limits::STEP_OUTPUT_HEAD_BYTES {
            kept.told += text.len() + 1;
            self.tell(&mut kept, step, text + "\n");
        } else {
            // Nothing more fits the beginning, not even a short line: the order of lines holds.
            kept.told = limits::STEP_OUTPUT_HEAD_BYTES + 1;
            kept.push_tail(text);
        }
    }

    /// The step ended: tells the end of its output.
    pub fn finish(&self) {
        let mut kept = self.lock();
        self.flush(&mut kept);
        *kept = Kept::default();
    }

    fn flush(&self, kept: &mut Kept) {
        let Some(step) = kept.step else { return };
        for text in std::mem::take(&mut kept.tail) {
            self.tell(kept, step, text + "\n");
        }
        if kept.dropped > 0 {
            self.tell(kept, step, String::new());
        }
    }

    fn tell(&self, kept: &mut Kept, step: StepName, text: String) {
        let dropped = std::mem::take(&mut kept.dropped);
        self.outbox.push(Outgoing::Output(OutputText { key: self.key, step, sequence: kept.sequence, text, dropped }));
        kept.sequence += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push_tail(&mut self, text: String) {
        self.tail_bytes += text.len() + 1;
        self.tail.push_back(text);
        while self.tail_bytes > limits::STEP_OUTPUT_TAIL_BYTES {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.len() + 1;
            self.dropped += oldest.len() as u64 + 1;
        }
    }
}

/// A line cut to its limit, without control characters (a terminal must not obey a log), and the bytes that were cut.
fn clean(text: &str) -> (String, u64) {
    let mut end = text.len().min(limits::OUTPUT_LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = text[..end].chars().filter(|c| *c == '\t' || !c.is_control()).collect();
    (line, (text.len() - end) as u64)
}

/// Where a step tells how far it has come.
#[derive(Debug, Clone)]
pub struct ProgressSink {
    key: OrderKey,
    step: StepName,
    outbox: Arc<Outbox>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl ProgressSink {
    /// A sink for one step of one order.
    pub fn new(key: OrderKey, step: StepName, outbox: Arc<Outbox>) -> Self {
        Self { key, step, outbox, told: Arc::default() }
    }

    /// Tells `done` of `total` (0 when unknown), in bytes or counts of the step's own. Never waits; may be called often.
    pub fn report(&self, done: u64, total: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL) {
            *told = Some(Instant::now());
            self.tell(StepState::Progress { done, total, note: String::new() });
        }
    }

    /// Tells what the step waits for, in one line; cut to its limit, without control characters. Never waits; told whenever it is called.
    pub fn say(&self, note: &str) {
        let mut end = note.len().min(limits::PROGRESS_NOTE_BYTES_MAX);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let note = note[..end].chars().filter(|c| !c.is_control()).collect();
        self.tell(StepState::Progress { done: 0, total: 0, note });
    }

    fn tell(&self, state: StepState) {
        self.outbox.report(Report::Step(StepReport { key: self.key, step: self.step, state }));
    }
}

#[cfg(test)]
mod tests;
