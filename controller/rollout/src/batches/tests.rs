use super::*;
use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use roadstead_model::{HostId, HostName, Labels, Millis, Share};

fn hosts(zones: &[&str]) -> Vec<Candidate> {
    let host = |(number, zone): (usize, &&str)| Candidate {
        id: HostId::parse(&format!("{number:026}")).unwrap(),
        name: HostName::parse(&format!("web-{number}")).unwrap(),
        labels: if zone.is_empty() { Labels::default() } else { Labels::parse([format!("zone={zone}").as_str()]).unwrap() },
        current: None,
        singletons: Vec::new(),
        share: None,
    };
    zones.iter().enumerate().map(host).collect()
}

fn strategy(batch: u32, order: Option<DomainOrder>) -> Strategy {
    let domain = order.map(|order| FailureDomain { label: "zone".to_owned().try_into().unwrap(), order });
    Strategy { batch: Share::Count(batch), domain, ..Strategy::default() }
}

fn step(hosts: Share, seconds: u64, promote: Promotion) -> CanaryStep {
    CanaryStep { hosts, bake: Millis::from_secs(seconds), promote, traffic: None }
}

#[test]
fn batches_go_by_name_or_stripe_the_zones_or_take_one_after_the_other() {
    let fleet = hosts(&["a", "a", "a", "b", "b", ""]);
    let of = |batch, order| batches(&strategy(batch, order), &[], &fleet, 6).of_host;
    assert_eq!(of(2, None), [0, 0, 1, 1, 2, 2]);
    assert_eq!(of(3, Some(DomainOrder::Striped)), [0, 1, 1, 0, 1, 0], "one of each zone, the one without among them");
    assert_eq!(of(2, Some(DomainOrder::OneByOne)), [1, 1, 2, 3, 3, 0], "no batch spans two zones");
}

#[test]
fn a_batch_is_never_larger_than_may_be_out_and_a_step_may_be() {
    let fleet = hosts(&["a"; 6]);
    assert_eq!(batches(&strategy(6, None), &[], &fleet, 2).of_host, [0, 0, 1, 1, 2, 2]);
    let steps = [step(Share::Percent(50), 0, Promotion::Automatic)];
    assert_eq!(batches(&strategy(6, None), &steps, &fleet, 2).of_host, [0, 0, 0, 1, 1, 2]);
}

#[test]
fn steps_that_are_the_same_hosts_ask_for_the_most_of_each() {
    let steps = [step(Share::Count(1), 600, Promotion::Manual), step(Share::Percent(25), 60, Promotion::Automatic)];
    let small = batches(&strategy(1, None), &steps, &hosts(&["a"; 2]), 1);
    assert_eq!(small.of_host, [0, 1]);
    assert_eq!(small.bakes[0], Bake { time: Millis::from_secs(600), promotion: Promotion::Manual, traffic: None });
    let large = batches(&strategy(1, None), &steps, &hosts(&["a"; 8]), 1);
    assert_eq!(large.of_host, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(large.bakes[1].time, Millis::from_secs(60));
}

proptest! {
    #[test]
    fn every_host_is_in_a_batch_and_every_batch_has_hosts(
        zones in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c"), Just("")], 1..40),
        batch in 1..10u32,
        largest in 1..10usize,
        shares in prop::collection::vec(1..=100u8, 0..4),
        order in prop_oneof![Just(None), Just(Some(DomainOrder::Striped)), Just(Some(DomainOrder::OneByOne))],
    ) {
        let steps: Vec<CanaryStep> = shares.into_iter().map(|share| step(Share::Percent(share), 1, Promotion::Automatic)).collect();
        let fleet = hosts(&zones);
        let Batches { of_host, bakes } = batches(&strategy(batch, order), &steps, &fleet, largest);
        prop_assert_eq!(of_host.len(), fleet.len());
        for number in 0..bakes.len() {
            let inside: Vec<usize> = (0..fleet.len()).filter(|host| of_host[*host] as usize == number).collect();
            prop_assert!(!inside.is_empty());
            if number >= steps.len() {
                prop_assert!(inside.len() <= largest.max(1));
                let zone = |host: &usize| zones[*host];
                let spans = inside.iter().any(|host| zone(host) != zone(&inside[0]));
                prop_assert!(order != Some(DomainOrder::OneByOne) || !spans);
            }
        }
        prop_assert!(of_host.iter().all(|batch| (*batch as usize) < bakes.len()));
    }
}
