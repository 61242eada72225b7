//! Environments are what their files say: what could never work is refused with its place, what would change is told before, and what no
//! file names goes when somebody says so.

use super::{FIRST, PRODUCTION, Story, production, words};
use roadstead_tests::fleet::Desk;
use roadstead_tests::lab::Execution;

const ZONE: &str = "time-zone = \"Europe/Berlin\"\n";

/// Gates that could never open, and what is said of them.
const REFUSED: [(&str, &str); 12] = [
    ("windows = [\"mon 09:00-17:00\"]", "windows and freezes need a time-zone"),
    ("time-zone = \"Europe/Berlin\"\nwindows = [\"mon 9:00-17:00\"]", "\"mon 9:00-17:00\" is no window"),
    ("time-zone = \"Europe/Atlantis\"\nwindows = [\"mon 09:00-17:00\"]", "there is no time zone \"Europe/Atlantis\""),
    ("time-zone = \"UTC\"\nfreezes = [{ from = \"2026-12-20\", until = \"2026-12-19\" }]", "ends at 2026-12-19, before it begins"),
    ("time-zone = \"UTC\"\nfreezes = [{ from = \"2027-02-29\", until = \"2027-03-01\" }]", "\"2027-02-29\" is no date"),
    ("approvals = [{ role = \"ops\", count = 4 }]", "4 of the role ops are to approve, and 3 have it"),
    ("approvals = [{ role = \"dba\" }]", "1 of the role dba are to approve, and 0 have it"),
    ("approvals = [{ role = \"ops\", count = 0 }]", "the role ops is to approve 0 times"),
    ("approvals = [{ role = \"ops\" }, { role = \"ops\" }]", "the role ops stands in two approvals"),
    ("after = { environment = \"production\" }", "production cannot wait until a release was well in production itself"),
    ("after = { environment = \"tiny\", healthy-for = \"169h\" }", "at most a week"),
    ("approval = [{ role = \"ops\" }]", "unknown key `approval`: did you mean `approvals`?"),
];

/// Both environments serve 1.1.0.
pub(super) fn declare_what_there_is(story: &Story) {
    what_could_never_open_is_refused(story);
    let folder = folder_of_both(story);
    what_differs_is_told(story, &folder);
    what_no_file_names_goes(story, &folder);
    one_environment_beside_another(story);
}

fn what_could_never_open_is_refused(story: &Story) {
    let shown = || story.desk().json(&["env", "show", PRODUCTION]).unwrap();
    let before = shown();
    for (gates, why) in REFUSED {
        let file = story.desk().write("refused.toml", &production(gates, "1s")).unwrap();
        let said = story.desk().try_roadstead(&["apply", "-f", &file]).unwrap();
        assert!(said.code == Some(2) && words(&said).contains(why), "{gates}: {}", words(&said));
    }
    assert_eq!(shown(), before, "nothing was applied");
}

/// A folder with the files of both environments as they are.
fn folder_of_both(story: &Story) -> String {
    let desk = story.desk();
    std::fs::create_dir(desk.folder().join("env")).unwrap();
    std::fs::copy(desk.folder().join("tiny.toml"), desk.folder().join("env/tiny.toml")).unwrap();
    desk.write("env/production.toml", &production("", "1s")).unwrap();
    desk.folder().join("env").display().to_string()
}

/// Field by field, and nothing is changed by it.
fn what_differs_is_told(story: &Story, folder: &str) {
    let desk = story.desk();
    let same = "production of tiny: unchanged\ntiny of tiny: unchanged\n";
    assert_eq!(desk.roadstead(&["diff", "-f", folder, "--exit-code"]).unwrap(), same);
    desk.write("env/production.toml", &production(&format!("{ZONE}windows = [\"mon-fri 09:00-17:00\"]"), "2s")).unwrap();
    for _ in 0..2 {
        let differs = desk.try_roadstead(&["diff", "-f", folder, "--exit-code"]).unwrap();
        println!("{}", words(&differs));
        assert_eq!(differs.code, Some(1), "{}", words(&differs));
        let lines: Vec<&str> = differs.stdout.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("production of tiny: would change", "tiny of tiny: unchanged"), "{lines:?}");
        assert!(lines.contains(&"  bake: 1.0 s → 2.0 s"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("  gates.windows") && line.contains("09:00-17:00")), "{lines:?}");
    }
}

/// Only when somebody says yes, where somebody can be asked, and never one to which hosts belong.
fn what_no_file_names_goes(story: &Story, folder: &str) {
    let desk = story.desk();
    let trial = desk.write("trial.toml", "[environment]\nname = \"trial\"\napp = \"tiny\"\n").unwrap();
    desk.roadstead(&["apply", "-f", &trial]).unwrap();
    let foreseen = || desk.roadstead(&["diff", "-f", folder, "--prune"]).unwrap();
    let before = foreseen();
    assert!(before.ends_with("trial of tiny: would be removed\n"), "{before}");

    let asks = "1 environment that no file names is removed: trial of tiny";
    let unasked = desk.try_roadstead(&["apply", "-f", folder, "--prune"]).unwrap();
    assert!(unasked.code == Some(2) && unasked.stderr.contains(asks) && unasked.stderr.contains("--yes"), "{}", words(&unasked));
    let hosts = desk.try_roadstead(&["apply", "-f", &format!("{folder}/tiny.toml"), "--prune", "--yes"]).unwrap();
    assert!(hosts.code == Some(3) && hosts.stderr.contains("production of tiny cannot be removed: "), "{}", words(&hosts));
    assert!(hosts.stderr.contains("nothing was changed"), "{}", words(&hosts));
    let no = at_a_terminal(desk, "n", &["apply", "-f", folder, "--prune"]);
    assert!(no.code == Some(1) && no.stdout.contains(&format!("{asks}. This cannot be taken back. Go on? [y/N]")), "{}", words(&no));
    assert_eq!(foreseen(), before, "whoever is not asked, and whoever says no, changes nothing");

    let yes = at_a_terminal(desk, "y", &["apply", "-f", folder, "--prune"]);
    let said = words(&yes);
    assert!(yes.success() && said.contains("trial of tiny: removed") && said.contains("production of tiny: changed"), "{said}");
    let same = "production of tiny: unchanged\ntiny of tiny: unchanged\n";
    assert_eq!(desk.roadstead(&["diff", "-f", folder, "--prune", "--exit-code"]).unwrap(), same);
    assert_eq!(desk.try_roadstead(&["env", "show", "trial"]).unwrap().code, Some(1), "there is none any more");
}

/// They run the same, and differ in their policy alone.
fn one_environment_beside_another(story: &Story) {
    let told = story.desk().roadstead(&["env", "diff", FIRST, PRODUCTION]).unwrap();
    println!("{told}");
    let row = |field: &str| told.lines().find(|line| line.starts_with(field)).map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(told.lines().next().map(|head| head.split_whitespace().collect()), Some(vec![FIRST, PRODUCTION]), "{told}");
    assert_eq!(row("bake"), Some(vec!["bake", "1.0", "s", "2.0", "s"]), "{told}");
    assert!(row("gates.windows").is_some() && row("release").is_none() && row("hosts.number").is_none(), "{told}");
    let json = story.desk().json(&["env", "diff", FIRST, PRODUCTION]).unwrap();
    let bake = json["differences"].as_array().unwrap().iter().find(|row| row["field"] == "bake").unwrap();
    assert_eq!((&bake["left"], &bake["right"]), (&"1.0 s".into(), &"2.0 s".into()));
    assert_eq!(story.desk().roadstead(&["env", "diff", FIRST, FIRST]).unwrap(), "tiny and tiny of tiny do not differ\n");
}

/// The command as somebody runs it who sits at a terminal, and answers.
fn at_a_terminal(desk: &Desk, answer: &str, words: &[&str]) -> Execution {
    let command = format!("{} {}", desk.program().display(), words.join(" "));
    desk.run(&["sh", "-c", &format!("echo {answer} | script -qec '{command}' /dev/null")]).unwrap()
}
