//! The packages of a lock, installed once into a relocatable tree: `lib/` is site-packages with bytecode, `bin/` the scripts.
//!
//! Source archives are built into wheels here, never on a host. The tree depends on the lock and the interpreter alone; it is
//! cached under both, so that a build of changed code finds it ready.

use roadstead_bundle::spec::PythonVersion;
use roadstead_bundle::wheel::{Target, WheelName};
use roadstead_model::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::bytecode;
use super::cache::{Cache, Work};
use super::lock::{Archive, Lock, LockedPackage, normal_name};
use super::toolbox::{Toolbox, index_hint};
use crate::failure::{self, Failure, Result};

const TIDY: &str = include_str!("scripts/tidy.py");
const WHEELHOUSE: &str = include_str!("scripts/wheelhouse.py");
/// Counted up when the way a tree is made changes.
const FORMAT: u32 = 1;

/// The packages of a release, ready to be taken in.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The tree.
    pub(crate) tree: PathBuf,
    /// Whether the cache had it.
    pub(crate) cached: bool,
}

/// Installs the lock's packages, or finds them installed.
pub(crate) fn install(lock: &Lock, checkout: &Path, toolbox: &Toolbox, cache: &Cache, work: &Work) -> Result<Installed> {
    let key = Digest::of(format!("{FORMAT}\n{}\n{}", toolbox.key(), lock.text()).as_bytes());
    let place = cache.place("packages", &key.short())?;
    let cached = place.is_dir();
    if !cached {
        let wheels = wheels(lock, checkout, toolbox, cache, work)?;
        let tree = unpack(&wheels, toolbox, work)?;
        complete(&tree, &lock.packages)?;
        cache.publish(&tree, &place)?;
    }
    Ok(Installed { tree: place, cached })
}

/// The wheels of a lock: from the cache, from the index, or built from source.
pub(crate) fn wheels(lock: &Lock, checkout: &Path, toolbox: &Toolbox, cache: &Cache, work: &Work) -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    let mut missing = Vec::new();
    for package in &lock.packages {
        let place = cache.place("wheels", &wheel_key(package, toolbox))?;
        if wheel_in(&place).is_none() {
            missing.push((package, place.clone()));
        }
        places.push(place);
    }
    let hashed = |package: &LockedPackage| matches!(package.archive, Archive::File { .. });
    let (files, others): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(package, _)| hashed(package));
    for (part, option) in [(files, Some("--require-hashes")), (others, None)] {
        fetch(&part, option, lock, checkout, toolbox, cache, work)?;
    }
    let found = places.iter().zip(&lock.packages).map(|(place, package)| wheel_in(place).ok_or_else(|| no_wheel(package)));
    found.collect()
}

/// The lock's wheels and a `lock.txt` with their hashes, in a folder: what a host installs from that cannot use the installed tree.
pub(crate) fn wheelhouse(lock: &Lock, checkout: &Path, toolbox: &Toolbox, cache: &Cache, work: &Work) -> Result<PathBuf> {
    let (paths, folder) = (wheels(lock, checkout, toolbox, cache, work)?, work.join("wheelhouse"));
    if let Some(target) = toolbox.target() {
        refuse_unfit(&paths, target, toolbox)?;
    }
    let wheel = |(package, path): (&LockedPackage, &PathBuf)| {
        let made_here = !matches!(&package.archive, Archive::File { url, .. } if url.ends_with(".whl"));
        serde_json::json!({ "name": package.name, "version": package.version, "path": path, "made_here": made_here })
    };
    let all: Vec<_> = lock.packages.iter().zip(&paths).map(wheel).collect();
    let job = serde_json::json!({ "wheels": all, "folder": folder });
    toolbox.script(WHEELHOUSE).input(job.to_string()).expect("the wheels cannot be put together")?;
    Ok(folder)
}

/// What was built from source with another Python than the app's must not depend on it.
fn refuse_unfit(wheels: &[PathBuf], target: PythonVersion, toolbox: &Toolbox) -> Result<()> {
    let target = Target { python: target, architecture: &toolbox.python().architecture, glibc: Some((2, u32::MAX)) };
    for name in wheels.iter().filter_map(|path| path.file_name()?.to_str()) {
        if !WheelName::parse(name).is_some_and(|wheel| wheel.fits(&target)) {
            return Err(Failure::failed(format!("{name} is no wheel for Python {}", target.python))
                .cause(format!("it was built from source here, with Python {}", toolbox.python().full))
                .hint(format!("install Python {} on the machine that builds", target.python)));
        }
    }
    Ok(())
}

fn no_wheel(package: &LockedPackage) -> Failure {
    Failure::failed(format!("pip made no wheel of {} {}", package.name, package.version)).hint("run the build again with --refresh")
}

fn fetch(
    missing: &[(&LockedPackage, PathBuf)],
    option: Option<&str>,
    lock: &Lock,
    checkout: &Path,
    toolbox: &Toolbox,
    cache: &Cache,
    work: &Work,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: String = lock.options.iter().map(|option| format!("{option}\n")).collect();
    lines.extend(missing.iter().map(|(package, _)| requirement(package, checkout)));
    let list = work.write("wheels.txt", lines)?;
    let folder = work.folder(if option.is_some() { "wheels-of-archives" } else { "wheels-of-sources" })?;
    let run = if toolbox.target().is_some() && option.is_some() {
        toolbox.pip().args(["download", "--quiet", "--no-deps"]).args(toolbox.choice()).arg("--dest").arg(&folder).args(option)
    } else {
        toolbox.pip().args(["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(&folder).args(option)
    };
    let fetched = run.arg("--requirement").arg(list).within(checkout).expect("the packages cannot be fetched or built");
    fetched.map_err(|failure| index_hint(failure.hint("when an archive has moved: run the build again with --refresh")))?;
    let made = by_name(&folder)?;
    for (package, place) in missing {
        let wheel = made.get(&package.name).ok_or_else(|| no_wheel(package))?;
        let holder = work.folder(&format!("wheel-{}", package.name))?;
        let name = wheel.file_name().unwrap_or_default();
        fs::rename(wheel, holder.join(name)).map_err(|error| failure::file("move", wheel, &error))?;
        cache.publish(&holder, place)?;
    }
    Ok(())
}

fn wheel_key(package: &LockedPackage, toolbox: &Toolbox) -> String {
    let archive = format!(
        "{:?}",
        match &package.archive {
            Archive::File { sha256, .. } => Archive::File { url: String::new(), sha256: sha256.clone() },
            other => other.clone(),
        }
    );
    let digest = Digest::of(format!("{archive}\n{}", toolbox.key()).as_bytes());
    format!("{}-{}", package.name, digest.short())
}

fn wheel_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "whl"))
}

fn by_name(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| failure::file("read the folder", folder, &error))?;
    let named = |path: PathBuf| Some((normal_name(path.file_name()?.to_str()?.split('-').next()?), path));
    Ok(entries.flatten().filter_map(|entry| named(entry.path())).collect())
}

/// The line that makes pip take exactly this archive.
fn requirement(package: &LockedPackage, checkout: &Path) -> String {
    let LockedPackage { name, version, archive } = package;
    match archive {
        Archive::File { url, sha256 } if url.contains("://") => format!("{name} @ {url} --hash=sha256:{sha256}\n"),
        Archive::File { url, sha256 } => format!("{name} @ file://{} --hash=sha256:{sha256}\n", checkout.join(url).display()),
        Archive::Git { url } => format!("{name} @ {url}\n"),
        Archive::Folder { path, .. } if version.is_empty() => format!("./{path}\n"),
        Archive::Folder { path, .. } => format!("{name} @ file://{}\n", checkout.join(path).display()),
    }
}

/// Installs wheels below a fresh prefix, tidies that into the tree and compiles it.
fn unpack(wheels: &[PathBuf], toolbox: &Toolbox, work: &Work) -> Result<PathBuf> {
    let (prefix, tree) = (work.folder("prefix")?, work.join("tree"));
    if !wheels.is_empty() {
        let options = [
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--ignore-installed",
            "--no-warn-script-location",
            "--prefix",
        ];
        let run = toolbox.pip().args(options).arg(&prefix).args(wheels);
        run.expect("the packages cannot be installed").map_err(index_hint)?;
    }
    toolbox.script(TIDY).arg(&prefix).arg(&tree).expect("the installed packages cannot be made relocatable")?;
    let lib = tree.join("lib");
    bytecode::compile(toolbox.python(), &lib, &lib)?;
    Ok(tree)
}

/// Every locked package must be there: a wheel that says another name than its file would go unnoticed until its import.
fn complete(tree: &Path, list: &[LockedPackage]) -> Result<()> {
    let lib = tree.join("lib");
    let entries = fs::read_dir(&lib).map_err(|error| failure::file("read the folder", &lib, &error))?;
    let infos = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let there: Vec<String> =
        infos.filter_map(|name| name.strip_suffix(".dist-info").and_then(|name| name.split('-').next()).map(normal_name)).collect();
    match list.iter().find(|package| !there.contains(&package.name)) {
        None => Ok(()),
        Some(package) => Err(Failure::failed(format!("{} {} was installed but cannot be found", package.name, package.version))
            .hint("its wheel is broken: pin another version")),
    }
}

#[cfg(test)]
mod tests;
