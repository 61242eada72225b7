//! A fleet whose hosts have roles: each runs the services that want its labels, within their limits. Hooks run around the steps,
//! and a rollout whose hook fails, hangs or is called off ends with everything as it was.

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
BROKEN_MODE = { default = \"\" }

[services.web]
kind = \"uvicorn\"
app = \"kinds.web:asgi\"
hosts = \"role=web\"
listen = \"0.0.0.0:8002\"
stop-timeout = \"10s\"

[services.web.resources]
memory-max = \"300M\"
cpu-percent = 150
tasks-max = 50
open-files-max = 500

[services.worker]
kind = \"celery-worker\"
app = \"kinds.tasks\"
concurrency = 1
hosts = \"role=worker\"

[services.everywhere]
kind = \"command\"
command = [\"python\", \"-m\", \"kinds.loop\", \"many\"]

[hooks]
before-migrate = [[\"python\", \"-m\", \"kinds.hook\", \"before\"]]
after-migrate = [[\"python\", \"-m\", \"kinds.hook\", \"after\"]]
after-cutover = [[\"python\", \"-m\", \"kinds.hook\", \"cutover\"]]

[steps]
migrate-timeout = \"8s\"
";

const ENVIRONMENT: &str = "hosts = \"\"\n[strategy]\nbatch = 1\nmax-unavailable = 1\nbake = \"1s\"\n";

#[test]
fn hosts_run_what_their_role_is_and_hooks_decide_with_the_release() {
    let fleet = Fleet::new("roles", &FleetOptions::default().hosts(2).labels(&["role=web", "role=worker"])).unwrap();
    let project = Project::new("kinds").unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    let redis = format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip());
    fleet.welcome(&project, ENVIRONMENT, &redis).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    deploy(&fleet, "1.0.0");
    roles(&fleet);
    limits(&fleet.hosts[0]);
    assert_eq!(hooks(&fleet), ["before 1.0.0 web-1", "after 1.0.0 web-1", "cutover 1.0.0 web-1", "cutover 1.0.0 web-2"]);
    let load = Load::on(format!("{}:8002", fleet.hosts[0].ip())).clients(2).pause(Duration::from_millis(10)).start(&fleet.client());

    // before the database moves: what the hook says is the answer, and the same release passes once the cause is gone
    project.release(&fleet, "1.1.0").unwrap();
    tell_hook(&fleet, "set fail:before 1");
    let said = fails(&fleet, "1.1.0");
    assert!(said.contains("kinds.hook before") && said.contains("was told to fail"), "{said}");
    tell_hook(&fleet, "del fail:before");

    // one that hangs with children of its own: all of them are gone at its deadline
    tell_hook(&fleet, "set hang:after 1");
    let said = fails(&fleet, "1.1.0");
    assert!(said.contains("kinds.hook after") && said.contains("took too long and was stopped"), "{said}");
    let left = fleet.hosts[0].sh("pgrep -fa '[l]eft behind' || true").unwrap();
    assert_eq!(left, "", "the whole cgroup is gone");
    tell_hook(&fleet, "del hang:after");
    let rollout = last_rollout(&fleet);
    let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
    assert!(logs.contains("hook before of 1.1.0 ends") && logs.contains("hook hangs"), "what it said is kept:\n{logs}");

    // called off by the operator while it migrates, and while the second host moves
    called_off(&fleet, "before", "migrating");
    called_off(&fleet, "cutover", "moving");
    deploy(&fleet, "1.1.0");
    serves(&fleet, "1.1.0");

    // after the cutover of the second host: the first goes back too
    project.release(&fleet, "1.2.0").unwrap();
    fleet.hosts[1].sh("echo 'BROKEN_MODE=cutover' >>/etc/roadstead/apps/kinds.env").unwrap();
    let said = fails(&fleet, "1.2.0");
    assert!(said.contains("kinds.hook cutover") && said.contains("broken on this host"), "{said}");
    serves(&fleet, "1.1.0");

    load.wait_for_more(20, SOON).unwrap();
    let report = load.stop().unwrap();
    println!("{report}");
    assert_eq!(report.failed(), 0, "{report}");
}

fn deploy(fleet: &Fleet, version: &str) {
    fleet.desk.roadstead(&["deploy", "staging", version, "--app", "kinds"]).unwrap();
}

/// The rollout fails; what the operator reads.
fn fails(fleet: &Fleet, version: &str) -> String {
    let before = standing(fleet);
    let done = fleet.desk.try_roadstead(&["deploy", "staging", version, "--app", "kinds"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert_eq!(standing(fleet), before, "{said}");
    said
}

/// What runs where. Whether somebody changed it there is looked at by the clock, and no matter here.
fn standing(fleet: &Fleet) -> Vec<serde_json::Value> {
    let mut rows = fleet.desk.json(&["status"]).unwrap().as_array().unwrap().clone();
    rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("drift")));
    rows
}

/// A rollout that a hook holds up in a phase is ended by the operator; meanwhile nobody else can start one.
fn called_off(fleet: &Fleet, hook: &str, phase: &str) {
    tell_hook(fleet, &format!("set hold:{hook} 1"));
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0", "--app", "kinds"]).unwrap();
    fleet.wait_for_phase(&rollout, phase, SOON).unwrap();
    fleet.hosts[0].wait_until("the hook to run", SOON, |_| hooks(fleet).last().is_some_and(|last| last.starts_with(hook))).unwrap();
    let second = fleet.desk.try_roadstead(&["deploy", "staging", "1.1.0", "--app", "kinds"]).unwrap();
    assert_eq!(second.code, Some(3), "{}{}", second.stdout, second.stderr);
    assert!(second.stderr.contains(&rollout), "{}", second.stderr);
    fleet.desk.roadstead(&["rollout", "abort", &rollout, "--reason", "a story"]).unwrap();
    tell_hook(fleet, &format!("del hold:{hook}"));
    serves(fleet, "1.0.0");
}

fn last_rollout(fleet: &Fleet) -> String {
    let all = fleet.desk.json(&["rollout", "list"]).unwrap();
    all[0]["rollout"].as_str().unwrap().to_owned()
}

fn tell_hook(fleet: &Fleet, command: &str) {
    fleet.data.sh(&format!("redis-cli -n 1 {command}")).unwrap();
}

fn hooks(fleet: &Fleet) -> Vec<String> {
    let said = fleet.data.sh("redis-cli -n 1 lrange hooks 0 -1").unwrap();
    said.lines().map(str::to_owned).collect()
}

/// Both hosts run the version, each its own services.
fn serves(fleet: &Fleet, version: &str) {
    for (host, service) in [(0, "web"), (1, "worker"), (0, "everywhere"), (1, "everywhere")] {
        let units =
            fleet.hosts[host].sh(&format!("systemctl list-units --state=active --plain --no-legend 'kinds-{service}@*' | cat")).unwrap();
        assert!(units.contains(&format!("@{version}-")), "{service} on {}:\n{units}", fleet.hosts[host].name());
    }
    let fresh = Load::on(format!("{}:8002", fleet.hosts[0].ip())).clients(1).without_keep_alive().at_most(20);
    let fresh = fresh.start(&fleet.client()).finish().unwrap();
    assert_eq!(fresh.releases.keys().collect::<Vec<_>>(), [version], "{fresh}");
}

/// The web server runs on the web host alone, the worker on the worker's, the rest on both.
fn roles(fleet: &Fleet) {
    let running = |host: &Host| {
        let units = host.sh("systemctl list-units --state=active --plain --no-legend 'kinds-*@*' | cat").unwrap();
        let mut names: Vec<String> = units.lines().filter_map(|line| line.split('@').next()).map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(running(&fleet.hosts[0]), ["kinds-everywhere", "kinds-web"]);
    assert_eq!(running(&fleet.hosts[1]), ["kinds-everywhere", "kinds-worker"]);
}

/// The limits are systemd's, and the unit is hardened.
fn limits(host: &Host) {
    let unit = host.sh("systemctl list-units --plain --no-legend 'kinds-web@*' | cut -d' ' -f1").unwrap();
    let unit = unit.trim();
    for (property, value) in [
        ("MemoryMax", "314572800"),
        ("CPUQuotaPerSecUSec", "1.500000s"),
        ("TasksMax", "50"),
        ("LimitNOFILE", "500"),
        ("NoNewPrivileges", "yes"),
    ] {
        assert_eq!(host.unit_property(unit, property).unwrap(), value, "{property}");
    }
    let judged = host.sh(&format!("systemd-analyze security --no-pager {unit} | tail -n 1")).unwrap();
    println!("{}", judged.trim());
    let exposure = judged.split_whitespace().find_map(|word| word.parse::<f32>().ok()).unwrap();
    assert!(exposure < 5.0, "systemd finds it exposed: {judged}");
}
