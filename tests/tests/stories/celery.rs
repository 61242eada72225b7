//! A thousand tasks on each of two brokers while their workers' releases change ten times, forwards and backwards, broken and called off:
//! every task runs once, also one that a process of its worker has in its pipe and has not begun when the worker is told to stop. What is
//! cut off at the end of its time runs again when it is acknowledged late, and never otherwise.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::{Host, wait_until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Long tasks end within this, however many wait.
const DRAINED: Duration = Duration::from_secs(240);
const TASKS: usize = 1000;
const PORTIONS: usize = 10;
/// Tasks that wait in pipes, and who could have them: two workers on each of two hosts.
const PIPED: usize = 8;
const WORKERS: usize = 4;

/// How it begins in a release that fails.
const BROKEN: &str = "raise RuntimeError('this release has no workers')\n";

const SHORT_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbatch = 2\nmax-unavailable = 2\nbake = \"1s\"\n";
const LONG_BAKE: &str = "hosts = \"role=web\"\n[strategy]\nbatch = 2\nmax-unavailable = 2\nbake = \"10m\"\n";

/// Two workers: one that prefetches as Celery does by itself, and one that takes what it runs.
fn manifest(app: &str, concurrency: u32, stop_timeout: &str) -> String {
    let worker = |name: &str, prefetch: u32| {
        format!(
            "[services.{name}]\nkind = \"celery-worker\"\napp = \"jobs.tasks\"\nqueues = [\"jobs\"]\nconcurrency = {concurrency}\n\
             arguments = [\"--prefetch-multiplier={prefetch}\"]\nstop-timeout = \"{stop_timeout}\"\n\n"
        )
    };
    format!(
        "[app]\nname = \"{app}\"\npython = \"3.11\"\n\n[dependencies]\nfiles = [\"requirements.txt\"]\n\n[env]\n\
         BROKER_URL = {{ required = true }}\nSTORE_URL = {{ required = true }}\n\n{}{}",
        worker("four", 4),
        worker("one", 1)
    )
}

/// An app and its broker.
struct Jobs<'a> {
    fleet: &'a Fleet,
    project: Project,
    store: u32,
}

#[test]
fn every_task_runs_once_while_releases_change() {
    let fleet = Fleet::new("celery", &FleetOptions::default().hosts(2)).unwrap();
    fleet.data.start_rabbitmq("jobs").unwrap();
    let data = fleet.data.ip();
    let brokers = [("on-redis", format!("redis://{data}:6379/1"), 3), ("on-rabbit", format!("amqp://jobs:jobs@{data}:5672//"), 4)];
    std::thread::scope(|scope| {
        let told: Vec<_> = brokers.iter().map(|(app, broker, store)| scope.spawn(|| tell(&fleet, app, broker, *store))).collect();
        for one in told {
            println!("{}", one.join().unwrap());
        }
    });
}

fn tell(fleet: &Fleet, app: &str, broker: &str, store: u32) -> String {
    let project = Project::named("jobs", app).unwrap();
    let variables = format!("BROKER_URL={broker}\nSTORE_URL=redis://{}:6379/{store}\n", fleet.data.ip());
    fleet.welcome(&project, SHORT_BAKE, &variables).unwrap();
    let jobs = Jobs { fleet, project, store };
    jobs.make_releases();
    jobs.roadstead(&["deploy", "staging", "1.0.0"]);
    let began = Instant::now();
    let said = jobs.ten_rollouts();
    let left = said.lines().filter(|line| line.contains(" waits: ") && line.contains(" left (jobs.tasks.")).count();
    assert!(left > 0, "what workers still ran was told:\n{said}");
    assert!(!said.contains("cut off"), "nothing was cut off:\n{said}");
    wait_until(&format!("all tasks {app}"), DRAINED, || jobs.count("end") >= TASKS && jobs.all_ended()).unwrap();
    let took = began.elapsed().as_secs();
    let log = jobs.log();
    let runs = |what: &str| log.values().map(|events| count(events, what)).collect::<Vec<_>>();
    let (began, ended) = (runs("begin"), runs("end"));
    let not_once: Vec<_> = log.iter().filter(|(_, events)| count(events, "begin") != 1 || count(events, "end") != 1).collect();
    assert!(not_once.is_empty(), "{app}: {not_once:?}");
    assert_eq!(log.len(), TASKS);
    jobs.in_pipes();
    let cut_off = jobs.cut_off();
    let (begun, ended): (usize, usize) = (began.iter().sum(), ended.iter().sum());
    format!(
        "{app}: {TASKS} tasks in {took} s across ten rollouts: {begun} began, {ended} ended, 0 twice, 0 lost; {left} times it was told what workers still ran; \
         {PIPED} tasks that stood still in pipes ran once; {cut_off}"
    )
}

impl Jobs<'_> {
    fn make_releases(&self) {
        self.project.write("roadstead.toml", &manifest(self.project.name(), 2, "60s")).unwrap();
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            self.project.release(self.fleet, version).unwrap();
        }
        let tasks = std::fs::read_to_string(self.project.repository().join("jobs/tasks.py")).unwrap();
        self.project.write("jobs/tasks.py", &format!("{BROKEN}{tasks}")).unwrap();
        self.project.release(self.fleet, "1.3.0").unwrap();
        self.project.write("jobs/tasks.py", &tasks).unwrap();
        self.project.write("roadstead.toml", &manifest(self.project.name(), 4, "8s")).unwrap();
        self.project.release(self.fleet, "2.0.0").unwrap();
    }

    /// Each begins while tasks run and more wait. All that the command said.
    fn ten_rollouts(&self) -> String {
        let mut said = String::new();
        for portion in 0..PORTIONS {
            self.feed(&tasks(portion));
            wait_until("tasks to run", SOON, || self.count("begin") > self.count("end")).unwrap();
            said += &match portion {
                1 | 8 => self.roadstead(&["rollback", "staging", "--reason", "a story"]),
                4 => self.fails("1.3.0"),
                6 => self.called_off("1.0.0"),
                0 | 7 => self.roadstead(&["deploy", "staging", "1.1.0"]),
                2 => self.roadstead(&["deploy", "staging", "1.2.0"]),
                3 | 9 => self.roadstead(&["deploy", "staging", "1.0.0"]),
                _ => self.roadstead(&["deploy", "staging", "1.2.0"]),
            };
        }
        said
    }

    /// The processes of all workers stand still while they are handed tasks and their workers are told to stop: Celery by itself runs again,
    /// elsewhere, what they find in their pipes when they go on.
    fn in_pipes(&self) {
        let processes: Vec<String> = self.fleet.hosts.iter().map(|host| self.processes(host)).collect();
        self.signal(&processes, "STOP");
        let (received, told) = (self.logged(" received$"), self.logged("Warm shutdown"));
        let piped: Vec<String> = (0..PIPED).map(|number| format!("{},piped-{number},0.2", ["late", "early"][number % 2])).collect();
        self.feed(&piped);
        wait_until("workers to have the tasks", SOON, || self.logged(" received$") >= received + PIPED).unwrap();
        let rollout = self.fleet.begin(&["deploy", "staging", "1.1.0", "--app", self.project.name()]).unwrap();
        wait_until("old workers to be told", SOON * 2, || self.logged("Warm shutdown") >= told + WORKERS).unwrap();
        self.signal(&processes, "CONT");
        let done = self.fleet.watch(&rollout).unwrap();
        assert!(done.success(), "{}{}", done.stdout, done.stderr);
        wait_until("the tasks in pipes", SOON, || self.count("end") >= TASKS + PIPED).unwrap();
        let log = self.log();
        let runs = |(name, events): (&String, &Vec<String>)| (name.clone(), count(events, "begin"), count(events, "end"));
        let not_once: Vec<_> = log.iter().map(runs).filter(|(_, begun, ended)| (*begun, *ended) != (1, 1)).collect();
        assert!(not_once.is_empty(), "{}: {not_once:?}", self.project.name());
        assert_eq!(log.len(), TASKS + PIPED);
    }

    /// What the workers of the app on a host run tasks in.
    fn processes(&self, host: &Host) -> String {
        let app = self.project.name();
        let script = format!(
            "for unit in $(systemctl list-units --state=running --plain --no-legend '{app}-four@*' '{app}-one@*' | cut -d ' ' -f 1); do \
             pgrep -P $(systemctl show -P MainPID $unit); done"
        );
        host.sh(&script).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn signal(&self, processes: &[String], signal: &str) {
        for (host, processes) in self.fleet.hosts.iter().zip(processes) {
            host.sh(&format!("kill -{signal} {processes}")).unwrap();
        }
    }

    /// How many lines of the workers' output have these words, on all hosts.
    fn logged(&self, words: &str) -> usize {
        let app = self.project.name();
        let script = format!("journalctl -q -o cat -u '{app}-four@*' -u '{app}-one@*' | grep -c '{words}' || true");
        self.fleet.hosts.iter().map(|host| host.sh(&script).unwrap().trim().parse::<usize>().unwrap()).sum()
    }

    /// Of four tasks that are longer than their workers' time, the two that are acknowledged late run again, once.
    fn cut_off(&self) -> String {
        self.roadstead(&["deploy", "staging", "2.0.0"]);
        let before = self.count("begin");
        let long: Vec<String> =
            ["late,cut-late-1,15", "early,cut-early-1,15", "late,cut-late-2,15", "early,cut-early-2,15"].map(str::to_owned).to_vec();
        self.feed(&long);
        wait_until("the long tasks to run", SOON, || self.count("begin") == before + 4).unwrap();
        let said = self.roadstead(&["deploy", "staging", "1.2.0"]);
        let told: Vec<&str> = said.lines().filter(|line| line.contains("cut off when its 8.0 s were over")).collect();
        assert!(!told.is_empty(), "it is told what was cut off:\n{said}");
        wait_until("what was cut off to run again", SOON, || self.count("end") == TASKS + PIPED + 2).unwrap();
        let log = self.log();
        let runs = |name: &str| log.get(name).map(|events| (count(events, "begin"), count(events, "end")));
        assert_eq!([runs("cut-late-1"), runs("cut-late-2")], [Some((2, 1)); 2], "what is acknowledged late ran again:\n{said}");
        assert_eq!([runs("cut-early-1"), runs("cut-early-2")], [Some((1, 0)); 2], "what is acknowledged early did not:\n{said}");
        let history = self.fleet.desk.history("host-untidy").unwrap();
        let lines = history.iter().filter(|(_, text)| text.contains("cut off") && text.contains("jobs.tasks.")).count();
        assert!(lines > 0, "the history tells it: {history:?}");
        "of 4 tasks that were cut off, 2 ran again".to_owned()
    }

    fn roadstead(&self, words: &[&str]) -> String {
        let done = self.fleet.desk.try_roadstead(&[words, &["--app", self.project.name()]].concat()).unwrap();
        assert!(done.success(), "{words:?}: {}{}", done.stdout, done.stderr);
        format!("{}{}", done.stdout, done.stderr)
    }

    /// A release whose workers do not start: it goes back.
    fn fails(&self, version: &str) -> String {
        let done = self.fleet.desk.try_roadstead(&["deploy", "staging", version, "--app", self.project.name()]).unwrap();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(1), "{said}");
        assert!(said.contains("this release has no workers"), "{said}");
        said
    }

    /// A rollout that an operator ends while both hosts have moved.
    fn called_off(&self, version: &str) -> String {
        let app = self.project.name();
        self.fleet.apply_for(app, LONG_BAKE).unwrap();
        let rollout = self.fleet.begin(&["deploy", "staging", version, "--app", app]).unwrap();
        self.fleet.wait_for_phase(&rollout, "baking", SOON * 2).unwrap();
        let done = self.fleet.desk.try_roadstead(&["rollout", "abort", &rollout, "--reason", "a story"]).unwrap();
        assert!(done.success(), "{}{}", done.stdout, done.stderr);
        self.fleet.apply_for(app, SHORT_BAKE).unwrap();
        format!("{}{}", done.stdout, done.stderr)
    }

    /// Hands tasks to the broker, as the app itself does.
    fn feed(&self, tasks: &[String]) {
        let app = self.project.name();
        let script = format!(
            "cd /srv/roadstead/{app}/current && set -a && . /etc/roadstead/apps/{app}.env && ROADSTEAD_VERSION=0 \
             .venv/bin/python -m jobs.feed {}",
            tasks.join(" ")
        );
        self.fleet.hosts[0].sh(&script).unwrap();
    }

    /// What each task wrote down.
    fn log(&self) -> BTreeMap<String, Vec<String>> {
        let mut log: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for what in ["begin", "end"] {
            let said = self.fleet.data.sh(&format!("redis-cli -n {} lrange {what} 0 -1", self.store)).unwrap();
            for line in said.lines() {
                let (name, version) = line.split_once(' ').unwrap();
                log.entry(name.to_owned()).or_default().push(format!("{what} {version}"));
            }
        }
        log
    }

    /// Whether every task that is known has ended, however often.
    fn all_ended(&self) -> bool {
        let log = self.log();
        log.len() == TASKS && log.values().all(|events| count(events, "end") > 0)
    }

    fn count(&self, what: &str) -> usize {
        self.fleet.data.sh(&format!("redis-cli -n {} llen {what}", self.store)).unwrap().trim().parse().unwrap()
    }
}

fn count(events: &[String], what: &str) -> usize {
    events.iter().filter(|event| event.split(' ').next() == Some(what)).count()
}

/// A tenth of all tasks: of each hundred one takes 20 s, three 5 s, 16 a second, and the others hardly any time; every second one is
/// acknowledged late.
fn tasks(portion: usize) -> Vec<String> {
    let each = TASKS / PORTIONS;
    let task = |number: usize| {
        let seconds = match number * 37 % each {
            0 => "20",
            1..=3 => "5",
            4..=19 => "1",
            20..=59 => "0.2",
            _ => "0.05",
        };
        let kind = if (number + portion).is_multiple_of(2) { "late" } else { "early" };
        format!("{kind},job-{portion}-{number},{seconds}")
    };
    (0..each).map(task).collect()
}
