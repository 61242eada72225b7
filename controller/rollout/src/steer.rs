//! What operators do to a rollout that runs.

use roadstead_model::{Failure, FailureKind, HostId, Millis, Promotion, RoleName, Timestamp, limits};

use crate::analysis;
use crate::decide::{enter, host_mut};
use crate::ending::{go_back, way_out};
use crate::gates::{Approval, missing};
use crate::hold::{Hold, HoldCause, resume};
use crate::settle::{bake_ends, bake_of};
use crate::traffic::HostTraffic;
use crate::{Note, Phase, Rejected, RolloutKind, Stage, Standing, State, restore, tending, traffic};

/// How an operator steers a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steer {
    /// It ends, and goes back.
    Abort,
    /// Who asked for a restore accepts what it loses.
    Accept,
    /// Somebody other than who asked for it approves it, as one of these.
    Approve {
        /// What the approver may approve as.
        roles: Vec<RoleName>,
    },
    /// Nothing further begins.
    Pause {
        /// For how long; then it goes back.
        within: Millis,
    },
    /// It goes on.
    Resume,
    /// The bake of the batch that has moved is over.
    Promote {
        /// And no batch before the last bakes any more.
        all: bool,
    },
    /// A host that is lost is tried again, from its preparation on.
    Retry(HostId),
    /// A host that is lost does not count against the failure budget.
    Ignore(HostId),
    /// A host leaves the rollout, and goes on serving what it served.
    Exclude(HostId),
}

impl Steer {
    /// What has been done, in a word, such as `paused`.
    #[must_use]
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Abort => "aborted",
            Self::Accept => "accepted",
            Self::Approve { .. } => "approved",
            Self::Pause { .. } => "paused",
            Self::Resume => "resumed",
            Self::Promote { .. } => "promoted",
            Self::Retry(_) => "retried",
            Self::Ignore(_) => "ignored",
            Self::Exclude(_) => "excluded",
        }
    }

    /// The host that it is about.
    #[must_use]
    pub const fn host(&self) -> Option<&HostId> {
        match self {
            Self::Retry(host) | Self::Ignore(host) | Self::Exclude(host) => Some(host),
            Self::Abort | Self::Accept | Self::Approve { .. } | Self::Pause { .. } | Self::Resume | Self::Promote { .. } => None,
        }
    }
}

/// Does it, or says why it cannot be done now.
pub(crate) fn steered(
    state: &mut State,
    steer: &Steer,
    by: &str,
    reason: &str,
    now: Timestamp,
    notes: &mut Vec<Note>,
) -> Result<(), Rejected> {
    let rollout = state.plan.rollout;
    let done = match fits(state, steer) {
        Err(why) => Err(why),
        Ok(()) => match steer {
            Steer::Abort => {
                abort(state, by, reason, now, notes);
                Ok(())
            }
            Steer::Accept => restore::accept(state, by, now),
            Steer::Approve { roles } => approve(state, by, roles, now),
            Steer::Pause { within } => pause(state, *within, by, reason, now),
            Steer::Resume => again(state, now),
            Steer::Promote { all } => {
                let skipped = analysis::skipped(state);
                promote(state, *all, now).map(|()| notes.extend(skipped))
            }
            Steer::Retry(host) => retry(state, host, now)?,
            Steer::Ignore(host) => ignore(state, host)?,
            Steer::Exclude(host) => exclude(state, host, now)?,
        },
    };
    done.map_err(|why| Rejected::NotNow { rollout, what: steer.done(), why })
}

/// Why something cannot be done, for people.
type Unfit = String;

/// Whether the phase lets an operator do that.
fn fits(state: &State, steer: &Steer) -> Result<(), Unfit> {
    if state.plan.kind == RolloutKind::Rollback && state.outcome().is_none() {
        return Err("it is a rollback, which goes on to its end".to_owned());
    }
    if state.plan.kind == RolloutKind::Restore && state.outcome().is_none() {
        return restore::fits(state, steer);
    }
    if state.plan.kind == RolloutKind::Tend && state.outcome().is_none() {
        return tending::fits(steer);
    }
    match (&state.phase, steer) {
        (_, Steer::Accept) => Err("it is no restore: it loses nothing".to_owned()),
        (Phase::Ended { .. }, _) => Err(format!("it has ended: {}", state.phase.word())),
        (_, Steer::Abort) => Ok(()),
        (Phase::Gated { .. }, Steer::Approve { .. }) => Ok(()),
        (Phase::Gated { .. }, _) => Err("it waits at its gates, and has not begun".to_owned()),
        (_, Steer::Approve { .. }) => Err("its gates are open, and it has begun".to_owned()),
        (Phase::Reverting { .. }, _) => Err("it goes back already".to_owned()),
        (Phase::Confirming { .. }, Steer::Retry(_) | Steer::Ignore(_)) => Ok(()),
        (Phase::Confirming { .. }, _) => {
            Err("its hosts let their old instances go, and nothing is left to decide; abort it to go back".to_owned())
        }
        _ if state.gives_way => Err("it gives way to another rollout".to_owned()),
        (Phase::Switching { .. }, Steer::Pause { .. }) => {
            Err("the traffic is being switched: pause it when that is done, or abort it".to_owned())
        }
        (Phase::Migrating { .. }, _) if state.failure.is_some() => Err("it goes back when the migration has ended".to_owned()),
        _ => Ok(()),
    }
}

fn abort(state: &mut State, by: &str, reason: &str, now: Timestamp, notes: &mut Vec<Note>) {
    if matches!(state.phase, Phase::Reverting { .. }) {
        return;
    }
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let failure = Failure::new(FailureKind::Cancelled, format!("aborted by {by}{why}"), "start it again when you are ready");
    state.condemn = false;
    if !matches!(state.phase, Phase::Migrating { .. }) {
        return go_back(state, failure, now, notes);
    }
    // Half of a migration may be worse than all of it: the host is let through, and then nobody moves.
    if state.failure.is_none() {
        let text = format!("{}; it goes back when the migration has ended", failure.summary);
        notes.push(Note { host: None, kind: "aborting", text });
        state.failure = Some(failure);
    }
}

fn approve(state: &mut State, by: &str, roles: &[RoleName], now: Timestamp) -> Result<(), Unfit> {
    if by == state.requested_by {
        return Err("whoever asked for a rollout does not approve it".to_owned());
    }
    if state.approvals.iter().any(|approval| approval.by == by) {
        return Err(format!("{by} has approved it already"));
    }
    let missing = missing(state);
    let fitting: Vec<&RoleName> = missing.iter().map(|(role, _)| role).filter(|role| roles.contains(role)).collect();
    if let [_, _, ..] = fitting[..] {
        let names: Vec<&str> = fitting.iter().map(|role| role.as_str()).collect();
        return Err(format!("{by} could approve it as {}: say as which, with --as", names.join(" or ")));
    }
    let Some(role) = fitting.first() else {
        let wanted: Vec<&str> = missing.iter().map(|(role, _)| role.as_str()).collect();
        let wanted = if wanted.is_empty() { "no approval is missing".to_owned() } else { format!("it waits for {}", wanted.join(", ")) };
        return Err(format!("{by} is not one of those who are asked: {wanted}"));
    };
    state.approvals.push(Approval { by: by.to_owned(), role: (*role).clone(), at: now });
    Ok(())
}

fn pause(state: &mut State, within: Millis, by: &str, reason: &str, now: Timestamp) -> Result<(), Unfit> {
    if let Some(Hold { cause: HoldCause::Losses { failure }, .. }) = &state.hold {
        return Err(format!("it is on hold already: {}", failure.summary));
    }
    if let Some(Hold { cause: HoldCause::Unknown { what }, .. }) = &state.hold {
        return Err(format!("it is on hold already: {what}"));
    }
    let cause = HoldCause::Paused { by: by.to_owned(), reason: reason.to_owned() };
    state.hold = Some(Hold { cause, since: now, within });
    Ok(())
}

fn again(state: &mut State, now: Timestamp) -> Result<(), Unfit> {
    match &state.hold {
        None => Err("it is not paused".to_owned()),
        Some(Hold { cause: HoldCause::Losses { failure }, .. }) => {
            Err(format!("{}; retry, ignore or exclude hosts until no more are lost than may be, or abort it", failure.summary))
        }
        Some(Hold { cause: HoldCause::Paused { .. } | HoldCause::Unknown { .. }, .. }) => {
            resume(state, now);
            Ok(())
        }
    }
}

fn promote(state: &mut State, all: bool, now: Timestamp) -> Result<(), Unfit> {
    if state.hold.is_some() {
        return Err("it is paused: resume it first".to_owned());
    }
    match state.phase {
        Phase::Baking { batch, .. } | Phase::Baked { batch, .. } => bake_ends(state, batch, now),
        Phase::Moving { batch, .. } if all && (batch..state.plan.batches.saturating_sub(1)).any(|batch| waits(state, batch)) => {}
        Phase::Moving { batch, .. } => {
            return Err(format!("batch {} of {} moves still, and has not begun to bake", batch + 1, state.plan.batches));
        }
        Phase::Switching { .. } => return Err("the traffic is being switched, and the bake has not begun".to_owned()),
        _ => return Err("no batch has moved yet".to_owned()),
    }
    state.skips_bakes |= all;
    Ok(())
}

/// Whether something is waited for after a batch.
fn waits(state: &State, batch: u32) -> bool {
    let bake = bake_of(state, batch);
    bake.time > Millis(0) || bake.promotion == Promotion::Manual
}

fn retry(state: &mut State, id: &HostId, now: Timestamp) -> Result<Result<(), Unfit>, Rejected> {
    let release = state.plan.release.id.clone();
    let confirms = matches!(state.phase, Phase::Confirming { .. });
    let has_switched =
        traffic::switches(state) && matches!(state.phase, Phase::Switching { .. } | Phase::Baking { .. } | Phase::Baked { .. });
    let host = host_mut(state, id)?;
    if !host.stage.is_lost() {
        return Ok(Err(format!("the host is {}, not lost", host.stage.word())));
    }
    if host.attempt >= limits::ATTEMPTS_MAX {
        return Ok(Err(format!("the host was tried {} times: deploy the release again", limits::ATTEMPTS_MAX)));
    }
    if has_switched {
        return Ok(Err("the others have the traffic already; the host comes level when the rollout has ended".to_owned()));
    }
    let stage = match (confirms, host.current.as_ref() == Some(&release)) {
        (false, _) => Stage::Preparing,
        (true, true) => Stage::Confirming,
        (true, false) => {
            return Ok(Err("the others let their old instances go already; the host comes level when the rollout has ended".to_owned()));
        }
    };
    host.was_stuck |= host.stage == Stage::Stuck;
    if host.stage == Stage::Failed {
        // It serves what it served, and is asked for that.
        host.traffic = HostTraffic::default();
    }
    enter(host, stage, now);
    host.attempt += 1;
    host.failure = None;
    host.standing = Standing::Counts;
    host.times.clear();
    if let Some(hold) = state.hold.as_mut().filter(|hold| matches!(hold.cause, HoldCause::Losses { .. })) {
        // Somebody decided: the others wait until it has shown that it works now.
        hold.since = now;
    }
    if let Phase::Moving { batch, .. } | Phase::Baking { batch, .. } | Phase::Baked { batch, .. } = state.phase {
        // It has all the time to move; a bake begins again when it has.
        state.phase = Phase::Moving { batch, since: now };
    }
    Ok(Ok(()))
}

fn ignore(state: &mut State, id: &HostId) -> Result<Result<(), Unfit>, Rejected> {
    let host = host_mut(state, id)?;
    if !host.counts_as_lost() {
        return Ok(Err(format!("the host is {} and does not count against the failure budget", host.stage.word())));
    }
    host.standing = Standing::Ignored;
    let (out, may) = (state.out(), state.plan.max_unavailable);
    let waits = state.hosts.values().any(|host| matches!(host.stage, Stage::Preparing | Stage::Prepared));
    if waits && out >= may {
        let host = host_mut(state, id)?;
        host.standing = Standing::Counts;
        return Ok(Err(format!("it would still be out, and {out} of the {may} hosts that may be are: exclude it instead")));
    }
    Ok(Ok(()))
}

fn exclude(state: &mut State, id: &HostId, now: Timestamp) -> Result<Result<(), Unfit>, Rejected> {
    let State { plan, hosts, .. } = state;
    let host = hosts.get_mut(id).ok_or_else(|| Rejected::UnknownHost(id.clone(), plan.rollout))?;
    if host.stage == Stage::Migrating {
        return Ok(Err("the host runs the migrations, which are not cut off".to_owned()));
    }
    if host.standing == Standing::Excluded {
        return Ok(Err("the host is excluded already".to_owned()));
    }
    let stage = way_out(plan, id, host);
    if stage != host.stage {
        enter(host, stage, now);
    }
    host.standing = Standing::Excluded;
    Ok(Ok(()))
}
