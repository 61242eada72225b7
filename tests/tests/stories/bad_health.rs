//! Health endpoints that lie, dawdle and babble: each release is refused in time, the operator reads what was seen, the release before
//! serves on, and the agent stays small.

use roadstead_tests::fleet::{TinyFleet, Twist};
use roadstead_tests::lab::{Execution, HostOptions};
use std::time::{Duration, Instant};

/// What an agent may hold at its worst.
const AGENT_KIB_MAX: u64 = 64 * 1024;
/// The longest that a refusal may take: the app's boot, its one second of checks and its end, on a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// The first question waits until the app is up; the second is the one that is answered badly, and has little time.
const CHECK: &str = "\
[[checks.health]]
service = \"web\"
path = \"/up\"
within = \"30s\"

[[checks.health]]
service = \"web\"
path = \"/healthz\"
contains = \"fine\"
timeout = \"700ms\"
within = \"1s\"
";

/// An app that answers everything but its health check well. What is no HTTP goes straight to gunicorn's socket.
const APP: &str = "\
import glob, itertools, os, signal, threading, time

def application(environ, start_response):
    if environ['PATH_INFO'] == '/healthz':
        return healthz(environ, start_response)
    return good(start_response)

def good(start_response, body=b'fine', status='200 OK', headers=()):
    start_response(status, [('X-Release', os.environ['ROADSTEAD_VERSION']), *headers])
    return [body]

def raw(environ, pieces, pause=0):
    # until the other side has had enough
    for piece in pieces:
        environ['gunicorn.socket'].sendall(piece)
        time.sleep(pause)
    environ['gunicorn.socket'].close()
    return []

def die():
    os.kill(os.getppid(), signal.SIGKILL)

class Last(list):
    # an answer after which the whole instance dies
    def close(self):
        die()

def doom(start_response):
    open(DOOM, 'w').close()
    return Last(good(start_response))

DOOM = os.path.expanduser('~/doom-of-' + os.environ['ROADSTEAD_VERSION'])
if os.path.exists(DOOM):
    threading.Timer(0.3, die).start()

forever = itertools.repeat
state = {'flap': 0, 'asked': 0}
";

/// A bad endpoint.
struct Bad<'a> {
    /// What the health endpoint does.
    healthz: &'a str,
    /// Added to the web service: arguments of gunicorn.
    service: &'a str,
    /// Added to the check.
    check: &'a str,
    /// Hooks.
    spec: &'a str,
    /// What the operator must be told, beside the host.
    told: &'a [&'a str],
}

/// A service without anything special.
const PLAIN: Bad<'_> = Bad { healthz: "", service: "", check: "", spec: "", told: &[] };

const BAD: &[Bad<'_>] = &[
    Bad {
        // takes the question and waits for the asker to go
        healthz: "environ['gunicorn.socket'].recv(1); return raw(environ, [])",
        told: &["/healthz", "no complete answer within 700 ms"],
        ..PLAIN
    },
    Bad {
        // a byte now and then, for ever
        healthz: "return raw(environ, itertools.chain([b'HTTP/1.1 200 OK\\r\\nContent-Length: 1000000\\r\\n\\r\\n'], forever(b'f')), pause=0.3)",
        told: &["/healthz", "no complete answer within 700 ms"],
        ..PLAIN
    },
    Bad {
        healthz: "return good(start_response, status='302 Found', headers=[('Location', '/healthz')])",
        told: &["/healthz", "answered 302", "redirects are not followed"],
        ..PLAIN
    },
    Bad {
        // one piece of four gigabytes
        healthz: "return raw(environ, itertools.chain([b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nffffffff\\r\\n'], forever(b'x' * 65536)))",
        told: &["/healthz", "does not contain \"fine\""],
        ..PLAIN
    },
    Bad {
        // well every second time
        healthz: "state['flap'] ^= 1; return good(start_response, status='500 Oh' if state['flap'] else '200 OK')",
        check: "successes = 2\n",
        told: &["/healthz", "status 200 was expected", "answered 500"],
        ..PLAIN
    },
    Bad {
        healthz: "return good(start_response, body=b'welcome to nginx')",
        told: &["/healthz", "does not contain \"fine\"", "welcome to nginx"],
        ..PLAIN
    },
    Bad {
        healthz: "return good(start_response, body=b'', status='204 No Content')",
        told: &["/healthz", "status 200 was expected", "answered 204"],
        ..PLAIN
    },
    Bad {
        // breaks off in the middle
        healthz: "return raw(environ, [b'HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\nfi'])",
        told: &["/healthz", "broke off"],
        ..PLAIN
    },
    Bad { healthz: "return raw(environ, [b'SSH-2.0-OpenSSH_9.2\\r\\n'])", told: &["/healthz", "is not HTTP"], ..PLAIN },
    Bad {
        // headers without end
        healthz: "return raw(environ, itertools.chain([b'HTTP/1.1 200 OK\\r\\n'], forever(b'X-More: and more\\r\\n' * 100)))",
        told: &["/healthz", "head is too large"],
        ..PLAIN
    },
    Bad {
        healthz: "return raw(environ, forever(b'HTTP/1.1 102 Processing\\r\\n\\r\\n' * 1000))",
        told: &["/healthz", "no complete answer within 700 ms"],
        ..PLAIN
    },
    Bad {
        // well once, and dead right after, as often as it is started
        healthz: "return Last(good(start_response))",
        told: &["tiny-web@"],
        ..PLAIN
    },
    Bad {
        // well until the health check after the cutover: from then on it dies soon after each start
        healthz: "state['asked'] += 1; return good(start_response) if state['asked'] < 2 else doom(start_response)",
        spec: "[hooks]\nafter-cutover = [[\"python\", \"wait.py\"]]\n",
        told: &["health", "tiny-web@", "does not stay up"],
        ..PLAIN
    },
    Bad {
        // well in every respect, but what runs has left its release for the one before
        healthz: "return good(start_response)\n\nos.chdir(glob.glob('/srv/roadstead/tiny/releases/1.0.0-*')[0])",
        service: "arguments = [\"--preload\"]\n",
        told: &["proof", "tiny-web@", "1.0.0-"],
        ..PLAIN
    },
];

/// Bad only once the agent is done with it: the bake finds out.
const BAD_LATER: &[Bad<'_>] = &[
    Bad {
        healthz: "state['asked'] += 1; return good(start_response, status='200 OK' if state['asked'] < 4 else '500 Oh')",
        told: &["/healthz", "status 200 was expected", "answered 500"],
        ..PLAIN
    },
    Bad {
        // dies a while after each start
        healthz: "threading.Timer(4.5, die).start(); return good(start_response)",
        told: &["tiny-web@", "does not stay up"],
        ..PLAIN
    },
];
#[test]
fn no_health_endpoint_fools_or_holds_up_an_agent() {
    let fleet = TinyFleet::new("health", &HostOptions::default()).unwrap();
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");

    for (number, bad) in BAD.iter().enumerate() {
        is_refused(&fleet, &format!("1.1.{number}"), bad);
    }
    let peak = fleet.agent_peak_kib().unwrap();
    println!("the agent held at most {peak} KiB");
    assert!(peak < AGENT_KIB_MAX, "{peak} KiB");

    fleet.fleet.apply("tiny", "60s").unwrap();
    for (number, bad) in BAD_LATER.iter().enumerate() {
        is_refused(&fleet, &format!("1.2.{number}"), bad);
    }

    // A good one is believed all the same, and looked at once or twice.
    fleet.fleet.apply("tiny", "8s").unwrap();
    fleet.push("1.3.0", &Twist::default()).unwrap();
    fleet.deploy("1.3.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.3.0");
}

fn is_refused(fleet: &TinyFleet, version: &str, bad: &Bad<'_>) {
    let app = format!("{APP}\ndef healthz(environ, start_response):\n    {}\n", bad.healthz);
    let check = format!("{CHECK}{}", bad.check);
    let files = [("wait.py", "import time; time.sleep(2)\n")];
    let twist = Twist { service: bad.service, check: Some(&check), spec: bad.spec, app: Some(&app), files: &files };
    fleet.push(version, &twist).unwrap();
    let began = Instant::now();
    let done = fleet.try_deploy(version).unwrap();
    println!("{version}: {:?}\n{}{}\n", began.elapsed(), done.stdout, done.stderr);
    refused(&done, bad);
    assert!(began.elapsed() < REFUSED_WITHIN, "{version} took {:?}", began.elapsed());
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
}

fn refused(done: &Execution, bad: &Bad<'_>) {
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{}: {said}", bad.healthz);
    for clue in ["tiny"].iter().chain(bad.told) {
        assert!(said.contains(clue), "{}: {clue:?} is not said: {said}", bad.healthz);
    }
}
