//! Carries one order to its end: journal, act, journal, report, and again.

use roadstead_deployment::{Ending, Next, Record, Status, next};
use roadstead_model::{Failure, FailureKind, Report, StepDone, StepName, StepReport, StepState};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::whole_millis;
use crate::hands::{Hands, Task};
use crate::journal::{JournalError, JournalFile};
use crate::output::{Outbox, OutputSink, ProgressSink};
use crate::tasks::Tasks;

/// How long a step that was told to stop may take before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(30);
/// How long a step may go on when the agent stops; then it is left to the next start.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long undoing one step may take.
const UNDO_AT_MOST: Duration = Duration::from_secs(600);
/// No order takes longer, whatever it says.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An order and all that it takes to carry it out.
#[derive(Debug)]
pub(crate) struct Runner {
    /// Its journal.
    pub(crate) journal: Arc<Mutex<JournalFile>>,
    /// Where it stands, as the journal says.
    pub(crate) status: Status,
    /// The host.
    pub(crate) hands: Arc<dyn Hands>,
    /// Where reports of steps go.
    pub(crate) outbox: Arc<Outbox>,
    /// Cancelled when a newer order of the app is obeyed.
    pub(crate) called_off: CancellationToken,
    /// Whether it was called off because it is of another day.
    pub(crate) outdated: bool,
    /// The agent's tasks: they tell when it stops, and where work on the disk is done.
    pub(crate) tasks: Tasks,
}

/// How the work on an order ended.
#[derive(Debug)]
pub enum Driven {
    /// The order ended, and that is durable.
    Ended(Status),
    /// The agent stops; the next start carries on.
    Stopped,
    /// The journal cannot be written any more, so nothing more is done.
    Broken(Status, JournalError),
}

/// Why the work does not go on for now.
enum Halt {
    Stopping,
    Journal(JournalError),
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Runner {
    /// Carries the order to its end.
    pub(crate) async fn drive(mut self) -> Driven {
        let deadline = self.deadline();
        let output = OutputSink::new(self.status.order.key(), Arc::clone(&self.outbox));
        loop {
            let turn = match next(&self.status) {
                _ if self.tasks.stopping().is_cancelled() => Err(Halt::Stopping),
                Next::Run(step) => self.run(step, &output, deadline).await,
                Next::Undo(step) => self.undo(step, &output).await,
                Next::Finish(ending) => self.finish(ending).await,
                Next::Idle => return Driven::Ended(self.status),
            };
            match turn {
                Ok(()) => {}
                Err(Halt::Stopping) => return Driven::Stopped,
                Err(Halt::Journal(error)) => return Driven::Broken(self.status, error),
            }
        }
    }

    async fn run(&mut self, step: StepName, output: &OutputSink, deadline: Instant) -> Result<(), Halt> {
        if self.called_off.is_cancelled() {
            return self.failed(step, self.cancelled(step), Instant::now()).await;
        }
        self.append(Record::Started { step }).await?;
        self.report(step, StepState::Started);
        tracing::info!(%step, "step started");
        let began = Instant::now();
        let result = self.act(step, output, deadline).await.ok_or(Halt::Stopping)?;
        output.finish();
        let took = whole_millis(began.elapsed());
        match result {
            Ok(StepDone { note, safeguard }) => {
                tracing::info!(%step, %took, note, "step succeeded");
                self.append(Record::Succeeded { step, note: note.clone(), took, safeguard: safeguard.clone() }).await?;
                self.report(step, StepState::Succeeded { took, note, safeguard });
                Ok(())
            }
            Err(failure) => self.failed(step, failure, began).await,
        }
    }

    async fn failed(&mut self, step: StepName, failure: Failure, began: Instant) -> Result<(), Halt> {
        let took = whole_millis(began.elapsed());
        tracing::warn!(%step, %took, %failure, hint = failure.hint, "step failed");
        self.append(Record::Failed { step, failure: failure.clone(), took }).await?;
        self.report(step, StepState::Failed { took, failure });
        Ok(())
    }

    /// Runs a step until it ends, is called off or takes too long. `None` when the agent stops first.
    async fn act(&self, step: StepName, output: &OutputSink, deadline: Instant) -> Option<Result<StepDone, Failure>> {
        let stop = CancellationToken::new();
        let mut work = self.hands.run(step, self.task(step, output, stop.clone()));
        let why = tokio::select! {
            biased;
            result = &mut work => return Some(result),
            () = self.called_off.cancelled() => self.cancelled(step),
            () = sleep_until(deadline) => self.too_late(step),
            // Units of the step live on, and the next start takes them over.
            () = self.tasks.stopping().cancelled() => return timeout(STOP_GRACE, work).await.ok(),
        };
        stop.cancel();
        let detail = match timeout(CANCEL_GRACE, work).await {
            Ok(Err(failure)) => failure.detail,
            Ok(Ok(_)) => String::new(),
            Err(_) => {
                tracing::warn!(%step, "the step did not stop when told to; it is dropped");
                String::new()
            }
        };
        Some(Err(why.with_detail(&detail)))
    }

    async fn undo(&mut self, step: StepName, output: &OutputSink) -> Result<(), Halt> {
        self.append(Record::UndoStarted { step }).await?;
        tracing::info!(%step, "undoing");
        let work = self.hands.undo(step, self.task(step, output, CancellationToken::new()));
        let result = tokio::select! {
            biased;
            result = timeout(UNDO_AT_MOST, work) => result.unwrap_or_else(|_| Err(undo_too_late(step))),
            () = self.stop_after_grace() => return Err(Halt::Stopping),
        };
        output.finish();
        match result {
            Ok(()) => self.append(Record::UndoFinished { step }).await?,
            Err(failure) => {
                tracing::error!(%step, %failure, hint = failure.hint, "a step could not be undone; the host needs a person");
                self.append(Record::UndoFailed { step, failure }).await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, ending: Ending) -> Result<(), Halt> {
        let current = self.hands.current(&self.status.order.app).await;
        tracing::info!(current = current.as_ref().map_or("none", |release| release.as_str()), "order ended: {}", word(&ending));
        self.append(Record::Ended { outcome: ending.outcome(current) }).await
    }

    async fn append(&mut self, record: Record) -> Result<(), Halt> {
        let journal = Arc::clone(&self.journal);
        let written = record.clone();
        self.tasks.blocking(move || journal.lock().unwrap_or_else(PoisonError::into_inner).append(&written)).await?;
        if let Err(source) = self.status.apply(&record) {
            let path = self.journal.lock().unwrap_or_else(PoisonError::into_inner).path().to_path_buf();
            return Err(Halt::Journal(JournalError::Senseless { path, source }));
        }
        Ok(())
    }

    fn report(&self, step: StepName, state: StepState) {
        self.outbox.report(Report::Step(StepReport { key: self.status.order.key(), step, state }));
    }

    fn task(&self, step: StepName, output: &OutputSink, cancelled: CancellationToken) -> Task {
        let progress = ProgressSink::new(self.status.order.key(), step, Arc::clone(&self.outbox));
        Task { order: self.status.order.clone(), output: output.clone(), progress, cancelled }
    }

    async fn stop_after_grace(&self) {
        self.tasks.stopping().cancelled().await;
        sleep(STOP_GRACE).await;
    }

    /// Counted from now: after a restart an order has its whole time again, since no clock spans both.
    fn deadline(&self) -> Instant {
        let span = self.status.order.deadline.to_duration().clamp(Duration::from_secs(1), DEADLINE_MAX);
        Instant::now() + span
    }

    fn cancelled(&self, step: StepName) -> Failure {
        if self.outdated {
            let text = format!("the time for {step} was over when this host came back: it was off, or its disk was restored");
            return Failure::new(FailureKind::Cancelled, text, "nothing is to be done: the controller brings the host level");
        }
        Failure::new(FailureKind::Cancelled, format!("{step} was called off by a newer order for the app"), "nothing is to be done")
    }

    fn too_late(&self, step: StepName) -> Failure {
        let span = self.status.order.deadline;
        Failure::new(
            FailureKind::Deadline,
            format!("{step} was not done when the time for the whole order, {span}, was over"),
            "look at the output of the step for what it waited for, or give the environment longer timeouts",
        )
    }
}

fn undo_too_late(step: StepName) -> Failure {
    let hint = "look at the app's units on the host with systemctl, then roll back again";
    Failure::new(FailureKind::Deadline, format!("undoing {step} did not end within {} s", UNDO_AT_MOST.as_secs()), hint)
}

const fn word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Failed { .. } => "failed",
        Ending::Stuck { .. } => "stuck",
    }
}
