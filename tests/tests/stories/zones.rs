//! Hosts that fail together: batches take of every zone, or one zone after the other, as the environment wants it.

use roadstead_tests::fleet::{TinyFleet, Twist, each};
use roadstead_tests::lab::HostOptions;
use std::collections::BTreeSet;

/// Hosts beside `tiny`, which has no label of a zone and is a domain of its own.
const ZONES: [(&str, &str); 4] = [("a-1", "zone=a"), ("a-2", "zone=a"), ("b-1", "zone=b"), ("b-2", "zone=b")];

#[test]
fn batches_go_over_zones_as_the_environment_wants() {
    let mut tiny = TinyFleet::new("zones", &HostOptions::default()).unwrap();
    let wanted = ZONES.map(|(name, _)| (name.to_owned(), HostOptions::default())).to_vec();
    let more = tiny.fleet.lab.hosts_with(wanted).unwrap();
    each(&more, |host| {
        let zone = ZONES.iter().find(|(name, _)| *name == host.name()).unwrap().1;
        tiny.fleet.add_as("tiny", host, &[zone])
    })
    .unwrap();
    tiny.fleet.hosts.extend(more);
    tiny.fleet.wait_for_all().unwrap();

    policy(&tiny, "striped", 2);
    let striped = deploy(&tiny, "1.0.0");
    assert_eq!(striped.len(), 3, "{striped:?}");
    for batch in striped.iter().filter(|batch| batch.len() == 2) {
        assert_ne!(zone(&batch[0]), zone(&batch[1]), "each batch takes of as many zones as there are: {striped:?}");
    }

    policy(&tiny, "one-by-one", 2);
    let one_by_one = deploy(&tiny, "1.1.0");
    let zones: Vec<BTreeSet<&str>> = one_by_one.iter().map(|batch| batch.iter().map(|host| zone(host)).collect()).collect();
    assert!(zones.iter().all(|zones| zones.len() == 1), "no batch spans two zones: {one_by_one:?}");
    assert_eq!(zones.iter().flatten().collect::<BTreeSet<_>>().len(), 3, "{one_by_one:?}");
}

/// The zone of a host by its name.
fn zone(host: &str) -> &str {
    host.split_once('-').map_or("", |(zone, _)| zone)
}

fn policy(tiny: &TinyFleet, order: &str, batch: u32) {
    let strategy =
        format!("[strategy]\nbatch = {batch}\nmax-unavailable = {batch}\nbake = \"1s\"\ndomain = \"zone\"\ndomain-order = \"{order}\"\n");
    tiny.fleet.policy("tiny", &strategy).unwrap();
}

/// Deploys a version; its batches as they were planned, which is how hosts really moved.
fn deploy(tiny: &TinyFleet, version: &str) -> Vec<Vec<String>> {
    tiny.push(version, &Twist::default()).unwrap();
    let plan = tiny.fleet.desk.json(&["plan", "tiny", version]).unwrap();
    let batches: Vec<Vec<String>> = plan["plan"]["batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| batch["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap().to_owned()).collect())
        .collect();
    println!("{version}: {batches:?}");
    println!("{}", tiny.deploy(version).unwrap());
    let healthy = |text: &str| text.strip_suffix(": healthy").map(str::to_owned);
    let moved: Vec<String> = tiny.fleet.desk.history("host").unwrap().iter().filter_map(|(_, text)| healthy(text)).collect();
    let mut moved = moved[moved.len() - batches.concat().len()..].iter();
    for batch in &batches {
        let took: BTreeSet<&String> = moved.by_ref().take(batch.len()).collect();
        assert_eq!(took, batch.iter().collect(), "{version}: a batch after the other");
    }
    batches
}
