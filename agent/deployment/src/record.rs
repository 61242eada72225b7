//! What a journal consists of.

use roadstead_model::{Failure, Millis, Order, OrderOutcome, Safeguard, StepName};
use serde::{Deserialize, Serialize};

/// The newest journal format that this code reads, and the one that it writes.
///
/// Changes: 1 is the first.
pub const JOURNAL_FORMAT: u32 = 1;

/// One entry of the journal of an order. Each is durable before what it announces is done, and before it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "record")]
pub enum Record {
    /// The first entry: the order was accepted.
    Header {
        /// See [`JOURNAL_FORMAT`].
        format: u32,
        /// The order.
        order: Order,
    },
    /// A step is about to run.
    Started {
        /// Which.
        step: StepName,
    },
    /// A step is done.
    Succeeded {
        /// Which.
        step: StepName,
        /// What it said.
        note: String,
        /// How long it took.
        took: Millis,
        /// What keeps the database's contents, where the step looked after that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        safeguard: Option<Safeguard>,
    },
    /// A step failed, or was called off, perhaps before it began.
    Failed {
        /// Which.
        step: StepName,
        /// Why.
        failure: Failure,
        /// How long it took.
        took: Millis,
    },
    /// A step is about to be undone.
    UndoStarted {
        /// Which.
        step: StepName,
    },
    /// A step is undone.
    UndoFinished {
        /// Which.
        step: StepName,
    },
    /// A step could not be undone.
    UndoFailed {
        /// Which.
        step: StepName,
        /// Why.
        failure: Failure,
    },
    /// The order ended.
    Ended {
        /// How.
        outcome: OrderOutcome,
    },
    /// After the order had ended well, the controller stayed silent too long or the app did not do well: all of it is undone.
    Lapsed {
        /// Why.
        why: Failure,
    },
}

impl Record {
    /// The entry as a word, for error messages.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Header { .. } => "header",
            Self::Started { .. } => "started",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::UndoStarted { .. } => "undo-started",
            Self::UndoFinished { .. } => "undo-finished",
            Self::UndoFailed { .. } => "undo-failed",
            Self::Ended { .. } => "ended",
            Self::Lapsed { .. } => "lapsed",
        }
    }
}
