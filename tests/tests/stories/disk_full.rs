//! A disk that is full when a release comes, or fills up while it comes: the old release serves on, and the operator reads which disk of
//! which host, and what to do. With room again the same command succeeds.

use roadstead_tests::fleet::{Fleet, FleetOptions, Journals, Moment};
use roadstead_tests::lab::{Execution, Host, HostOptions};
use std::fs::File;

/// Where releases are laid out, and where the agent keeps blobs and journals: two small disks of their own.
const RELEASES: &str = "/srv/roadstead";
const AGENT: &str = "/var/lib/roadstead-agent";
const MEBIBYTES: u32 = 640;

#[test]
fn a_full_disk_stops_a_release_and_nothing_else() {
    let host = HostOptions::default().disk(RELEASES, MEBIBYTES).disk(AGENT, MEBIBYTES);
    let fleet = Fleet::new("full", &FleetOptions { host, ..FleetOptions::default() }).unwrap();
    fleet.push("1.1.0").unwrap();
    fleet.deploy("1.0.0").unwrap();
    let web = &fleet.hosts[0];
    println!("{}", web.sh(&format!("df -h {RELEASES} {AGENT}; df -i {RELEASES} {AGENT}")).unwrap());

    fill(web, RELEASES, 20);
    refused(&fleet, &["preflight", "MiB", RELEASES]);
    make_room(web, RELEASES);

    // files can run out before bytes do
    web.sh(&format!("mkdir {RELEASES}/filler && cd {RELEASES}/filler && seq 1000000 | xargs touch 2>/dev/null; test $(df --output=iavail . | tail -1) = 0"))
        .unwrap();
    refused(&fleet, &["preflight", "0 files", RELEASES]);
    make_room(web, RELEASES);

    // it looks well at first and fills up while the release comes
    fill(web, RELEASES, 80);
    let rest = File::create(web.root_path().join("srv/roadstead/rest")).unwrap();
    let deploy = fleet.desk.begin(&["deploy", "staging", "1.1.0"]).unwrap();
    Journals::of(web).wait_for(|moment| *moment == Moment::within("fetch"), || false).unwrap();
    take_all(&rest);
    check(&fleet, &Execution::of(&deploy.wait_with_output().unwrap()), &["unpack", "No space left", RELEASES]);
    assert_eq!(web.sh(&format!("find {RELEASES} -name '.new-*'")).unwrap(), "", "nothing half made is left");
    make_room(web, RELEASES);

    // not even the order can be written down
    fill(web, AGENT, 0);
    refused(&fleet, &["journal", "No space left", AGENT]);
    make_room(web, AGENT);

    fleet.deploy("1.1.0").unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
}

/// Fills a disk but for so many MiB.
fn fill(host: &Host, folder: &str, leave: u64) {
    // a file system cannot give the last blocks that it counts at one stroke
    let rest = if leave == 0 { "{ cat /dev/zero >>filler; } 2>/dev/null; true" } else { "true" };
    let keep = leave.max(8);
    let script = format!("cd {folder} && room=$(df --output=avail -B1M . | tail -1) && fallocate -l $((room - {keep}))M filler && {rest}");
    host.sh(&script).unwrap();
}

fn make_room(host: &Host, folder: &str) {
    host.sh(&format!("rm -rf {folder}/filler {folder}/rest")).unwrap();
}

/// Takes what is left of the disk that the file lies on.
fn take_all(file: &File) {
    let room = nix::sys::statvfs::fstatvfs(file).unwrap();
    let bytes = i64::try_from(room.blocks_available() * room.fragment_size()).unwrap();
    nix::fcntl::posix_fallocate(file, 0, bytes).unwrap();
}

fn refused(fleet: &Fleet, clues: &[&str]) {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.1.0"]).unwrap();
    check(fleet, &done, clues);
}

/// The deploy failed, said where and why and what to do, and the old release serves.
fn check(fleet: &Fleet, done: &Execution, clues: &[&str]) {
    println!("{}{}\n", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{}{}", done.stdout, done.stderr);
    let said = format!("{}{}", done.stdout, done.stderr);
    for clue in ["web-1", "make room"].iter().chain(clues) {
        assert!(said.contains(clue), "{clue:?} is not said: {said}");
    }
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"]);
}
