//! Releases that do not work never answer a single request, and leave no trace on the fleet.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::load::Load;
use std::time::Duration;

#[test]
fn a_broken_release_takes_no_traffic() {
    let fleet = Fleet::new("broken", &FleetOptions::default().hosts(2)).unwrap();
    fleet.deploy("1.1.0").unwrap();
    let web = &fleet.hosts[0];
    let load = Load::on(format!("{}:80", web.ip())).path("/healthz").clients(2).pause(Duration::from_millis(5)).start(&fleet.client());
    load.wait_for_more(100, SOON).unwrap();

    for (version, clue) in [("1.2.0", "No module named"), ("1.2.1", "/api/products/")] {
        fleet.push(version).unwrap();
        let done = fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap();
        assert_eq!(done.code, Some(1), "{version}: {}{}", done.stdout, done.stderr);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(said.contains(clue), "the operator reads why: {said}");
        assert_eq!(fleet.serving().unwrap(), ["1.1.0", "1.1.0"]);
        for host in &fleet.hosts {
            let units = host.sh("systemctl list-units --all --plain --no-legend 'erp-*' | cat").unwrap();
            assert!(!units.contains(&format!("@{version}-")), "{version} left units behind:\n{units}");
        }
        // a release that was found broken is not tried a second time by mistake
        let again = fleet.desk.try_roadstead(&["deploy", "staging", version]).unwrap();
        assert_eq!(again.code, Some(3), "{version}: {}{}", again.stdout, again.stderr);
    }
    load.wait_for_more(100, SOON).unwrap();
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
    assert_eq!(report.releases.keys().collect::<Vec<_>>(), ["1.1.0"], "{report}");
}
