//! A new release replaces the old one under constant load, and goes back: nobody notices.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::load::Load;
use std::time::Duration;

#[test]
fn no_request_fails_while_releases_change_and_change_back() {
    let policy = "[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"1s\"\n";
    let fleet = Fleet::new("upgrade", &FleetOptions::default().hosts(2).policy(policy)).unwrap();
    fleet.deploy("1.0.0").unwrap();
    let loads: Vec<_> = fleet
        .hosts
        .iter()
        .map(|host| {
            Load::on(format!("{}:80", host.ip())).path("/healthz").clients(3).pause(Duration::from_millis(5)).start(&fleet.client())
        })
        .collect();
    for load in &loads {
        load.wait_for_release("1.0.0", SOON).unwrap();
        load.wait_for_more(200, SOON).unwrap();
    }
    let before: Vec<_> = loads.iter().map(|load| load.report()).collect();

    fleet.deploy("1.1.0").unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0", "1.1.0"]);
    for load in &loads {
        load.wait_for_more(200, SOON).unwrap();
    }

    // after the bake the old instances are gone: this rollback starts them again, and still nobody notices
    let said = fleet.desk.roadstead(&["rollback", "staging", "--reason", "a story"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0", "1.0.0"], "{said}");
    for (load, before) in loads.into_iter().zip(before) {
        load.wait_for_more(200, SOON).unwrap();
        let report = load.stop().unwrap();
        println!("before:\n{before}\nin all:\n{report}");
        assert_eq!(report.failed(), 0, "{report}");
        assert!(report.releases.contains_key("1.1.0"), "{report}");
    }
}
