//! Apps that misbehave: each is refused or bounded, the operator reads why, and the release before serves on.

use roadstead_tests::fleet::{Fleet, FleetOptions, Profile, Tiny, Twist};
use roadstead_tests::lab::Execution;

/// It never comes up: not even its import ends.
const NEVER_READY: &str = "\
import time
time.sleep(3600)
";

/// It takes a request and never answers.
const NEVER_ANSWERS: &str = "\
import time

def application(environ, start_response):
    time.sleep(3600)
";

/// It answers with five gigabytes, without the word that is looked for.
const ENDLESS_ANSWER: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])
    block = b'x' * (1 << 20)
    return (block for _ in range(5 * 1024))
";

/// A service that is deaf to every polite request to end.
const STUBBORN: &str = "\
import signal, time
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(each, signal.SIG_IGN)
while True:
    time.sleep(60)
";
const STUBBORN_SERVICE: &str = "\
[services.stubborn]
kind = \"command\"
command = [\"python\", \"stubborn.py\"]
stop-timeout = \"2s\"
";

/// One line of a gibibyte, while the release is prepared for its database.
const ENDLESS_LINE: &str = "\
import sys
block = 'x' * (1 << 20)
for _ in range(1024):
    sys.stdout.write(block)
sys.stdout.write('\\nthe end\\n')
";
const ENDLESS_LINE_HOOK: &str = "\
[hooks]
before-migrate = [[\"python\", \"talk.py\"]]
";

/// What an agent may hold at its worst.
const AGENT_KIB_MAX: u64 = 64 * 1024;

#[test]
fn an_app_that_misbehaves_harms_nobody() {
    let fleet = Fleet::new("bad", &FleetOptions::default()).unwrap();
    let environment = "[environment]\nname = \"staging\"\napp = \"tiny\"\nhosts = \"role=web\"\n\n[strategy]\nbake = \"1s\"\n";
    let file = fleet.desk.write("tiny.toml", environment).unwrap();
    fleet.desk.roadstead(&["apply", "-f", &file]).unwrap();
    let tiny = Tiny::new(Profile::Dev, &fleet.erp).unwrap();

    let good = deploy(&fleet, &tiny, "1.0.0", &Twist::default());
    assert!(good.success(), "{}{}", good.stdout, good.stderr);
    serves(&fleet, "1.0.0");

    let never = Twist { app: Some(NEVER_READY), ..Twist::default() };
    refused(&fleet, &deploy(&fleet, &tiny, "1.0.1", &never), &["/healthz"]);
    let silent = Twist { app: Some(NEVER_ANSWERS), ..Twist::default() };
    refused(&fleet, &deploy(&fleet, &tiny, "1.0.2", &silent), &["/healthz", "no complete answer"]);
    let endless = Twist { app: Some(ENDLESS_ANSWER), ..Twist::default() };
    refused(&fleet, &deploy(&fleet, &tiny, "1.0.3", &endless), &["/healthz", "does not contain"]);

    // a service that ignores SIGTERM is killed after its time, by the release that follows
    let stubborn = Twist { spec: STUBBORN_SERVICE, files: &[("stubborn.py", STUBBORN)], ..Twist::default() };
    let done = deploy(&fleet, &tiny, "1.1.0", &stubborn);
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    serves(&fleet, "1.1.0");
    let talks = Twist { spec: ENDLESS_LINE_HOOK, files: &[("talk.py", ENDLESS_LINE)], ..Twist::default() };
    let done = deploy(&fleet, &tiny, "1.2.0", &talks);
    assert!(done.success(), "{}{}", done.stdout, done.stderr);
    serves(&fleet, "1.2.0");
    let web = &fleet.hosts[0];
    let left =
        web.sh("pgrep -f [s]tubborn.py; systemctl list-units --plain --no-legend --state=active 'tiny-stubborn@*'").unwrap_or_default();
    assert_eq!(left, "", "nothing of 1.1.0 runs any more");

    let agent = web.main_process("roadstead-agent").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid)).unwrap();
    let peak: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    println!("the agent held at most {peak} KiB");
    assert!(peak < AGENT_KIB_MAX, "{peak} KiB");
}

fn deploy(fleet: &Fleet, tiny: &Tiny, version: &str, twist: &Twist<'_>) -> Execution {
    let bundle = tiny.build(version, twist).unwrap();
    fleet.desk.roadstead(&["push", &bundle]).unwrap();
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "--app", "tiny", version]).unwrap();
    println!("{version}: {}{}\n", done.stdout, done.stderr);
    done
}

fn refused(fleet: &Fleet, done: &Execution, clues: &[&str]) {
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    for clue in ["web-1"].iter().chain(clues) {
        assert!(said.contains(clue), "{clue:?} is not said: {said}");
    }
    serves(fleet, "1.0.0");
}

fn serves(fleet: &Fleet, version: &str) {
    let script = "curl -s -o /dev/null -m 10 -w '%{http_code} %header{x-release}' --unix-socket /run/roadstead/tiny/web.sock http://app/";
    assert_eq!(fleet.hosts[0].sh(script).unwrap(), format!("200 {version}"));
}
