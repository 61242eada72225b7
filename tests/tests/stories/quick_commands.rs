//! A command of a release that ends at once: what it said is kept, however late the host's journal comes to it.

use crate::SOON;
use roadstead_tests::fleet::{Fleet, FleetOptions, Project};
use roadstead_tests::lab::Host;

const MANIFEST: &str = "\
[app]
name = \"kinds\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[env]
REDIS_URL = { required = true }

[services.loop]
kind = \"command\"
command = [\"python\", \"-m\", \"kinds.loop\", \"many\"]

[hooks]
before-migrate = [[\"python\", \"-S\", \"-c\", \"import os; os.write(2, b'the last words\\\\n'); os._exit(3)\"]]
";

/// The unit of the hook.
const UNIT: &str = "roadstead-kinds-before-migrate0-*.service";

#[test]
fn the_last_words_of_a_quick_command_are_kept() {
    let fleet = Fleet::new("quick", &FleetOptions::default()).unwrap();
    let project = Project::new("kinds").unwrap();
    project.write("roadstead.toml", MANIFEST).unwrap();
    let policy = "hosts = \"role=web\"\n[strategy]\nbake = \"1s\"\n";
    fleet.welcome(&project, policy, &format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip())).unwrap();
    project.release(&fleet, "1.0.0").unwrap();
    let web = &fleet.hosts[0];
    // The journal stands still until the command is over, as on a host that has too much to do.
    signal_journal(web, "STOP");
    let rollout = fleet.begin(&["deploy", "staging", "1.0.0", "--app", "kinds"]).unwrap();
    let over = web.wait_until("the hook to be over", SOON, |host| {
        host.try_sh(&format!("systemctl show --property=ExecMainStatus --value '{UNIT}'")).is_ok_and(|done| done.stdout.trim() == "3")
    });
    signal_journal(web, "CONT");
    over.unwrap();
    let done = fleet.watch(&rollout).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("ended with exit status 3"), "{said}");
    let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
    assert!(logs.contains("the last words"), "what it said is kept:\n{logs}\n{said}");
}

fn signal_journal(host: &Host, signal: &str) {
    host.sh(&format!("systemctl kill --signal={signal} systemd-journald")).unwrap();
}
