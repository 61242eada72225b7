//! How long a rollout takes: the medians of what its steps took in earlier ones, put together as the plan puts them.

use roadstead_model::outlook::{Estimate, StepEstimate};
use roadstead_model::{Millis, Promotion, StepName};
use roadstead_rollout::{Outcome, Plan, RolloutKind, State};
use std::collections::BTreeMap;

/// Rollouts that are looked at.
const ROLLOUTS_MAX: usize = 5;

/// What a plan takes by the newest rollouts that ended well.
pub(super) fn estimate(plan: &Plan, history: &[State]) -> Estimate {
    let good = |state: &&State| state.outcome() == Some(Outcome::Done) && state.plan.kind == RolloutKind::Rollout;
    let earlier: Vec<&State> = history.iter().filter(good).take(ROLLOUTS_MAX).collect();
    let medians = medians(&earlier);
    let bakes = plan.bakes.iter().fold(Millis(0), |all, bake| Millis(all.0.saturating_add(bake.time.0)));
    let promotions = plan.bakes.iter().filter(|bake| bake.promotion == Promotion::Manual).count();
    let migrate = if plan.migrate { StepName::MIGRATE } else { &[] };
    let planned = || StepName::PREPARE.iter().chain(migrate).chain(StepName::ACTIVATE).chain(StepName::CONFIRM).copied();
    let took =
        |steps: &[StepName]| steps.iter().filter_map(|step| medians.get(step)).fold(0_u64, |all, one| all.saturating_add(one.median.0));
    let moving = took(StepName::ACTIVATE).saturating_mul(turns(plan));
    let work = [took(StepName::PREPARE), took(migrate), moving, took(StepName::CONFIRM)].into_iter().fold(0, u64::saturating_add);
    Estimate {
        total: (!medians.is_empty()).then(|| Millis(work.saturating_add(bakes.0))),
        bakes,
        promotions,
        steps: planned().filter_map(|step| medians.get(&step).copied()).collect(),
        unknown: if medians.is_empty() { Vec::new() } else { planned().filter(|step| !medians.contains_key(step)).collect() },
        from: earlier.iter().map(|state| state.plan.rollout).collect(),
    }
}

/// How often hosts move one after the other: the hosts of a batch at once, as far as so many may be out.
fn turns(plan: &Plan) -> u64 {
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    plan.hosts.values().for_each(|host| *sizes.entry(host.batch).or_default() += 1);
    sizes.values().map(|hosts| hosts.div_ceil(plan.max_unavailable.max(1)) as u64).fold(0, u64::saturating_add)
}

fn medians(earlier: &[&State]) -> BTreeMap<StepName, StepEstimate> {
    let mut times: BTreeMap<StepName, Vec<Millis>> = BTreeMap::new();
    for (step, took, _) in earlier.iter().flat_map(|state| state.hosts.values()).flat_map(|host| &host.times) {
        times.entry(*step).or_default().push(*took);
    }
    let median = |(step, mut times): (StepName, Vec<Millis>)| {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        (step, StepEstimate { step, median, runs: times.len() })
    };
    times.into_iter().map(median).collect()
}
