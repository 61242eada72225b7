//! The parts of a release joined: what was checked out, installed and collected becomes trees in a store and a manifest above them.

use roadstead_bundle::ingest::ingest;
use roadstead_bundle::manifest::{BlobRef, Manifest, Package, Packages, TreeRef};
use roadstead_bundle::project::{self, BuildSettings, Project, Ship};
use roadstead_bundle::spec::Collect;
use roadstead_bundle::store::{Form, Store};
use std::path::{Path, PathBuf};

use super::cache::{Cache, Work};
use super::checkout::{self, Checkout};
use super::git::Repository;
use super::lock::{self, Lock};
use super::own_code::{self, Outcome, Stage};
use super::packages;
use super::patterns::taken;
use super::python::{self, Python};
use super::toolbox::Toolbox;
use super::{bytecode, venv};
use crate::failure::{self, Failure, Result};
use crate::output::Output;

/// The file that says how the app is built.
const FILE: &str = "roadstead.toml";

/// What is to be built.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// A folder in the repository: that of `roadstead.toml`.
    pub(crate) folder: &'a Path,
    /// The commit.
    pub(crate) revision: &'a str,
    /// The files as they lie in the working tree.
    pub(crate) dirty: bool,
    /// The branch to name.
    pub(crate) branch: Option<&'a str>,
    /// The interpreter to build with.
    pub(crate) python: Option<&'a Path>,
}

/// A release that was built: its blobs lie in the store.
#[derive(Debug)]
pub(crate) struct Built {
    /// The manifest.
    pub(crate) manifest: Manifest,
    /// Where its trees are.
    pub(crate) store: Store,
}

/// Builds a release.
pub(crate) fn build(wanted: &Wanted<'_>, output: &Output) -> Result<Built> {
    let (cache, repository) = (Cache::open()?, Repository::around(wanted.folder)?);
    let work = cache.work()?;
    let step = output.step("checkout");
    let from = checkout::Wanted { revision: wanted.revision, dirty: wanted.dirty, branch: wanted.branch };
    let checkout = checkout::checkout(&repository, from, &work.join("checkout"))?;
    step.done(&format!("{} is {}", short(&checkout.source.commit), checkout.version));
    let mut project = read_project(&checkout)?;
    let (python, foreign) = interpreter(&project, wanted.python, output)?;
    let toolbox = Toolbox::open(&cache, &work, &python)?;
    let toolbox = if foreign { toolbox.for_another(project.spec.python) } else { toolbox };
    let root = own_code::below(&checkout.folder, &project.spec.root);

    let step = output.step("packages");
    let lock = lock_of(&project, &checkout, &root, &toolbox, &cache, &work)?;
    let installed = if foreign { None } else { Some(packages::install(&lock, &checkout.folder, &toolbox, &cache, &work)?) };
    let wheels = match project.build.ship {
        Ship::Installed | Ship::Auto if !foreign => None,
        _ => Some(packages::wheelhouse(&lock, &checkout.folder, &toolbox, &cache, &work)?),
    };
    let cached = installed.as_ref().is_some_and(|installed| installed.cached);
    step.done(&format!("{} packages{}", lock.packages.len(), if cached { ", installed before" } else { "" }));

    let step = output.step("django");
    let bin = installed.as_ref().map(|installed| venv::make(&python, &installed.tree, &work.join("venv"))).transpose()?;
    let collected = work.folder("collected")?;
    let stage = Stage { project: &project, checkout: &checkout, bin: bin.as_deref(), collected: &collected, work: &work };
    let outcome = own_code::run(&stage, output)?;
    step.done(&format!("{} migrations", outcome.migrations.len()));
    if let (Some(statics), Some(collect)) = (&mut project.spec.statics, outcome.collect) {
        statics.collect = collect;
    }

    let step = output.step("assemble");
    if !foreign {
        for broken in bytecode::compile(&python, &checkout.folder, &checkout.folder)? {
            output.warn(format!("{broken}: it is released as it is, without bytecode"));
        }
    }
    let store = Store::open(&cache.place("blobs", "store")?, Form::Compressed).map_err(|error| failed(&error))?;
    let installed = installed.filter(|_| project.build.ship != Ship::Wheels).map(|installed| installed.tree);
    let parts = Parts { project: &project, checkout: &checkout, lock: &lock, installed, wheels, collected: &collected, python: &python };
    let manifest = manifest(&parts, outcome, &store)?;
    step.done(&manifest.release_id().to_string());
    Ok(Built { manifest, store })
}

/// The app's Python, or any other to choose wheels with (`true`) where packages need not be installed here.
fn interpreter(project: &Project, named: Option<&Path>, output: &Output) -> Result<(Python, bool)> {
    let missing = match python::find(project.spec.python, named) {
        Ok(python) => return Ok((python, false)),
        Err(missing) => missing,
    };
    let ships_wheels = matches!(project.build.ship, Ship::Auto | Ship::Wheels);
    match python::any().filter(|_| ships_wheels && named.is_none()) {
        Some(python) => {
            let version = project.spec.python;
            output.warn(format!(
                "this machine has no Python {version}: the release carries wheels, which each host installs by itself; \
                 static files are collected there, and the app's own modules are compiled at every start"
            ));
            Ok((python, true))
        }
        None => Err(missing),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::failed("the release cannot be put together").because(error)
}

fn read_project(checkout: &Checkout) -> Result<Project> {
    let path = checkout.folder.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format!("there is no {FILE} in {}", short(&checkout.source.commit)))
            .hint("write one with `roadstead init` and commit it"),
        _ => failure::file("read", &path, &error),
    })?;
    project::read(Path::new(FILE), &text).map_err(|mistakes| Failure::usage(mistakes.to_string()))
}

fn lock_of(project: &Project, checkout: &Checkout, root: &Path, toolbox: &Toolbox, cache: &Cache, work: &Work) -> Result<Lock> {
    let files: Vec<String> = project.build.dependencies.iter().map(ToString::to_string).collect();
    let BuildSettings { extras, groups, extra_packages, .. } = &project.build;
    let wanted = lock::Wanted { checkout: &checkout.folder, root, files: &files, extras, groups, extra_packages };
    lock::lock(&wanted, toolbox, cache, work, false)
}

struct Parts<'a> {
    project: &'a Project,
    checkout: &'a Checkout,
    lock: &'a Lock,
    installed: Option<PathBuf>,
    wheels: Option<PathBuf>,
    collected: &'a Path,
    python: &'a Python,
}

/// What the migrations do, as a blob.
fn put_facts(bytes: &[u8], store: &Store) -> Result<BlobRef> {
    let digest = store.put(bytes).map_err(|error| failed(&error))?;
    Ok(BlobRef { digest, bytes: bytes.len() as u64 })
}

fn manifest(parts: &Parts<'_>, outcome: Outcome, store: &Store) -> Result<Manifest> {
    let Project { spec, build } = parts.project;
    let tree = |folder: &Path, keep: &dyn Fn(&str, bool) -> bool| -> Result<TreeRef> {
        ingest(store, folder, keep).map_err(|error| failed(&error))
    };
    let whole = |folder: &Path| tree(folder, &|_, _| true);
    let code = tree(&parts.checkout.folder, &|path, is_folder| taken(&build.include, &build.exclude, path, is_folder))?;
    let is_built = spec.statics.as_ref().is_some_and(|statics| statics.collect == Collect::Build);
    let list = parts.lock.packages.iter().map(|package| Package { name: package.name.clone(), version: package.version.clone() });
    let migration_facts = outcome.facts.map(|bytes| put_facts(&bytes, store)).transpose()?;
    let manifest = Manifest {
        format: Manifest::format_with(migration_facts.as_ref(), spec),
        app: spec.name.clone(),
        version: parts.checkout.version.clone(),
        source: parts.checkout.source.clone(),
        spec: spec.clone(),
        code,
        packages: Packages {
            lock: parts.lock.digest(),
            python: spec.python,
            architecture: parts.python.architecture.clone(),
            libc: parts.python.libc.clone(),
            installed: parts.installed.as_deref().map(whole).transpose()?,
            wheels: parts.wheels.as_deref().map(whole).transpose()?,
            list: list.collect(),
        },
        statics: if is_built { Some(whole(parts.collected)?) } else { None },
        migrations: outcome.migrations,
        migration_facts,
    };
    // What is written must be what every reader takes.
    Manifest::decode(&manifest.encode()).map_err(|error| failed(&error))
}
