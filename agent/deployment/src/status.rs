//! Where an order stands: the one table of what a record does to it.

use roadstead_model::{Failure, Millis, Order, OrderKind, OrderOutcome, Report, Safeguard, StepName, StepReport, StepState};

use crate::record::{JOURNAL_FORMAT, Record};
use crate::step::{last_to_undo, steps_of};

/// An order and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The order.
    pub order: Order,
    /// Where it stands.
    pub phase: Phase,
    /// Why it was undone after it had ended well.
    pub lapsed: Option<Failure>,
    /// The steps that are done: how long each took, and what it said.
    pub times: Vec<(StepName, Millis, String)>,
    /// What keeps the database's contents, once a step has looked after that.
    pub safeguard: Option<Safeguard>,
}

/// Where an order stands. Positions count in [`steps_of`] of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The first `done` steps are done; nothing runs.
    Ready {
        /// How many.
        done: usize,
    },
    /// The step at this position was started.
    Running {
        /// Its position.
        position: usize,
    },
    /// A step failed; the steps before `remaining` may still have to be undone.
    Undoing {
        /// The step that failed; `None` when the order lapsed.
        failed: Option<StepName>,
        /// Why.
        failure: Failure,
        /// Steps at or behind this position are settled.
        remaining: usize,
        /// The undoing of the last one to undo was started.
        started: bool,
    },
    /// An undo failed.
    Stuck {
        /// The step that could not be undone.
        step: StepName,
        /// Why.
        failure: Failure,
    },
    /// It ended.
    Ended {
        /// How.
        outcome: OrderOutcome,
    },
}

/// Why a journal makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It does not begin with a header.
    #[error("the journal does not begin with a header")]
    NoHeader,
    /// It is of a newer format.
    #[error(
        "the journal has format {found}, this agent reads up to {JOURNAL_FORMAT}: install the newer agent again, or move the file away"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// A record cannot follow what is before it.
    #[error("a record '{record}' cannot follow here: the order was {phase}")]
    Impossible {
        /// The record's word.
        record: &'static str,
        /// Where the order stood.
        phase: &'static str,
    },
}

/// What the records of a journal amount to.
///
/// # Errors
/// [`FoldError`] when they are not the journal of one order.
pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Status, FoldError> {
    let mut records = records.into_iter();
    let mut status = match records.next() {
        Some(Record::Header { format, order }) if *format <= JOURNAL_FORMAT => Status::new(order.clone()),
        Some(Record::Header { format, .. }) => return Err(FoldError::Newer { found: *format }),
        _ => return Err(FoldError::NoHeader),
    };
    for record in records {
        status.apply(record)?;
    }
    Ok(status)
}

impl Status {
    /// An order that was accepted and of which nothing was done yet.
    #[must_use]
    pub const fn new(order: Order) -> Self {
        Self { order, phase: Phase::Ready { done: 0 }, lapsed: None, times: Vec::new(), safeguard: None }
    }

    /// Its steps.
    #[must_use]
    pub const fn steps(&self) -> &'static [StepName] {
        steps_of(&self.order.kind)
    }

    /// How it ended, if it did.
    #[must_use]
    pub const fn outcome(&self) -> Option<&OrderOutcome> {
        match &self.phase {
            Phase::Ended { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// The report about its end, if it ended.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        let outcome = self.outcome()?.clone();
        let key = self.order.key();
        Some(match (&self.lapsed, outcome) {
            (Some(why), OrderOutcome::Failed { current, .. }) => {
                Report::WentBack { key, app: self.order.app.clone(), current, why: why.clone() }
            }
            (_, outcome) => Report::Order { key, outcome },
        })
    }

    /// The reports about its steps that are done.
    pub fn steps_done(&self) -> impl Iterator<Item = Report> {
        self.times.iter().map(|(step, took, note)| {
            let tells = matches!(step, StepName::Backup | StepName::Recheck | StepName::Survey | StepName::Exchange);
            let safeguard = self.safeguard.clone().filter(|_| tells);
            let state = StepState::Succeeded { took: *took, note: note.clone(), safeguard };
            Report::Step(StepReport { key: self.order.key(), step: *step, state })
        })
    }

    /// The step that a cancellation or a missed deadline hits: the running one, or the next.
    #[must_use]
    pub fn present_step(&self) -> Option<StepName> {
        match self.phase {
            Phase::Ready { done } => self.steps().get(done).copied(),
            Phase::Running { position } => self.steps().get(position).copied(),
            Phase::Undoing { .. } | Phase::Stuck { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Takes in one more record. Nothing changes when it is refused.
    ///
    /// # Errors
    /// [`FoldError`] when the record cannot follow.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        let impossible = FoldError::Impossible { record: record.word(), phase: self.phase.word() };
        let steps = self.steps();
        let phase = match (&self.phase, record) {
            (Phase::Ready { done }, Record::Started { step }) if steps.get(*done) == Some(step) => Phase::Running { position: *done },
            // Started again after a crash.
            (Phase::Running { position }, Record::Started { step }) if steps[*position] == *step => Phase::Running { position: *position },
            (Phase::Running { position }, Record::Succeeded { step, .. }) if steps[*position] == *step => {
                Phase::Ready { done: position + 1 }
            }
            (Phase::Running { position }, Record::Failed { step, failure, .. }) if steps[*position] == *step => {
                undoing(Some(*step), failure, steps, position + 1)
            }
            (Phase::Ready { done }, Record::Failed { step, failure, .. }) if steps.get(*done) == Some(step) => {
                undoing(Some(*step), failure, steps, *done)
            }
            (Phase::Undoing { failed, failure, remaining, .. }, Record::UndoStarted { step })
                if last_to_undo(steps, *remaining).is_some_and(|index| steps[index] == *step) =>
            {
                Phase::Undoing { failed: *failed, failure: failure.clone(), remaining: *remaining, started: true }
            }
            (Phase::Undoing { failed, failure, remaining, started: true }, Record::UndoFinished { step }) => {
                match last_to_undo(steps, *remaining) {
                    Some(index) if steps[index] == *step => undoing(*failed, failure, steps, index),
                    _ => return Err(impossible),
                }
            }
            (Phase::Undoing { remaining, started: true, .. }, Record::UndoFailed { step, failure })
                if last_to_undo(steps, *remaining).is_some_and(|index| steps[index] == *step) =>
            {
                Phase::Stuck { step: *step, failure: failure.clone() }
            }
            (Phase::Ready { done }, Record::Ended { outcome: outcome @ OrderOutcome::Done { .. } }) if *done == steps.len() => {
                Phase::Ended { outcome: outcome.clone() }
            }
            (Phase::Undoing { remaining, .. }, Record::Ended { outcome }) if last_to_undo(steps, *remaining).is_none() => match outcome {
                OrderOutcome::Failed { .. } | OrderOutcome::Stuck { .. } => Phase::Ended { outcome: outcome.clone() },
                OrderOutcome::Done { .. } => return Err(impossible),
            },
            (Phase::Stuck { .. }, Record::Ended { outcome: outcome @ OrderOutcome::Stuck { .. } }) => {
                Phase::Ended { outcome: outcome.clone() }
            }
            (Phase::Ended { outcome: OrderOutcome::Done { .. } }, Record::Lapsed { why })
                if matches!(self.order.kind, OrderKind::Activate { .. }) =>
            {
                self.lapsed = Some(why.clone());
                undoing(None, why, steps, steps.len())
            }
            _ => return Err(impossible),
        };
        self.phase = phase;
        if let Record::Succeeded { step, note, took, safeguard } = record {
            self.times.push((*step, *took, note.clone()));
            if safeguard.is_some() {
                self.safeguard.clone_from(safeguard);
            }
        }
        Ok(())
    }
}

fn undoing(failed: Option<StepName>, failure: &Failure, steps: &[StepName], count: usize) -> Phase {
    // Settled positions are skipped at once, so that equal situations are equal values.
    let remaining = last_to_undo(steps, count).map_or(0, |index| index + 1);
    Phase::Undoing { failed, failure: failure.clone(), remaining, started: false }
}

impl Phase {
    /// The phase as a word, for messages.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "between steps",
            Self::Running { .. } => "running a step",
            Self::Undoing { .. } => "being undone",
            Self::Stuck { .. } => "stuck",
            Self::Ended { .. } => "at its end",
        }
    }
}
