//! A plain host becomes one that serves the first release.

use roadstead_tests::fleet::{Fleet, FleetOptions};

#[test]
fn a_commit_comes_to_a_new_host_and_serves() {
    let fleet = Fleet::new("first", &FleetOptions::default()).unwrap();
    let said = fleet.deploy("1.0.0").unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"], "{said}");
}
