use super::*;
use crate::samples;
use roadstead_model::{HostName, Labels};
use roadstead_rollout::Candidate;

fn plan(keep: u32, hosts: usize) -> Plan {
    let spec = roadstead_model::EnvironmentSpec { keep, ..samples::environment() };
    let host = |number| Candidate {
        id: samples::host_id(number),
        name: HostName::parse(&format!("web-{number}")).unwrap(),
        labels: Labels::default(),
        current: None,
        singletons: Vec::new(),
        share: None,
    };
    let release = samples::release("1.0").reference();
    Plan::new(RolloutId(1), RolloutKind::Rollout, &spec, release, None, (0..hosts).map(host).collect(), false).unwrap()
}

fn start(plan: &Plan) -> DigestStart {
    DigestStart::parse(&plan.digest().short()).unwrap()
}

#[test]
fn the_newest_plans_are_known_and_never_too_many() {
    let mut shown = Shown::default();
    let total = u32::try_from(PLANS_MAX).unwrap() + 1;
    for keep in 0..total {
        shown.note(plan(keep, 1));
        shown.note(plan(0, 1));
    }
    assert_eq!(shown.0.len(), PLANS_MAX, "the same plan counts once");
    assert_eq!(shown.find(&start(&plan(0, 1))), Some(&plan(0, 1)));
    assert_eq!(shown.find(&start(&plan(1, 1))), None, "the oldest went");
    for keep in 0..3 {
        shown.note(plan(keep, HOSTS_MAX / 2 - 1));
    }
    assert_eq!(shown.0.len(), 2);
}

#[test]
fn a_refusal_tells_what_changed_as_far_as_it_is_known() {
    let (old, new) = (plan(3, 1), plan(4, 14));
    let (environment, release) = (new.environment.clone(), new.release.id.clone());
    let other = |differs| {
        let (environment, release) = (environment.clone(), release.clone());
        OtherPlan { environment, release, asked: start(&old), now: new.digest(), differs }.to_string()
    };
    let known = other(Some(old.told_apart(&new)));
    assert!(known.contains(": batches: 1 → 14; keep: 3 → 4; web-1 takes part now, in batch 2; "), "{known}");
    assert!(known.ends_with("; and 5 more"), "{known}");
    let unknown = other(None);
    assert!(unknown.ends_with("the world has changed since it was made, and what it was is not known here any more"), "{unknown}");
}
