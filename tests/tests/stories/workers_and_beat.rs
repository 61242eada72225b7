//! Workers and schedulers while releases change: no task is lost or run twice, workers end what they are at, and what may run
//! only once in the environment runs at most once at every moment, and somewhere.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const MANIFEST: &str = "\
[app]
name = \"kinds\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[env]
REDIS_URL = { required = true }

[services.worker]
kind = \"celery-worker\"
app = \"kinds.tasks\"
queues = [\"default\", \"mail\"]
concurrency = 1
start-timeout = \"5s\"

[services.beat]
kind = \"celery-beat\"
app = \"kinds.tasks\"

[services.only]
kind = \"command\"
command = [\"python\", \"-m\", \"kinds.loop\", \"one\"]
singleton = true
";

/// How the processes look of which there may be one.
const SINGLE: [&str; 2] = ["kinds.loop one", "beat --loglevel"];

const LONG_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbatch = 1\nbake = \"10m\"\n";
const SHORT_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbatch = 1\nbake = \"1s\"\n";

#[test]
fn tasks_end_and_what_runs_once_runs_once() {
    let fleet = Fleet::new("workers", &FleetOptions::default().hosts(2)).unwrap();
    let project = Project::new("kinds").unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    let redis = format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip());
    fleet.welcome(&project, SHORT_BAKE, &redis).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    project.release(&fleet, "1.1.0").unwrap();

    let watched = AtomicBool::new(true);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&fleet, &watched, &most));
        // ends the watching also when the story fails
        let _watched = OnDrop(|| watched.store(false, Ordering::Relaxed));
        tell(&fleet, &project);
    });
    assert_eq!(most.load(Ordering::Relaxed), 1, "instances of what may run once, at most, at any moment");
}

fn tell(fleet: &Fleet, project: &Project) {
    let roadstead = |words: &[&str]| fleet.desk.roadstead(&[words, &["--app", "kinds"]].concat()).unwrap();
    roadstead(&["deploy", "staging", "1.0.0"]);
    assert_eq!(homes(fleet), ["web-1", "web-1"], "one of each, on the first host");

    // a long task on each worker and many short ones, across the change of releases
    enqueue(fleet, project, &[("long-1", 12), ("long-2", 12)]);
    began(fleet, 2, "1.0.0");
    let short: Vec<(String, u32)> = (0..20).map(|number| (format!("short-{number}"), 1)).collect();
    enqueue(fleet, project, &short.iter().map(|(name, seconds)| (name.as_str(), *seconds)).collect::<Vec<_>>());
    roadstead(&["deploy", "staging", "1.1.0"]);
    ended(fleet, 22);
    assert_eq!(homes(fleet), ["web-1", "web-1"]);
    let who = fleet.data.sh("redis-cli -n 1 lrange ended 0 -1").unwrap();
    assert!(who.contains("long-1 1.0.0") && who.contains("long-2 1.0.0"), "the old workers ended what they had begun:\n{who}");
    assert!(who.contains(" 1.1.0"), "the new workers took the rest:\n{who}");

    // back while the old workers still end their last tasks: they work again as soon as they have
    roadstead(&["rollback", "staging", "--reason", "cold"]);
    enqueue(fleet, project, &[("longer-1", 30), ("longer-2", 30)]);
    began(fleet, 24, "1.0.0");
    fleet.apply_for("kinds", LONG_BAKE).unwrap();
    let rollout = fleet.begin(&["deploy", "staging", "1.1.0", "--app", "kinds"]).unwrap();
    fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
    roadstead(&["rollback", "staging", "--reason", "warm"]);
    enqueue(fleet, project, &[("last-1", 1), ("last-2", 1)]);
    ended(fleet, 26);
    assert_eq!(homes(fleet), ["web-1", "web-1"]);

    // the host of what runs once leaves for good: another takes it over, without a deployment
    fleet.desk.roadstead(&["host", "revoke", "web-1", "--reason", "it goes", "--yes"]).unwrap();
    wait_until("web-2 to take over what runs once", SOON, || homes(fleet) == ["web-2", "web-2"]).unwrap();
}

/// Hands tasks to the broker, as the app itself does.
fn enqueue(fleet: &Fleet, project: &Project, tasks: &[(&str, u32)]) {
    let calls: String = tasks.iter().map(|(name, seconds)| format!("nap.apply_async(args=['{name}', {seconds}], queue='mail');")).collect();
    let script = format!(
        "cd /srv/roadstead/{}/current && set -a && . /etc/roadstead/apps/kinds.env && ROADSTEAD_VERSION=0 \
         .venv/bin/python -c \"from kinds.tasks import nap; {calls}\"",
        project.name()
    );
    fleet.hosts[1].sh(&script).unwrap();
}

/// Waits until so many tasks have begun in all; the last of them in this version.
fn began(fleet: &Fleet, count: usize, version: &str) {
    let list = || fleet.data.sh("redis-cli -n 1 lrange began 0 -1").unwrap_or_default();
    wait_until(&format!("{count} tasks to have begun"), SOON, || list().lines().count() == count).unwrap();
    assert!(list().lines().last().unwrap_or_default().ends_with(version), "{}", list());
}

/// Waits until so many tasks have ended, and sees that each was run once.
fn ended(fleet: &Fleet, count: usize) {
    let list = |key: &str| {
        let said = fleet.data.sh(&format!("redis-cli -n 1 lrange {key} 0 -1")).unwrap_or_default();
        let mut names: Vec<String> = said.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort();
        names
    };
    wait_until(&format!("{count} tasks to have ended"), SOON, || list("ended").len() >= count).unwrap();
    let all = list("ended");
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once, "no task ran twice");
    assert_eq!(all, list("began"), "no task was begun and lost");
    assert_eq!(all.len(), count);
}

/// On which hosts each of what runs once has a process.
fn homes(fleet: &Fleet) -> Vec<String> {
    let at =
        |single: &str| fleet.hosts.iter().filter(|host| count(host, single) > 0).map(|host| host.name().to_owned()).collect::<Vec<_>>();
    SINGLE.iter().map(|single| at(single).join("+")).collect()
}

fn count(host: &Host, single: &str) -> usize {
    let counted = host.try_sh(&format!("pgrep -fc '[m] .*{single}'")).map(|done| done.stdout).unwrap_or_default();
    counted.trim().parse().unwrap_or(0)
}

/// Looks all the time at how many there are of what may run once, on all hosts together.
fn watch(fleet: &Fleet, watched: &AtomicBool, most: &AtomicUsize) {
    while watched.load(Ordering::Relaxed) {
        for single in SINGLE {
            let now = fleet.hosts.iter().map(|host| count(host, single)).sum();
            most.fetch_max(now, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
