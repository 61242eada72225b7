//! Celery workers that do not behave, and a broker that is away: nobody hangs, what is not known is said to be unknown, and what a worker
//! says of itself is believed no more than it must be.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Execution, wait_until};

const MANIFEST: &str = "\
[app]
name = \"jobs\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[env]
BROKER_URL = { required = true }
STORE_URL = { required = true }

[services.worker]
kind = \"celery-worker\"
app = \"jobs.tasks\"
queues = [\"jobs\"]
concurrency = 1
stop-timeout = \"10s\"
";

/// It hears no request to end, and tells systemd what no terminal should see.
const DEAF: &str = "\
from celery.signals import worker_ready

@worker_ready.connect
def deaf(**_):
    import signal, socket
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto('STATUS=7 tasks left: \\x1b[31mred since 14:01:02'.encode(), '/run/systemd/notify')
";

#[test]
fn bad_workers_and_an_absent_broker_hold_up_nobody() {
    let fleet = Fleet::new("celery-bad", &FleetOptions::default()).unwrap();
    fleet.data.start_rabbitmq("jobs").unwrap();
    let (project, data) = (Project::new("jobs").unwrap(), fleet.data.ip());
    let variables = format!("BROKER_URL=amqp://jobs:jobs@{data}:5672//\nSTORE_URL=redis://{data}:6379/3\n");
    fleet.welcome(&project, "hosts = \"role=web\"\n[strategy]\nbake = \"1s\"\n", &variables).unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    let tasks = std::fs::read_to_string(project.repository().join("jobs/tasks.py")).unwrap();
    project.write("jobs/tasks.py", &format!("{tasks}\n{DEAF}")).unwrap();
    project.release(&fleet, "1.1.0").unwrap();
    project.write("jobs/tasks.py", &tasks).unwrap();
    project.release(&fleet, "1.2.0").unwrap();
    project.release(&fleet, "1.3.0").unwrap();

    deploy(&fleet, "1.0.0");
    deploy(&fleet, "1.1.0");
    let is_deaf = |done: Execution| done.stdout.contains("7 tasks left");
    let ask = "systemctl show --property=StatusText 'jobs-worker@1.1.0*'";
    fleet.hosts[0].wait_until("the worker to be deaf", SOON, |host| host.try_sh(ask).is_ok_and(is_deaf)).unwrap();
    deaf(&deploy(&fleet, "1.2.0"));
    without_broker(&fleet);
}

/// Its cap holds, and what it said is neither believed nor shown.
fn deaf(said: &str) {
    assert!(said.contains("confirm waits: worker of 1.1.0-") && said.contains(": tasks unknown, waited for until "), "{said}");
    assert!(said.contains("did not end within its 10.0 s and was killed, tasks unknown"), "{said}");
    assert!(!said.contains("7 tasks") && !said.contains('\u{1b}'), "{said}");
}

/// Releases change while the broker is away, and the workers of the new one work once it is back.
fn without_broker(fleet: &Fleet) {
    feed(fleet, "early,before,0.1");
    ended(fleet, 1);
    fleet.data.systemctl(&["stop", "rabbitmq-server"]).unwrap();
    let said = deploy(fleet, "1.3.0");
    let units = fleet.hosts[0].sh("systemctl list-units --all --plain --no-legend 'jobs-worker@*' | cut -d' ' -f1").unwrap();
    assert!(units.lines().all(|unit| unit.starts_with("jobs-worker@1.3.0")), "the old worker has ended:\n{units}\n{said}");
    fleet.data.systemctl(&["start", "rabbitmq-server"]).unwrap();
    feed(fleet, "late,after,0.1");
    ended(fleet, 2);
    let log = fleet.data.sh("redis-cli -n 3 lrange end 0 -1").unwrap();
    assert_eq!(log.trim(), "before 1.2.0\nafter 1.3.0");
}

fn deploy(fleet: &Fleet, version: &str) -> String {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", version, "--app", "jobs"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    println!("{said}");
    assert!(done.success(), "{said}");
    said
}

fn feed(fleet: &Fleet, task: &str) {
    let script = format!(
        "cd /srv/roadstead/jobs/current && set -a && . /etc/roadstead/apps/jobs.env && ROADSTEAD_VERSION=0 .venv/bin/python -m jobs.feed {task}"
    );
    fleet.hosts[0].sh(&script).unwrap();
}

fn ended(fleet: &Fleet, count: usize) {
    let all = || fleet.data.sh("redis-cli -n 3 llen end").unwrap_or_default();
    wait_until(&format!("{count} tasks to have ended"), SOON, || all().trim() == count.to_string()).unwrap();
}
