use super::*;
use roadstead_model::outlook::Batch;

#[test]
fn a_first_deployment() {
    insta::assert_snapshot!(picture(&samples::first(), false));
}

#[test]
fn an_upgrade_with_a_canary() {
    insta::assert_snapshot!(picture(&samples::upgrade(), true));
}

#[test]
fn what_stands_in_the_way_comes_first() {
    let mut without = samples::refused();
    without.plan = None;
    insta::assert_snapshot!(format!("{}\n\n---\n\n{}", picture(&samples::refused(), false), picture(&without, false)));
}

#[test]
fn what_is_not_known_is_said() {
    let mut outlook = samples::upgrade();
    outlook.changes.variables = None;
    outlook.changes.files = None;
    let plan = outlook.plan.as_mut().unwrap();
    plan.bytes_at_most = None;
    plan.batches.iter_mut().flat_map(|batch| &mut batch.hosts).for_each(|host| host.bytes_at_most = None);
    plan.migration.as_mut().unwrap().new = None;
    insta::assert_snapshot!(picture(&outlook, false));
}

#[test]
fn a_large_fleet_is_cut_and_says_so() {
    let mut outlook = samples::first();
    let plan = outlook.plan.as_mut().unwrap();
    let host = plan.batches[0].hosts[0].clone();
    plan.batches = vec![Batch { hosts: vec![host; 100], ..plan.batches[0].clone() }; 3];
    let text = picture(&outlook, false);
    assert!(text.contains("260 hosts more in the batches up to 3"), "{text}");
    assert!(text.lines().count() < 55, "{text}");
}
