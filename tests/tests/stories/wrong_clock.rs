//! Clocks that are years off, on a host and at the controller, before and in the middle of a step: nothing that serves notices, no deadline
//! moves, whoever is locked out reads that a clock is wrong, and once it is right all are connected and level by themselves.

use crate::SOON;
use roadstead_tests::fleet::{Journals, Moment, TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions};

const AGENT: &str = "roadstead-agent";
const CONTROLLER: &str = "roadstead-controller";
/// What a clock that is off is set by, one line, in libfaketime's words.
const OFFSET: &str = "/var/lib/faketime";
const AHEAD: &str = "+10y";
const BEHIND: &str = "-10y";
const RIGHT: &str = "+0";
/// What an operator reads of a clock.
const CLUE: &str = "compare the clocks of both machines";
/// What the doctor of a host says whose clock is ahead: it looks no further, and the clock comes before a new token.
const OVER: &[&str] = &["its certificate has ended, by this host's clock", "Hint: is the clock right (`timedatectl`)?"];

/// A release whose migration takes a while, during which a clock can jump.
const SLOW_HOOK: &str = "\
[hooks]
before-migrate = [[\"python\", \"wait.py\"]]

[steps]
command-timeout = \"60s\"
";
const WAIT: &str = "import time; time.sleep(4)\n";

#[test]
fn clocks_that_are_years_off_harm_nobody() {
    let fleet = TinyFleet::new("clock", &HostOptions::default()).unwrap();
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    fake(&fleet.fleet.controller, CONTROLLER);
    fake(fleet.host(), AGENT);
    fleet.fleet.wait_for_all().unwrap();
    let enrolled = fleet.fleet.desk.history("host-enrolled").unwrap().len();

    jumps_in_the_middle_of_a_step(&fleet);
    for offset in [AHEAD, BEHIND] {
        a_host_starts_with_a_wrong_clock(&fleet, offset);
        a_controller_starts_with_a_wrong_clock(&fleet, offset);
    }
    assert_eq!(fleet.fleet.desk.history("host-enrolled").unwrap().len(), enrolled, "nobody had to enroll again");
    fleet.deploy("1.0.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
}

/// Both clocks jump far ahead, back behind, and come right, while one step runs: it ends as if they had stood still.
fn jumps_in_the_middle_of_a_step(fleet: &TinyFleet) {
    let slow = Twist { spec: SLOW_HOOK, files: &[("wait.py", WAIT)], ..Twist::default() };
    for (who, version) in [(AGENT, "1.1.0"), (CONTROLLER, "1.1.1")] {
        fleet.push(version, &slow).unwrap();
        let host = if who == AGENT { fleet.host() } else { &fleet.fleet.controller };
        for offset in [AHEAD, BEHIND] {
            // The second time it is the way back that is taken: the release has been here.
            let version = if offset == AHEAD { version } else { "1.0.0" };
            let mut deploy = fleet.fleet.desk.begin(&["deploy", "tiny", version]).unwrap();
            let journals = Journals::of_app(fleet.host(), "tiny");
            let at = |moment: &Moment| *moment == Moment::within("migrate") || *moment == Moment::within("candidate");
            journals.wait_for(at, || !matches!(deploy.try_wait(), Ok(None))).unwrap();
            set(host, offset);
            let done = Execution::of(&deploy.wait_with_output().unwrap());
            println!("{who} {offset}: {}{}", done.stdout, done.stderr);
            assert!(done.success(), "{}{}", done.stdout, done.stderr);
            set(host, RIGHT);
            fleet.fleet.wait_for_all().unwrap();
            host.wait_until("the release to serve", SOON, |_| fleet.answer().is_ok_and(|seen| seen == format!("200 {version}"))).unwrap();
        }
    }
}

/// It is locked out, says why and not without end, and comes back when its clock is right.
fn a_host_starts_with_a_wrong_clock(fleet: &TinyFleet, offset: &str) {
    let host = fleet.host();
    set(host, offset);
    let said = restarted(host, AGENT);
    host.wait_until("the agent to say that a clock is wrong", SOON, |host| said_since(host, AGENT, &said).contains(CLUE)).unwrap();
    println!("{offset}: {}", said_since(host, AGENT, &said));
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
    let doctor = host
        .try_sh(&format!("LD_PRELOAD={LIBRARY} NO_FAKE_STAT=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME={offset} roadstead-agent doctor"))
        .unwrap();
    println!("{}{}", doctor.stdout, doctor.stderr);
    // Ahead, its own certificate is over; behind, the controller's has not begun.
    let clues = if offset == AHEAD { OVER } else { &[CLUE] };
    assert_eq!(doctor.code, Some(1), "{}{}", doctor.stdout, doctor.stderr);
    assert!(clues.iter().all(|clue| doctor.stdout.contains(clue)), "{}", doctor.stdout);
    set(host, RIGHT);
    fleet.fleet.wait_for_all().unwrap();
}

/// Nobody is let in, everybody reads why, and all come back when its clock is right.
fn a_controller_starts_with_a_wrong_clock(fleet: &TinyFleet, offset: &str) {
    let (host, controller) = (fleet.host(), &fleet.fleet.controller);
    set(controller, offset);
    let said = restarted(host, AGENT);
    restarted(controller, CONTROLLER);
    host.wait_until("the agent to say that a clock is wrong", SOON, |host| said_since(host, AGENT, &said).contains(CLUE)).unwrap();
    println!("{offset}: {}", said_since(host, AGENT, &said));
    let status = fleet.fleet.desk.try_roadstead(&["status"]).unwrap();
    println!("{}{}", status.stdout, status.stderr);
    assert!(status.code != Some(0) && status.stderr.contains(CLUE), "{}{}", status.stdout, status.stderr);
    let doctor = fleet.fleet.desk.try_roadstead(&["doctor"]).unwrap();
    println!("{}{}", doctor.stdout, doctor.stderr);
    assert!(doctor.code == Some(1) && doctor.stdout.contains(CLUE), "{}{}", doctor.stdout, doctor.stderr);
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
    set(controller, RIGHT);
    fleet.fleet.wait_for_all().unwrap();
}

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Makes a unit go by a clock that can be set wrong; right so far.
fn fake(host: &Host, unit: &str) {
    host.write(OFFSET, RIGHT).unwrap();
    let environment = format!(
        "[Service]\nEnvironment=LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={OFFSET} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\n"
    );
    host.write(&format!("/etc/systemd/system/{unit}.service.d/clock.conf"), environment).unwrap();
    host.systemctl(&["daemon-reload"]).unwrap();
    restarted(host, unit);
}

fn set(host: &Host, offset: &str) {
    host.sh(&format!("printf %s '{offset}' >{OFFSET}.new && mv {OFFSET}.new {OFFSET}")).unwrap();
}

/// Restarts a unit; where its journal stood before.
fn restarted(host: &Host, unit: &str) -> String {
    let cursor = host.sh("journalctl --quiet --lines=0 --show-cursor | sed -n 's/^-- cursor: //p'").unwrap();
    host.systemctl(&["restart", unit]).unwrap();
    cursor.trim().to_owned()
}

/// What a unit has said since its journal stood there.
fn said_since(host: &Host, unit: &str, cursor: &str) -> String {
    let words = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--unit", unit, &format!("--after-cursor={cursor}")];
    host.exec(&words).unwrap()
}
