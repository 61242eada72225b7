//! When a release fails, the first screen names its causes, hosts that failed alike together; what was said is all to be found, and no
//! secret of the hosts is in any of it.

use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::Execution;

const SECRET: &str = "only-this-host-knows-0123456789";

/// All move together, and the third that is lost is one too many: each comes to its own end.
const TOGETHER: &str = "\
[strategy]
kind = \"all-at-once\"
failure-budget = 2
bake = \"1s\"
";

/// Cannot be imported, and tells the reason with a secret in it: one host has another reason than the others.
const BROKEN: &str = "\
import os

def boot():
    raise RuntimeError('no such key: ' + os.environ['SECRET_KEY'])

if os.path.exists('/etc/odd'):
    raise LookupError('no such tariff')
boot()
";

/// Well until it has the traffic, then killed on one host as often as it is started there.
const DOOMED: &str = "\
import os, signal, threading, time

def die():
    print('dying with', os.environ['SECRET_KEY'], flush=True)
    os.kill(os.getppid(), signal.SIGKILL)

def application(environ, start_response):
    if os.path.exists('/etc/odd'):
        threading.Timer(3, die).start()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Release', os.environ['ROADSTEAD_VERSION'])])
    return [b'fine']
";

#[test]
fn a_failure_names_its_cause_and_tells_no_secret() {
    let fleet = TinyFleet::with_more("forensics", &["tiny-2", "tiny-3"]).unwrap();
    for host in &fleet.fleet.hosts {
        host.write("/etc/roadstead/apps/tiny.env", format!("SECRET_KEY={SECRET}\n")).unwrap();
    }
    let odd = &fleet.fleet.hosts[2];
    odd.write("/etc/odd", "").unwrap();
    fleet.fleet.policy("tiny", TOGETHER).unwrap();
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();

    fleet.push("1.1.0", &Twist { app: Some(BROKEN), ..Twist::default() }).unwrap();
    let said = words(&fleet.try_deploy("1.1.0").unwrap());
    let root = "RuntimeError: no such key: [value of SECRET_KEY] at app.py:4";
    let groups =
        [format!("2 of 3 hosts (tiny, tiny-2): {root}"), "1 of 3 hosts (tiny-3): LookupError: no such tariff at app.py:7".to_owned()];
    let causes: Vec<&str> = said.lines().filter(|line| line.contains(" of 3 hosts (")).collect();
    assert_eq!(causes, groups, "a line for each cause, the largest group first: {said}");
    let logs = "roadstead logs r-2 --host tiny --step candidate";
    assert!(said.contains("exit status 3") && said.contains(logs), "{said}");
    let told: Vec<&str> = logs.split(' ').skip(1).collect();
    let logged = fleet.fleet.desk.roadstead(&told).unwrap();
    assert!(logged.contains("Traceback (most recent call last)") && logged.contains("RuntimeError: no such key"), "{logged}");
    let explained = fleet.fleet.desk.roadstead(&["rollout", "explain", "r-2"]).unwrap();
    assert!(explained.contains(root) && explained.contains("look at app.py:4"), "{explained}");
    println!("{said}\n{logged}\n{explained}");

    // One that systemd starts again runs at the moment: what it is does not say how it ended, its journal does.
    fleet.fleet.apply("tiny", "60s").unwrap();
    fleet.push("1.2.0", &Twist { app: Some(DOOMED), ..Twist::default() }).unwrap();
    let doomed = words(&fleet.try_deploy("1.2.0").unwrap());
    println!("{doomed}");
    let again =
        doomed.contains("1 of 3 hosts (tiny-3): Main process exited, code=killed, status=9/KILL") && doomed.contains("started again");
    // Whoever looks within the second before that sees how it ended in its state.
    assert!(again || doomed.contains("signal 9 (SIGKILL)"), "{doomed}");
    assert!(doomed.contains("dying with [value of SECRET_KEY]"), "{doomed}");

    let bundle = fleet.fleet.desk.roadstead(&["support-bundle", "--rollout", "r-2", "--out", "r-2.tar.zst"]).unwrap();
    println!("{bundle}");
    assert!(bundle.contains("r-2/output/tiny/candidate.txt"), "{bundle}");
    let archive = std::fs::read(fleet.fleet.desk.folder().join("r-2.tar.zst")).unwrap();
    let tar = String::from_utf8(zstd::decode_all(archive.as_slice()).unwrap()).unwrap();
    assert!(tar.contains("RuntimeError: no such key"), "the bundle holds what was said");
    let agents = fleet.fleet.hosts.iter().map(|host| host.journal("roadstead-agent").unwrap()).collect::<String>();
    for text in [&said, &logged, &explained, &doomed, &tar, &agents] {
        assert!(!text.contains(SECRET), "a secret has left its place: {text}");
    }
    let stored = fleet.fleet.controller.try_sh(&format!("grep -r --files-with-matches {SECRET} /var/lib/roadstead-controller")).unwrap();
    assert_eq!(stored.code, Some(1), "{}", stored.stdout);
}

fn words(done: &Execution) -> String {
    format!("{}{}", done.stdout, done.stderr)
}
