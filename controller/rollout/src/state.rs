//! Where a rollout stands: its phase, and every host's stage.

use roadstead_model::{Failure, HostId, Millis, ReleaseId, Safeguard, StepName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::Plan;
use crate::analysis::Looks;
use crate::gates::{Approval, Closed};
use crate::hold::Hold;
use crate::restore::Recovery;
use crate::traffic::{HostTraffic, TrafficState};

/// A rollout: its plan and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What was planned.
    pub plan: Plan,
    /// The part of the rollout that runs.
    pub phase: Phase,
    /// Every host of the plan.
    pub hosts: BTreeMap<HostId, Host>,
    /// Why it goes back, will go back when the migration that runs has ended, or has failed.
    pub failure: Option<Failure>,
    /// Whether the release is marked bad where it went back.
    pub condemn: bool,
    /// Whether it moves no more hosts, because another rollout is waited for.
    #[serde(default)]
    pub gives_way: bool,
    /// Who asked for it.
    #[serde(default)]
    pub requested_by: String,
    /// Who approved it.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// What keeps the contents of the database that it migrates, once the host that does so has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safeguard: Option<Safeguard>,
    /// How far a restore has come.
    #[serde(default, skip_serializing_if = "Recovery::is_nothing")]
    pub recovery: Recovery,
    /// Why nothing further begins until an operator says so.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// What balancers are to do, and say.
    #[serde(default)]
    pub traffic: TrafficState,
    /// Whether an operator wants all batches without bakes between them.
    #[serde(default)]
    pub skips_bakes: bool,
    /// What was seen of the batch that bakes.
    #[serde(default)]
    pub looks: Looks,
    /// When it began.
    pub started_at: Timestamp,
    /// When it changed last.
    #[serde(default)]
    pub changed_at: Timestamp,
    /// Counted up with every change.
    pub revision: u64,
}

/// The part of a rollout that runs. Every one but the last has a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// It waits at its gates; no host knows of it.
    Gated {
        /// Since when.
        since: Timestamp,
        /// Gates beside its approvals that are closed; nothing while nobody has looked.
        closed: Option<Vec<Closed>>,
    },
    /// All hosts prepare at once; nothing has changed for users.
    Preparing {
        /// When it began.
        since: Timestamp,
    },
    /// One host runs the migrations. It is never replaced by another.
    Migrating {
        /// Which.
        host: HostId,
        /// When it began.
        since: Timestamp,
    },
    /// A batch moves.
    Moving {
        /// Which, from 0.
        batch: u32,
        /// When it began.
        since: Timestamp,
    },
    /// The set of hosts that has moved gets all of the traffic.
    Switching {
        /// When it began.
        since: Timestamp,
    },
    /// A batch has moved, perhaps the last one; old instances are warm.
    Baking {
        /// Which batch.
        #[serde(default)]
        batch: u32,
        /// When it began.
        since: Timestamp,
    },
    /// A batch has baked, and an operator is to promote it.
    Baked {
        /// Which batch.
        batch: u32,
        /// Since when.
        since: Timestamp,
    },
    /// Hosts let their old instances go.
    Confirming {
        /// When it began.
        since: Timestamp,
    },
    /// One host makes a backup, or looks at one.
    Tending {
        /// When it began.
        since: Timestamp,
    },
    /// The host that has the backup looks what a restore of it would lose.
    Surveying {
        /// When it began.
        since: Timestamp,
    },
    /// It is known what would be lost; who asked for it is to accept that, and others to approve it.
    Deciding {
        /// Since when.
        since: Timestamp,
    },
    /// Everything of the app stops, on all hosts.
    Halting {
        /// When it began.
        since: Timestamp,
    },
    /// One host restores the backup beside the database.
    Restoring {
        /// When it began.
        since: Timestamp,
    },
    /// What was restored takes the place of the database. From here on there is no way back but by hand.
    Exchanging {
        /// When it began.
        since: Timestamp,
    },
    /// The release that belongs to the restored database is started on all hosts.
    Starting {
        /// When it began.
        since: Timestamp,
    },
    /// Hosts that moved go back, the others clear up.
    Reverting {
        /// When it began.
        since: Timestamp,
    },
    /// Over.
    Ended {
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The release serves; hosts outside of it are within the budget and come level later.
    Done,
    /// Every host that had moved serves what it served before.
    RolledBack,
    /// It ended otherwise; every host's state is known or named as unknown.
    Failed,
}

/// One host's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since: Timestamp,
    /// Since when it is away; `None` while its session is open.
    pub away_since: Option<Timestamp>,
    /// The release that it said it serves.
    pub current: Option<ReleaseId>,
    /// The step that runs, with progress (done, total).
    pub step: Option<(StepName, u64, u64)>,
    /// What that step waits for, in words.
    #[serde(default)]
    pub step_note: String,
    /// How long each finished step took, with its note.
    pub times: Vec<(StepName, Millis, String)>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How often it was tried again.
    #[serde(default)]
    pub attempt: u32,
    /// It was stuck when it was tried again, may serve nothing, and has not moved since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_stuck: bool,
    /// Whether an operator has set it aside.
    #[serde(default)]
    pub standing: Standing,
    /// What it has to do with the traffic.
    #[serde(default)]
    pub traffic: HostTraffic,
}

/// What a host means to its rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is one of the hosts that are to serve the release.
    #[default]
    Counts,
    /// It is lost, and does not count against the failure budget.
    Ignored,
    /// It has left the rollout, goes on serving what it served, and does not come level with this release by itself.
    Excluded,
}

impl Host {
    /// What runs on it now, and what that waits for.
    pub(crate) fn at_step(&mut self, step: Option<(StepName, u64, u64)>, note: String) {
        (self.step, self.step_note) = (step, note);
    }

    /// Whether it counts against the failure budget.
    #[must_use]
    pub fn counts_as_lost(&self) -> bool {
        self.stage.is_lost() && self.standing == Standing::Counts
    }
}

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Told nothing yet.
    Waiting,
    /// Told to prepare.
    Preparing,
    /// Prepared; serves the old release.
    Prepared,
    /// Told to migrate.
    Migrating,
    /// It moves when it is drained: balancers are to give it no new requests, and those in flight end.
    Draining,
    /// Told to cut over (or, in a rollback, to go back).
    Moving,
    /// The release serves there, and balancers are to give it its traffic again.
    Returning,
    /// The release serves and is healthy; the old instance is warm.
    Healthy,
    /// Told to let the old instance go.
    Confirming,
    /// The release serves for good.
    Confirmed,
    /// Told to make a backup, or to look at one.
    Tending,
    /// Told to look what a restore would lose.
    Surveying,
    /// Told to stop everything of the app.
    Halting,
    /// Nothing of the app runs.
    Halted,
    /// Told to restore the backup; nothing of the app runs.
    Restoring,
    /// Told to put what it restored in the place of the database; nothing of the app runs.
    Exchanging,
    /// It failed and serves what it served before.
    Failed,
    /// It was away for too long; it comes level when it returns.
    Left,
    /// Told to go back.
    Reverting,
    /// It serves what it served before.
    Reverted,
    /// Told to clear up what it prepared.
    Abandoning,
    /// Cleared up; it never moved.
    Abandoned,
    /// Neither forward nor back worked: a person must look.
    Stuck,
}

impl Stage {
    /// Whether nothing more is asked of the host in this rollout.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Left | Self::Reverted | Self::Abandoned | Self::Stuck)
    }

    /// Whether the host counts against the failure budget.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Failed | Self::Left | Self::Stuck)
    }

    /// Whether it was told to stop everything, and not yet to start anything.
    #[must_use]
    pub const fn is_halting(self) -> bool {
        matches!(self, Self::Halting | Self::Halted | Self::Restoring | Self::Exchanging)
    }

    /// Whether the release may serve there.
    #[must_use]
    pub const fn may_serve(self) -> bool {
        matches!(self, Self::Moving | Self::Returning | Self::Healthy | Self::Confirming | Self::Confirmed)
    }
}

/// How a host can be reached when a rollout begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It has no session.
    Away,
    /// It has one, and still carries out an earlier order for the app, or may go back by itself from what it serves, which nobody confirmed.
    Busy,
    /// It has one, and serves what it said.
    AtRest,
}

impl State {
    /// A rollout at its beginning, and how its hosts can be reached then. One with gates waits at them; one without begins at once.
    #[must_use]
    pub fn new(plan: Plan, now: Timestamp, contact: impl Fn(&HostId) -> Contact) -> Self {
        let gated = plan.waits();
        Self::begin(plan, now, contact, gated)
    }

    /// As [`State::new`]; it waits at least until somebody has looked at its gates, whether its plan has any or not.
    #[must_use]
    pub fn gated(plan: Plan, now: Timestamp, contact: impl Fn(&HostId) -> Contact) -> Self {
        Self::begin(plan, now, contact, true)
    }

    fn begin(plan: Plan, now: Timestamp, contact: impl Fn(&HostId) -> Contact, gated: bool) -> Self {
        let rollback = plan.kind == crate::RolloutKind::Rollback;
        let tends = plan.kind == crate::RolloutKind::Tend;
        // A restore waits for people when it is known what it would lose.
        let gated = gated && !tends && plan.kind != crate::RolloutKind::Restore;
        let target = plan.release.clone();
        let stage = |id: &HostId, planned: &crate::PlannedHost| match rollback {
            // What a host that is away or busy was heard to serve may not be what it serves.
            true if planned.current.as_ref() == Some(&target) && contact(id) == Contact::AtRest => Stage::Confirmed,
            true => Stage::Prepared,
            false if tends => Stage::Tending,
            false if gated => Stage::Waiting,
            false => Stage::Preparing,
        };
        let host = |id: &HostId, planned: &crate::PlannedHost| Host {
            stage: stage(id, planned),
            since: now,
            away_since: (contact(id) == Contact::Away).then_some(now),
            current: planned.current.as_ref().map(|r| r.id.clone()),
            step: None,
            step_note: String::new(),
            times: Vec::new(),
            failure: None,
            attempt: 0,
            was_stuck: false,
            standing: Standing::Counts,
            traffic: HostTraffic::default(),
        };
        let hosts = plan.hosts.iter().map(|(id, planned)| (id.clone(), host(id, planned))).collect();
        let phase = match (rollback, gated) {
            _ if tends => Phase::Tending { since: now },
            (true, _) => Phase::Moving { batch: 0, since: now },
            (false, true) => Phase::Gated { since: now, closed: None },
            (false, false) => Phase::Preparing { since: now },
        };
        // A release that the environment already runs is condemned neither by bringing hosts level with it nor for another configuration.
        let runs = plan.previous.as_ref().is_some_and(|previous| previous.manifest == plan.release.manifest);
        let condemn = plan.kind == crate::RolloutKind::Rollout && !runs;
        let mut state = Self {
            plan,
            phase,
            hosts,
            failure: None,
            condemn,
            gives_way: false,
            requested_by: String::new(),
            approvals: Vec::new(),
            safeguard: None,
            recovery: Recovery::default(),
            hold: None,
            traffic: TrafficState::default(),
            skips_bakes: false,
            looks: Looks::default(),
            started_at: now,
            changed_at: now,
            revision: 0,
        };
        crate::settle::settle(&mut state, now, &mut Vec::new());
        state
    }

    /// Nobody decided from the last change until now: that time counts against nobody, however long it was and whatever the clock did
    /// meanwhile. What is awaited is awaited for as long as it still had to be then.
    pub(crate) fn slept_until(&mut self, now: Timestamp) {
        let fell_asleep = self.changed_at;
        let shift = |at: &mut Timestamp| *at = Timestamp(now.0.saturating_sub(fell_asleep.since(*at).0));
        match &mut self.phase {
            Phase::Gated { since, .. }
            | Phase::Preparing { since }
            | Phase::Migrating { since, .. }
            | Phase::Moving { since, .. }
            | Phase::Switching { since }
            | Phase::Baking { since, .. }
            | Phase::Baked { since, .. }
            | Phase::Confirming { since }
            | Phase::Tending { since }
            | Phase::Surveying { since }
            | Phase::Deciding { since }
            | Phase::Halting { since }
            | Phase::Restoring { since }
            | Phase::Exchanging { since }
            | Phase::Starting { since }
            | Phase::Reverting { since } => shift(since),
            Phase::Ended { .. } => {}
        }
        if let Some(hold) = &mut self.hold {
            shift(&mut hold.since);
        }
        for host in self.hosts.values_mut() {
            shift(&mut host.since);
            host.away_since.iter_mut().for_each(shift);
            host.traffic.out_since.iter_mut().chain(&mut host.traffic.lacking_since).for_each(shift);
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// Hosts that are out now: draining, moving, returning, stuck, or of unknown state because they are away. Those that an operator has excluded are not the
    /// rollout's any more.
    #[must_use]
    pub fn out(&self) -> usize {
        let out = |host: &&Host| match host.stage {
            _ if host.standing == Standing::Excluded => false,
            Stage::Draining | Stage::Moving | Stage::Returning | Stage::Left | Stage::Stuck => true,
            // It is out until it moves, whatever is prepared there.
            Stage::Preparing | Stage::Prepared | Stage::Failed if host.was_stuck => true,
            _ => host.away_since.is_some(),
        };
        self.hosts.values().filter(out).count()
    }

    /// Hosts that count against the failure budget.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.hosts.values().filter(|host| host.counts_as_lost()).count()
    }
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Gated { .. } => "gated",
            Self::Preparing { .. } => "preparing",
            Self::Migrating { .. } => "migrating",
            Self::Moving { .. } => "moving",
            Self::Switching { .. } => "switching",
            Self::Baking { .. } => "baking",
            Self::Baked { .. } => "baked",
            Self::Confirming { .. } => "confirming",
            Self::Tending { .. } => "tending",
            Self::Surveying { .. } => "surveying",
            Self::Deciding { .. } => "deciding",
            Self::Halting { .. } => "halting",
            Self::Restoring { .. } => "restoring",
            Self::Exchanging { .. } => "exchanging",
            Self::Starting { .. } => "starting",
            Self::Reverting { .. } => "reverting",
            Self::Ended { outcome: Outcome::Done, .. } => "done",
            Self::Ended { outcome: Outcome::RolledBack, .. } => "rolled-back",
            Self::Ended { outcome: Outcome::Failed, .. } => "failed",
        }
    }
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Migrating => "migrating",
            Self::Draining => "draining",
            Self::Moving => "moving",
            Self::Returning => "returning",
            Self::Healthy => "healthy",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Tending => "tending",
            Self::Surveying => "surveying",
            Self::Halting => "halting",
            Self::Halted => "halted",
            Self::Restoring => "restoring",
            Self::Exchanging => "exchanging",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::Abandoning => "abandoning",
            Self::Abandoned => "abandoned",
            Self::Stuck => "stuck",
        }
    }
}
