//! Reports, outcomes, failures.

use roadstead_model::{AppName, Failure, FailureKind, Millis, OrderOutcome, ReleaseId, Report, StepName, StepReport, StepState, limits};

use crate::invalid::{InField, bounded, optional};
use crate::{Invalid, v1};

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Unfit => v1::FailureKind::Unfit,
            FailureKind::Untrusted => v1::FailureKind::Untrusted,
            FailureKind::Transfer => v1::FailureKind::Transfer,
            FailureKind::Command => v1::FailureKind::Command,
            FailureKind::Unit => v1::FailureKind::Unit,
            FailureKind::Check => v1::FailureKind::Check,
            FailureKind::Deadline => v1::FailureKind::Deadline,
            FailureKind::Cancelled => v1::FailureKind::Cancelled,
            FailureKind::Host => v1::FailureKind::Host,
        };
        Self { kind: kind.into(), summary: failure.summary, hint: failure.hint, detail: failure.detail }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = Invalid;
    fn try_from(wire: v1::Failure) -> Result<Self, Invalid> {
        for text in [&wire.summary, &wire.hint, &wire.detail] {
            bounded(text.len(), limits::FAILURE_DETAIL_BYTES_MAX, "failure")?;
        }
        // A kind that this version does not know is still a failure of the host.
        let kind = match wire.kind() {
            v1::FailureKind::Unfit => FailureKind::Unfit,
            v1::FailureKind::Untrusted => FailureKind::Untrusted,
            v1::FailureKind::Transfer => FailureKind::Transfer,
            v1::FailureKind::Command => FailureKind::Command,
            v1::FailureKind::Unit => FailureKind::Unit,
            v1::FailureKind::Check => FailureKind::Check,
            v1::FailureKind::Deadline => FailureKind::Deadline,
            v1::FailureKind::Cancelled => FailureKind::Cancelled,
            v1::FailureKind::Host | v1::FailureKind::Unspecified => FailureKind::Host,
        };
        Ok(Self { kind, summary: wire.summary, hint: wire.hint, detail: wire.detail })
    }
}

impl From<Report> for v1::Report {
    /// The sequence number is left at 0 for the sender to set.
    fn from(report: Report) -> Self {
        use v1::report::Kind;
        let kind = match report {
            Report::Step(step) => Kind::Step(step.into()),
            Report::Order { key, outcome } => Kind::Order(v1::OrderReport { key: Some(key.into()), outcome: Some(outcome.into()) }),
            Report::Refused { key, highest, why } => {
                Kind::Refused(v1::Refused { key: Some(key.into()), highest: highest.map(Into::into), why })
            }
            Report::WentBack { key, app, current, why } => {
                Kind::WentBack(v1::WentBack { key: Some(key.into()), app: app.to_string(), current: name(current), why: Some(why.into()) })
            }
        };
        Self { sequence: 0, kind: Some(kind) }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = Invalid;
    fn try_from(wire: v1::Report) -> Result<Self, Invalid> {
        use v1::report::Kind;
        Ok(match wire.kind.field("report.kind")? {
            Kind::Step(step) => Self::Step(step.try_into()?),
            Kind::Order(order) => Self::Order {
                key: order.key.field("report.order.key")?.into(),
                outcome: order.outcome.field("report.order.outcome")?.try_into()?,
            },
            Kind::Refused(refused) => {
                bounded(refused.why.len(), limits::FAILURE_DETAIL_BYTES_MAX, "report.refused.why")?;
                Self::Refused {
                    key: refused.key.field("report.refused.key")?.into(),
                    highest: refused.highest.map(Into::into),
                    why: refused.why,
                }
            }
            Kind::WentBack(back) => Self::WentBack {
                key: back.key.field("report.went_back.key")?.into(),
                app: AppName::parse(&back.app).field("report.went_back.app")?,
                current: optional(&back.current, ReleaseId::parse, "report.went_back.current")?,
                why: back.why.field("report.went_back.why")?.try_into()?,
            },
        })
    }
}

fn name(release: Option<ReleaseId>) -> String {
    release.map(String::from).unwrap_or_default()
}

impl From<StepReport> for v1::StepReport {
    fn from(report: StepReport) -> Self {
        use v1::step_report::State;
        let state = match report.state {
            StepState::Started => State::Started(v1::StepStarted {}),
            StepState::Progress { done, total, note } => State::Progress(v1::StepProgress { done, total, note }),
            StepState::Succeeded { took, note, safeguard } => {
                State::Succeeded(v1::StepSucceeded { took_ms: took.0, note, safeguard: safeguard.map(Into::into) })
            }
            StepState::Failed { took, failure } => State::Failed(v1::StepFailed { took_ms: took.0, failure: Some(failure.into()) }),
        };
        Self { key: Some(report.key.into()), step: report.step.to_string(), state: Some(state) }
    }
}

impl TryFrom<v1::StepReport> for StepReport {
    type Error = Invalid;
    fn try_from(wire: v1::StepReport) -> Result<Self, Invalid> {
        use v1::step_report::State;
        let state = match wire.state.field("report.step.state")? {
            State::Started(_) => StepState::Started,
            State::Progress(progress) => {
                bounded(progress.note.len(), limits::PROGRESS_NOTE_BYTES_MAX, "report.step.note")?;
                if progress.note.chars().any(char::is_control) {
                    return Err(Invalid::new("report.step.note", "a control character"));
                }
                StepState::Progress { done: progress.done, total: progress.total, note: progress.note }
            }
            State::Succeeded(succeeded) => {
                bounded(succeeded.note.len(), limits::OUTPUT_LINE_BYTES_MAX, "report.step.note")?;
                StepState::Succeeded {
                    took: Millis(succeeded.took_ms),
                    note: succeeded.note,
                    safeguard: succeeded.safeguard.map(TryInto::try_into).transpose()?,
                }
            }
            State::Failed(failed) => {
                StepState::Failed { took: Millis(failed.took_ms), failure: failed.failure.field("report.step.failure")?.try_into()? }
            }
        };
        Ok(Self { key: wire.key.field("report.step.key")?.into(), step: wire.step.parse::<StepName>().field("report.step.step")?, state })
    }
}

impl From<OrderOutcome> for v1::order_report::Outcome {
    fn from(outcome: OrderOutcome) -> Self {
        let ended = |step: StepName, failure: Failure, current| v1::OrderFailed {
            step: step.to_string(),
            failure: Some(failure.into()),
            current: name(current),
        };
        match outcome {
            OrderOutcome::Done { current } => Self::Done(v1::OrderDone { current: name(current) }),
            OrderOutcome::Failed { step, failure, current } => Self::Failed(ended(step, failure, current)),
            OrderOutcome::Stuck { step, failure, current } => Self::Stuck(ended(step, failure, current)),
        }
    }
}

impl TryFrom<v1::order_report::Outcome> for OrderOutcome {
    type Error = Invalid;
    fn try_from(wire: v1::order_report::Outcome) -> Result<Self, Invalid> {
        use v1::order_report::Outcome;
        let parts = |failed: v1::OrderFailed| -> Result<(StepName, Failure, Option<ReleaseId>), Invalid> {
            Ok((
                failed.step.parse().field("report.order.step")?,
                failed.failure.field("report.order.failure")?.try_into()?,
                optional(&failed.current, ReleaseId::parse, "report.order.current")?,
            ))
        };
        Ok(match wire {
            Outcome::Done(done) => Self::Done { current: optional(&done.current, ReleaseId::parse, "report.order.current")? },
            Outcome::Failed(failed) => {
                let (step, failure, current) = parts(failed)?;
                Self::Failed { step, failure, current }
            }
            Outcome::Stuck(failed) => {
                let (step, failure, current) = parts(failed)?;
                Self::Stuck { step, failure, current }
            }
        })
    }
}
