//! What must hold at every moment, whatever goes wrong. Each promise has a name; a broken one ends the run.

use roadstead_driver::{EnvironmentRecord, RolloutRecord};
use roadstead_model::{Digest, HostId, Order, OrderOutcome, ReleaseId, ReleaseRef, Report, VariableName};
use roadstead_rollout::{Exchange, Hold, HoldCause, Host, Look, Outcome, Phase, Plan, RolloutKind, Stage, Standing, State, Tending, Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ledger::Tables;
use crate::lookout::Sightings;
use crate::witness::Witness;
use crate::world::World;

/// A host is told what the configuration says that the id names, whatever was said since.
pub(crate) fn of_configuration(world: &World, host: &HostId, release: &ReleaseId, told: &BTreeMap<VariableName, String>) {
    let tables = world.ledger.tables();
    let id = release.configuration();
    let Some(known) = tables.configurations.iter().rev().find(|known| Some(known.content.id()) == id) else {
        if id.is_some() || !told.is_empty() {
            world.witness.broken("a configuration is what its name says", format!("{release}: nobody made it"));
        }
        return;
    };
    let labels = tables.hosts.get(host).map(|host| host.labels.clone()).unwrap_or_default();
    let resolved = known.content.resolve([(host.to_string(), &labels)]).unwrap_or_default();
    let mut values = resolved.base;
    resolved.of.iter().flatten().filter_map(|place| resolved.overrides.get(*place as usize)).for_each(|over| values.overlay(over));
    if values.variables != *told {
        let what = format!("{host} is told {told:?} for {release}, which says {:?}", values.variables);
        world.witness.broken("a configuration is what its name says", what);
    }
}

/// What runs is never condemned: neither for another configuration nor for hosts that come level with it.
pub(crate) fn of_verdicts(witness: &Witness, tables: &Tables, condemned: &Digest) {
    let runs =
        |environment: &&EnvironmentRecord| environment.current.as_ref().is_some_and(|current| current.release.manifest == *condemned);
    if let Some(environment) = tables.environments.values().find(runs) {
        witness.broken("what runs is not condemned", format!("{} runs {condemned}", environment.spec.name));
    }
}

/// A rollout is saved once more.
pub(crate) fn of_history(witness: &Witness, before: Option<&RolloutRecord>, now: &RolloutRecord) {
    let id = now.state.plan.rollout;
    let Some(before) = before else { return };
    if before.state.outcome().is_some() && before.state.outcome() != now.state.outcome() {
        witness.broken("over is over", format!("{id} ended as {:?} and is now {:?}", before.state.outcome(), now.state.phase));
    }
    if now.state.revision < before.state.revision {
        witness.broken(
            "nothing saved is forgotten",
            format!("{id} goes back from revision {} to {}", before.state.revision, now.state.revision),
        );
    }
    if fixed(&before.state) != fixed(&now.state) {
        witness.broken("a plan is fixed", format!("the plan of {id} changed"));
    }
    of_gates(witness, &now.state);
    of_moves(witness, &before.state, &now.state);
    of_operators(witness, &before.state, &now.state);
    of_budget(witness, &now.state);
}

/// What cannot change of a plan: what hosts serve is looked at once more when its gates open.
fn fixed(state: &State) -> Plan {
    let mut plan = state.plan.clone();
    if plan.kind == RolloutKind::Rollout {
        plan.hosts.values_mut().for_each(|planned| planned.current = None);
    }
    plan
}

/// Approvals of others are there, as many as are asked for, before a host hears of a rollout.
fn of_gates(witness: &Witness, now: &State) {
    let mut begun = !matches!(now.phase, Phase::Gated { .. } | Phase::Ended { .. });
    if now.plan.kind == RolloutKind::Restore {
        // Hosts prepare and look before: that changes nothing.
        begun &= !matches!(now.phase, Phase::Preparing { .. } | Phase::Surveying { .. } | Phase::Deciding { .. } | Phase::Reverting { .. });
    }
    for rule in &now.plan.gates.approvals {
        let by: BTreeSet<&str> =
            now.approvals.iter().filter(|approval| approval.role == rule.role).map(|approval| approval.by.as_str()).collect();
        let own = by.contains(now.requested_by.as_str());
        if begun && (own || by.len() < rule.count as usize) {
            witness.broken("nothing begins without its approvals", format!("{} begins, approved by {by:?}", now.plan.rollout));
        }
    }
}

/// Hosts are told to move: as few as may be out, unknown ones among them, and none before its batch.
fn of_moves(witness: &Witness, before: &State, now: &State) {
    let plan = &now.plan;
    if matches!(plan.kind, RolloutKind::Rollback | RolloutKind::Restore) {
        return;
    }
    let is_moving = |host: &Host| matches!(host.stage, Stage::Draining | Stage::Moving | Stage::Returning);
    let moves = |state: &State, id: &HostId| state.hosts.get(id).is_some_and(is_moving);
    let new: Vec<&HostId> = now.hosts.keys().filter(|id| moves(now, id) && !moves(before, id)).collect();
    let Some(batch) = new.iter().filter_map(|id| plan.hosts.get(*id)).map(|planned| planned.batch).max() else { return };
    let moved_at = new.iter().filter_map(|id| now.hosts.get(*id)).map(|host| host.since).max().unwrap_or_default();
    // Whoever went away after they were told to move was there when that was decided.
    let unknown = |host: &Host| host.away_since.is_some_and(|since| since < moved_at);
    let is_out = |host: &&Host| is_moving(host) || matches!(host.stage, Stage::Left | Stage::Stuck) || unknown(host);
    let out = now.hosts.values().filter(|host| host.standing != Standing::Excluded).filter(is_out).count();
    if out > plan.max_unavailable {
        let text = format!("{} of {} hosts are out or unknown, {} may be", out, plan.rollout, plan.max_unavailable);
        witness.broken("unknown hosts count as out", text);
    }
    // One that is tried again had its turn.
    let waits =
        |id: &HostId| now.hosts.get(id).is_some_and(|host| matches!(host.stage, Stage::Preparing | Stage::Prepared) && host.attempt == 0);
    if let Some((early, _)) = plan.hosts.iter().find(|(id, planned)| planned.batch < batch && waits(id)) {
        witness.broken("no batch before its turn", format!("batch {batch} of {} moves while {early} waits", plan.rollout));
    }
}

/// A batch that is judged ends its bake only when it was seen to do well since it had moved; what was seen to fail goes back. (Whom an
/// operator has promoted is none of this.)
pub(crate) fn of_bakes(witness: &Witness, sightings: &Sightings, before: &State, now: &State) {
    let (Phase::Moving { batch, .. } | Phase::Baking { batch, .. }, Some(analysis)) = (&before.phase, &now.plan.analysis) else { return };
    let rollout = now.plan.rollout;
    let fails = |(look, failures): (&Look, u32)| look.failed >= failures;
    let failures = analysis.queries.iter().map(|query| query.failures).chain(analysis.checks.iter().map(|check| check.failures));
    let forward = match now.phase {
        Phase::Moving { batch: next, .. } | Phase::Baking { batch: next, .. } => next > *batch,
        Phase::Baked { .. } | Phase::Confirming { .. } | Phase::Ended { outcome: Outcome::Done, .. } => true,
        _ => false,
    };
    if (forward || matches!(now.phase, Phase::Baking { .. })) && now.looks.of.iter().zip(failures).any(fails) {
        witness.broken("what fails its analysis goes back", format!("{rollout} goes on with {:?}", now.looks.of));
    }
    let skipped = now.gives_way || (now.skips_bakes && batch + 1 < now.plan.batches);
    let serves = |host: &Host| host.stage == Stage::Healthy && host.standing != Standing::Excluded;
    // In the same change hosts may have been lost, or have come back.
    let moved = before.hosts.iter().filter(|(_, host)| serves(host) || host.stage == Stage::Moving);
    let stayed = moved.filter(|(id, _)| now.hosts.get(*id).is_some_and(|host| host.stage.may_serve() && host.stage != Stage::Moving));
    let names: Vec<&str> = stayed.filter_map(|(id, _)| now.plan.hosts.get(id)).map(|planned| planned.name.as_str()).collect();
    if forward && !skipped && !names.is_empty() && !sightings.all_well(before, &names) {
        witness.broken("no bake ends without a pass", format!("{rollout} leaves the bake of batch {batch}, and nobody saw {names:?} well"));
    }
}

/// What operators have said is heeded: nothing begins on hold, and whoever is excluded does not move.
fn of_operators(witness: &Witness, before: &State, now: &State) {
    let rollout = now.plan.rollout;
    let begins = |id: &HostId, stages: &[Stage]| {
        let is = |state: &State| state.hosts.get(id).is_some_and(|host| stages.contains(&host.stage));
        is(now) && !is(before)
    };
    // A host that is drained goes on to move.
    let moves = [Stage::Draining, Stage::Moving];
    // Whoever is asked about losses may have a host tried again.
    let again = |host: &Host| host.attempt > 0 && matches!(&now.hold, Some(Hold { cause: HoldCause::Losses { .. }, .. }));
    let began = now.hosts.iter().find(|(id, host)| (begins(id, &moves) && !again(host)) || begins(id, &[Stage::Migrating]));
    if let (Some((id, _)), Some(_), Some(hold)) = (began, &before.hold, &now.hold) {
        witness.broken("nothing further begins on hold", format!("{id} moves in {rollout}, which is on hold: {:?}", hold.cause));
    }
    let is_excluded = |host: &Host| host.standing == Standing::Excluded;
    if let Some((id, _)) = now.hosts.iter().find(|(id, host)| is_excluded(host) && begins(id, &moves)) {
        witness.broken("whoever is excluded does not move", format!("{id} moves in {rollout}"));
    }
}

/// Hosts are brought level: nobody who was taken out of the rollout that brought the release, unless it serves it all the same.
pub(crate) fn of_level(witness: &Witness, tables: &Tables, now: &RolloutRecord) {
    let plan = &now.state.plan;
    if plan.kind != RolloutKind::Level {
        return;
    }
    for (id, host) in &plan.hosts {
        if excluded(tables, &plan.release, id) && host.current.as_ref() != Some(&plan.release) {
            witness.broken("whoever is excluded does not come level", format!("{id} is brought level in {}", plan.rollout));
        }
    }
}

/// Whether an operator took a host out of the rollout that brought a release.
pub(crate) fn excluded(tables: &Tables, release: &ReleaseRef, host: &HostId) -> bool {
    let brought = |record: &&Arc<RolloutRecord>| {
        let (plan, done) = (&record.state.plan, record.state.outcome() == Some(Outcome::Done));
        done && plan.kind == RolloutKind::Rollout && plan.release == *release
    };
    let brought = tables.rollouts.values().rev().find(brought);
    brought.and_then(|record| record.state.hosts.get(host)).is_some_and(|known| known.standing == Standing::Excluded)
}

/// A rollout that has lost too many hosts goes back, or asks.
fn of_budget(witness: &Witness, now: &State) {
    let plan = &now.plan;
    let is_lost = |host: &&Host| matches!(host.stage, Stage::Failed | Stage::Left | Stage::Stuck) && host.standing == Standing::Counts;
    let lost = now.hosts.values().filter(is_lost).count();
    let goes_on = matches!(now.phase, Phase::Moving { .. } | Phase::Baking { .. } | Phase::Baked { .. }) && now.hold.is_none();
    if plan.kind != RolloutKind::Rollback && goes_on && lost > plan.failure_budget {
        witness.broken("a failure budget is kept", format!("{} goes on with {lost} lost, {} may be", plan.rollout, plan.failure_budget));
    }
}

/// All that is saved, together.
pub(crate) fn of_tables(witness: &Witness, tables: &Tables) {
    let mut places = BTreeSet::new();
    // Those that wait at their gates have not begun.
    let has_turn = |record: &&Arc<RolloutRecord>| record.state.outcome().is_none() && !matches!(record.state.phase, Phase::Gated { .. });
    for record in tables.rollouts.values().filter(has_turn) {
        let plan = &record.state.plan;
        if !places.insert((plan.environment.clone(), plan.app.clone())) {
            witness.broken("one rollout at a time", format!("{} runs beside another in {}", plan.rollout, plan.environment));
        }
    }
}

/// A rollout ended: what it says of its hosts is true.
pub(crate) fn of_end(world: &World, record: &RolloutRecord) {
    let state = &record.state;
    if state.outcome().is_none() {
        return;
    }
    if state.plan.kind == RolloutKind::Restore {
        of_restored(world, state);
    }
    if state.plan.kind == RolloutKind::Tend {
        of_tended(world, state);
    }
    for (id, host) in &state.hosts {
        let before = state.plan.hosts.get(id).and_then(|planned| planned.current.as_ref()).map(|release| release.id.clone());
        let serves = world.machine(id).current.clone();
        let is_back = match host.stage {
            // Of one that is away, what it said last is told: what nobody has confirmed it may have undone since.
            Stage::Reverted => serves == before || host.away_since.is_some(),
            // It may have had it all the time, although the plan did not know.
            Stage::Abandoned => serves.as_ref() != Some(&state.plan.release.id) || !world.moved_in(id, state.plan.rollout),
            _ => true,
        };
        if !is_back {
            let text = format!("{id} served {before:?} before {}, is {:?}, and serves {serves:?}", state.plan.rollout, host.stage);
            world.witness.broken("who went back serves what it served before", text);
        }
    }
    if state.outcome() != Some(Outcome::Done) {
        return;
    }
    for (id, _) in state.hosts.iter().filter(|(_, host)| host.stage == Stage::Confirmed) {
        let serves = world.machine(id).current.clone();
        if serves.as_ref() != Some(&state.plan.release.id) {
            world.witness.broken("done means that it serves", format!("{} is done, but {id} serves {serves:?}", state.plan.rollout));
        }
    }
}

/// What only tends a database has moved nobody, and is done when it was done.
fn of_tended(world: &World, state: &State) {
    let rollout = state.plan.rollout;
    if state.hosts.keys().any(|host| world.moved_in(host, rollout)) {
        world.witness.broken("tending a database moves nobody", format!("{rollout}"));
    }
    let is_backup = matches!(state.plan.tending, Some(Tending::Backup(_)));
    if state.outcome() == Some(Outcome::Done) && is_backup && !world.database().kept.contains(&rollout) {
        world.witness.broken("a backup that is done was made", format!("{rollout}"));
    }
}

/// What a restore says of the database is true; where it says that nobody knows, nothing of it serves.
fn of_restored(world: &World, state: &State) {
    let (rollout, is) = (state.plan.rollout, world.database().exchanged.contains(&state.plan.rollout));
    match (state.recovery.exchange, is) {
        (Exchange::Done, false) | (Exchange::NotDone, true) => {
            world.witness.broken("what is told of a database is true", format!("{rollout} says {:?}", state.recovery.exchange));
        }
        _ => {}
    }
    if state.outcome() == Some(Outcome::Done) && state.recovery.exchange != Exchange::Done && state.failure.is_some() {
        world.witness.broken("a restore that is done restored", format!("{rollout}"));
    }
}

/// An order reaches a host: what it follows from is durable.
pub(crate) fn of_order(witness: &Witness, tables: &Tables, host: &HostId, order: &Order) {
    let rollout = order.fence.rollout;
    let Some(record) = tables.rollouts.get(&rollout) else {
        return witness.broken("what is sent was saved", format!("{host} gets {} of {rollout}, which nobody saved", order.kind.verb()));
    };
    let Some(stage) = record.state.hosts.get(host).map(|host| host.stage) else {
        return witness.broken("what is sent was saved", format!("{host} gets {} of {rollout} and is no part of it", order.kind.verb()));
    };
    let too_early: &[Stage] = match Verb::of(order.key()) {
        Some(Verb::Prepare | Verb::Tend) | None => &[],
        Some(Verb::Migrate) => &[Stage::Preparing],
        Some(Verb::Survey) => &[Stage::Preparing],
        Some(Verb::Halt) => &[Stage::Preparing, Stage::Surveying, Stage::Prepared],
        Some(Verb::Restore) => &[Stage::Preparing, Stage::Surveying, Stage::Prepared, Stage::Halting],
        Some(Verb::Exchange) => &[Stage::Preparing, Stage::Surveying, Stage::Prepared, Stage::Halting, Stage::Restoring],
        Some(Verb::Start) => {
            &[Stage::Preparing, Stage::Surveying, Stage::Prepared, Stage::Halting, Stage::Halted, Stage::Restoring, Stage::Exchanging]
        }
        Some(Verb::Activate) => &[Stage::Preparing, Stage::Migrating, Stage::Draining],
        Some(Verb::Confirm) => {
            &[Stage::Preparing, Stage::Prepared, Stage::Migrating, Stage::Draining, Stage::Moving, Stage::Returning, Stage::Healthy]
        }
        Some(Verb::Revert) => &[Stage::Preparing, Stage::Prepared, Stage::Draining, Stage::Migrating],
        Some(Verb::Abandon) => {
            &[Stage::Preparing, Stage::Prepared, Stage::Migrating, Stage::Draining, Stage::Moving, Stage::Returning, Stage::Healthy]
        }
    };
    if too_early.contains(&stage) {
        witness
            .broken("what is sent was saved", format!("{host} gets {} of {rollout} while {stage:?} is what was saved", order.kind.verb()));
    }
}

/// A host tells how an order ended: one that failed, and one that it went back from by itself, has left what served before.
pub(crate) fn of_outcome(world: &World, host: &HostId, report: &Report) {
    let (key, serves) = match report {
        Report::Order { key, outcome: OrderOutcome::Failed { current, .. } } | Report::WentBack { key, current, .. } => (key, current),
        Report::Order { .. } | Report::Step(_) | Report::Refused { .. } => return,
    };
    if Verb::of(*key) != Some(Verb::Activate) {
        return;
    }
    let Some(before) = world.machine(host).served.get(key).cloned() else { return };
    let tables = world.ledger.tables();
    let Some(release) = tables.rollouts.get(&key.rollout).map(|record| &record.state.plan.release.id) else { return };
    if serves.as_ref() == Some(release) && before.as_ref() != Some(release) {
        let text = format!("{host} served {before:?} before its cutover in {} failed, and serves {serves:?}", key.rollout);
        world.witness.broken("a cutover that failed is undone", text);
    }
}

/// What users see, at any moment.
pub(crate) fn of_world(world: &World) {
    for host in world.machines.keys() {
        let machine = world.machine(host);
        if let Some(current) = machine.current.as_ref().filter(|current| !machine.trees.contains(current)) {
            world.witness.broken("current names a complete release", format!("{host} names {current}"));
        }
    }
}
