//! Each property holds of its corpus: of the seeds that the fuzzer begins with, and of all that ever broke it.
//!
//! `ROADSTEAD_WRITE_CORPORA=1` writes the seeds of `seeds.rs` that are not there yet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

mod seeds;

use roadstead_properties::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All corpora together: what a fuzzer finds beyond seeds stays out of the repository.
const CORPORA_BYTES_MAX: u64 = 200 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_seeds_are_there() {
    for (target, name, bytes) in seeds::all() {
        let folder = fuzz().join("corpus").join(target);
        let file = folder.join(name);
        if std::env::var_os("ROADSTEAD_WRITE_CORPORA").is_some() && !file.exists() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, bytes).unwrap();
        }
        assert!(file.is_file(), "{} is missing: run this test with ROADSTEAD_WRITE_CORPORA=1", file.display());
    }
}

#[test]
fn each_property_holds_of_its_corpus() {
    let mut bytes = 0;
    for (target, property) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        for name in names(&folder) {
            let input = fs::read(folder.join(&name)).unwrap();
            bytes += input.len() as u64;
            assert!(std::panic::catch_unwind(|| property(&input)).is_ok(), "{target} does not hold of {name}");
        }
    }
    assert!(bytes < CORPORA_BYTES_MAX, "the corpora have {bytes} bytes");
}

#[test]
fn each_property_has_a_target_and_a_corpus_and_is_told() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert_eq!(names(&fuzz().join("targets")), targets.iter().map(|name| format!("{name}.rs")).collect());
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let page = fs::read_to_string(fuzz().join("../../docs/reliability.md")).unwrap();
    for name in &targets {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"\n")), "{name} is not in tests/fuzz/Cargo.toml");
        assert!(page.contains(&format!("\n| `{name}` |")), "{name} is not in docs/reliability.md");
        let shim = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap();
        assert!(shim.contains(&format!("fuzz_target!(|bytes: &[u8]| roadstead_properties::{name}(bytes));")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
}
