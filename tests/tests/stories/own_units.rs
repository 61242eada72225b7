//! A team that keeps units of its own: they point at `current/`, and a release restarts or reloads those that the host's
//! operator allows. What a host does not allow, lacks, or has in use elsewhere is refused before anything changes.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::Host;
use roadstead_tests::load::Load;
use std::time::Duration;

const MANIFEST: &str = "\
[app]
name = \"kinds\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[env]
REDIS_URL = { required = true }

[services.shop]
kind = \"units\"
units = [\"shop-web.service\"]
cutover = \"reload\"
listen = \"0.0.0.0:9000\"

[services.jobs]
kind = \"units\"
units = [\"shop-jobs.service\"]
cutover = \"restart\"

[services.api]
kind = \"uvicorn\"
app = \"kinds.web:asgi\"
listen = \"0.0.0.0:8002\"
stop-timeout = \"10s\"
";

/// gunicorn as many teams run it: a reload starts new workers, which change to `current/` anew.
const WEB_UNIT: &str = "\
[Service]
User=kinds
WorkingDirectory=/srv/roadstead/kinds/current
ExecStart=/srv/roadstead/kinds/current/.venv/bin/python -m gunicorn --chdir /srv/roadstead/kinds/current --bind 0.0.0.0:9000 --workers 2 kinds.web:wsgi
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
";

const JOBS_UNIT: &str = "\
[Service]
User=kinds
WorkingDirectory=/srv/roadstead/kinds/current
ExecStart=/srv/roadstead/kinds/current/.venv/bin/python -m kinds.loop jobs
";

/// Takes the port that the release wants, as a service that somebody forgot.
const SQUATTER: &str = "\
[Service]
ExecStart=/usr/bin/python3 -m http.server 8002
";

/// Holds the app's listening socket without being of the app's release.
const STRAY: &str = "\
[Service]
Sockets=kinds-api.socket
ExecStart=/bin/sleep infinity
";

#[test]
fn units_of_the_team_come_to_the_release_when_the_host_allows_it() {
    let fleet = Fleet::new("own-units", &FleetOptions::default()).unwrap();
    let project = Project::new("kinds").unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    fleet.welcome(&project, "hosts = \"role=web\"\n[strategy]\nbake = \"1s\"\n", "REDIS_URL=redis://nowhere\n").unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    let host = &fleet.hosts[0];

    // not allowed, not installed, a port in use: each is named, and nothing of the app is here yet
    refused(&fleet, host, "which this host does not let the app kinds touch");
    host.write("/etc/roadstead/agent.toml", "[apps.kinds]\nunits = [\"shop-web.service\", \"shop-jobs.service\"]\n").unwrap();
    host.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
    refused(&fleet, host, "which is not installed on this host");
    install(host, "shop-web", WEB_UNIT);
    install(host, "shop-jobs", JOBS_UNIT);
    install(host, "squatter", SQUATTER);
    host.systemctl(&["start", "squatter"]).unwrap();
    let listens = |host: &Host| host.try_sh("curl -s -o /dev/null http://127.0.0.1:8002/").is_ok_and(|done| done.success());
    host.wait_until("the squatter to listen", SOON, listens).unwrap();
    refused(&fleet, host, "of squatter.service listens");
    host.systemctl(&["stop", "squatter"]).unwrap();

    deploy(&fleet, "1.0.0");
    let loads: Vec<_> = [9000, 8002]
        .map(|port| Load::on(format!("{}:{port}", host.ip())).clients(2).pause(Duration::from_millis(10)).start(&fleet.client()))
        .into();
    loads.iter().for_each(|load| load.wait_for_release("1.0.0", SOON).unwrap());

    project.release(&fleet, "1.1.0").unwrap();
    deploy(&fleet, "1.1.0");
    serves(&fleet, host, "1.1.0");

    // a unit that dies under the new release: all come back to the old one
    project.edit("kinds/loop.py", "print(", "raise SystemExit('no such queue')\nprint(").unwrap();
    project.release(&fleet, "1.2.0").unwrap();
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.2.0", "--app", "kinds"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("shop-jobs.service") && said.contains("no such queue"), "{said}");
    serves(&fleet, host, "1.1.0");

    // somebody else holds the app's socket: who it is becomes known, and the release that could not be proven goes back
    install(host, "stray", STRAY);
    host.systemctl(&["start", "stray"]).unwrap();
    project.edit("kinds/loop.py", "raise SystemExit('no such queue')\n", "").unwrap();
    project.release(&fleet, "1.3.0").unwrap();
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.3.0", "--app", "kinds"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("stray.service"), "{said}");

    for load in loads {
        load.wait_for_more(20, SOON).unwrap();
        let report = load.stop().unwrap();
        println!("{report}");
        assert_eq!(report.failed(), 0, "{report}");
    }
}

fn install(host: &Host, name: &str, unit: &str) {
    host.write(&format!("/etc/systemd/system/{name}.service"), unit).unwrap();
    host.systemctl(&["daemon-reload"]).unwrap();
}

fn deploy(fleet: &Fleet, version: &str) {
    let said = fleet.desk.roadstead(&["deploy", "staging", version, "--app", "kinds"]).unwrap();
    assert!(said.contains("done"), "{said}");
}

/// The first release is not taken, for a reason that is told, and leaves nothing that runs.
fn refused(fleet: &Fleet, host: &Host, why: &str) {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.0.0", "--app", "kinds"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains(why), "{why}: {said}");
    assert!(!host.try_sh("test -e /srv/roadstead/kinds/current").unwrap().success());
    assert_eq!(host.sh("systemctl list-units --plain --no-legend 'kinds-*' | cat").unwrap(), "");
}

/// Requests are answered by the version, and the team's units run in it.
fn serves(fleet: &Fleet, host: &Host, version: &str) {
    for port in [9000, 8002] {
        let fresh = Load::on(format!("{}:{port}", host.ip())).clients(1).without_keep_alive().at_most(20);
        let fresh = fresh.start(&fleet.client()).finish().unwrap();
        assert_eq!(fresh.releases.keys().collect::<Vec<_>>(), [version], "{port}: {fresh}");
    }
    let pid = host.unit_property("shop-jobs.service", "MainPID").unwrap();
    let runs_in = host.sh(&format!("readlink /proc/{pid}/cwd")).unwrap();
    assert!(runs_in.contains(&format!("/releases/{version}-")), "{runs_in}");
}
