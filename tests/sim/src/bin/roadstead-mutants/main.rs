//! Shows that the simulator finds bugs: makes each mistake of a list in a copy of the sources, builds the simulator from it, and runs seeds
//! until a promise is broken. A mistake that no seed finds is a hole in the simulator.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod list;

use list::{MUTANTS, Mutant};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match all() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("{missed} of {} mistakes were not found", MUTANTS.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tries every mistake, or those whose names hold the first argument; how many were not found.
fn all() -> Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let tree = copy(&root)?;
    let target = root.join("target/mutants/build");
    match seeds(&tree, &target, 50)? {
        None => {}
        Some(found) => return Err(format!("without a mistake a promise is broken: {found}").into()),
    }
    println!("| mistake | found with seed | promise |\n|---|---|---|");
    let mut missed = 0;
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(&wanted)) {
        let path = tree.join(mutant.file);
        let sound = std::fs::read_to_string(&path)?;
        std::fs::write(&path, made(mutant, &sound)?)?;
        let found = seeds(&tree, &target, mutant.within);
        std::fs::write(&path, sound)?;
        match found? {
            Some(line) => {
                let (seed, promise) = line.split_once(": ").unwrap_or((&line, ""));
                let promise = promise.split_once(": ").map_or(promise, |(promise, _)| promise);
                println!("| {} | {} | {promise} |", mutant.name, seed.trim_start_matches("seed "));
            }
            None => {
                missed += 1;
                println!("| {} | **not within {}** | |", mutant.name, mutant.within);
            }
        }
    }
    Ok(missed)
}

/// The source with the mistake in it.
fn made(mutant: &Mutant, sound: &str) -> Result<String> {
    match sound.matches(mutant.from).count() {
        1 => Ok(sound.replacen(mutant.from, mutant.to, 1)),
        count => Err(format!("`{}`: its place is {count} times in {}", mutant.name, mutant.file).into()),
    }
}

/// Copies what the repository holds.
fn copy(root: &Path) -> Result<PathBuf> {
    let tree = root.join("target/mutants/tree");
    let listed = Command::new("git").arg("-C").arg(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    for name in String::from_utf8(listed.stdout)?.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        // Unchanged files keep their times, so that they are not built again.
        let same = std::fs::read(&from).ok() == std::fs::read(&to).ok();
        if !same && from.is_file() {
            std::fs::create_dir_all(to.parent().ok_or("a file lies in a folder")?)?;
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(tree)
}

/// Builds the simulator and runs seeds; the line about the first broken promise.
fn seeds(tree: &Path, target: &Path, count: u64) -> Result<Option<String>> {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(tree).env("CARGO_TARGET_DIR", target).args([
        "build",
        "--quiet",
        "--package",
        "roadstead-sim",
        "--bin",
        "roadstead-sim",
    ]);
    if !build.status()?.success() {
        return Err("the sources with a mistake do not build".into());
    }
    let run = Command::new(target.join("debug/roadstead-sim")).args([count.to_string(), "0".to_owned()]).output()?;
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    match (run.status.code(), said.lines().rev().find(|line| line.starts_with("seed "))) {
        (Some(0), _) => Ok(None),
        (_, Some(line)) => Ok(Some(line.to_owned())),
        (code, None) => Ok(Some(format!("seed ?: the simulator itself ended with {code:?}: {}", String::from_utf8_lossy(&run.stderr)))),
    }
}
