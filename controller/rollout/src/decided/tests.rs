use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, prop_assert_ne, proptest};
use roadstead_model::{HostId, HostName, Millis, OnFailure, Promotion, RelativePath, RolloutId, ServiceName, Share, VariableName};
use serde_json::Value;

use crate::tests::fleet::{environment, plan, release};
use crate::{Bake, Plan, PlannedHost, RolloutKind};

fn sample() -> Plan {
    let environment = environment(Share::Count(2), Share::Count(2), Share::Count(1));
    let mut plan = plan(RolloutKind::Rollout, &environment, 5);
    plan.values.variables.insert(VariableName::parse("DEBUG").unwrap(), "0".to_owned());
    plan.values.files.insert(RelativePath::parse("config/limits.toml").unwrap(), "rate = 5".to_owned());
    plan.overrides = vec![plan.values.clone()];
    let first = plan.hosts.values_mut().next().unwrap();
    (first.singletons, first.overrides) = (vec![ServiceName::parse("beat").unwrap()], vec![0]);
    plan
}

/// Every value in a document that is not a group, by the way to it.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found)),
        _ => found.push(path.to_owned()),
    }
}

/// Other values of the kind; those of them that make no plan are left out by whoever reads it.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(is) => vec![Value::Bool(!is)],
        Value::Number(number) => vec![(number.as_u64().unwrap() + 1).into()],
        Value::String(text) if text.len() == 64 => vec!["0".repeat(64).into()],
        Value::String(text) => {
            [format!("{text}x"), "taken".into(), "level".into(), "manual".into(), "ask".into(), "9.9-0123456789ab".into()]
                .map(Value::from)
                .into()
        }
        _ => vec![],
    }
}

/// Whatever is written of a plan decides, except for the number: also what is added to plans one day.
#[test]
fn every_field_is_in_the_digest() {
    let plan = sample();
    let written = serde_json::to_value(&plan).unwrap();
    let mut paths = Vec::new();
    leaves(&written, "", &mut paths);
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        let mut made = 0;
        for other in others(written.pointer(&path).unwrap()) {
            let mut changed = written.clone();
            *changed.pointer_mut(&path).unwrap() = other;
            let Ok(changed) = serde_json::from_value::<Plan>(changed) else { continue };
            made += usize::from(changed != plan);
            let same = path == "/rollout" || changed == plan;
            assert_eq!(changed.digest() == plan.digest(), same, "{path}");
            assert_eq!(plan.told_apart(&changed).is_empty(), same, "{path}");
        }
        assert!(made > 0, "nothing else could stand at {path}");
    }
}

#[test]
fn a_plan_that_was_stored_has_the_digest_that_was_shown() {
    let plan = sample();
    let stored: Plan = serde_json::from_slice(&serde_json::to_vec(&plan).unwrap()).unwrap();
    assert_eq!(stored.digest(), plan.digest());
}

#[test]
fn what_differs_is_told_by_host_and_setting() {
    let old = sample();
    let mut new = Plan { rollout: RolloutId(900), ..old.clone() };
    assert_eq!(old.told_apart(&new), [""; 0]);
    let ids: Vec<HostId> = new.hosts.keys().cloned().collect();
    new.hosts.get_mut(&ids[0]).unwrap().singletons.clear();
    new.hosts.get_mut(&ids[0]).unwrap().overrides.clear();
    new.overrides[0].files.clear();
    new.hosts.get_mut(&ids[1]).unwrap().current = Some(release("1.1"));
    new.hosts.get_mut(&ids[2]).unwrap().batch = 2;
    new.hosts.remove(&ids[3]);
    let name = HostName::parse("web-9").unwrap();
    new.hosts.insert(
        HostId::parse(&"9".repeat(26)).unwrap(),
        PlannedHost { name, batch: 1, current: None, singletons: vec![], share: None, overrides: vec![] },
    );
    new.bakes[1] = Bake { time: Millis::from_secs(600), promotion: Promotion::Manual, traffic: None };
    new.previous = None;
    new.migrate = false;
    new.on_failure = OnFailure::Ask;
    new.timeouts.away = Millis::from_secs(90);
    new.values.variables.insert(VariableName::parse("DEBUG").unwrap(), "secret".to_owned());
    let (one, other) = (release("1.0").id, release("1.1").id);
    let expected = [
        "migrate: true → false".to_owned(),
        "on-failure: go-back → ask".to_owned(),
        "overrides.1.files.config/limits.toml: removed".to_owned(),
        format!("previous.id: {one} → nothing"),
        "timeouts.away: 1 min → 1 min 30 s".to_owned(),
        "variables.DEBUG: changed".to_owned(),
        "the bake of batch 2: 0 ms → 10 min and a promotion".to_owned(),
        "web-0 is told other values by its labels".to_owned(),
        "web-0 is chosen for beat → no service".to_owned(),
        format!("web-1 serves {one} → {other}"),
        "web-3 takes no part any more".to_owned(),
        "web-9 takes part now, in batch 2".to_owned(),
        "web-2: batch 2 → 3".to_owned(),
    ];
    assert_eq!(old.told_apart(&new), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn environments_that_plan_the_same_have_the_same_digest(
        hosts in 1..12usize, batch in 1..5u32, out in 1..5u32, bake in 0..3u64, number in any::<u64>(), other in 1..5u32,
    ) {
        let mut spec = environment(Share::Count(batch), Share::Count(out), Share::default());
        spec.bake = Millis(bake);
        let one = plan(RolloutKind::Rollout, &spec, hosts);
        let renumbered = Plan { rollout: RolloutId(number), ..one.clone() };
        prop_assert_eq!(one.digest(), renumbered.digest());
        spec.strategy.max_unavailable = Share::Count(other);
        let two = plan(RolloutKind::Rollout, &spec, hosts);
        prop_assert_eq!(one.digest() == two.digest(), Plan { rollout: two.rollout, ..one.clone() } == two);
        prop_assert_eq!(one.digest() == two.digest(), one.told_apart(&two).is_empty());
        spec.bake = Millis(bake + 1);
        let three = plan(RolloutKind::Rollout, &spec, hosts);
        prop_assert_ne!(two.digest(), three.digest());
        prop_assert!(!two.told_apart(&three).is_empty());
    }
}
