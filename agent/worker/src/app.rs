//! What the worker knows of one app.

use roadstead_deployment::{History, Status, Watch};
use roadstead_model::{Fence, Millis, OrderOutcome, Report, StepReport, StepState};
use tokio_util::sync::CancellationToken;

use crate::lease::Lease;

/// Bytes of outcomes in a hello, and of steps: both together well below the limit of a message.
const OUTCOMES_BYTES_MAX: usize = 384 * 1024;

/// What the worker knows of one app.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// Its orders.
    pub(crate) history: History,
    /// What is being done for it.
    pub(crate) work: Work,
    /// Why it takes no orders: its journals or state cannot be trusted.
    pub(crate) held: Option<String>,
    /// When an order ended last, in time since the agent started. Silence counts from here.
    pub(crate) rested: Millis,
    /// What runs only once needs a lease here, also after a restart: it is written down.
    pub(crate) needs_lease: bool,
    /// That lease.
    pub(crate) lease: Lease,
    /// When what the serving release was prepared to run here is started, should nothing else come first.
    pub(crate) follows: Option<Millis>,
    /// Somebody is looking at how it does since its cutover.
    pub(crate) looking: bool,
    /// When that was looked at last, in time since the agent started.
    pub(crate) looked: Millis,
}

/// What is being done for an app.
#[derive(Debug, Default)]
pub(crate) enum Work {
    /// Nothing.
    #[default]
    None,
    /// It is brought up after a start.
    Reconciling,
    /// An order is carried out.
    Order {
        /// Calls it off.
        called_off: CancellationToken,
    },
}

impl App {
    /// Takes over what was remembered on disk.
    pub(crate) fn restore(&mut self, highest: Option<Fence>, orders: Vec<Status>) {
        self.history = History::new(highest.max(self.history.highest()), orders);
        self.held = None;
    }

    /// The cutover that waits for its confirmation, when nothing else is done for the app.
    pub(crate) fn watch(&self) -> Option<Watch> {
        match self.work {
            Work::None if self.held.is_none() => self.history.watch(),
            Work::None | Work::Reconciling | Work::Order { .. } => None,
        }
    }
}

/// Reports cut to what fits a message: older details go first, then older reports. The order stays.
pub(crate) fn bounded(reports: Vec<Report>) -> Vec<Report> {
    let mut room = OUTCOMES_BYTES_MAX;
    let mut kept = Vec::new();
    for mut report in reports.into_iter().rev() {
        if room < OUTCOMES_BYTES_MAX / 2
            && let Some(failure) = failure_of(&mut report)
        {
            failure.detail = String::new();
        }
        let Some(left) = room.checked_sub(weight(&report)) else { break };
        room = left;
        kept.push(report);
    }
    kept.reverse();
    kept
}

fn failure_of(report: &mut Report) -> Option<&mut roadstead_model::Failure> {
    match report {
        Report::Order { outcome: OrderOutcome::Failed { failure, .. } | OrderOutcome::Stuck { failure, .. }, .. } => Some(failure),
        Report::WentBack { why, .. } => Some(why),
        Report::Order { .. } | Report::Step(_) | Report::Refused { .. } => None,
    }
}

fn weight(report: &Report) -> usize {
    let texts = match report {
        Report::Step(StepReport { state: StepState::Succeeded { note, .. }, .. }) => note.len(),
        Report::Order { outcome: OrderOutcome::Failed { failure, .. } | OrderOutcome::Stuck { failure, .. }, .. }
        | Report::WentBack { why: failure, .. } => failure.summary.len() + failure.hint.len() + failure.detail.len(),
        Report::Order { .. } | Report::Step(_) | Report::Refused { .. } => 0,
    };
    texts + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{Failure, FailureKind, OrderKey, RolloutId, StepName};

    #[test]
    fn a_hello_fits_its_message_and_the_newest_outcomes_are_whole() {
        let report = |sequence| {
            let failure = Failure::new(FailureKind::Command, "it failed", "look").with_detail(&"x".repeat(16 * 1024));
            let outcome = OrderOutcome::Failed { step: StepName::Migrate, failure, current: None };
            Report::Order { key: OrderKey { rollout: RolloutId(1), sequence }, outcome }
        };
        let kept = bounded((0..6000).map(report).collect());
        assert!(kept.iter().map(weight).sum::<usize>() <= OUTCOMES_BYTES_MAX);
        assert_eq!(kept.last(), Some(&report(5999)));
        assert!(kept.len() > 500, "without their details most still fit: {}", kept.len());
        let keys: Vec<u32> =
            kept.iter().filter_map(|r| if let Report::Order { key, .. } = r { Some(key.sequence) } else { None }).collect();
        assert!(keys.is_sorted());
    }
}
