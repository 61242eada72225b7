//! The lab itself: hosts are real, faults are real, and nothing of it stays behind.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use roadstead_tests::crash;
use roadstead_tests::lab::{self, Cable, Fault, HostOptions, Lab, LabError};
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(15);

fn reaches(from: &lab::Host, to: &lab::Host) -> bool {
    // no ping in a small host: a refused connection is an answer too, silence is not
    let script = format!("timeout 1 bash -c '</dev/tcp/{}/9' 2>&1 | grep -q refused", to.ip());
    from.try_sh(&script).unwrap().success()
}

/// Disks that are made of one recording.
const DISKS: u64 = 20;

#[test]
fn a_recorded_disk_keeps_what_was_synced_and_loses_what_was_not() {
    let lab = Lab::new("recorded").unwrap();
    let host = lab.host_with("web", HostOptions::default().recorded(256)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recorder = host.recorder().unwrap();
    recorder.begin(&folder.path().join("recording")).unwrap();
    host.sh("cd /srv && echo one >synced && sync synced && sync . && echo two >written").unwrap();
    let position = recorder.position();
    host.sh("cd /srv && echo three >later && sync later").unwrap();
    let recording = recorder.end().unwrap();
    host.power_cut().unwrap();
    let image = folder.path().join("image");
    let look = |position, seed| {
        crash::make(&recording, position, seed, &image).unwrap();
        host.replace_disk(&image).unwrap();
        ["synced", "written", "later"].map(|name| std::fs::read_to_string(host.root_path().join("srv").join(name)).unwrap_or_default())
    };
    for seed in 0..DISKS {
        let [synced, written, later] = look(position, seed);
        assert_eq!((synced.as_str(), later.as_str()), ("one\n", ""), "seed {seed}");
        assert!(written.is_empty(), "nothing made it leave the memory");
    }
    assert_eq!(look(recording.requests().len(), 1)[2], "three\n");
    lab.down().unwrap();
}

#[test]
fn two_hosts_live_through_a_cut_cable_and_a_pulled_plug() {
    let lab = Lab::new("faults").unwrap();
    let id = lab.id();
    let [one, two] = lab.hosts(["one", "two"]).unwrap();

    assert_eq!(one.sh("cat /proc/1/comm").unwrap().trim(), "systemd");
    assert_eq!(one.sh("hostname").unwrap().trim(), "one");
    assert_eq!(one.sh("getent hosts two").unwrap().split_whitespace().next(), Some(two.ip().as_str()));
    assert_ne!(one.read("/etc/machine-id").unwrap(), two.read("/etc/machine-id").unwrap());
    assert!(reaches(&one, &two) && reaches(&two, &one));

    two.cut().unwrap();
    assert!(!reaches(&one, &two));
    two.heal().unwrap();
    lab::wait_until("the cable to carry again", SOON, || reaches(&one, &two)).unwrap();

    let third = lab.host("three").unwrap();
    one.cut_from(&two).unwrap();
    assert!(!reaches(&one, &two) && !reaches(&two, &one));
    assert!(reaches(&one, &third) && reaches(&two, &third), "only these two lost each other");
    one.heal_from(&two).unwrap();
    lab::wait_until("the two to find each other", SOON, || reaches(&one, &two)).unwrap();

    two.write("/var/lib/kept/file", "still here").unwrap();
    two.write("/run/lost", "gone").unwrap();
    let boot = two.read("/proc/sys/kernel/random/boot_id").unwrap();
    let before = two.sh("systemctl show --value -p UserspaceTimestampMonotonic").unwrap();
    two.power_cut().unwrap();
    assert!(!two.is_running());
    assert!(matches!(two.sh("true"), Err(LabError::Off(_))));
    two.boot().unwrap();
    assert_eq!(two.read("/var/lib/kept/file").unwrap(), "still here");
    assert!(!two.try_sh("test -e /run/lost").unwrap().success());
    assert_ne!(before, two.sh("systemctl show --value -p UserspaceTimestampMonotonic").unwrap(), "boot {boot}");
    lab::wait_until("the cable after the boot", SOON, || reaches(&one, &two)).unwrap();

    two.reboot().unwrap();
    assert_eq!(two.read("/var/lib/kept/file").unwrap(), "still here");

    lab.down().unwrap();
    assert_gone(&id);
}

#[test]
fn a_network_is_bad_in_every_way_and_whole_again() {
    let lab = Lab::new("cables").unwrap();
    let [one, two, third] = lab.hosts(["one", "two", "three"]).unwrap();
    two.sh("mkdir /srv/files && head -c 40000 /dev/urandom >/srv/files/large && echo small >/srv/files/small").unwrap();
    two.sh("systemd-run --quiet python3 -m http.server --directory /srv/files 8000").unwrap();
    let fetch = |from: &lab::Host, file: &str| {
        let began = Instant::now();
        let url = format!("http://{}:8000/{file}", two.ip());
        let code = from
            .try_exec(&["curl", "-s", "-o", "/dev/null", "-m", "30", "--keepalive-time", "2", "--connect-timeout", "3", &url])
            .unwrap()
            .code;
        (code, began.elapsed())
    };
    lab::wait_until("the server", SOON, || fetch(&one, "large").0 == Some(0)).unwrap();
    let untouched = || fetch(&third, "large").0 == Some(0);

    for fault in [Fault::Slow(128), Fault::Dripping(128)] {
        let cable = Cable::between(&one, &two, fault).unwrap();
        let (code, took) = fetch(&one, "large");
        assert!(code == Some(0) && took > Duration::from_secs(1), "{fault:?}: {code:?} after {took:?}");
        assert!(untouched(), "{fault:?}");
        cable.heal().unwrap();
    }
    let lossy = Cable::between(&one, &two, Fault::Lossy(100)).unwrap();
    assert_ne!(fetch(&one, "small").0, Some(0));
    assert!(untouched());
    lossy.heal().unwrap();
    let resetting = Cable::between(&one, &two, Fault::Resetting(10_000)).unwrap();
    assert_eq!(
        (fetch(&one, "small").0, fetch(&one, "large").0),
        (Some(0), Some(56)),
        "56: reset while it received, told by its own next packet"
    );
    assert!(untouched());
    resetting.heal().unwrap();
    for fault in [Fault::Deaf, Fault::Cut] {
        let cable = Cable::between(&one, &two, fault).unwrap();
        assert_ne!(fetch(&one, "small").0, Some(0), "{fault:?}");
        assert!(untouched(), "{fault:?}");
        drop(cable);
    }
    let (code, took) = fetch(&one, "large");
    assert!(code == Some(0) && took < Duration::from_secs(1), "{code:?} after {took:?}");
    assert!(!one.sh("ip route; nft list tables").unwrap().contains("cable"));
}

#[test]
fn limits_of_units_are_real() {
    let lab = Lab::new("limits").unwrap();
    let host = lab.host("one").unwrap();
    let greedy = "systemd-run --quiet --wait --pipe -p MemoryMax=40M python3 -c 'bytearray(200_000_000)'";
    assert!(!host.try_sh(greedy).unwrap().success(), "200 MB did fit into 40 MiB");
    let many = "systemd-run --quiet --wait --pipe -p TasksMax=4 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait'";
    assert!(!host.try_sh(many).unwrap().success(), "nine processes did fit into four tasks");
    let before = host.cpu_time().unwrap();
    host.sh("systemd-run --quiet --wait sh -c 'timeout 0.5 yes >/dev/null'; true").unwrap();
    let used = host.cpu_time().unwrap() - before;
    assert!(used > Duration::from_millis(100), "half a second of work counted as {used:?}");
}

#[test]
fn a_disk_can_be_filled_and_a_folder_of_the_machine_read() {
    let lab = Lab::new("disks").unwrap();
    let id = lab.id();
    let options = HostOptions::default().disk("/srv", 16).read_only(lab::workspace().join("tests"), "/mnt/tests");
    let host = lab.host_with("one", options).unwrap();
    let full = host.try_sh("dd if=/dev/zero of=/srv/big bs=1M count=64").unwrap();
    assert!(!full.success() && full.stderr.contains("No space left"), "{full:?}");
    assert!(host.read("/mnt/tests/Cargo.toml").unwrap().contains("roadstead-tests"));
    assert!(!host.try_sh("touch /mnt/tests/x").unwrap().success());
    drop(lab);
    assert_gone(&id);
}

#[test]
fn the_servers_of_an_application_are_real() {
    let lab = Lab::new("servers").unwrap();
    let [db, web] = lab.hosts(["db", "web-1"]).unwrap();
    db.start_postgresql("erp", "secret").unwrap();
    db.start_redis().unwrap();
    assert_eq!(db.sql("erp", "select 1 + 1").unwrap(), "2");
    let answer = web.sh("PGPASSWORD=secret psql -h db -U erp -At -c 'select current_user' erp && redis-cli -h db ping").unwrap();
    assert_eq!(answer, "erp\nPONG\n");
    web.start_nginx("server { listen 80; location / { return 200 'hello'; } }").unwrap();
    let url = format!("http://{}/", web.ip());
    assert_eq!(db.sh(&format!("curl -sS {url}")).unwrap(), "hello");
}

#[test]
fn a_package_is_installed_as_an_administrator_would() {
    let folder = std::env::temp_dir().join(format!("roadstead-deb-{}", std::process::id()));
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(tree.join("usr/lib/systemd/system")).unwrap();
    let control = "Package: greeter\nVersion: 1\nArchitecture: all\nMaintainer: the tests <tests@example.org>\nDescription: says hello\n";
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let unit = "[Service]\nDynamicUser=yes\nProtectSystem=strict\nPrivateTmp=yes\nStateDirectory=greeter\nExecStart=/bin/sh -c 'id -un; sleep 600'\n";
    std::fs::write(tree.join("usr/lib/systemd/system/greeter.service"), unit).unwrap();
    let package = folder.join("greeter.deb");
    let built = std::process::Command::new("dpkg-deb").args(["-Zzstd", "--root-owner-group", "--build"]).arg(&tree).arg(&package).output();
    assert!(built.unwrap().status.success());

    let lab = Lab::new("debs").unwrap();
    let host = lab.host("one").unwrap();
    host.install_debs(&[&package]).unwrap();
    host.push_folder(&tree, "/opt/tree").unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(host.read("/opt/tree/DEBIAN/control").unwrap(), control);
    host.systemctl(&["start", "greeter"]).unwrap();
    host.wait_for_unit("greeter", "active", SOON).unwrap();
    lab::wait_until("its words", SOON, || host.journal("greeter").unwrap().contains("greeter")).unwrap();
    let before: u64 = host.unit_property("greeter", "MemoryCurrent").unwrap().parse().unwrap();
    assert!(before > 0, "its memory is accounted for");
    let pid = host.unit_property("greeter", "MainPID").unwrap();
    host.kill_unit("greeter").unwrap();
    host.wait_for_unit("greeter", "failed", SOON).unwrap();
    assert!(!host.try_sh(&format!("test -e /proc/{pid}")).unwrap().success());
}

#[test]
fn an_error_tells_what_the_host_said() {
    let lab = Lab::new("errors").unwrap();
    let host = lab.host("one").unwrap();
    let error = host.sh("echo the reason >&2; exit 3").unwrap_err().to_string();
    assert!(error.contains("one: ") && error.contains("ended with 3") && error.contains("the reason"), "{error}");
    let began = Instant::now();
    let slow = host.execute(&["sleep", "60"], Duration::from_secs(1), &[]).unwrap();
    assert_eq!(slow.code, Some(124));
    assert!(began.elapsed() < Duration::from_secs(20));
    host.write("/etc/systemd/system/bad.service", "[Service]\nExecStart=/bin/sh -c 'echo I cannot; exit 1'\n").unwrap();
    host.sh("systemctl daemon-reload; systemctl start bad").unwrap();
    let error = host.wait_for_unit("bad", "active", Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("I cannot"), "{error}");
    host.power_cut().unwrap();
    assert!(host.journal("bad").unwrap().contains("I cannot"), "the journal is read from the disk of a dead host");
    assert!(matches!(lab.host("Not A Name"), Err(LabError::Name(_))));
    assert!(matches!(lab.get("nobody"), Err(LabError::NoHost { .. })));
}

#[test]
fn what_a_dead_process_left_is_cleared_away() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dies_with_a_lab", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = said.lines().find_map(|line| line.split("made lab ").nth(1)).unwrap_or_else(|| panic!("{said}"));
    // it, or any test that began meanwhile
    lab::clean_stale().unwrap();
    assert_gone(id.trim());
}

#[test]
#[ignore = "a part of `what_a_dead_process_left_is_cleared_away`"]
fn dies_with_a_lab() {
    let lab = Lab::new("orphan").unwrap();
    assert!(lab.host("one").unwrap().is_running());
    println!("made lab {}", lab.id());
    std::process::abort();
}

#[test]
fn who_is_not_root_is_told_so() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
    let folder = std::env::temp_dir().join(format!("roadstead-lab-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("roadstead-lab");
    std::fs::copy(env!("CARGO_BIN_EXE_roadstead-lab"), &program).unwrap();
    let output = std::process::Command::new(&program).arg("up").current_dir("/").uid(65534).gid(65534).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("needs root"), "{said}");
}

/// Nothing on this machine bears the lab's name any more.
fn assert_gone(id: &str) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(id), "mounts are left:\n{table}");
    for folder in ["/run/netns", "/run/roadstead-lab"] {
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().contains(id)), "{folder}: {names:?}");
    }
    for hierarchy in ["", "systemd", "unified", "memory", "pids", "cpu", "cpuacct"] {
        let folder = Path::new("/sys/fs/cgroup").join(hierarchy);
        let names = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(id)).collect();
        assert!(left.is_empty(), "{}: {left:?}", folder.display());
    }
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        assert!(!words.contains(&format!("lab-{id}")), "a process is left: {words}");
    }
}
