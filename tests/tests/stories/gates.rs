//! What a rollout waits for before any host hears of it, and who opens that: approvals of several, a window, a freeze, an environment that
//! had the release first, somebody's lock. Each is named with its way out as long as it holds, and nothing begins before it is open.

mod files;

use crate::SOON;
use roadstead_tests::fleet::{Desk, TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions, wait_until};
use serde_json::Value;
use std::process::Command;

/// Who may approve.
const ROLES: &str = "roles = { ops = [\"ada\", \"bob\", \"cyd\"] }\n";
/// The release goes to this environment first.
const FIRST: &str = "tiny";
const PRODUCTION: &str = "production";

/// Two environments of one app with a host each, and three admins besides ada, at whose desk the fleet was made.
struct Story {
    fleet: TinyFleet,
    /// The host of `production`.
    host: Host,
    bob: Desk,
    cyd: Desk,
    /// Has no role.
    dan: Desk,
}

#[test]
fn a_rollout_waits_for_people_and_times_and_says_for_which() {
    let story = Story::begin();
    story.two_approvals_and_a_window();
    story.a_freeze();
    story.another_environment_has_it_first();
    story.a_lock_that_somebody_breaks();
    story.a_lock_that_expires();
    files::declare_what_there_is(&story);
}

impl Story {
    fn begin() -> Self {
        let fleet = TinyFleet::new("gates", &HostOptions::default()).unwrap();
        let plain = &fleet.fleet;
        plain.controller.execute(&["sh", "-c", "cat >>/etc/roadstead/controller.toml"], SOON, ROLES.as_bytes()).unwrap();
        plain.controller.systemctl(&["restart", "roadstead-controller"]).unwrap();
        let host = plain.lab.hosts_with(vec![("production".to_owned(), HostOptions::default())]).unwrap().remove(0);
        plain.wait_for_all().unwrap();
        let [bob, cyd, dan] = ["bob", "cyd", "dan"].map(|name| plain.desk.of_admin(name).unwrap());
        let this = Self { host, bob, cyd, dan, fleet };
        this.gates("");
        this.fleet.fleet.add_to(PRODUCTION, "tiny", &this.host, &[]).unwrap();
        wait_until("both hosts to be connected", SOON, || this.fleet.fleet.connected() == Some(2)).unwrap();
        this.fleet.push("1.0.0", &Twist::default()).unwrap();
        this.fleet.push("1.1.0", &Twist { files: &[("notes.txt", "what is new\n")], ..Twist::default() }).unwrap();
        this
    }

    fn desk(&self) -> &Desk {
        &self.fleet.fleet.desk
    }

    /// Makes `production` an environment with these gates.
    fn gates(&self, gates: &str) {
        let file = self.desk().write("production.toml", &production(gates, "1s")).unwrap();
        self.desk().roadstead(&["apply", "-f", &file]).unwrap();
    }

    fn begin_deployment(&self, version: &str) -> String {
        let said = self.desk().json(&["deploy", PRODUCTION, version, "--no-wait"]).unwrap();
        said["rollout"].as_str().unwrap().to_owned()
    }

    fn rollout(&self, rollout: &str) -> Value {
        self.desk().json(&["rollout", "show", rollout]).unwrap()
    }

    /// What a rollout waits for, as soon as it says all of this.
    fn awaited(&self, rollout: &str, parts: &[&str]) -> String {
        let mut seen = String::new();
        let told = || {
            seen = self.rollout(rollout)["waiting"]["for"].as_str().unwrap_or_default().to_owned();
            parts.iter().all(|part| seen.contains(part))
        };
        let waited = wait_until(&format!("{rollout} to wait for {parts:?}"), SOON, told);
        assert!(waited.is_ok(), "{seen}");
        seen
    }

    fn abort(&self, rollout: &str) {
        self.desk().try_roadstead(&["rollout", "abort", rollout, "--reason", "a story"]).unwrap();
        assert_eq!(self.rollout(rollout)["phase"], "failed", "it has ended, and nothing was changed");
    }

    /// Follows a rollout to its good end.
    fn done(&self, rollout: &str, version: &str) {
        let watched = self.desk().try_roadstead(&["rollout", "watch", rollout]).unwrap();
        assert!(watched.success(), "{}", words(&watched));
        assert_eq!(self.fleet.fleet.serving("tiny", &self.host).unwrap(), version);
    }

    /// Whether the host was told to do anything.
    fn has_heard(&self) -> bool {
        self.host.journal("roadstead-agent").unwrap().contains("order accepted")
    }

    /// Both are named at once; each approval is seen, and nobody counts who asked, who has approved, or who is not asked.
    fn two_approvals_and_a_window(&self) {
        let (day, opening) = (berlin("12:00 2 days", "%a").to_lowercase(), berlin("12:00 2 days", "%a %Y-%m-%d 12:00 %Z"));
        let both = "approvals = [{ role = \"ops\", count = 2 }]\ntime-zone = \"Europe/Berlin\"";
        self.gates(&format!("{both}\nwindows = [\"{day} 12:00-12:30\"]"));
        let window = format!("rollouts begin {day} 12:00-12:30 (it opens by itself on {opening})");
        let plan = self.desk().roadstead(&["plan", PRODUCTION, "1.0.0"]).unwrap();
        assert!(plan.contains("Waits for  the approval of 2 of ops (") && plan.contains(&format!("Waits for  {window}")), "{plan}");

        let rollout = self.begin_deployment("1.0.0");
        let of_two = format!("the approval of 2 of ops (not of admin:ada, who asked for it: roadstead rollout approve {rollout})");
        assert_eq!(self.awaited(&rollout, &[]), format!("{of_two}; {window}"));
        let shown = self.desk().roadstead(&["rollout", "show", &rollout]).unwrap();
        println!("{shown}");
        assert!(shown.contains("gated") && shown.contains("then it ends, and nothing was changed"), "{shown}");
        self.refused(self.desk(), &rollout, "whoever asked for a rollout does not approve it");
        self.refused(&self.dan, &rollout, "admin:dan is not one of those who are asked: it waits for ops");
        approve(&self.bob, &rollout);
        let of_one = "the approval of one of ops (not of admin:ada, who asked for it, nor of admin:bob, who approved it: ";
        self.awaited(&rollout, &[of_one, &window]);
        self.refused(&self.bob, &rollout, "admin:bob has approved it already");
        approve(&self.cyd, &rollout);
        assert_eq!(self.awaited(&rollout, &[&window]), window, "approved, and it is not the time");

        // It keeps what it began with; a new one goes by what the environment says now.
        self.gates(&format!("{both}\nwindows = [\"mon-sun 00:00-24:00\"]"));
        let second = self.desk().try_roadstead(&["deploy", PRODUCTION, "1.1.0"]).unwrap();
        assert!(second.code == Some(3) && second.stderr.contains(&format!("{rollout} of tiny to production waits at its gates")));
        assert_eq!(self.awaited(&rollout, &[]), window);
        self.abort(&rollout);
        let rollout = self.begin_deployment("1.0.0");
        let awaited = self.awaited(&rollout, &["the approval of 2 of ops"]);
        assert!(!awaited.contains("rollouts begin"), "the window is open: {awaited}");
        assert!(!self.has_heard(), "no host hears of what waits");
        [&self.bob, &self.cyd].iter().for_each(|desk| approve(desk, &rollout));
        self.done(&rollout, "1.0.0");
        assert!(self.has_heard(), "what was looked for above is what a host says");
    }

    /// It holds whatever the windows say, and is over with the environment that says so.
    fn a_freeze(&self) {
        let (from, until) = (berlin("yesterday", "%Y-%m-%d"), berlin("2 days", "%Y-%m-%d"));
        let freeze = format!("{{ from = \"{from}\", until = \"{until} 08:00\", reason = \"stocktaking\" }}");
        self.gates(&format!("time-zone = \"Europe/Berlin\"\nwindows = [\"mon-sun 00:00-24:00\"]\nfreezes = [{freeze}]"));
        let rollout = self.begin_deployment("1.1.0");
        let opening = berlin("08:00 2 days", "%a %Y-%m-%d 08:00 %Z");
        let frozen = format!("the environment is frozen from {from} until {until} 08:00: stocktaking (it opens by itself on {opening})");
        assert_eq!(self.awaited(&rollout, &[]), frozen);
        let shown = self.desk().roadstead(&["env", "show", PRODUCTION]).unwrap();
        assert!(shown.contains(&format!("not from {from} until {until} 08:00: stocktaking")), "{shown}");
        self.abort(&rollout);
    }

    /// The freeze is lifted, and the release has to be well elsewhere first: it is not there, then not for long enough, then it is.
    fn another_environment_has_it_first(&self) {
        self.gates(&format!("after = {{ environment = \"{FIRST}\", healthy-for = \"1h\" }}"));
        let rollout = self.begin_deployment("1.1.0");
        let awaited = self.awaited(&rollout, &["tiny does not run 1.1.0-"]);
        assert!(!awaited.contains("frozen"), "{awaited}");
        let way = awaited.split_once("(roadstead ").and_then(|(_, way)| way.strip_suffix(')')).unwrap_or_else(|| panic!("{awaited}"));
        self.desk().roadstead(&way.split(' ').collect::<Vec<_>>()).unwrap();
        let early = self.awaited(&rollout, &["has to be well in tiny for 1 h (it opens by itself on ", " UTC)"]);
        println!("{early}");
        self.abort(&rollout);

        let enough_ms = 20_000;
        self.gates(&format!("after = {{ environment = \"{FIRST}\", healthy-for = \"20s\" }}"));
        let rollout = self.begin_deployment("1.1.0");
        self.done(&rollout, "1.1.0");
        let ended = self.desk().json(&["rollout", "list", "--env", FIRST, "--limit", "1"]).unwrap()[0]["ended_at_ms"].as_u64().unwrap();
        let lines = self.desk().json(&["history", "--limit", "1000000"]).unwrap();
        let opened = |line: &&Value| line["kind"] == "gates-open" && line["subject"] == rollout.as_str();
        let opened = lines.as_array().unwrap().iter().find(opened).unwrap()["at_ms"].as_u64().unwrap();
        assert!(opened >= ended + enough_ms, "{} ms after the release was well there", opened - ended);
        self.gates("");
    }

    /// Not by mistake: whoever does it says so, and the history keeps it.
    fn a_lock_that_somebody_breaks(&self) {
        self.bob.roadstead(&["lock", PRODUCTION, "--for", "1h", "--reason", "an incident"]).unwrap();
        let rollout = self.begin_deployment("1.0.0");
        let locked = self.awaited(&rollout, &["production is locked by admin:bob: an incident (it opens by itself on "]);
        assert!(locked.ends_with(" UTC, or by roadstead unlock production)"), "{locked}");
        let kept = self.cyd.try_roadstead(&["unlock", PRODUCTION, "--reason", "a hurry"]).unwrap();
        let said = words(&kept);
        assert!(kept.code == Some(3) && said.contains("locked by admin:bob for 59 min") && said.contains("--break"), "{said}");
        let said = self.cyd.roadstead(&["unlock", PRODUCTION, "--break", "--reason", "bob is on holiday"]).unwrap();
        assert!(said.contains("production is unlocked; admin:bob had it locked"), "{said}");
        self.done(&rollout, "1.0.0");
        assert_eq!(self.unlocked(), ["the lock of admin:bob: bob is on holiday"]);
    }

    /// Nobody ends it: its owner makes it shorter, and its time is over.
    fn a_lock_that_expires(&self) {
        self.bob.roadstead(&["lock", PRODUCTION, "--for", "1h", "--reason", "an incident"]).unwrap();
        let rollout = self.begin_deployment("1.1.0");
        self.awaited(&rollout, &["production is locked by admin:bob: an incident"]);
        self.bob.roadstead(&["lock", PRODUCTION, "--for", "1s", "--reason", "all but over"]).unwrap();
        self.done(&rollout, "1.1.0");
        assert_eq!(self.unlocked().len(), 1, "nobody has unlocked it this time");
        assert_eq!(self.desk().json(&["env", "show", PRODUCTION]).unwrap()["locked_by"], Value::Null);
    }

    /// What was said of locks that somebody ended.
    fn unlocked(&self) -> Vec<String> {
        self.desk().history("environment-unlocked").unwrap().into_iter().map(|(_, text)| text).collect()
    }

    fn refused(&self, desk: &Desk, rollout: &str, why: &str) {
        let said = desk.try_roadstead(&["rollout", "approve", rollout, "--reason", "a story"]).unwrap();
        assert!(said.code == Some(3) && said.stderr.contains(why), "{why}: {}", words(&said));
    }
}

fn production(gates: &str, bake: &str) -> String {
    format!("[environment]\nname = \"{PRODUCTION}\"\napp = \"tiny\"\n\n[gates]\n{gates}\n\n[strategy]\nbake = \"{bake}\"\n")
}

fn approve(desk: &Desk, rollout: &str) {
    desk.roadstead(&["rollout", "approve", rollout, "--reason", "read the plan"]).unwrap();
}

/// A moment in the words of another calendar than the controller's.
fn berlin(moment: &str, format: &str) -> String {
    let mut date = Command::new("date");
    date.env("TZ", "Europe/Berlin").env("LC_ALL", "C").args(["-d", moment, &format!("+{format}")]);
    Execution::of(&date.output().unwrap()).checked("machine", &format!("date -d '{moment}'")).unwrap().trim().to_owned()
}

fn words(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}
