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
            for word in ["SystemTime::now", "Instant::now", "std::fs", "std::net", "std::process", "getrandom", "HashMap"] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        }
    }
}

/// Where the worker's own code may meet the host: a file, and what it may name of it.
const SEAMS: [(&str, &[&str]); 4] = [
    ("clock.rs", &["SystemTime"]),
    ("disk/real.rs", &["std::fs", "nix::"]),
    ("files.rs", &["std::fs", "nix::"]),
    ("tasks.rs", &["spawn_blocking", "tracker.spawn"]),
];

#[test]
fn the_worker_meets_the_host_only_at_its_seams() {
    let folder = root().join("agent/worker/src");
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
        let may = SEAMS.iter().find(|(seam, _)| *seam == relative).map_or(&[][..], |(_, may)| *may);
        for word in [
            "SystemTime",
            "std::fs",
            "nix::",
            "spawn_blocking",
            "tracker.spawn",
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
        ] {
            assert!(!text.contains(word) || may.contains(&word), "{relative} names {word} and is no seam for it");
            if text.contains(word) {
                met.insert((relative.clone(), word));
            }
        }
        // Only tokio's time can be stopped and moved on.
        let of_std = text.lines().find(|line| line.contains("std::time") && line.contains("Instant"));
        assert_eq!(of_std, None, "{relative} reads a clock that no simulator moves");
        let tokios = text.lines().any(|line| line.starts_with("use tokio::time::") && line.contains("Instant"));
        assert!(tokios || !text.contains("Instant::now"), "{relative} does not say whose Instant it reads");
        // Without an order of its own, a select draws lots.
        let selects = text.split("select! {").skip(1);
        assert!(selects.map(str::trim_start).all(|arms| arms.starts_with("biased;")), "{relative} has a select that is not biased");
    }
    let seams = SEAMS.iter().flat_map(|(seam, may)| may.iter().map(|word| ((*seam).to_owned(), *word))).collect();
    assert_eq!(met, seams, "a seam of the list is none any more");
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
    let root = root();
    let ledger = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let mut named = 0;
    for word in ledger.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let Some((file, function)) = word.split_once("::") else { continue };
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("docs/reliability.md names {file}"));
        assert!(text.contains(&format!("fn {function}(")), "docs/reliability.md names {function}, which is not in {file}");
        named += 1;
    }
    assert!(named > 40, "the tables are there");
}
