//! A rollout as operators see it.

use roadstead_model::{BackupName, HostId};
use roadstead_proto::v1;
use roadstead_rollout::{Host, Look, Phase, Plan, RolloutKind, Stage, Standing, State, Tending, waiting};

use crate::store::RolloutRecord;

/// The rollout as it is shown.
pub(crate) fn view_of(record: &RolloutRecord) -> v1::Rollout {
    let state = &record.state;
    let plan = &state.plan;
    let waiting = waiting(state);
    let mut hosts: Vec<v1::RolloutHost> = state.hosts.iter().map(|(id, host)| host_of(state, id, host)).collect();
    hosts.sort_by(|a, b| (a.batch, &a.host_name).cmp(&(b.batch, &b.host_name)));
    v1::Rollout {
        id: plan.rollout.0,
        environment: plan.environment.to_string(),
        app: plan.app.to_string(),
        release: plan.release.id.to_string(),
        configuration: plan.configuration,
        previous: plan.previous.as_ref().map(|r| r.id.to_string()).unwrap_or_default(),
        kind: kind(plan).to_owned(),
        phase: state.phase.word().to_owned(),
        waiting_for: waiting.as_ref().map(|w| w.what.clone()).unwrap_or_default(),
        waiting_until_ms: waiting.as_ref().map_or(0, |w| w.until.0),
        waiting_then: waiting.map(|w| w.then.to_owned()).unwrap_or_default(),
        reason: record.reason.clone(),
        started_by: record.started_by.clone(),
        started_at_ms: state.started_at.0,
        ended_at_ms: if let Phase::Ended { at, .. } = state.phase { at.0 } else { 0 },
        failure: state.failure.clone().map(Into::into),
        hosts,
        batches: plan.batches,
        revision: state.revision,
        on_hold: state.hold.is_some(),
        looks: looks_of(state),
        looked_at_ms: state.looks.at.0,
        looked_batch: state.looks.batch,
        safeguard: state.safeguard.clone().map(Into::into),
        survey: state.recovery.survey.clone().map(Into::into),
        loss: state.recovery.loss.clone().map(Into::into),
        job: job(plan),
        backup: backup(plan).map(ToString::to_string).unwrap_or_default(),
        accepted_by: state.recovery.accepted.as_ref().map(|accepted| accepted.by.clone()).unwrap_or_default(),
        plan: if matches!(state.phase, Phase::Gated { .. }) { plan.digest().to_string() } else { String::new() },
    }
}

/// The backup that it is about.
fn backup(plan: &Plan) -> Option<&BackupName> {
    let rechecked = plan.tending.as_ref().and_then(|tending| match tending {
        Tending::Recheck { backup, .. } => Some(backup),
        Tending::Backup(_) | Tending::Job { .. } => None,
    });
    plan.restore.as_ref().map(|restore| &restore.backup).or(rechecked)
}

/// The job that runs.
fn job(plan: &Plan) -> String {
    match &plan.tending {
        Some(Tending::Job { job, .. }) => job.to_string(),
        _ => String::new(),
    }
}

/// What was seen at the latest look, beside what it is to be.
fn looks_of(state: &State) -> Vec<v1::RolloutLook> {
    let Some(analysis) = &state.plan.analysis else { return Vec::new() };
    let wanted = analysis.queries.iter().map(ToString::to_string).chain(analysis.checks.iter().map(ToString::to_string));
    let look = |(look, wanted): (&Look, String)| v1::RolloutLook {
        name: look.name.clone(),
        judgement: look.judgement.word().to_owned(),
        value: look.value.clone(),
        wanted,
        told: look.told.clone(),
        failed: look.failed,
        unknown: look.unknown,
    };
    state.looks.of.iter().zip(wanted).map(look).collect()
}

const fn kind(plan: &Plan) -> &'static str {
    match plan.kind {
        RolloutKind::Rollout => "rollout",
        RolloutKind::Rollback => "rollback",
        RolloutKind::Level => "level",
        RolloutKind::Restore => "restore",
        RolloutKind::Tend => match plan.tending {
            Some(Tending::Recheck { .. }) => "recheck",
            Some(Tending::Job { .. }) => "job",
            Some(Tending::Backup(_)) | None => "backup",
        },
    }
}

fn host_of(state: &State, id: &HostId, host: &Host) -> v1::RolloutHost {
    let planned = state.plan.hosts.get(id);
    let (step, step_done, step_total) = host.step.map_or_else(Default::default, |(step, done, total)| (step.to_string(), done, total));
    let time = |(step, took, note): &(roadstead_model::StepName, roadstead_model::Millis, String)| v1::StepTime {
        step: step.to_string(),
        took_ms: took.0,
        note: note.clone(),
    };
    v1::RolloutHost {
        host_id: id.to_string(),
        host_name: planned.map(|p| p.name.to_string()).unwrap_or_default(),
        batch: planned.map_or(0, |p| p.batch),
        state: word(state, host).to_owned(),
        step,
        step_done,
        step_total,
        step_note: host.step_note.clone(),
        failure: host.failure.clone().map(Into::into),
        times: host.times.iter().map(time).collect(),
        attempt: host.attempt,
        standing: match host.standing {
            Standing::Counts => "",
            Standing::Ignored => "ignored",
            Standing::Excluded => "excluded",
        }
        .to_owned(),
    }
}

fn word(state: &State, host: &Host) -> &'static str {
    let running = state.outcome().is_none();
    match host.stage {
        Stage::Left => "level-later",
        stage if running && host.away_since.is_some() && !stage.is_final() && !stage.is_lost() => "away",
        stage => stage.word(),
    }
}
