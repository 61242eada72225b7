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
    build(&tree, &target)?;
    let sound = root.join("target/mutants/sound");
    std::fs::copy(program(&target), &sound)?;
    println!("| mistake | found with seed | promise |\n|---|---|---|");
    let mut missed = 0;
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(&wanted)) {
        let path = tree.join(mutant.file);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, made(mutant, &text)?)?;
        let built = build(&tree, &target);
        std::fs::write(&path, text)?;
        built?;
        match broken(&program(&target), mutant.within, 0)? {
            Some((seed, promise)) => {
                if let Some((_, promise)) = broken(&sound, 1, seed)? {
                    return Err(format!("seed {seed} breaks a promise without any mistake: {promise}").into());
                }
                println!("| {} | {seed} | {promise} |", mutant.name);
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

fn program(target: &Path) -> PathBuf {
    target.join("debug/roadstead-sim")
}

/// Builds the simulator from a tree.
fn build(tree: &Path, target: &Path) -> Result<()> {
    let mut build = Command::new(env!("CARGO"));
    // A mistake may well leave something unused.
    build.env("RUSTFLAGS", "--cap-lints allow").env("CARGO_TARGET_DIR", target).current_dir(tree);
    let built = build.args(["build", "--quiet", "--package", "roadstead-sim", "--bin", "roadstead-sim"]).status()?;
    if built.success() { Ok(()) } else { Err("the sources with a mistake do not build".into()) }
}

/// Runs seeds: the first that broke a promise, and which.
fn broken(simulator: &Path, count: u64, from: u64) -> Result<Option<(u64, String)>> {
    let run = Command::new(simulator).args([count.to_string(), from.to_string()]).output()?;
    if run.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let line = said.lines().rev().find_map(|line| line.strip_prefix("seed ")?.split_once(": "));
    let (seed, promise) =
        line.ok_or_else(|| format!("the simulator ended with {}: {}", run.status, String::from_utf8_lossy(&run.stderr)))?;
    let promise = promise.split_once(": ").map_or(promise, |(promise, _)| promise);
    Ok(Some((seed.parse()?, promise.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_still_has_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for mutant in MUTANTS {
            let sound = std::fs::read_to_string(root.join(mutant.file)).unwrap();
            assert_ne!(made(mutant, &sound).unwrap(), sound, "{}", mutant.name);
        }
    }
}
