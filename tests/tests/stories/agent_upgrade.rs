//! Packages are upgraded while the application runs under load and while a rollout is under way: users notice nothing, the rollout goes on.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Profile, packages, repacked};
use roadstead_tests::lab::{Host, wait_until};
use roadstead_tests::load::Load;
use std::path::Path;
use std::time::Duration;

#[test]
fn an_upgrade_of_the_packages_touches_no_application() {
    let fleet = Fleet::new("upgrade-deb", &FleetOptions::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    let packages = packages(Profile::Dev).unwrap();
    let folder = fleet.desk.folder();
    let agents = ["9.1", "9.2"].map(|version| repacked(&packages.agent, version, &folder.join("agent")).unwrap());
    let controller = repacked(&packages.controller, "9.1", &folder.join("controller")).unwrap();
    let web = &fleet.hosts[0];
    web.sh("echo '# written by an admin' >>/etc/roadstead/agent.toml").unwrap();
    let load = Load::on(format!("{}:80", web.ip())).path("/healthz").clients(2).pause(Duration::from_millis(5)).start(&fleet.client());
    load.wait_for_more(100, SOON).unwrap();

    let (agent, processes) = (main_process(web, "roadstead-agent"), processes(web));
    install(web, &agents[0], "roadstead-agent", "9.1");
    assert_ne!(main_process(web, "roadstead-agent"), agent, "the new program runs");
    assert_eq!(self::processes(web), processes, "no unit of the application was touched");
    assert!(web.read("/etc/roadstead/agent.toml").unwrap().contains("written by an admin"));
    fleet.wait_for_all().unwrap();
    load.wait_for_more(100, SOON).unwrap();

    // Both are replaced while a rollout is under way.
    fleet.push("1.1.0").unwrap();
    let rollout = fleet.desk.json(&["deploy", "staging", "1.1.0", "--no-wait"]).unwrap()["rollout"].as_str().unwrap().to_owned();
    let under_way = || fleet.desk.json(&["rollout", "show", &rollout]).is_ok_and(|shown| shown["phase"] == "moving");
    wait_until("the rollout to move the host", SOON, under_way).unwrap();
    install(web, &agents[1], "roadstead-agent", "9.2");
    install(&fleet.controller, &controller, "roadstead-controller", "9.1");
    let ended = || fleet.desk.json(&["rollout", "show", &rollout]).is_ok_and(|shown| shown["ended_at_ms"] != 0);
    wait_until("the rollout to end", SOON * 2, ended).unwrap();
    let said = fleet.desk.roadstead(&["rollout", "watch", &rollout]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"], "{said}");
    load.wait_for_release("1.1.0", SOON).unwrap();
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");

    // An agent that an admin switched off stays off through an upgrade.
    web.systemctl(&["disable", "--now", "roadstead-agent"]).unwrap();
    install(web, &agents[1], "roadstead-agent", "9.2");
    assert_eq!(web.unit_property("roadstead-agent", "ActiveState").unwrap(), "inactive");
}

/// Installs a package as an admin at a terminal that nobody sits at: a question would be a failure.
fn install(host: &Host, package: &Path, name: &str, version: &str) {
    host.push_file(package, "/var/tmp/newer.deb").unwrap();
    host.sh("dpkg -i /var/tmp/newer.deb </dev/null").unwrap();
    let installed = host.exec(&["dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", name]).unwrap();
    assert_eq!(installed, format!("{version} installed"));
}

fn main_process(host: &Host, unit: &str) -> String {
    host.unit_property(unit, "MainPID").unwrap()
}

/// The application's units with their main processes.
fn processes(host: &Host) -> String {
    let units = "systemctl list-units --plain --no-legend 'erp-*' | cut -d ' ' -f 1";
    let shown = host
        .sh(&format!("for unit in $({units}); do echo \"$unit $(systemctl show -P MainPID -P NRestarts $unit | xargs)\"; done"))
        .unwrap();
    assert!(shown.contains("erp-web@") && shown.contains("erp-worker@") && shown.contains("erp-beat@"), "{shown}");
    shown
}
