//! Hosts whose disks turn read-only or run out of files, whose steps take all there is: what fails says why, nothing half done is left,
//! the release before serves on, and with the fault mended the same command succeeds.

use crate::SOON;
use roadstead_tests::fleet::{Journals, Moment, TinyFleet, Twist};
use roadstead_tests::lab::{Execution, Host, HostOptions};
use std::time::Duration;

/// Where releases are laid out, and where the agent keeps blobs and journals: two small disks of their own.
const RELEASES: &str = "/srv/roadstead";
const STATE: &str = "/var/lib/roadstead-agent";
const MEBIBYTES: u32 = 512;

/// Opens files until it may not, and complains as Python does.
const DESCRIPTORS: &str = "\
open_files = []
while True:
    open_files.append(open('/dev/null'))
";
/// Begins processes until it may not; each of them waits for the end of the first.
const PROCESSES: &str = "\
import os, signal, time
children = []
try:
    for _ in range(10000):
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
finally:
    if children:
        print(len(children), 'processes were begun', flush=True)
";

/// Takes memory until it is killed.
const MEMORY: &str = "\
print('it grows', flush=True)
held = []
while True:
    held.append(b'x' * (1 << 22))
";
/// What a machine of these tests can do with, and the kernel has to choose whom to kill.
const MACHINE_BYTES: u64 = 1 << 30;

/// Works on more processors than there are, without an end.
const WORK: &str = "\
import os
for _ in range(2 * os.cpu_count()):
    if os.fork() == 0:
        while True:
            pass
print('works', flush=True)
while True:
    pass
";

#[test]
fn a_host_in_a_bad_state_says_so_and_recovers() {
    let options = HostOptions::default().disk(RELEASES, MEBIBYTES).disk(STATE, MEBIBYTES);
    let fleet = TinyFleet::new("hosts", &options).unwrap();
    fleet.push("1.0.0", &Twist::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");

    disks_that_cannot_be_written(&fleet);
    a_disk_that_turns_while_a_release_is_prepared(&fleet);
    steps_that_take_all_there_is(&fleet);
    memory_that_runs_out(&fleet);
    a_step_that_works_for_ever(&fleet);
    an_agent_that_may_open_no_file_any_more(&fleet);
}

/// Read-only, or without a file left, before anything begins.
fn disks_that_cannot_be_written(fleet: &TinyFleet) {
    fleet.push("1.1.0", &Twist::default()).unwrap();
    turn(fleet, RELEASES, "ro");
    refused(fleet, "1.1.0", &["Read-only file system", RELEASES]);
    turn(fleet, RELEASES, "rw");

    turn(fleet, STATE, "ro");
    refused(fleet, "1.1.0", &["Read-only file system", STATE, "make it writable again"]);
    assert_eq!(fleet.fleet.connected(), Some(1), "the agent lives");
    turn(fleet, STATE, "rw");

    let host = fleet.host();
    let all = format!(
        "mkdir {STATE}/filler && cd {STATE}/filler && seq $(df --output=iavail . | tail -1) | xargs touch; test $(df --output=iavail . | tail -1) = 0"
    );
    host.sh(&all).unwrap();
    refused(fleet, "1.1.0", &["No space left", STATE]);
    host.sh(&format!("rm -rf {STATE}/filler")).unwrap();

    succeeds(fleet, "1.1.0");
    back(fleet);
}

/// It turns at the first moment at which nobody is just writing there. (The agent's own disk cannot be turned while an order is carried
/// out: its journal is open.)
fn a_disk_that_turns_while_a_release_is_prepared(fleet: &TinyFleet) {
    let texts: Vec<(String, String)> = (0..2000).map(|number| (format!("part{number}.txt"), format!("{number}\n").repeat(2000))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    fleet.push("1.2.0", &Twist { files: &files, ..Twist::default() }).unwrap();
    let mut deploy = fleet.fleet.desk.begin(&["deploy", "tiny", "1.2.0"]).unwrap();
    let ended = || !matches!(deploy.try_wait(), Ok(None));
    Journals::of_app(fleet.host(), "tiny").wait_for(|moment| *moment == Moment::within("fetch"), ended).unwrap();
    turn(fleet, RELEASES, "ro");
    check(fleet, &Execution::of(&deploy.wait_with_output().unwrap()), &["Read-only file system", RELEASES]);
    turn(fleet, RELEASES, "rw");
    succeeds(fleet, "1.2.0");
    let left = fleet.host().sh(&format!("find {RELEASES} -name '.new-*'")).unwrap();
    assert_eq!(left, "", "nothing half made is left");
    back(fleet);
}

/// A command of the release's takes all file descriptors and processes that it can get.
fn steps_that_take_all_there_is(fleet: &TinyFleet) {
    let spec = "[hooks]\nbefore-migrate = [[\"python\", \"greedy.py\"]]\n";
    let greedy = [("1.3.0", DESCRIPTORS, "Too many open files"), ("1.3.1", PROCESSES, "Resource temporarily unavailable")];
    for (version, program, clue) in greedy {
        fleet.push(version, &Twist { spec, files: &[("greedy.py", program)], ..Twist::default() }).unwrap();
        refused(fleet, version, &["migrate", "greedy.py", clue]);
        let left = fleet.host().sh("pgrep -f [g]reedy.py || true").unwrap();
        assert_eq!(left, "", "nothing of it runs on");
    }
    fleet.push("1.3.3", &Twist { spec, files: &[("greedy.py", "print('no more')\n")], ..Twist::default() }).unwrap();
    succeeds(fleet, "1.3.3");
    back(fleet);
}

/// A command of the release's takes all the memory that it may have, or all that there is: it is killed, and nobody else.
fn memory_that_runs_out(fleet: &TinyFleet) {
    let host = fleet.host();
    let processes = || ["roadstead-agent", &web_unit(host)].map(|unit| host.main_process(unit).unwrap());
    let before = processes();
    let hook = "[hooks]\nbefore-migrate = [[\"python\", \"greedy.py\"]]\n";
    let files = &[("greedy.py", MEMORY)];
    fleet.push("1.3.4", &Twist { spec: &format!("{hook}\n[steps]\nmemory-max = \"48M\"\n"), files, ..Twist::default() }).unwrap();
    // Where cgroups are of version 1, systemd does not learn why it was killed.
    refused(fleet, "1.3.4", &["migrate", "greedy.py", "killed", "it grows"]);
    host.limit_memory(MACHINE_BYTES).unwrap();
    fleet.push("1.3.5", &Twist { spec: hook, files, ..Twist::default() }).unwrap();
    refused(fleet, "1.3.5", &["migrate", "greedy.py", "killed", "it grows"]);
    assert_eq!(processes(), before, "the agent and the app are those of before");
}

/// The unit of the web service that serves.
fn web_unit(host: &Host) -> String {
    host.sh("systemctl list-units --plain --no-legend --state=active 'tiny-web@*' | cut -d' ' -f1").unwrap().trim().to_owned()
}

/// A command of the release's works on all processors: the app answers all the while, and the command ends with its time.
fn a_step_that_works_for_ever(fleet: &TinyFleet) {
    let spec = "[hooks]\nbefore-migrate = [[\"python\", \"work.py\"]]\n\n[steps]\nmigrate-timeout = \"10s\"\n";
    fleet.push("1.4.0", &Twist { spec, files: &[("work.py", WORK)], ..Twist::default() }).unwrap();
    let mut deploy = fleet.fleet.desk.begin(&["deploy", "tiny", "1.4.0"]).unwrap();
    let busy = |host: &Host| host.try_sh("test $(pgrep -fc [w]ork.py) -gt 2").unwrap().success();
    fleet.host().wait_until("the command to work", SOON, busy).unwrap();
    while busy(fleet.host()) && matches!(deploy.try_wait(), Ok(None)) {
        assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
    }
    check(fleet, &Execution::of(&deploy.wait_with_output().unwrap()), &["migrate", "work.py", "took too long"]);
    let left = fleet.host().sh("pgrep -f [w]ork.py || true").unwrap();
    assert_eq!(left, "", "nothing of it runs on");
}

/// The agent has used up its file descriptors: what it is asked fails with the reason, and it lives.
fn an_agent_that_may_open_no_file_any_more(fleet: &TinyFleet) {
    let agent = fleet.host().main_process("roadstead-agent").unwrap();
    let allow =
        |most: &str| fleet.host().sh(&format!("prlimit --pid $(systemctl show -P MainPID roadstead-agent) --nofile={most}:")).unwrap();
    let highest = "$(ls /proc/$(systemctl show -P MainPID roadstead-agent)/fd | sort -n | tail -1)";
    fleet.push("1.5.0", &Twist::default()).unwrap();
    allow(&format!("$(({highest} + 1))"));
    refused(fleet, "1.5.0", &["Too many open files"]);
    allow("16384");
    succeeds(fleet, "1.5.0");
    assert_eq!(fleet.host().main_process("roadstead-agent").unwrap(), agent, "it was never started anew");
    back(fleet);
}

/// Makes a disk read-only, or writable again. Who is just writing holds that up for a moment.
fn turn(fleet: &TinyFleet, folder: &str, how: &str) {
    let script = format!("mount -o remount,{how} {folder}");
    fleet
        .host()
        .wait_until(&format!("{folder} to be {how}"), Duration::from_secs(30), |host| host.try_sh(&script).unwrap().success())
        .unwrap();
}

fn refused(fleet: &TinyFleet, version: &str, clues: &[&str]) {
    let done = fleet.try_deploy(version).unwrap();
    check(fleet, &done, clues);
}

/// The deploy failed, said where and why, and the old release serves.
fn check(fleet: &TinyFleet, done: &Execution, clues: &[&str]) {
    let said = format!("{}{}", done.stdout, done.stderr);
    println!("{said}\n");
    assert_eq!(done.code, Some(1), "{said}");
    for clue in ["tiny"].iter().chain(clues) {
        assert!(said.contains(clue), "{clue:?} is not said: {said}");
    }
    assert_eq!(fleet.answer().unwrap(), "200 1.0.0");
}

/// The same command, after the fault.
fn succeeds(fleet: &TinyFleet, version: &str) {
    fleet.fleet.wait_for_all().unwrap();
    println!("{}", fleet.deploy(version).unwrap());
    assert_eq!(fleet.answer().unwrap(), format!("200 {version}"));
}

/// The release that all parts begin with.
fn back(fleet: &TinyFleet) {
    fleet.deploy("1.0.0").unwrap();
    fleet.host().wait_until("1.0.0 to answer", SOON, |_| fleet.answer().is_ok_and(|seen| seen == "200 1.0.0")).unwrap();
}
