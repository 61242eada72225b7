//! What every host should have been told by now, as a function of the state.
//!
//! A host's orders are numbered by its attempt and their verb, so that the same order always has the same key: sending it again is harmless.

use roadstead_model::{Fence, HostId, Order, OrderKey, OrderKind, ReleaseRef, RolloutId, Values};
use std::collections::BTreeMap;

use crate::{Plan, RolloutKind, Stage, Standing, State};

/// The place of each verb among a host's orders. A later verb supersedes an earlier one that still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Verb {
    /// See [`OrderKind::Prepare`].
    Prepare = 1,
    /// See [`OrderKind::Migrate`].
    Migrate = 2,
    /// See [`OrderKind::Activate`].
    Activate = 3,
    /// See [`OrderKind::Confirm`].
    Confirm = 4,
    /// See [`OrderKind::Revert`].
    Revert = 5,
    /// See [`OrderKind::Abandon`].
    Abandon = 6,
    /// See [`OrderKind::Backup`] and [`OrderKind::Recheck`].
    Tend = 0,
    /// See [`OrderKind::Survey`].
    Survey = 7,
    /// See [`OrderKind::Halt`].
    Halt = 8,
    /// See [`OrderKind::Restore`].
    Restore = 9,
    /// See [`OrderKind::Exchange`].
    Exchange = 10,
    /// The release that belongs to the restored database serves: an [`OrderKind::Revert`] to it.
    Start = 11,
}

impl Verb {
    /// The verb of an order of this rollout, by its key.
    #[must_use]
    pub const fn of(key: OrderKey) -> Option<Self> {
        if let Some(place) = key.sequence.checked_sub(OF_RESTORE) {
            return match place {
                0 => Some(Self::Tend),
                1 => Some(Self::Prepare),
                2 => Some(Self::Survey),
                3 => Some(Self::Halt),
                4 => Some(Self::Restore),
                5 => Some(Self::Exchange),
                6 => Some(Self::Start),
                7 => Some(Self::Revert),
                8 => Some(Self::Abandon),
                _ => None,
            };
        }
        match key.sequence % PER_ATTEMPT {
            1 => Some(Self::Prepare),
            2 => Some(Self::Migrate),
            3 => Some(Self::Activate),
            4 => Some(Self::Confirm),
            5 => Some(Self::Revert),
            6 => Some(Self::Abandon),
            _ => None,
        }
    }
}

/// Numbers of each attempt of a host: one that is tried again gets new orders, which are newer than those before.
const PER_ATTEMPT: u32 = 8;

const PER_RESTORE: u32 = 9;
/// Orders of a restore, and of what only tends the database, are numbered from here on, in the order of phases. Their hosts are not tried
/// again.
pub(crate) const OF_RESTORE: u32 = 1 << 20;

/// The attempt that an order is of, from 0.
pub(crate) const fn attempt_of(key: OrderKey) -> u32 {
    if key.sequence >= OF_RESTORE { 0 } else { key.sequence / PER_ATTEMPT }
}

/// The number of an order.
fn sequence_of(kind: RolloutKind, verb: Verb, attempt: u32) -> u32 {
    if !matches!(kind, RolloutKind::Restore | RolloutKind::Tend) {
        return attempt.saturating_mul(PER_ATTEMPT).saturating_add(verb as u32);
    }
    let key = |place| OrderKey { rollout: RolloutId(0), sequence: OF_RESTORE + place };
    // Every verb of a restore has a place: that is what `Verb::of` says.
    (0..PER_RESTORE).map(key).find(|key| Verb::of(*key) == Some(verb)).map_or(OF_RESTORE, |key| key.sequence)
}

/// The outstanding order of each host that has one, for a controller of this term.
#[must_use]
pub fn orders(state: &State, term: u64) -> BTreeMap<HostId, Order> {
    state.hosts.iter().filter_map(|(id, host)| Some((id.clone(), order(state, term, id, host)?))).collect()
}

fn order(state: &State, term: u64, id: &HostId, host: &crate::Host) -> Option<Order> {
    let plan = &state.plan;
    let planned = plan.hosts.get(id)?;
    let release = plan.release.clone();
    let timeouts = plan.timeouts;
    // Whoever is taken out says nothing about the release: it comes along the next time.
    let condemn = state.condemn && host.standing != Standing::Excluded;
    let (verb, kind, deadline) = match host.stage {
        Stage::Preparing => {
            let singletons = planned.singletons.clone();
            let Values { variables, secrets, files } = plan.values_of(planned);
            let kind = OrderKind::Prepare { release, variables, secrets, files, singletons, keep: plan.keep, publish: true };
            (Verb::Prepare, kind, timeouts.prepare)
        }
        Stage::Migrating => (
            Verb::Migrate,
            OrderKind::Migrate {
                release,
                backup: plan.backup,
                idle: plan.traffic.as_ref().is_some_and(|traffic| traffic.switch.is_some()),
            },
            timeouts.migrate,
        ),
        Stage::Tending => crate::tending::order(plan)?,
        Stage::Surveying | Stage::Halting | Stage::Restoring | Stage::Exchanging => crate::restore::order(plan, host.stage)?,
        Stage::Moving if plan.kind == RolloutKind::Restore => {
            let from = planned.current.clone().unwrap_or_else(|| release.clone());
            (Verb::Start, OrderKind::Revert { from, to: Some(release), condemn: false, everywhere: true }, timeouts.activate)
        }
        Stage::Moving if plan.kind == RolloutKind::Rollback => {
            let from = planned.current.clone()?;
            (Verb::Revert, OrderKind::Revert { from, to: Some(release), condemn: false, everywhere: true }, timeouts.activate)
        }
        Stage::Moving => {
            let expected = planned.current.as_ref().map(|r| r.id.clone());
            (Verb::Activate, OrderKind::Activate { release, expected, confirm_within: timeouts.confirm }, timeouts.activate)
        }
        Stage::Confirming => (Verb::Confirm, OrderKind::Confirm { release }, timeouts.activate),
        Stage::Reverting if crate::traffic::leaves(host) => return None,
        Stage::Reverting => {
            let to = way_back(plan, id);
            (Verb::Revert, OrderKind::Revert { from: release, to, condemn, everywhere: false }, timeouts.activate)
        }
        Stage::Abandoning => (Verb::Abandon, OrderKind::Abandon { release, condemn }, timeouts.activate),
        Stage::Waiting
        | Stage::Prepared
        | Stage::Halted
        | Stage::Draining
        | Stage::Returning
        | Stage::Healthy
        | Stage::Confirmed
        | Stage::Failed
        | Stage::Left
        | Stage::Reverted
        | Stage::Abandoned
        | Stage::Stuck => return None,
    };
    let sequence = sequence_of(plan.kind, verb, host.attempt);
    let fence = Fence { term, rollout: plan.rollout, sequence };
    Some(Order { fence, environment: plan.environment.clone(), app: plan.app.clone(), kind, deadline })
}

/// What a host goes back to: what it served when the plan was made.
fn way_back(plan: &Plan, id: &HostId) -> Option<ReleaseRef> {
    plan.hosts.get(id).and_then(|planned| planned.current.clone())
}
