//! Reports: what an agent tells about its orders and steps.

use serde::{Deserialize, Serialize};

use crate::{AppName, Fence, Millis, OrderKey, ReleaseId, Safeguard, StepName};

/// One report of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "report")]
pub enum Report {
    /// A step began or ended.
    Step(StepReport),
    /// An order ended, now or earlier: repeats of an order are answered with this.
    Order {
        /// Which order.
        key: OrderKey,
        /// How it ended.
        outcome: OrderOutcome,
    },
    /// An order was refused without acting.
    Refused {
        /// Which order.
        key: OrderKey,
        /// The highest fence that the host has obeyed, when that is why.
        highest: Option<Fence>,
        /// Why, for people.
        why: String,
    },
    /// The host went back by itself: the controller was silent past the confirm deadline, or its own checks failed after cutover.
    WentBack {
        /// The order whose cutover was undone.
        key: OrderKey,
        /// The app.
        app: AppName,
        /// What serves now.
        current: Option<ReleaseId>,
        /// Why.
        why: Failure,
    },
}

/// A step's beginning or end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The order that it belongs to.
    pub key: OrderKey,
    /// Which step.
    pub step: StepName,
    /// Where it stands.
    pub state: StepState,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum StepState {
    /// It runs.
    Started,
    /// It runs; how far it has come, in bytes or counts of its own.
    Progress {
        /// Done so far.
        done: u64,
        /// In all; 0 when unknown.
        total: u64,
        /// What it waits for, in words; empty when that says nothing more. At most [`crate::limits::PROGRESS_NOTE_BYTES_MAX`].
        #[serde(default)]
        note: String,
    },
    /// It is done.
    Succeeded {
        /// How long it took.
        took: Millis,
        /// One line for people, such as `12 blobs, 3.9 KiB`.
        note: String,
        /// What keeps the database's contents, where the step looked after that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        safeguard: Option<Safeguard>,
    },
    /// It failed.
    Failed {
        /// How long it took.
        took: Millis,
        /// Why.
        failure: Failure,
    },
}

/// What a step that is done tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepDone {
    /// One line for people.
    pub note: String,
    /// What keeps the database's contents, where the step looked after that.
    pub safeguard: Option<Safeguard>,
}

impl From<String> for StepDone {
    fn from(note: String) -> Self {
        Self { note, safeguard: None }
    }
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum OrderOutcome {
    /// All of it is done.
    Done {
        /// What serves now.
        current: Option<ReleaseId>,
    },
    /// It failed; what had been changed was undone, and `current` serves.
    Failed {
        /// The step at which.
        step: StepName,
        /// Why.
        failure: Failure,
        /// What serves now.
        current: Option<ReleaseId>,
    },
    /// It failed and so did the undoing: a person must look.
    Stuck {
        /// The step at which.
        step: StepName,
        /// Why.
        failure: Failure,
        /// What serves now, when that is known.
        current: Option<ReleaseId>,
    },
}

/// Why something failed, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The sort of failure.
    pub kind: FailureKind,
    /// One line: what failed and where.
    pub summary: String,
    /// What to do next.
    pub hint: String,
    /// The last output, a traceback, a unit's journal; bounded by [`crate::limits::FAILURE_DETAIL_BYTES_MAX`].
    pub detail: String,
}

/// The sort of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The host lacks something: disk, Python, a variable, a port.
    Unfit,
    /// Signature or digest does not hold.
    Untrusted,
    /// Bytes did not arrive.
    Transfer,
    /// A command of the release ended badly.
    Command,
    /// A unit did not start or died.
    Unit,
    /// A check did not pass.
    Check,
    /// A deadline passed.
    Deadline,
    /// Someone asked to stop.
    Cancelled,
    /// The host's own files or systemd did not do as told.
    Host,
}

impl Failure {
    /// A failure with a summary and a hint, no detail.
    pub fn new(kind: FailureKind, summary: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, summary: summary.into(), hint: hint.into(), detail: String::new() }
    }

    /// The same failure with detail, cut (head dropped: the end of a traceback tells most) to the limit.
    #[must_use]
    pub fn with_detail(mut self, detail: &str) -> Self {
        let mut start = detail.len().saturating_sub(crate::limits::FAILURE_DETAIL_BYTES_MAX);
        while !detail.is_char_boundary(start) {
            start += 1;
        }
        self.detail = detail[start..].to_owned();
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.summary)
    }
}
