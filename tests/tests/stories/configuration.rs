//! What an environment says to its app: a change of it is a rollout, under load and without a failed request; one that the app cannot run
//! with goes back; going back restores release and configuration together; what cannot fit is refused before anything begins.

mod promises;

use crate::SOON;
use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions, wait_until};
use roadstead_tests::load::Load;
use std::time::Duration;

const SPEC: &str = "\
[env]
POOL = { required = true, type = \"integer\" }
ZONE = { default = \"-\" }
LEVEL = { default = \"INFO\", one-of = [\"DEBUG\", \"INFO\"] }
TOKEN = { required = true, secret = true, services = [\"web\"] }

[files]
configured = [\"config/limits.toml\"]
";

/// Says what it was told, and does not start with a pool of nothing.
const APP: &str = "\
import os
import pathlib
import tomllib

POOL = int(os.environ['POOL'])
RATE = tomllib.loads(pathlib.Path('config/limits.toml').read_text())['rate']
assert POOL > 0, 'a pool of nothing'

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Release', os.environ['ROADSTEAD_VERSION'])])
    return [f\"fine pool={POOL} zone={os.environ['ZONE']} rate={RATE}\".encode()]
";

struct Story {
    fleet: TinyFleet,
    second: Host,
}

impl Story {
    fn begin() -> Self {
        let fleet = TinyFleet::new("configuration", &HostOptions::default()).unwrap();
        let second = fleet.fleet.lab.hosts_with(vec![("tiny-2".to_owned(), HostOptions::default())]).unwrap().remove(0);
        fleet.fleet.add_as("tiny", &second, &["zone=b"]).unwrap();
        let this = Self { fleet, second };
        for host in [this.fleet.host(), &this.second] {
            host.write("/etc/roadstead/apps/tiny.env", "TOKEN=only-on-hosts\n").unwrap();
        }
        this
    }

    fn ask(&self, words: &[&str]) -> Execution {
        self.fleet.fleet.desk.try_roadstead(words).unwrap()
    }

    fn told(&self, words: &[&str]) -> String {
        self.fleet.fleet.desk.roadstead(words).unwrap()
    }

    fn refused(&self, words: &[&str], code: i32, why: &[&str]) {
        let said = self.ask(words);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, Some(code), "{words:?}: {text}");
        why.iter().for_each(|part| assert!(text.contains(part), "{words:?} says why, {part:?}: {text}"));
    }

    /// What the app says on each host, from outside.
    fn answers(&self) -> [String; 2] {
        [self.fleet.host(), &self.second].map(|host| {
            let (status, body) = self.fleet.fleet.ask(host, "/healthz").unwrap();
            assert_eq!(status, 200, "{body}");
            body.trim().to_owned()
        })
    }

    fn all_say(&self, pool: &str, zones: [&str; 2], rate: &str) {
        assert_eq!(self.answers(), zones.map(|zone| format!("fine pool={pool} zone={zone} rate={rate}")));
    }

    fn serving(&self) -> String {
        self.fleet.host().sh("basename $(readlink /srv/roadstead/tiny/current)").unwrap().trim().to_owned()
    }
}

#[test]
fn configuration_travels_with_the_release() {
    let story = Story::begin();
    let Story { fleet, second } = &story;
    let twist = Twist { app: Some(APP), spec: SPEC, ..Twist::default() };
    fleet.push("1.0.0", &twist).unwrap();
    let news = promises::news();
    fleet.push("1.1.0", &Twist { files: &[("news.txt", news.as_str())], ..twist }).unwrap();

    // Nothing begins without what the release needs, and what can never fit is not taken.
    let limits = fleet.fleet.desk.write("limits.toml", "rate = 5\n").unwrap();
    story.refused(&["deploy", "tiny", "1.0.0"], 3, &["file:config/limits.toml", "there is none"]);
    story.refused(&["config", "set", "tiny", "LD_PRELOAD=/tmp/evil.so"], 2, &["LD_PRELOAD", "dynamic loader"]);
    story.refused(
        &["config", "set", "tiny", "--file", &format!("config/evil.py={limits}")],
        2,
        &["config/evil.py", "Python runs such files"],
    );
    let said = story.told(&["config", "set", "tiny", "POOL=many", "--file", &format!("config/limits.toml={limits}"), "--reason", "first"]);
    assert!(said.contains("configuration 1 of tiny in tiny: POOL set, file:config/limits.toml set"), "{said}");
    story.refused(&["deploy", "tiny", "1.0.0"], 3, &["POOL is to be a whole number"]);
    story.told(&["config", "set", "tiny", "POOL=8"]);
    promises::a_plan_is_kept(&story, "1.0.0", "starts anew");
    story.all_say("8", ["-", "-"], "5");
    let first = story.serving();

    // A change under load: nobody notices, and it is told as what it is.
    let loads = [fleet.host(), second].map(|host| {
        let load = Load::on(format!("{}:80", host.ip())).path("/healthz").clients(3).pause(Duration::from_millis(5));
        let load = load.start(&fleet.fleet.lab.network());
        load.wait_for_more(100, SOON).unwrap();
        load
    });
    let before = promises::plan(&story, "1.1.0");
    let begun = story.told(&["config", "set", "tiny", "POOL=16", "ZONE=b", "--hosts", "zone=b"]);
    assert!(begun.contains("POOL set for zone=b, ZONE set for zone=b"), "{begun}");
    let plan = story.told(&["plan", "tiny", "current"]);
    assert!(plan.contains("Variables  POOL changes, ZONE is set\n"), "{plan}");
    promises::a_plan_of_before_is_refused(&story, "1.1.0", &before);
    let differs = story.told(&["config", "diff", "tiny"]);
    assert!(differs.contains("zone=b") && differs.contains("16"), "{differs}");
    story.told(&["deploy", "tiny", "current"]);
    assert_eq!(story.answers(), ["fine pool=8 zone=- rate=5", "fine pool=16 zone=b rate=5"]);
    story.told(&["config", "unset", "tiny", "POOL", "--hosts", "zone=b"]);
    story.told(&["config", "set", "tiny", "POOL=4", "--deploy", "--reason", "smaller"]);
    story.all_say("4", ["-", "b"], "5");
    let smaller = story.serving();
    assert_eq!(first.split_once('_').unwrap().0, smaller.split_once('_').unwrap().0, "the release is the same");
    assert_ne!(first, smaller);

    // What the app does not start with goes back by itself, and the release is not to blame for it.
    story.refused(&["config", "set", "tiny", "POOL=0", "--deploy"], 1, &["a pool of nothing"]);
    story.all_say("4", ["-", "b"], "5");
    story.told(&["config", "set", "tiny", "POOL=5"]);
    promises::a_plan_is_kept(&story, "1.1.0", "restarts");
    story.all_say("5", ["-", "b"], "5");

    // Going back restores both, whatever is the newest by now.
    story.told(&["config", "set", "tiny", "POOL=6"]);
    story.told(&["rollback", "tiny", "--reason", "a story"]);
    assert_eq!(story.serving(), smaller);
    story.all_say("4", ["-", "b"], "5");
    for load in loads {
        let report = load.stop().unwrap();
        assert_eq!(report.failed(), 0, "{report}");
    }
    let history = story.told(&["config", "history", "tiny"]);
    let runs = history.lines().find(|line| line.ends_with("runs")).unwrap_or_default().to_owned();
    assert!(runs.contains("smaller"), "{history}");
    assert_eq!(story.told(&["config", "get", "tiny", "POOL"]).trim(), "6");

    // What only root of a host sets is known by name: a rollout that would miss it does not begin.
    second.write("/etc/roadstead/apps/tiny.env", "# nothing any more\n").unwrap();
    let refused = || {
        let said = story.ask(&["deploy", "tiny", "current", "--no-wait"]);
        let text = format!("{}{}", said.stdout, said.stderr);
        if said.code == Some(0) {
            // The host had not said so yet: its preparation finds it, and nothing changes.
            let rollout = text.lines().find_map(|line| line.trim().strip_prefix("r-")).unwrap_or_default().to_owned();
            story.ask(&["rollout", "watch", &format!("r-{}", rollout.split(':').next().unwrap_or_default())]);
            return false;
        }
        text.contains("TOKEN is required and not set: web needs it (on tiny-2)")
    };
    wait_until("the controller to know what the host lacks", SOON, refused).unwrap();
    story.all_say("4", ["-", "b"], "5");
}
