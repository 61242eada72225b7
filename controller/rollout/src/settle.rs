//! The phases: each moves on as far as the stages of its hosts allow, so that the order in which hosts report does not matter.

use roadstead_model::{Failure, FailureKind, HostId, OnFailure, Promotion, Timestamp, Weight};

use crate::analysis;
use crate::decide::{enter, host_stage, lose};
use crate::ending::{end, go_back, way_out};
use crate::gates::settle_gated;
use crate::hold::{self, Hold, HoldCause};
use crate::plan::Bake;
use crate::{Host, Note, Outcome, Phase, Rejected, RolloutKind, Stage, State, restore, tending, traffic};

/// Moves the phases on as far as they go. Each round changes the phase or ends the loop.
pub(crate) fn settle(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    loop {
        give_up_on_the_late(state, now, notes);
        hold::look(state, now, notes);
        traffic::settle(state, now, notes);
        let before = state.phase.clone();
        match before {
            Phase::Gated { since, .. } => settle_gated(state, since, now, notes),
            Phase::Preparing { .. } => settle_preparing(state, now, notes),
            Phase::Migrating { since, .. } => settle_migrating(state, since, now, notes),
            Phase::Moving { batch, since } => settle_moving(state, batch, since, now, notes),
            Phase::Switching { since } => settle_switching(state, since, now, notes),
            Phase::Baking { batch, since } => settle_baking(state, batch, since, now, notes),
            Phase::Baked { batch, since } => settle_baked(state, batch, since, now, notes),
            Phase::Confirming { .. } => settle_confirming(state, now, notes),
            Phase::Tending { since } => tending::settle(state, since, now, notes),
            Phase::Surveying { since }
            | Phase::Deciding { since }
            | Phase::Halting { since }
            | Phase::Restoring { since }
            | Phase::Exchanging { since }
            | Phase::Starting { since } => restore::settle(state, since, now, notes),
            Phase::Reverting { .. } => settle_reverting(state, now, notes),
            Phase::Ended { .. } => {}
        }
        if state.phase == before {
            return;
        }
    }
}

/// Hosts whose deadline has passed leave the rollout.
fn give_up_on_the_late(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let timeouts = state.plan.timeouts;
    let ids: Vec<HostId> = state.hosts.keys().cloned().collect();
    for id in ids {
        let Some(host) = state.hosts.get(&id) else { continue };
        let Some(deadline) = crate::waiting::host_deadline(host, &timeouts) else { continue };
        if now < deadline.until {
            continue;
        }
        let failure = Failure::new(FailureKind::Deadline, deadline.what, "it comes level when it returns; see `roadstead host show`");
        // Deadlines are read from the state, so the host is known.
        let _ignored: Result<(), Rejected> = lose(state, &id, Stage::Left, failure, now, notes);
    }
}

/// Whether nothing further may begin: an operator is asked, or too many hosts are lost.
fn stands_still(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) -> bool {
    let lost = state.lost();
    if lost <= state.plan.failure_budget {
        return state.hold.is_some();
    }
    let cause = state.hosts.values().filter(|host| host.counts_as_lost()).find_map(|host| host.failure.clone());
    let (all, budget) = (state.hosts.len(), state.plan.failure_budget);
    let mut failure = cause.unwrap_or_else(|| Failure::new(FailureKind::Host, "hosts were lost", "see `roadstead rollout show`"));
    failure.summary = format!("{lost} of {all} hosts lost, {budget} may be: {}", failure.summary);
    if state.plan.on_failure == OnFailure::Ask && !state.gives_way {
        hold::ask(state, failure, now, notes);
    } else {
        go_back(state, failure, now, notes);
    }
    true
}

fn settle_preparing(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.gives_way {
        state.condemn = false;
        let failure = Failure::new(FailureKind::Cancelled, "it gave way to another", "hosts that are still behind come level after that");
        return go_back(state, failure, now, notes);
    }
    if stands_still(state, now, notes) || state.hosts.values().any(|h| h.stage == Stage::Preparing) {
        return;
    }
    if state.plan.kind == RolloutKind::Restore {
        return restore::prepared(state, now, notes);
    }
    let first = state.plan.hosts.iter().filter(|(id, _)| host_stage(state, id) == Some(Stage::Prepared));
    let first = first.min_by_key(|(_, planned)| (planned.batch, planned.name.clone())).map(|(id, _)| id.clone());
    let Some(first) = first else {
        let failure = Failure::new(FailureKind::Host, "no host is prepared", "see `roadstead rollout show`");
        return go_back(state, failure, now, notes);
    };
    if !state.plan.migrate {
        state.phase = Phase::Moving { batch: 0, since: now };
        return;
    }
    if let Some(host) = state.hosts.get_mut(&first) {
        enter(host, Stage::Migrating, now);
    }
    let name = state.plan.hosts.get(&first).map(|p| p.name.to_string()).unwrap_or_default();
    notes.push(Note { host: Some(first.clone()), kind: "migrating", text: format!("{name} runs the migrations") });
    state.phase = Phase::Migrating { host: first, since: now };
}

/// The migration's host is never replaced: when it cannot say how the migration ended, the rollout ends and says so.
fn settle_migrating(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let Phase::Migrating { host, .. } = state.phase.clone() else { return };
    let runs = host_stage(state, &host) == Some(Stage::Migrating);
    if runs && now < since.plus(state.plan.timeouts.migrate).plus(state.plan.timeouts.away) {
        return;
    }
    let name = state.plan.hosts.get(&host).map(|p| p.name.to_string()).unwrap_or_default();
    let failure = Failure::new(
        FailureKind::Deadline,
        format!("the migration on {name} has no known outcome"),
        format!("look at the database and at {name} before you start another rollout"),
    );
    if runs {
        let _ignored: Result<(), Rejected> = lose(state, &host, Stage::Left, failure.clone(), now, notes);
    }
    state.condemn = false;
    go_back(state, failure, now, notes);
}

fn settle_moving(state: &mut State, batch: u32, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let rollback = state.plan.kind == RolloutKind::Rollback;
    if !rollback && stands_still(state, now, notes) {
        if matches!(&state.hold, Some(Hold { cause: HoldCause::Losses { .. }, .. })) {
            start_moves(state, batch, now, |host| host.attempt > 0);
        }
        return;
    }
    if state.gives_way {
        move_no_more(state, now);
    }
    start_moves(state, batch, now, |_| true);
    // One of an earlier batch is among them when it was tried again.
    let has_turn = |id: &HostId| state.plan.hosts.get(id).is_some_and(|planned| planned.batch <= batch);
    let unfinished =
        |host: &Host| matches!(host.stage, Stage::Preparing | Stage::Prepared | Stage::Draining | Stage::Moving | Stage::Returning);
    if state.hosts.iter().any(|(id, host)| has_turn(id) && unfinished(host)) {
        let moves = |host: &Host| matches!(host.stage, Stage::Preparing | Stage::Draining | Stage::Moving | Stage::Returning);
        let nothing_moves = !state.hosts.values().any(moves);
        if nothing_moves && now >= since.plus(state.plan.timeouts.away).plus(state.plan.timeouts.activate) {
            let failure = Failure::new(
                FailureKind::Unfit,
                format!("{} hosts are out and {} may be: batch {} cannot move", state.out(), state.plan.max_unavailable, batch + 1),
                "bring the missing hosts back, or raise max_unavailable",
            );
            go_back(state, failure, now, notes);
        }
        return;
    }
    if rollback {
        rolled_back(state, now, notes);
    } else if traffic::switches(state) && batch + 1 >= state.plan.batches {
        traffic::begin_to_switch(state, now);
    } else {
        state.phase = Phase::Baking { batch, since: now };
    }
}

/// All balancers give the traffic to the set that has moved, or it goes back.
fn settle_switching(state: &mut State, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    match traffic::lacks_switch(state) {
        Some(failure) if now >= since.plus(state.plan.timeouts.away) => go_back(state, failure, now, notes),
        Some(_) => {}
        None => {
            notes.push(Note { host: None, kind: "switched", text: "the traffic is switched".to_owned() });
            match state.plan.kind {
                RolloutKind::Rollback => end(state, Outcome::Done, now, notes),
                RolloutKind::Rollout | RolloutKind::Level | RolloutKind::Restore | RolloutKind::Tend => {
                    state.phase = Phase::Baking { batch: state.plan.batches.saturating_sub(1), since: now };
                }
            }
        }
    }
}

/// Every host of a rollback has said what it serves, or is given up.
fn rolled_back(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    let back = state.hosts.values().any(|host| host.stage == Stage::Confirmed);
    let good = back && state.lost() <= state.plan.failure_budget;
    if !good {
        let cause = state.hosts.values().find_map(|host| host.failure.clone());
        state.failure = cause.or_else(|| Some(Failure::new(FailureKind::Host, "not every host went back", "see `roadstead host list`")));
    }
    if good && traffic::switches(state) {
        return traffic::begin_to_switch(state, now);
    }
    end(state, if good { Outcome::Done } else { Outcome::Failed }, now, notes);
}

/// Nothing else begins. What has moved is not taken back: users may be served by it.
fn move_no_more(state: &mut State, now: Timestamp) {
    for (id, host) in state.hosts.iter_mut().filter(|(_, host)| matches!(host.stage, Stage::Prepared | Stage::Draining)) {
        enter(host, way_out(&state.plan, id, host), now);
    }
}

/// Tells as many hosts of the batch to move as may be out.
fn start_moves(state: &mut State, batch: u32, now: Timestamp, may: impl Fn(&Host) -> bool) {
    let rollback = state.plan.kind == RolloutKind::Rollback;
    let room = if rollback { usize::MAX } else { state.plan.max_unavailable.saturating_sub(state.out()) };
    let waits = |(id, host): &(&HostId, &Host)| {
        let has_turn = state.plan.hosts.get(*id).is_some_and(|planned| planned.batch <= batch);
        has_turn && host.stage == Stage::Prepared && may(host) && (rollback || host.away_since.is_none())
    };
    // What is out already takes no room from the others.
    let (out, serve): (Vec<_>, Vec<_>) = state.hosts.iter().filter(waits).partition(|(_, host)| host.was_stuck);
    let next: Vec<HostId> = out.into_iter().chain(serve.into_iter().take(room)).map(|(id, _)| id.clone()).collect();
    traffic::begin_to_move(state, &next, now);
}

fn settle_baking(state: &mut State, batch: u32, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    let bake = bake_of(state, batch);
    analysis::settle(state, batch, now, notes);
    let bakes = matches!(state.phase, Phase::Baking { .. });
    if !bakes || stands_still(state, now, notes) || (now < since.plus(bake.time) && !state.gives_way) {
        return;
    }
    if analysis::bakes_on(state, batch, now, notes) {
        return;
    }
    match bake.promotion {
        Promotion::Manual if !state.gives_way => state.phase = Phase::Baked { batch, since: now },
        _ => bake_ends(state, batch, now),
    }
}

fn settle_baked(state: &mut State, batch: u32, since: Timestamp, now: Timestamp, notes: &mut Vec<Note>) {
    if stands_still(state, now, notes) {
        return;
    }
    let decide = state.plan.timeouts.decide;
    if state.gives_way {
        bake_ends(state, batch, now);
    } else if now >= since.plus(decide) {
        state.condemn = false;
        let summary = format!("nobody promoted batch {} of {} within {decide}", batch + 1, state.plan.batches);
        go_back(state, Failure::new(FailureKind::Deadline, summary, "deploy it again, and promote it"), now, notes);
    }
}

/// How a batch of this rollout bakes, if its operator did not want the rest of it at once. The last bake stays: until it ends, the way
/// back is a rename.
pub(crate) fn bake_of(state: &State, batch: u32) -> Bake {
    if state.skips_bakes && batch + 1 < state.plan.batches { Bake::default() } else { state.plan.bake_after(batch) }
}

/// How much of all traffic the hosts of the step that moves or bakes are to get.
pub(crate) fn traffic_of_step(state: &State) -> Option<Weight> {
    match state.phase {
        Phase::Moving { batch, .. } | Phase::Baking { batch, .. } | Phase::Baked { batch, .. } => bake_of(state, batch).traffic,
        _ => None,
    }
}

/// The next batch moves; after the last one the release is good.
pub(crate) fn bake_ends(state: &mut State, batch: u32, now: Timestamp) {
    if batch + 1 < state.plan.batches {
        state.phase = Phase::Moving { batch: batch + 1, since: now };
        return;
    }
    for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Healthy) {
        enter(host, Stage::Confirming, now);
    }
    state.phase = Phase::Confirming { since: now };
}

fn settle_confirming(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hosts.values().any(|h| matches!(h.stage, Stage::Confirming | Stage::Reverting | Stage::Abandoning)) {
        return;
    }
    if state.hosts.values().any(|h| h.stage == Stage::Confirmed) {
        end(state, Outcome::Done, now, notes);
    } else {
        // A confirmation that did not come does not say that the release does not serve.
        let summary = "no host confirmed the release, which may serve all the same";
        let hint = "see in `roadstead rollout show` what each host says, and in `roadstead env show` what it serves; then deploy again";
        state.failure.get_or_insert(Failure::new(FailureKind::Host, summary, hint));
        end(state, Outcome::Failed, now, notes);
    }
}

fn settle_reverting(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if state.hosts.values().any(|h| matches!(h.stage, Stage::Reverting | Stage::Abandoning)) {
        return;
    }
    if state.plan.kind == RolloutKind::Restore {
        return restore::given_up(state, now, notes);
    }
    let back = state.hosts.values().any(|h| h.stage == Stage::Reverted);
    let unknown = state.hosts.values().any(|h| h.stage == Stage::Stuck);
    end(state, if back && !unknown { Outcome::RolledBack } else { Outcome::Failed }, now, notes);
}

/// The database is ready for the release.
pub(crate) fn migrated(state: &mut State, now: Timestamp, notes: &mut Vec<Note>) {
    if matches!(state.phase, Phase::Migrating { .. }) {
        notes.push(Note { host: None, kind: "migrated", text: "the database is migrated".to_owned() });
        match state.failure.clone() {
            Some(aborted) => go_back(state, aborted, now, notes),
            None => state.phase = Phase::Moving { batch: 0, since: now },
        }
    }
}
