//! Commands of a release that end at once: what each of them said is kept, also of the one that fails.

use roadstead_tests::fleet::{Fleet, FleetOptions, Project};

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
before-migrate = [
";

/// Hooks that say one thing each.
const QUICK: usize = 10;

#[test]
fn the_last_words_of_quick_commands_are_kept() {
    let fleet = Fleet::new("quick", &FleetOptions::default()).unwrap();
    let project = Project::new("kinds").unwrap();
    let quick = |number: usize| {
        let status = if number + 1 == QUICK { 3 } else { 0 };
        format!("    [\"python\", \"-S\", \"-c\", \"import os; os.write(2, b'the words of {number}\\\\n'); os._exit({status})\"],\n")
    };
    let hooks: String = (0..QUICK).map(quick).collect();
    project.write("roadstead.toml", &format!("{MANIFEST}{hooks}]\n")).unwrap();
    let policy = "hosts = \"role=web\"\n[strategy]\nbake = \"1s\"\n";
    fleet.welcome(&project, policy, &format!("REDIS_URL=redis://{}:6379/1\n", fleet.data.ip())).unwrap();
    project.release(&fleet, "1.0.0").unwrap();

    let rollout = fleet.begin(&["deploy", "staging", "1.0.0", "--app", "kinds"]).unwrap();
    let done = fleet.watch(&rollout).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert!(said.contains("ended with exit status 3"), "{said}");
    let logs = fleet.desk.roadstead(&["logs", &rollout, "--host", "web-1", "--step", "migrate"]).unwrap();
    for number in 0..QUICK {
        assert!(logs.contains(&format!("the words of {number}")), "what it said is kept:\n{logs}\n{said}");
    }
}
