//! The packages go, and take with them what they made, but not the application: it serves on, survives a crash and a reboot, and comes
//! back under management when an agent is installed again.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Profile, packages};
use roadstead_tests::lab::Host;
use roadstead_tests::load::Load;
use std::time::Duration;

#[test]
fn the_application_outlives_the_packages() {
    let fleet = Fleet::new("purge", &FleetOptions::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    let web = &fleet.hosts[0];
    what_the_packages_hold(web, &fleet.controller);
    let load = Load::on(format!("{}:80", web.ip())).path("/healthz").clients(2).pause(Duration::from_millis(5)).start(&fleet.client());
    load.wait_for_more(100, SOON).unwrap();

    let said = web.sh("apt-get purge -qq -y roadstead-agent </dev/null 2>&1").unwrap();
    assert!(said.contains("go on running"), "{said}");
    for gone in [
        "/usr/bin/roadstead-agent",
        "/usr/lib/systemd/system/roadstead-agent.service",
        "/etc/systemd/system/multi-user.target.wants/roadstead-agent.service",
        "/etc/roadstead/agent.toml",
        "/etc/roadstead/release-keys.toml",
        "/var/lib/roadstead-agent/identity",
        "/var/lib/roadstead-agent/journal",
        "/var/lib/roadstead-agent/blobs",
    ] {
        assert!(!exists(web, gone), "{gone} is left behind");
    }
    load.wait_for_more(100, SOON).unwrap();
    let report = load.stop().unwrap();
    assert_eq!(report.failed(), 0, "{report}");

    // Nobody is there to help it up.
    web.kill_unit("erp-web@*").unwrap();
    serves(&fleet, web, "1.0.0");
    web.reboot().unwrap();
    serves(&fleet, web, "1.0.0");

    let known = fleet.desk.json(&["host", "list"]).unwrap();
    fleet.desk.roadstead(&["host", "revoke", known[0]["id"].as_str().unwrap(), "--reason", "made anew", "--yes"]).unwrap();
    fleet.add(web, &packages(Profile::Dev).unwrap().agent).unwrap();
    fleet.wait_for_all().unwrap();
    fleet.deploy("1.1.0").unwrap();
    serves(&fleet, web, "1.1.0");

    fleet.controller.sh("apt-get purge -qq -y roadstead-controller </dev/null 2>&1").unwrap();
    for gone in ["/usr/bin/roadstead-controller", "/etc/roadstead", "/var/lib/roadstead-controller"] {
        assert!(!exists(&fleet.controller, gone), "{gone} is left behind");
    }
    serves(&fleet, web, "1.1.0");
}

/// Programs, units, manuals and completions are where Debian looks for them, and the units are shut in.
fn what_the_packages_hold(web: &Host, control: &Host) {
    for (host, name) in [(web, "roadstead-agent"), (control, "roadstead-controller")] {
        let files = host.exec(&["dpkg", "-L", name]).unwrap();
        for file in [
            format!("/usr/bin/{name}"),
            format!("/usr/share/man/man1/{name}.1.gz"),
            format!("/usr/share/bash-completion/completions/{name}"),
            format!("/usr/share/zsh/vendor-completions/_{name}"),
            format!("/usr/share/fish/vendor_completions.d/{name}.fish"),
            format!("/usr/share/doc/{name}/copyright"),
        ] {
            assert!(files.lines().any(|line| line == file), "{name} has no {file}");
        }
        let manual = host.sh(&format!("zcat /usr/share/man/man1/{name}.1.gz")).unwrap();
        assert!(manual.contains(".TH ") && manual.contains(".SH NAME") && manual.contains(".SH SYNOPSIS"), "{manual}");
        let completion = format!(". /usr/share/bash-completion/completions/{name} && complete -p {name}");
        host.exec(&["bash", "-c", &completion]).unwrap();
        let exposure = host.sh(&format!("systemd-analyze security --no-pager {name} | tail -n 1")).unwrap();
        println!("{name}: {exposure}");
    }
}

fn exists(host: &Host, path: &str) -> bool {
    host.try_exec(&["test", "-e", path]).unwrap().success()
}

fn serves(fleet: &Fleet, host: &Host, version: &str) {
    let answers = |host: &Host| fleet.ask(host, "/healthz").is_ok_and(|answer| answer == (200, version.to_owned()));
    host.wait_until(&format!("{version} to answer"), SOON, answers).unwrap();
}
