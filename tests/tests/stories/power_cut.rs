//! The plug of a host is pulled in the middle of a cutover, and after it: the host boots into a complete release, and the rollout ends.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Moment};
use roadstead_tests::lab::{Execution, Host};

const AGENT: &str = "roadstead-agent";

#[test]
fn a_host_boots_into_a_complete_release() {
    let policy = "[strategy]\nbake = \"10s\"\n";
    let fleet = Fleet::new("plug", &FleetOptions::default().policy(policy)).unwrap();
    let web = &fleet.hosts[0];
    for version in ["1.0.0", "1.1.0"] {
        fleet.push(version).unwrap();
    }
    fleet.deploy("1.0.0").unwrap();

    // in the middle of the cutover
    cut_during(&fleet, "1.1.0", |moment| *moment == Moment::within("cutover"));
    level(&fleet, "1.1.0");

    // after the cutover, while the old instance is warm and nothing is confirmed
    let mut moved = false;
    cut_during(&fleet, "1.0.0", move |moment| {
        moved |= *moment == Moment::within("health");
        moved && moment.record == "ended"
    });
    level(&fleet, "1.0.0");

    // a host serves after a boot without any help of the agent
    web.systemctl(&["disable", AGENT]).unwrap();
    web.power_cut().unwrap();
    web.boot().unwrap();
    serves(&fleet, web, "1.0.0");
    assert_eq!(web.unit_property(AGENT, "ActiveState").unwrap(), "inactive");
    web.systemctl(&["enable", "--now", AGENT]).unwrap();
    fleet.wait_for_all().unwrap();
    level(&fleet, "1.0.0");
}

/// Deploys, pulls the plug at the moment, boots, and sees the rollout succeed all the same.
fn cut_during(fleet: &Fleet, version: &str, at: impl FnMut(&Moment) -> bool) {
    let web = &fleet.hosts[0];
    let mut deploy = fleet.desk.begin(&["deploy", "staging", version]).unwrap();
    let journals = Journals::of(web);
    let moment = journals.wait_for(at, || !matches!(deploy.try_wait(), Ok(None))).unwrap();
    web.power_cut().unwrap();
    println!("{version}: the plug was pulled {moment}, the journal ends with {:?}", journals.last().map(|last| last.to_string()));
    web.boot().unwrap();
    let done = Execution::of(&deploy.wait_with_output().unwrap());
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
}

/// The site, `current` and the controller say the same.
fn level(fleet: &Fleet, version: &str) {
    let web = &fleet.hosts[0];
    serves(fleet, web, version);
    let current = web.sh("readlink /srv/roadstead/erp/current").unwrap();
    assert!(current.starts_with(&format!("releases/{version}-")), "{current}");
    let environment = fleet.desk.json(&["env", "show", "staging"]).unwrap();
    assert!(environment.to_string().contains(&format!("\"current\":\"{version}-")), "{environment}");
    let units = web.sh("systemctl list-units --plain --no-legend --state=failed").unwrap();
    assert_eq!(units, "");
}

fn serves(fleet: &Fleet, web: &Host, version: &str) {
    let answer = (200, version.to_owned());
    web.wait_until("the site to answer", SOON, |web| fleet.ask(web, "/readyz").is_ok_and(|seen| seen == answer)).unwrap();
}
