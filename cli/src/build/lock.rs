//! The lock of a release: exactly which packages, each with the digest of the archive that was chosen for this Python.
//!
//! Whatever the team keeps (requirements files, `uv.lock`, `poetry.lock`, `pyproject.toml`) becomes a [`Demand`]; pip's resolver turns
//! that into a [`Lock`]. The lock's text is sorted and knows no address, so that two machines with two mirrors make the same one.

mod demand;
mod poetry;
mod pyproject;
mod report;
mod requirements;
mod uv;

pub(crate) use demand::Demand;
pub(crate) use requirements::normal_name;

use roadstead_model::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Work};
use super::toolbox::{Toolbox, index_hint};
use crate::failure::{self, Failure, Result};

/// What the app asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The folder of `roadstead.toml` in the checkout.
    pub(crate) checkout: &'a Path,
    /// The app's root in it.
    pub(crate) root: &'a Path,
    /// Dependency files, relative to the root.
    pub(crate) files: &'a [String],
    /// Extras of the project.
    pub(crate) extras: &'a [String],
    /// Dependency groups.
    pub(crate) groups: &'a [String],
    /// Further packages, as requirement lines.
    pub(crate) extra_packages: &'a [String],
}

/// The lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    /// The packages, sorted by name.
    pub(crate) packages: Vec<LockedPackage>,
    /// Options that say where archives lie, such as `--index-url`, as the team's files have them.
    pub(crate) options: Vec<String>,
    /// Whether the team's files fixed every version; if not, the index chose some.
    pub(crate) pinned: bool,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LockedPackage {
    /// Its normalised name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// What it is installed from.
    pub(crate) archive: Archive,
}

/// What a package is installed from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub(crate) enum Archive {
    /// A wheel or source archive of an index, or a file of the checkout.
    File {
        /// Where it was found; for a file of the checkout, its path in the checkout.
        url: String,
        /// Its SHA-256.
        sha256: String,
    },
    /// A commit of a repository.
    Git {
        /// The repository and the commit, as pip writes it.
        url: String,
    },
    /// A folder of the checkout.
    Folder {
        /// Its path in the checkout.
        path: String,
        /// Digest of its files.
        digest: Digest,
    },
}

impl Lock {
    /// The text whose digest names the lock: one sorted line per package.
    pub(crate) fn text(&self) -> String {
        let line = |package: &LockedPackage| {
            let LockedPackage { name, version, archive } = package;
            match archive {
                Archive::File { sha256, .. } => format!("{name}=={version} --hash=sha256:{sha256}\n"),
                Archive::Git { url } => format!("{name}=={version} @ {url}\n"),
                Archive::Folder { path, digest } => format!("{name}=={version} @ ./{path} --hash=blake3:{digest}\n"),
            }
        };
        self.packages.iter().map(line).collect()
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }
}

/// The files that are read when none is named, first match wins.
pub(crate) const USUAL_FILES: [&str; 7] = [
    "uv.lock",
    "poetry.lock",
    "requirements.lock",
    "requirements.txt",
    "requirements/production.txt",
    "requirements/base.txt",
    "pyproject.toml",
];

/// Makes the lock: read, resolve, check.
pub(crate) fn lock(wanted: &Wanted<'_>, toolbox: &Toolbox, cache: &Cache, work: &Work, refresh: bool) -> Result<Lock> {
    let demand = read(wanted, toolbox)?;
    if demand.is_empty() {
        return Ok(Lock { packages: Vec::new(), options: Vec::new(), pinned: true });
    }
    let folders = demand.folders(wanted.checkout)?;
    let key = Digest::of(format!("2\n{}\n{demand:?}\n{folders:?}\n{}", toolbox.key(), index_settings()).as_bytes());
    let place = cache.place("locks", &format!("{}.json", key.short()))?;
    if !refresh && let Some(lock) = std::fs::read(&place).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(lock);
    }
    let lock = resolve(&demand, &folders, wanted.checkout, toolbox, work)?;
    let json = serde_json::to_vec(&lock).map_err(|error| Failure::failed("cannot encode the lock").because(&error))?;
    let fresh = work.write("lock.json", json)?;
    std::fs::rename(&fresh, &place).map_err(|error| failure::file("write", &place, &error))?;
    Ok(lock)
}

fn read(wanted: &Wanted<'_>, toolbox: &Toolbox) -> Result<Demand> {
    let mut demand = Demand::default();
    let usual = || USUAL_FILES.iter().find(|file| wanted.root.join(file).is_file()).map(|file| (*file).to_owned());
    let files: Vec<String> = if wanted.files.is_empty() { usual().into_iter().collect() } else { wanted.files.to_vec() };
    for file in &files {
        let path = wanted.root.join(file);
        if !path.is_file() {
            return Err(Failure::failed(format!("the dependency file {file} is not in the commit"))
                .hint("check `dependencies` in roadstead.toml, and that the file is committed"));
        }
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "uv.lock" => uv::read(&path, wanted, toolbox, &mut demand)?,
            "poetry.lock" => poetry::read(&path, wanted, toolbox.python(), &mut demand)?,
            "pyproject.toml" => pyproject::read(&path, wanted, &mut demand)?,
            name if is_requirements(name) => requirements::read(&path, wanted, &mut demand)?,
            name => return Err(foreign(file, name)),
        }
    }
    for line in wanted.extra_packages {
        requirements::add_line(line, wanted.root, wanted, &mut demand)?;
    }
    Ok(demand)
}

fn is_requirements(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".txt", ".in", ".pip", ".lock"].iter().any(|end| lower.ends_with(end))
        && !["pipfile.lock", "pdm.lock", "conda.lock"].contains(&lower.as_str())
}

fn foreign(file: &str, name: &str) -> Failure {
    let hint = match name {
        "Pipfile" | "Pipfile.lock" => "make a requirements file of it: `pipenv requirements --hash > requirements.txt`",
        "pdm.lock" => "make a requirements file of it: `pdm export --prod -o requirements.txt`",
        "pylock.toml" => "name the file that it was made from, or a requirements file",
        "setup.py" | "setup.cfg" => "name a requirements file, or move the dependencies to pyproject.toml",
        _ => "name requirements files, uv.lock, poetry.lock or pyproject.toml",
    };
    Failure::failed(format!("{file} is not a kind of dependency file that can be built from")).hint(hint)
}

/// Settings that decide what the resolver sees.
fn index_settings() -> String {
    let mut settings: Vec<String> =
        std::env::vars().filter(|(name, _)| name.starts_with("PIP_")).map(|(n, v)| format!("{n}={v}")).collect();
    settings.sort();
    settings.join("\n")
}

/// Two passes at most: what has hashes is taken as it stands; what has none is resolved around it.
fn resolve(demand: &Demand, folders: &BTreeMap<String, Digest>, root: &Path, toolbox: &Toolbox, work: &Work) -> Result<Lock> {
    let mut found: BTreeMap<String, LockedPackage> = BTreeMap::new();
    let mut constraints = demand.constraints.clone();
    if !demand.hashed.is_empty() {
        let extra: &[&str] = if demand.complete { &["--no-deps", "--require-hashes"] } else { &["--require-hashes"] };
        for package in pass(demand, &demand.hashed, &[], extra, root, folders, toolbox, work)? {
            if matches!(package.archive, Archive::File { .. }) {
                constraints.push(format!("{}=={}", package.name, package.version));
            }
            found.insert(package.name.clone(), package);
        }
    }
    if !demand.free.is_empty() {
        for package in pass(demand, &demand.free, &constraints, &[], root, folders, toolbox, work)? {
            found.entry(package.name.clone()).or_insert(package);
        }
    }
    demand.check(found.values())?;
    Ok(Lock { packages: found.into_values().collect(), options: demand.options.clone(), pinned: demand.is_pinned() })
}

#[expect(clippy::too_many_arguments, reason = "one call of one program, whose parts have no life of their own")]
fn pass(
    demand: &Demand,
    lines: &[String],
    constraints: &[String],
    extra: &[&str],
    root: &Path,
    folders: &BTreeMap<String, Digest>,
    toolbox: &Toolbox,
    work: &Work,
) -> Result<Vec<LockedPackage>> {
    let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let requirements = work.write("requirements.txt", text(&demand.options) + &text(lines))?;
    let report = work.join("report.json");
    let mut run = toolbox.pip().args(["install", "--dry-run", "--ignore-installed", "--quiet", "--report"]).arg(&report).args(extra);
    if toolbox.target().is_some() {
        run = run.args(toolbox.choice()).arg("--target").arg(work.join("target"));
    }
    if !constraints.is_empty() {
        run = run.arg("--constraint").arg(work.write("constraints.txt", text(constraints))?);
    }
    run.arg("--requirement").arg(requirements).within(root).expect("the packages cannot be resolved").map_err(index_hint)?;
    let bytes = std::fs::read(&report).map_err(|error| failure::file("read", &report, &error))?;
    report::packages(&bytes, root, folders)
}

/// The path below `root` of a path, when it lies there.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let (root, path) = (root.canonicalize().ok()?, path.canonicalize().ok()?);
    path.strip_prefix(root).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests;
