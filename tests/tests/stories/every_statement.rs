//! The database server crashes at each statement of a migration: before it has heard it, and when it has done it and nobody has heard so.
//! Whichever it is, the migration is done once, by this rollout or by the next one. `make test` takes a few of them, others each day;
//! `make kill-matrix` takes all.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, PASSWORD, Project};
use roadstead_tests::lab::Host;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

const DOORKEEPER: &str = include_str!("every_statement/doorkeeper.py");
const PORT: u16 = 6543;
/// Where it is told what to do.
const FOLDER: &str = "/run/doorkeeper";
const POLICY: &str = "[strategy]\nkind = \"all-at-once\"\nbake = \"1s\"\n";
/// The word of `ROADSTEAD_KILLS` for all of them.
pub(crate) const WORD: &str = "statements";
/// So many of a day.
const OF_A_DAY: usize = 3;

/// When the server crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Crash {
    /// At which statement of those that the migration's session asks.
    statement: usize,
    /// Whether it has done it by then.
    is_done: bool,
}

#[test]
fn a_server_that_crashes_at_any_statement_leaves_a_migration_done_once() {
    let fleet = Fleet::new("statements", &FleetOptions::default().policy(POLICY)).unwrap();
    let data = &fleet.data;
    stand_in_front(&fleet);
    let project = Project::of_erp(&fleet, "1.1.0").unwrap();
    project.web_alone().unwrap();
    project.release(&fleet, "2.0.0").unwrap();
    fleet.desk.roadstead(&["deploy", "staging", "2.0.0"]).unwrap();
    let mut version = Version { fleet: &fleet, project: &project, number: 0 };

    // once without a crash: what is asked, in which order
    plan(data, None);
    version.deploys(true);
    let asked = data.read(&format!("{FOLDER}/asked")).unwrap();
    println!("{asked}");
    for part in ["advisory_lock", "story_statement", "COMMIT"] {
        assert!(asked.contains(part), "{part} in {asked}");
    }

    let crashes = chosen(&asked);
    for crash in &crashes {
        plan(data, Some(*crash));
        let said = version.deploys(false);
        let migration = version.number;
        let left = data.try_sh(&format!("cat {FOLDER}/plan")).unwrap().stdout;
        let text = asked.lines().nth(crash.statement - 1).unwrap_or_default();
        let this_time = data.read(&format!("{FOLDER}/asked")).unwrap();
        let crashed_at = this_time.lines().nth(crash.statement - 1).unwrap_or_default();
        assert_eq!(without_numbers(crashed_at), without_numbers(text), "another statement than was meant: {this_time}");
        let when = if crash.is_done { "behind" } else { "before" };
        assert!(left.is_empty(), "no crash {when} {text}: {said:?}");
        let by_itself = said.is_none();
        println!("crash {when} {text}: {}", said.as_deref().map_or("done by the same rollout", |_| "done by the next rollout"));
        if !by_itself {
            version.deploys(true);
        }
        assert_eq!(once(data, migration), "1|1", "{when} {text}");
    }
    println!("{} crashes, each migration done once", crashes.len());
}

/// All, or those of today. What is asked again in the same words, as Django does for the rights of each model, is one statement.
fn chosen(asked: &str) -> Vec<Crash> {
    let mut words = BTreeSet::new();
    let first = asked.lines().filter_map(|line| line.split_once(' ')).filter(|(_, text)| words.insert(*text));
    let statements: Vec<usize> = first.filter_map(|(number, _)| number.parse().ok()).collect();
    let all: Vec<Crash> = statements.into_iter().flat_map(|statement| [false, true].map(|is_done| Crash { statement, is_done })).collect();
    if std::env::var("ROADSTEAD_KILLS").is_ok_and(|words| words == "all" || words.split(',').any(|word| word == WORD)) {
        return all;
    }
    let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    println!("the crashes of day {day}");
    // those of a day lie far apart, and each has its turn
    let apart = all.len().div_ceil(OF_A_DAY);
    let begin = usize::try_from(day).unwrap() % apart.max(1);
    (0..OF_A_DAY).filter_map(|part| all.get((begin + part * apart) % all.len()).copied()).collect()
}

/// Names and times differ from run to run.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// The app finds its database behind the doorkeeper.
fn stand_in_front(fleet: &Fleet) {
    let (data, web) = (&fleet.data, &fleet.hosts[0]);
    data.sh(&format!("mkdir -p {FOLDER}")).unwrap();
    data.write("/root/doorkeeper.py", DOORKEEPER).unwrap();
    let run = format!("systemd-run -q --unit doorkeeper python3 /root/doorkeeper.py {PORT} {FOLDER}");
    data.sh(&run).unwrap();
    data.wait_until("the doorkeeper", SOON, |host| {
        host.try_sh(&format!("ss -Hltn sport = :{PORT} | grep -q .")).is_ok_and(|it| it.success())
    })
    .unwrap();
    fleet.database_at(web, &format!("postgres://erp:{PASSWORD}@{}:{PORT}/erp", data.ip())).unwrap();
}

/// Counting begins anew, and the server crashes there.
fn plan(data: &Host, crash: Option<Crash>) {
    let text = crash.map(|crash| format!("{} {}\n", crash.statement, if crash.is_done { "after" } else { "before" }));
    data.sh(&format!("rm -f {FOLDER}/plan {FOLDER}/asked && systemctl kill -s HUP --kill-whom=main doorkeeper")).unwrap();
    if let Some(text) = text {
        data.write(&format!("{FOLDER}/plan"), text).unwrap();
    }
}

/// Rows that a migration made, and records of it.
fn once(data: &Host, number: usize) -> String {
    let sql = format!(
        "SELECT (SELECT count(*) FROM story_statement_{number}), (SELECT count(*) FROM django_migrations WHERE name = '{}')",
        name(number)
    );
    data.sql("erp", &sql).unwrap()
}

/// The last migration of the ERP, and the story's, one behind the other.
fn name(number: usize) -> String {
    if number == 0 { "0003_customer_loyalty_tier".to_owned() } else { format!("{:04}_statement", number + 3) }
}

fn migration(project: &Project, number: usize) {
    let table = format!("story_statement_{number}");
    let statements = [format!("CREATE TABLE {table} (id serial PRIMARY KEY)"), format!("INSERT INTO {table} DEFAULT VALUES")];
    let operations: Vec<_> = statements.iter().map(|sql| format!("migrations.RunSQL(\"{sql}\", migrations.RunSQL.noop)")).collect();
    let text = format!(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"customers\", \"{}\")]\n    \
         operations = [{}]\n",
        name(number - 1),
        operations.join(", ")
    );
    project.write(&format!("customers/migrations/{}.py", name(number)), &text).unwrap();
}

/// Each deployment is of a version of its own, with a migration more: what failed once is not deployed again.
struct Version<'a> {
    fleet: &'a Fleet,
    project: &'a Project,
    number: usize,
}

impl Version<'_> {
    /// Deploys the next one; what was said where that failed. Whether it did or not, the app serves.
    fn deploys(&mut self, must: bool) -> Option<String> {
        self.number += 1;
        migration(self.project, self.number);
        let version = format!("2.1.{}", self.number);
        self.project.release(self.fleet, &version).unwrap();
        let done = self.fleet.desk.try_roadstead(&["deploy", "staging", &version]).unwrap();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(done.success() || !must, "{said}");
        if done.success() {
            assert_eq!(self.fleet.serving().unwrap(), [version]);
            return None;
        }
        // a tired operator reads what went wrong, and where
        assert!(said.contains("migrate") && (said.contains("connection") || said.contains("database")), "{said}");
        Some(said)
    }
}
