//! Where the kills happen: a fleet whose host serves the old release and has nothing of the new one, again and again.

use super::cells::{Act, Cell};
use super::rows::Scenario;
use crate::{SOON, s3_server};
use roadstead_model::StepName;
use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Project, Stopper, strays};
use roadstead_tests::lab::{Host, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Static files that the new release has beyond those of the old one.
const PUBLISHED: u32 = 100;
/// The release that serves before and, where all goes back, after.
pub(super) const OLD: &str = "1.0.0";

/// A fleet of one host.
pub(super) struct Ground {
    pub(super) fleet: Fleet,
    pub(super) host: Host,
    pub(super) journals: Journals,
    pub(super) stopper: Stopper,
    /// How long each step takes that nobody disturbs.
    pub(super) times: BTreeMap<String, Duration>,
    /// The new release, as often as it takes: one that fails is not deployed twice.
    good: Series,
    /// A release that fails its checks.
    broken: Series,
    /// What a deployment of `good` leaves that nobody disturbs.
    pub(super) good_files: String,
    /// What the host has before.
    pub(super) old_files: String,
}

/// Versions of one project that differ in nothing but their number.
struct Series {
    project: Project,
    major: u32,
    count: u32,
}

impl Series {
    fn version(&self) -> String {
        format!("{}.0.{}", self.major, self.count)
    }
}

impl Ground {
    pub(super) fn new(name: &str) -> Self {
        let policy = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
        // a host that is cut off is noticed soon
        let settings = "heartbeat-seconds = 2\n";
        let fleet = Fleet::new(name, &FleetOptions::default().policy(policy).settings(settings)).unwrap();
        let host = fleet.hosts[0].clone();
        publishes(&fleet, &host);
        fleet.deploy(OLD).unwrap();
        host.exec(&["touch", "/root/first"]).unwrap();
        keep_database(&fleet);
        let series = |from: &str, major| Series { project: Project::of_erp(&fleet, from).unwrap(), major, count: 0 };
        let (good, broken) = (series("1.1.0", 2), series("1.2.1", 3));
        // packages of its own, so that there is an environment to be made
        good.project.edit("requirements.txt", "redis==5.2.1", "redis==5.2.1\nsix==1.17.0").unwrap();
        let job = "[jobs.recount]\ncommand = [\"python\", \"-c\", \"import time; time.sleep(2)\"]\n\n[static]";
        good.project.edit("roadstead.toml", "[static]", job).unwrap();
        // so many static files that they take a while
        (0..PUBLISHED).for_each(|number| good.project.write(&format!("static/many/{number}.txt"), &format!("{number}")).unwrap());
        let (journals, stopper) = (Journals::of(&host), Stopper::install(&host).unwrap());
        fleet.wait_for_all().unwrap();
        let (good_files, old_files) = (String::new(), String::new());
        let mut ground = Self { fleet, host, journals, stopper, times: BTreeMap::new(), good, broken, good_files, old_files };
        ground.back_to_the_old();
        ground.old_files = ground.files();
        ground.renew_good();
        ground
    }

    /// The version that a scenario deploys.
    pub(super) fn new_version(&self, scenario: Scenario) -> String {
        match scenario {
            Scenario::Deploy | Scenario::Rollback | Scenario::Abort | Scenario::Restore | Scenario::Recheck | Scenario::Job => {
                self.good.version()
            }
            Scenario::Broken => self.broken.version(),
        }
    }

    /// The next version of the good release, and what a host looks like that serves it.
    pub(super) fn renew_good(&mut self) {
        self.good.count += 1;
        self.good.project.release(&self.fleet, &self.good.version()).unwrap();
        self.roadstead(&["deploy", "staging", &self.good.version()]);
        self.learn_times();
        self.good_files = self.files();
        self.roll_back();
        self.learn_times();
        self.back_to_the_old();
    }

    /// How long the steps of the last rollout took.
    fn learn_times(&mut self) {
        let shown = self.fleet.rollout(&self.journals.newest_rollout().unwrap()).unwrap();
        for step in shown["hosts"][0]["steps"].as_array().unwrap() {
            let took = Duration::from_millis(step["took_ms"].as_u64().unwrap());
            self.times.insert(step["step"].as_str().unwrap().to_owned(), took);
        }
    }

    /// A release that nobody has deployed yet and that fails its checks.
    fn next_broken(&mut self) -> String {
        self.broken.count += 1;
        self.broken.project.release(&self.fleet, &self.broken.version()).unwrap();
        self.broken.version()
    }

    /// What is typed for a cell's scenario, when all that comes before it is done.
    pub(super) fn prepare(&mut self, cell: Cell) -> Vec<String> {
        if cell.act == Act::Run(StepName::Venv) {
            self.host.sh(&format!("{WHERE} && {FORGET_PACKAGES} && {FORGET}")).unwrap();
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match cell.scenario() {
            Scenario::Deploy | Scenario::Abort => words(&["deploy", "staging", &self.good.version()]),
            Scenario::Broken => words(&["deploy", "staging", &self.next_broken()]),
            Scenario::Restore => words(&["db", "restore", &self.deployed_with_a_backup(), "--yes-lose-data", "--reason", "a kill"]),
            Scenario::Recheck => words(&["db", "verify", &self.deployed_with_a_backup(), "--reason", "a kill"]),
            Scenario::Job => {
                self.roadstead(&["deploy", "staging", &self.good.version()]);
                words(&["job", "run", "staging", "recount", "--reason", "a kill"])
            }
            Scenario::Rollback => {
                self.roadstead(&["deploy", "staging", &self.good.version()]);
                words(&["rollback", "staging", "--reason", "a kill"])
            }
        }
    }

    /// Deploys the good release; the backup that was made before.
    fn deployed_with_a_backup(&self) -> String {
        self.roadstead(&["deploy", "staging", &self.good.version()]);
        let made = self.fleet.desk.json(&["db", "list", "staging", "--limit", "1"]).unwrap();
        made[0]["name"].as_str().unwrap().to_owned()
    }

    /// Goes back undisturbed, if there is anything to go back from.
    pub(super) fn roll_back(&self) {
        if self.fleet.serving().unwrap() != [OLD] {
            self.roadstead(&["rollback", "staging", "--reason", "the next kill"]);
        }
    }

    /// Takes away what a deployment left: its files, and what it did to the database.
    pub(super) fn back_to_the_old(&self) {
        wait_until("the host to be at rest", SOON, || self.is_at_rest()).unwrap();
        self.host.sh(&format!("{WHERE} && {FORGET}")).unwrap();
        let ours = "SELECT datname FROM pg_database WHERE datname LIKE 'erp\\_before\\_restore%' OR datname LIKE 'erp\\_restoring%'";
        for name in self.fleet.data.sql("postgres", ours).unwrap().split_whitespace() {
            self.fleet.data.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
        }
        let lines = [
            "ALTER DATABASE erp ALLOW_CONNECTIONS false",
            "DROP DATABASE erp WITH (FORCE)",
            "CREATE DATABASE erp TEMPLATE erp_before OWNER erp",
        ];
        lines.iter().for_each(|line| drop(self.fleet.data.sql("postgres", line).unwrap()));
        let answers = || self.fleet.ask(&self.host, "/readyz").is_ok_and(|answer| answer == (200, OLD.to_owned()));
        wait_until("the old release to have its database again", SOON, answers).unwrap();
    }

    /// Whether no order is carried out and only one release runs.
    pub(super) fn is_at_rest(&self) -> bool {
        self.journals.last().is_none_or(|last| last.record == "ended") && self.strays().is_empty()
    }

    /// Units of the app that belong neither to the serving release nor to all of them.
    pub(super) fn strays(&self) -> Vec<String> {
        let current = self.host.sh("basename \"$(readlink /srv/roadstead/erp/current)\"").unwrap_or_default();
        strays(&self.host, &format!("{}.", current.trim())).unwrap_or_else(|error| vec![error.to_string()])
    }

    /// Every file of the serving release and its environment: kind, mode, target, content.
    pub(super) fn files(&self) -> String {
        self.host.sh(&format!("{WHERE} && {LISTING}")).unwrap()
    }

    /// Static files of the serving release that are not where everybody has them from.
    pub(super) fn unpublished(&self) -> String {
        self.host.sh(&format!("{WHERE} && {UNPUBLISHED}")).unwrap()
    }

    /// Runs a command that succeeds.
    pub(super) fn roadstead(&self, words: &[&str]) {
        self.fleet.desk.roadstead(words).unwrap();
    }
}

/// The host has a bucket for static files.
fn publishes(fleet: &Fleet, host: &Host) {
    s3_server::install(host, "cdn");
    s3_server::start(host);
    let settings = format!("{}[static.erp.bucket]\n{}", s3_server::PROVIDER, s3_server::section("cdn", "erp"));
    host.write("/etc/roadstead/agent.toml", settings).unwrap();
    host.systemctl(&["restart", "roadstead-agent"]).unwrap();
    fleet.wait_for_all().unwrap();
}

/// Makes a copy of the database as the old release has it.
fn keep_database(fleet: &Fleet) {
    let lines = [
        "ALTER DATABASE erp ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'erp'",
        "CREATE DATABASE erp_before TEMPLATE erp",
        "ALTER DATABASE erp ALLOW_CONNECTIONS true",
    ];
    lines.iter().for_each(|line| drop(fleet.data.sql("postgres", line).unwrap()));
}

/// The serving release and its environment, by the unit that serves it.
const WHERE: &str = "cd /srv/roadstead/erp && current=$(basename $(readlink current)) && \
    venv=$(systemctl cat erp-web@$current | grep -om1 'venvs/[^/]*')";

/// Releases that do not serve go from the disk, every blob that came after the first, and what the new one alone has published.
const FORGET: &str = "find releases -mindepth 1 -maxdepth 1 ! -name $current -exec rm -rf {} + && rm -rf /srv/s3/cdn/erp/many && \
    find /var/lib/roadstead-agent/blobs -type f -newer /root/first -delete";

/// Static files of the serving release that are not in the bucket as it has them.
const UNPUBLISHED: &str = "find collected/$current -type f ! -name staticfiles.json -printf '%P\\n' | \
    while read -r path; do cmp -s collected/$current/$path /srv/s3/cdn/erp/$path || echo $path; done";

/// So do environments.
const FORGET_PACKAGES: &str = "find venvs -mindepth 1 -maxdepth 1 ! -path $venv -exec rm -rf {} +";

const LISTING: &str = "find releases/$current $venv -printf '%p %y %m %l\\n' | sort && find . -name '.new-*' && \
    find releases/$current $venv -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
