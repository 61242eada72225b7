//! The house rules as tests: which crate may use which, and which library is named where.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Crate → the crates of the workspace that it may depend on.
fn arrows() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let all = ["roadstead-model", "roadstead-proto", "roadstead-bundle", "roadstead-pki"];
    let with = |core: &'static str| -> BTreeSet<_> { all.into_iter().chain([core]).collect() };
    let model: BTreeSet<_> = ["roadstead-model"].into();
    BTreeMap::from([
        ("roadstead-model", BTreeSet::new()),
        ("roadstead-proto", model.clone()),
        ("roadstead-bundle", model.clone()),
        ("roadstead-pki", model.clone()),
        ("roadstead-rollout", model.clone()),
        ("roadstead-deployment", model.clone()),
        ("roadstead-worker", model.into_iter().chain(["roadstead-deployment"]).collect()),
        ("roadstead-http", ["roadstead-model", "roadstead-pki"].into()),
        ("roadstead-bucket", ["roadstead-model", "roadstead-http"].into()),
        ("roadstead-secrets", ["roadstead-model", "roadstead-pki", "roadstead-http"].into()),
        ("roadstead-driver", ["roadstead-model", "roadstead-bundle", "roadstead-rollout"].into()),
        ("roadstead-controller", with("roadstead-rollout").into_iter().chain(["roadstead-driver", "roadstead-http"]).collect()),
        (
            "roadstead-agent",
            with("roadstead-deployment").into_iter().chain(["roadstead-worker", "roadstead-secrets", "roadstead-bucket"]).collect(),
        ),
        ("roadstead", all.into()),
        ("roadstead-sim", ["roadstead-model", "roadstead-rollout", "roadstead-driver", "roadstead-worker"].into()),
        ("roadstead-properties", with("roadstead-deployment").into_iter().chain(["roadstead-worker"]).collect()),
        ("roadstead-tests", with("roadstead-deployment").into_iter().chain(["roadstead-worker", "roadstead-rollout"]).collect()),
        ("roadstead-bench", ["roadstead-tests"].into()),
    ])
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn dependencies_run_one_way() {
    let arrows = arrows();
    let mut seen = BTreeSet::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap().to_owned();
        let allowed = arrows.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table of ARCHITECTURE.md"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let dependency = dependency["name"].as_str().unwrap();
            if dependency.starts_with("roadstead") {
                assert!(allowed.contains(dependency), "{name} must not use {dependency}");
            }
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), arrows.len(), "a crate of the table is missing");
}

#[test]
fn the_cores_are_pure() {
    let allowed: BTreeSet<_> =
        ["roadstead-model", "serde", "thiserror", "blake3", "proptest", "serde_json"].into_iter().map(str::to_owned).collect();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if !["roadstead-model", "roadstead-rollout", "roadstead-deployment"].contains(&name) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let dependency = dependency["name"].as_str().unwrap();
            assert!(allowed.contains(dependency), "{name} is pure and must not use {dependency}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_cores_read_no_clock_and_no_chance() {
    for folder in ["model/src", "controller/rollout/src", "agent/deployment/src"] {
        let mut files = Vec::new();
        sources(&root().join(folder), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for word in [
                "SystemTime::now",
                "Instant::now",
                "std::fs",
                "std::net",
                "std::process",
                "std::thread",
                "std::env",
                "tokio::",
                "getrandom",
                "RandomState",
                "HashMap",
                "HashSet",
            ] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        }
    }
}

/// Where code that simulators run may meet the host: a file, and what it may name there.
type Seams = [(&'static str, &'static [&'static str])];

const SEAMS_OF_THE_WORKER: &Seams = &[
    ("clock.rs", &["SystemTime"]),
    ("disk/real.rs", &["std::fs", "nix::"]),
    ("files.rs", &["std::fs", "nix::"]),
    ("tasks.rs", &["spawn_blocking", "tracker.spawn"]),
];

/// The driver has its clock, its database and its eyes handed to it; time zones are read by jiff.
const SEAMS_OF_THE_DRIVER: &Seams = &[("lib.rs", &["tokio::spawn("]), ("looking.rs", &["JoinSet"]), ("windows.rs", &["jiff::"])];

/// What differs from host to host and from run to run: files, the network, processes, threads, time, chance.
const OF_THE_HOST: [&str; 23] = [
    "SystemTime",
    "Zoned::now",
    "Timestamp::now",
    "jiff::",
    "std::fs",
    "nix::",
    "spawn_blocking",
    "tracker.spawn",
    "JoinSet",
    "tokio::fs",
    "tokio::spawn(",
    "tokio::task::spawn(",
    "spawn_local",
    "std::net",
    "tokio::net",
    "std::process",
    "std::thread",
    "std::env",
    "getrandom",
    "rand::",
    "RandomState",
    "HashMap",
    "HashSet",
];

#[test]
fn the_worker_meets_the_host_only_at_its_seams() {
    meets_the_host_only_at("agent/worker/src", SEAMS_OF_THE_WORKER);
}

#[test]
fn the_driver_meets_the_host_only_at_its_seams() {
    meets_the_host_only_at("controller/driver/src", SEAMS_OF_THE_DRIVER);
}

/// Code that a simulator runs names what is of the host at its seams alone, and leaves nothing to time and chance.
fn meets_the_host_only_at(folder: &str, seams: &Seams) {
    let folder = root().join(folder);
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut met = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        if relative.ends_with("tests.rs") || relative.contains("tests/") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let may = seams.iter().find(|(seam, _)| *seam == relative).map_or(&[][..], |(_, may)| *may);
        for word in OF_THE_HOST.into_iter().filter(|word| text.contains(word)) {
            assert!(may.contains(&word), "{} names {word} and is no seam for it", file.display());
            met.insert((relative.clone(), word));
        }
        leaves_nothing_to_time_and_chance(&file, text);
    }
    let seams = seams.iter().flat_map(|(seam, may)| may.iter().map(|word| ((*seam).to_owned(), *word))).collect();
    assert_eq!(met, seams, "a seam of the list is none any more");
}

fn leaves_nothing_to_time_and_chance(file: &Path, text: &str) {
    let file = file.display();
    // Only tokio's time can be stopped and moved on.
    let of_std = text.lines().find(|line| line.contains("std::time") && line.contains("Instant"));
    assert_eq!(of_std, None, "{file} reads a clock that no simulator moves");
    let tokios = text.lines().any(|line| line.starts_with("use tokio::time::") && line.contains("Instant"));
    assert!(tokios || !text.contains("Instant::now"), "{file} does not say whose Instant it reads");
    // Without an order of its own, a select draws lots.
    let selects = text.split("select! {").skip(1);
    assert!(selects.map(str::trim_start).all(|arms| arms.starts_with("biased;")), "{file} has a select that is not biased");
}

#[test]
fn a_library_is_named_in_one_place() {
    let homes: [(&str, &[&str]); 5] = [
        ("sqlx::", &["controller/src/store"]),
        ("zbus::", &["agent/src/host"]),
        ("rustls::", &["pki/"]),
        ("rcgen::", &["pki/"]),
        ("x509_parser::", &["pki/"]),
    ];
    let root = root();
    let mut files = Vec::new();
    for folder in ["model", "proto", "bundle", "pki", "http", "controller", "agent", "cli"] {
        sources(&root.join(folder), &mut files);
    }
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for (word, homes) in homes {
            let at_home = homes.iter().any(|home| relative.starts_with(home));
            assert!(at_home || !text.contains(word), "{relative} names {word}, whose home is {homes:?}");
        }
    }
}

/// `RestrictSUIDSGID=` of the agent's unit has systemd answer `openat2` with "not implemented", since it cannot look into what that is told.
#[test]
fn the_agent_calls_nothing_that_its_unit_forbids() {
    let unit = std::fs::read_to_string(root().join("packaging/agent/usr/lib/systemd/system/roadstead-agent.service")).unwrap();
    assert!(unit.contains("RestrictSUIDSGID=yes"));
    let mut files = Vec::new();
    sources(&root().join("agent"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("openat2("), "{} calls openat2, which works in tests and never in the agent's unit", file.display());
    }
}

#[test]
fn every_crate_takes_the_lints_and_says_what_it_is() {
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{} does not take the workspace's lints", manifest.display());
        let folder = manifest.parent().unwrap().join("src");
        let head = [folder.join("lib.rs"), folder.join("main.rs")].into_iter().find(|p| p.exists()).unwrap();
        assert!(std::fs::read_to_string(&head).unwrap().starts_with("//!"), "{} does not say what it is", head.display());
    }
}

#[test]
fn every_test_that_the_docs_name_is_there() {
    let root = root();
    let mut named = 0;
    for line in std::fs::read_to_string(root.join("docs/wild-apps.md")).unwrap().lines().filter(|line| line.starts_with("| ")) {
        let held_by = line.trim_end_matches('|').rsplit('|').next().unwrap();
        for word in held_by.split('`').skip(1).step_by(2) {
            let path = if word.contains('/') { word.to_owned() } else { format!("tests/tests/stories/{word}.rs") };
            assert!(root.join(&path).is_file(), "docs/wild-apps.md names {path}: {line}");
            named += 1;
        }
    }
    assert!(named > 40, "the table is there");
}

#[test]
fn what_is_said_to_be_reliable_is_shown_somewhere() {
    let ledger = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let names: Vec<_> = ledger.lines().filter(|line| line.starts_with("| ")).flat_map(tests_named_in).collect();
    for (file, function) in &names {
        is_run(file, function);
    }
    assert!(names.len() > 240, "the tables are there");

    let rows = rows_with_ids(&ledger);
    let mut seen = BTreeSet::new();
    for Row { line, ids, shown_by } in &rows {
        assert!(tests_named_in(shown_by).next().is_some() || shown_by.contains("**open**"), "neither a test nor open: {line}");
        for id in ids {
            assert!(all_ids().contains(*id), "docs/reliability.md knows no {id}: {line}");
            seen.insert((*id).to_owned());
        }
    }
    let missing: Vec<_> = all_ids().difference(&seen).cloned().collect();
    assert!(missing.is_empty(), "docs/reliability.md has no row for {missing:?}");
}

/// A row of the ledger.
struct Row<'a> {
    line: &'a str,
    /// Of which faults, or of what must hold or come about, it is.
    ids: Vec<&'a str>,
    shown_by: &'a str,
}

/// The rows of those tables whose first column is `id`. A row that is of none of them has a dash there.
fn rows_with_ids(ledger: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut has_ids = false;
    for line in ledger.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        has_ids = line.starts_with('|') && (has_ids || cells[0] == "id");
        if !has_ids || cells[0] == "id" || cells[0].starts_with("---") {
            continue;
        }
        let [ids, _, shown_by] = cells[..] else { panic!("a row has three cells: {line}") };
        rows.push(Row { line, ids: ids.split(", ").filter(|id| *id != "–").collect(), shown_by });
    }
    rows
}

/// Faults, what must always hold, and what must come about once faults stop.
fn all_ids() -> BTreeSet<String> {
    let of = |letter: char, count: u32| (1..=count).map(move |number| format!("{letter}{number}"));
    of('F', 31).chain(of('S', 21)).chain(of('L', 6)).collect()
}

/// What stands in a text as `file::function`.
fn tests_named_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::"))
}

/// What is named is a test, or the part of one that stands in its file. What the simulator promises and does is called from anywhere in it:
/// its seeds are the test. Stories have parts in files of their own.
fn is_run(file: &str, function: &str) {
    const WHOLES: [&str; 2] = ["tests/sim/src", "tests/tests/stories"];
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("docs/reliability.md names {file}"));
    assert!(text.contains(&format!("fn {function}(")), "docs/reliability.md names {function}, which is not in {file}");
    let is_called_in = |whole: &&str| {
        let mut files = Vec::new();
        sources(&root().join(whole), &mut files);
        files.iter().any(|file| is_called(&std::fs::read_to_string(file).unwrap(), function))
    };
    let from_elsewhere = || WHOLES.iter().filter(|whole| file.starts_with(**whole)).any(is_called_in);
    let runs = is_test(&text, function) || is_called(&text, function) || from_elsewhere();
    assert!(runs, "docs/reliability.md names {function} of {file}, which is no test and which nobody calls");
}

/// Whether a function has a test's attribute; those within `proptest!` have it, too.
fn is_test(text: &str, function: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let begins = |line: &str| line.contains(&format!("fn {function}(")) && !line.starts_with("//");
    let above = |place: usize| lines[..place].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let marks = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    (0..lines.len()).filter(|place| begins(lines[*place])).any(|place| above(place).any(marks))
}

fn is_called(text: &str, function: &str) -> bool {
    let call = format!("{function}(");
    let mut code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    code.any(|line| {
        let mut before = line.match_indices(&call).map(|(place, _)| &line[..place]);
        before.any(|before| !before.ends_with("fn ") && !before.ends_with(|last: char| last.is_alphanumeric() || last == '_'))
    })
}

/// A test that is ignored shows nothing, but where another one of its file runs it and is named as the reason.
#[test]
fn no_test_is_left_out() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        let is_ignored = |line: &str| line.starts_with("#[ignore") || (line.starts_with("#[cfg_attr(") && line.contains("ignore"));
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| is_ignored(line)) {
            let ignored = lines[place + 1..].iter().find_map(|line| line.split_once("fn ")?.1.split_once('(')).unwrap().0;
            let is_run_by = |test: &str| is_test(&text, test) && text.contains(&format!("\"{ignored}\", \"--ignored\""));
            assert!(line.split('`').nth(1).is_some_and(is_run_by), "{} leaves out {ignored}: {line}", file.display());
        }
    }
}
