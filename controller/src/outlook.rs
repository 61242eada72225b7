//! What a rollout would be, told for people and programs: from what the driver foresees, what lies in the store, and what earlier
//! rollouts took. Pure but for [`contents`], which reads trees.

pub(crate) mod contents;
mod estimate;
mod notes;
mod services;
#[cfg(test)]
mod tests;

use roadstead_bundle::diff::{Difference, diff_lists};
use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::migrations::told;
use roadstead_model::outlook::{
    Batch, Changes, Counts, Course, FileChanges, GateOutlook, HostOutlook, Migration, Obstacle, Outlook, PackageChange, TrafficOutlook,
    VariableChange, VariableDifference,
};
use roadstead_model::{BackupDemand, HostId, Key, Values};
use roadstead_rollout::{Outcome, Plan, PlannedHost, RolloutKind, State};
use std::collections::{BTreeMap, BTreeSet};

use contents::Contents;
use roadstead_driver::{Configured, Foreseen};

/// Folders that are told; others are counted.
const FOLDERS_MAX: usize = 50;

/// Tells what would happen. `history` are rollouts of the environment and the app, newest first; `obstacles` is what is foreseen to
/// refuse it, in words.
pub(crate) fn outlook(foreseen: &Foreseen, obstacles: Vec<Obstacle>, contents: &Contents, history: &[State]) -> Outlook {
    let Foreseen { environment, release, current, plan, .. } = foreseen;
    let lists = lists(current.as_ref().map(Configured::manifest), &release.manifest);
    let variables = plan.as_ref().and_then(|plan| variables(plan, history));
    Outlook {
        environment: environment.spec.name.clone(),
        app: environment.spec.app.clone(),
        release: plan.as_ref().map_or_else(|| release.id(), |plan| plan.release.id.clone()),
        current: current.as_ref().map(Configured::id),
        obstacles,
        gates: foreseen.gates.iter().map(|gate| GateOutlook { why: gate.why.clone(), way: gate.way.clone() }).collect(),
        notes: notes::notes(foreseen, contents, &lists),
        plan: plan.as_ref().map(|plan| course(plan, foreseen, &lists, contents, history)),
        changes: changes(lists, contents, variables),
    }
}

/// Packages and migrations against what runs; everything is new where nothing does.
fn lists(old: Option<&Manifest>, new: &Manifest) -> Difference {
    let Some(old) = old else {
        let mut nothing = new.clone();
        nothing.packages.list.clear();
        nothing.migrations.clear();
        return diff_lists(&nothing, new);
    };
    diff_lists(old, new)
}

fn course(plan: &Plan, foreseen: &Foreseen, lists: &Difference, contents: &Contents, history: &[State]) -> Course {
    let bytes = contents.bytes.as_ref().ok();
    let mut batches: Vec<Batch> = (0..plan.batches)
        .map(|batch| {
            let bake = plan.bake_after(batch);
            Batch { hosts: Vec::new(), bake: bake.time, promotion: bake.promotion }
        })
        .collect();
    for (id, planned) in &plan.hosts {
        if let Some(batch) = usize::try_from(planned.batch).ok().and_then(|batch| batches.get_mut(batch)) {
            batch.hosts.push(host(id, planned, foreseen, bytes));
        }
    }
    batches.iter_mut().for_each(|batch| batch.hosts.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id))));
    let old = foreseen.current.as_ref().map(Configured::manifest);
    Course {
        digest: plan.digest(),
        batches,
        max_unavailable: plan.max_unavailable,
        failure_budget: plan.failure_budget,
        on_failure: plan.on_failure,
        timeouts: plan.timeouts,
        traffic: plan.traffic.as_ref().map(|traffic| TrafficOutlook {
            balancers: traffic.balancers.values().cloned().collect(),
            drain: traffic.drain,
            switched_from: traffic.switch.iter().flat_map(|switch| switch.from.values().cloned()).collect(),
        }),
        analysis: plan.analysis.clone(),
        migration: migration(plan, foreseen, lists, contents),
        services: services::services(old, &foreseen.release.manifest, plan),
        bytes_at_most: bytes.map(|bytes| bytes.values().fold(0, |all, bytes| bytes.saturating_add(all))),
        estimate: estimate::estimate(plan, history),
    }
}

fn host(id: &HostId, planned: &PlannedHost, foreseen: &Foreseen, bytes: Option<&BTreeMap<HostId, u64>>) -> HostOutlook {
    HostOutlook {
        id: id.clone(),
        name: planned.name.clone(),
        serves: planned.current.as_ref().map(|current| current.id.clone()),
        away: foreseen.away.contains(id),
        chosen_for: planned.singletons.clone(),
        bytes_at_most: bytes.and_then(|bytes| bytes.get(id)).copied(),
    }
}

/// The migration, as the core will begin it: on the first host that is prepared then. One that is away now will hardly be.
fn migration(plan: &Plan, foreseen: &Foreseen, lists: &Difference, contents: &Contents) -> Option<Migration> {
    let order = |(id, planned): &(&HostId, &PlannedHost)| (foreseen.away.contains(*id), planned.batch, planned.name.clone());
    let (_, first) = plan.hosts.iter().min_by_key(order).filter(|_| plan.migrate)?;
    let manifest = &foreseen.release.manifest;
    let django = manifest.spec.django.as_ref().is_some_and(|django| django.migrate);
    let new = told(&lists.new_migrations, contents.facts.as_ref().ok().and_then(Option::as_ref));
    Some(Migration {
        host: first.name.clone(),
        django,
        new: (!django || !manifest.migrations.is_empty()).then_some(new),
        hooks: !(manifest.spec.hooks.before_migrate.is_empty() && manifest.spec.hooks.after_migrate.is_empty()),
        backup: plan.backup.unwrap_or(BackupDemand::None),
    })
}

fn changes(lists: Difference, contents: &Contents, variables: Option<Vec<VariableDifference>>) -> Changes {
    let package = |(name, before, after)| PackageChange { name, before, after };
    Changes {
        files: contents.files.as_ref().ok().and_then(Option::as_ref).map(files),
        packages: lists.packages.into_iter().map(package).collect(),
        lost_migrations: lists.lost_migrations,
        variables,
    }
}

fn files(difference: &Difference) -> FileChanges {
    let Difference { added, changed, removed, .. } = difference;
    let counts = |added, changed, removed| Counts { added, changed, removed };
    let counted = difference.by_folder().into_iter();
    let mut folders: Vec<_> = counted.map(|(name, c)| (name.to_owned(), counts(c.added, c.changed, c.removed))).collect();
    folders.sort_by_key(|(name, counts)| (std::cmp::Reverse(counts.total()), name.clone()));
    let more_folders = folders.len().saturating_sub(FOLDERS_MAX);
    folders.truncate(FOLDERS_MAX);
    FileChanges { all: counts(added.len(), changed.len(), removed.len()), folders, more_folders }
}

/// Against the rollout that brought what runs. Nothing is compared where that one is not known any more.
fn variables(plan: &Plan, history: &[State]) -> Option<Vec<VariableDifference>> {
    let before = match &plan.previous {
        None => BTreeMap::new(),
        Some(previous) => {
            let brought = |state: &&State| {
                let earlier = &state.plan;
                earlier.kind == RolloutKind::Rollout && earlier.release == *previous && state.outcome() == Some(Outcome::Done)
            };
            said(&history.iter().find(brought)?.plan)
        }
    };
    let now = said(plan);
    let keys: BTreeSet<&Key> = before.keys().chain(now.keys()).collect();
    let compared = keys.into_iter().filter_map(|key| {
        let change = match (before.get(key), now.get(key)) {
            (None, _) => VariableChange::Set,
            (_, None) => VariableChange::Removed,
            (old, new) if old != new => VariableChange::Changed,
            _ => return None,
        };
        Some(VariableDifference { name: key.clone(), change })
    });
    Some(compared.collect())
}

/// What a plan says to its hosts of each thing: to all, and to some instead.
fn said(plan: &Plan) -> BTreeMap<Key, (Option<String>, Vec<String>)> {
    let layers: Vec<&Values> = std::iter::once(&plan.values).chain(&plan.overrides).collect();
    let keys: BTreeSet<Key> = layers.iter().flat_map(|values| values.entries()).map(|(key, _)| key).collect();
    let of = |key: &Key| (plan.values.get(key), plan.overrides.iter().filter_map(|values| values.get(key)).collect());
    keys.into_iter().map(|key| (key.clone(), of(&key))).collect()
}
