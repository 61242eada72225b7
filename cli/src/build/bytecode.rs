//! Bytecode made once, at build: a host's service user cannot write any, and would compile everything at every start.
//!
//! The `.pyc` files are of the unchecked-hash kind: no time and no path in them, never compared with the source. Each is made from
//! its file alone, so the work is shared between processes without changing a byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::folder_digest::files_below;
use super::python::Python;
use super::toolbox::script;
use crate::failure::{self, Failure, Result};

const SCRIPT: &str = include_str!("scripts/compile.py");

/// Compiles the modules below `folder` (all of them, or those below its `parts`) into `into`; gives those that are no valid Python.
pub(crate) fn compile(python: &Python, folder: &Path, into: &Path) -> Result<Vec<String>> {
    let modules = modules(folder)?;
    compile_files(python, folder, into, &modules)
}

/// Compiles these files of `folder`.
pub(crate) fn compile_files(python: &Python, folder: &Path, into: &Path, files: &[String]) -> Result<Vec<String>> {
    fs::create_dir_all(into).map_err(|error| failure::file("make", into, &error))?;
    let shards = thread::available_parallelism().map_or(1, usize::from).min(files.len().div_ceil(50)).max(1);
    let broken = thread::scope(|scope| {
        let shard = |number: usize| files.iter().skip(number).step_by(shards).cloned().collect::<Vec<_>>();
        let running: Vec<_> = (0..shards)
            .map(|number| (number, shard(number)))
            .map(|(_, part)| scope.spawn(move || shard_of(python, folder, into, &part)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Failure::failed("a thread that compiles bytecode died"))))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut broken: Vec<String> = broken.into_iter().flatten().collect();
    broken.sort();
    Ok(broken)
}

fn shard_of(python: &Python, folder: &Path, into: &Path, files: &[String]) -> Result<Vec<String>> {
    let job = serde_json::json!({ "folder": folder, "into": into, "files": files }).to_string();
    let said = script(python, SCRIPT).within(into).input(job).expect("cannot compile bytecode")?;
    let broken: Vec<(String, String)> = serde_json::from_str(&said)
        .map_err(|error| Failure::failed("the compiler of bytecode said something that cannot be read").because(&error))?;
    Ok(broken.into_iter().map(|(name, why)| format!("{name}: {why}")).collect())
}

/// The modules below a folder, as paths relative to it.
fn modules(folder: &Path) -> Result<Vec<String>> {
    let relative = |path: PathBuf| path.strip_prefix(folder).ok().and_then(|path| path.to_str()).map(str::to_owned);
    let all = files_below(folder)?;
    Ok(all.into_iter().filter(|path| !path.is_symlink()).filter_map(relative).filter(|path| path.ends_with(".py")).collect())
}
