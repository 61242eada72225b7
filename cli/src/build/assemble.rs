//! The parts of a release joined: what was checked out, installed and collected becomes trees in a store and a manifest above them.

use roadstead_bundle::ingest::ingest;
use roadstead_bundle::manifest::{FORMAT, Manifest, Packages, TreeRef};
use roadstead_bundle::project::{self, Project};
use roadstead_bundle::spec::Collect;
use roadstead_bundle::store::{Form, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Work};
use super::checkout::{self, Checkout};
use super::django::{self, Answer};
use super::git::Repository;
use super::lock::{self, Lock};
use super::packages::{self, Installed};
use super::patterns::taken;
use super::toolbox::Toolbox;
use super::{bytecode, python, venv};
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
    let project = read_project(&checkout)?;
    let python = python::find(project.spec.python, wanted.python)?;
    let toolbox = Toolbox::open(&cache, &work, &python)?;
    let root = below(&checkout.folder, project.spec.root.as_str());

    let step = output.step("packages");
    let lock = lock_of(&project, &checkout, &root, &toolbox, &cache, &work)?;
    let installed = packages::install(&lock, &checkout.folder, &toolbox, &cache, &work)?;
    step.done(&format!("{} packages{}", installed.list.len(), if installed.cached { ", installed before" } else { "" }));

    let step = output.step("django");
    let bin = venv::make(&python, &installed.tree, &work.join("venv"))?;
    let collected = work.folder("collected")?;
    let answer = ask(&project, &checkout, &bin, &collected, &work, output)?;
    step.done(&format!("{} migrations", answer.migrations.len()));

    let step = output.step("assemble");
    for broken in bytecode::compile(&python, &checkout.folder, &checkout.folder)? {
        output.warn(format!("{broken}: it is released as it is, without bytecode"));
    }
    let store = Store::open(&cache.place("blobs", "store")?, Form::Compressed).map_err(|error| failed(&error))?;
    let parts = Parts { project: &project, checkout: &checkout, lock: &lock, installed: &installed, answer: &answer, python: &python };
    let manifest = manifest(&parts, &store, &collected)?;
    step.done(&manifest.release_id().to_string());
    Ok(Built { manifest, store })
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

fn below(folder: &Path, path: &str) -> PathBuf {
    if path == "." { folder.to_owned() } else { folder.join(path) }
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
    let packages = &project.build.extra_packages;
    let wanted = lock::Wanted { checkout: &checkout.folder, root, files: &files, extras: &[], groups: &[], extra_packages: packages };
    lock::lock(&wanted, toolbox, cache, work, false)
}

/// Asks a Django project for its migrations and static files, in a copy that it may write to.
fn ask(project: &Project, checkout: &Checkout, bin: &Path, collected: &Path, work: &Work, output: &Output) -> Result<Answer> {
    let Some(django) = &project.spec.django else { return Ok(Answer::default()) };
    let copy = work.join("copy");
    django::copy(&checkout.folder, &copy)?;
    let root = below(&copy, project.spec.root.as_str());
    let manage = root.join(django.manage.as_str());
    if !manage.is_file() {
        return Err(
            Failure::usage(format!("there is no {} in the commit", django.manage)).hint("say where it is: manage = \"…\" under [django]")
        );
    }
    let build = project.spec.statics.as_ref().is_some_and(|statics| statics.collect == Collect::Build);
    let defaults = project.spec.variables.iter().filter_map(|(name, variable)| Some((name.to_string(), variable.default.clone()?)));
    let mut environment: BTreeMap<String, String> = defaults.collect();
    environment.extend(project.build.environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    let asked = django::Project {
        bin,
        manage: manage.parent().unwrap_or(&root).to_owned(),
        root: &root,
        settings: &django.settings,
        environment: &environment,
        statics: build.then(|| collected.to_owned()),
    };
    let answer = django::ask(&asked, work)?;
    if let Some(trouble) = answer.failed.as_ref().or(answer.uncollected.as_ref().filter(|_| build)) {
        return Err(Failure::failed(format!("Django cannot be asked: {}", trouble.line())).detail(&trouble.text).hint(trouble.hint()));
    }
    if let Some((app, names)) = answer.conflicts.first_key_value() {
        return Err(Failure::failed(format!("the app {app} has several newest migrations: {}", names.join(", ")))
            .hint("merge them: manage.py makemigrations --merge"));
    }
    for (app, changes) in &answer.drift {
        output.warn(format!("the models of {app} differ from its migrations: {}", changes.join("; ")));
    }
    Ok(answer)
}

struct Parts<'a> {
    project: &'a Project,
    checkout: &'a Checkout,
    lock: &'a Lock,
    installed: &'a Installed,
    answer: &'a Answer,
    python: &'a python::Python,
}

fn manifest(parts: &Parts<'_>, store: &Store, collected: &Path) -> Result<Manifest> {
    let build = &parts.project.build;
    let tree = |folder: &Path, keep: &dyn Fn(&str, bool) -> bool| -> Result<TreeRef> {
        ingest(store, folder, keep).map_err(|error| failed(&error))
    };
    let all = |_: &str, _: bool| true;
    let code = tree(&parts.checkout.folder, &|path, is_folder| taken(&build.include, &build.exclude, path, is_folder))?;
    let installed = tree(&parts.installed.tree, &all)?;
    let is_built = parts.project.spec.statics.as_ref().is_some_and(|statics| statics.collect == Collect::Build);
    let manifest = Manifest {
        format: FORMAT,
        app: parts.project.spec.name.clone(),
        version: parts.checkout.version.clone(),
        source: parts.checkout.source.clone(),
        spec: parts.project.spec.clone(),
        code,
        packages: Packages {
            lock: parts.lock.digest(),
            python: parts.project.spec.python,
            architecture: parts.python.architecture.clone(),
            libc: parts.python.libc.clone(),
            installed: Some(installed),
            wheels: None,
            list: parts.installed.list.clone(),
        },
        statics: if is_built { Some(tree(collected, &all)?) } else { None },
        migrations: parts.answer.migrations.clone(),
    };
    // What is written must be what every reader takes.
    Manifest::decode(&manifest.encode()).map_err(|error| failed(&error))
}
