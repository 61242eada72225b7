//! What the project's own code does while a release is built: commands that make files, its answer about migrations, static files.
//!
//! Commands before `collectstatic` run in the checkout: what they write is part of the release. Everything else runs in a copy, of
//! which only the collected static files are kept.

use roadstead_bundle::project::Project;
use roadstead_bundle::spec::{Collect, RelativePath, ServiceKind};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Work;
use super::checkout::Checkout;
use super::django::{self, Answer};
use super::migrations;
use crate::failure::{self, Failure, Result};
use crate::output::Output;

/// What the project's code is run with.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The project.
    pub(crate) project: &'a Project,
    /// Its files.
    pub(crate) checkout: &'a Checkout,
    /// The `bin` of an environment with its packages; nothing of the project runs where the machine has not its Python.
    pub(crate) bin: Option<&'a Path>,
    /// Where static files are collected.
    pub(crate) collected: &'a Path,
    /// The build's folder.
    pub(crate) work: &'a Work,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Migrations as `app_label.name`.
    pub(crate) migrations: Vec<String>,
    /// What they do, encoded, as far as the project can tell.
    pub(crate) facts: Option<Vec<u8>>,
    /// Where static files are collected, now that it was tried.
    pub(crate) collect: Option<Collect>,
}

/// Runs what is to be run.
pub(crate) fn run(stage: &Stage<'_>, output: &Output) -> Result<Outcome> {
    let Project { spec, build } = stage.project;
    let planned = spec.statics.as_ref().map(|statics| statics.collect);
    let Some(bin) = stage.bin else { return without_python(stage, planned, output) };
    advise_on_files(stage, output)?;
    let environment = environment(stage.project);
    let of = |root: &Path| stage.django(bin, root, &environment, planned == Some(Collect::Build));
    let checkout = of(&below(&stage.checkout.folder, &spec.root));
    let there: Vec<bool> = spec.shared.iter().map(|path| exists(&below(&checkout.root, path))).collect();
    commands(&checkout, &build.before_collectstatic, stage)?;
    // A log file or database that a command opened on its way is no part of the release: hosts have their own.
    let fresh = spec.shared.iter().zip(there).filter(|(_, there)| !there).map(|(path, _)| below(&checkout.root, path));
    fresh.filter(|place| exists(place)).try_for_each(|place| remove(&place))?;
    if spec.django.is_none() {
        commands(&checkout, &build.after_collectstatic, stage)?;
        return Ok(Outcome { collect: planned, ..Outcome::default() });
    }
    let copy = stage.work.join("copy");
    django::copy(&stage.checkout.folder, &copy)?;
    let copied = of(&below(&copy, &spec.root));
    let answer = ask(&copied, stage)?;
    advise(&answer, stage, output);
    let facts = if answer.migrations.is_empty() { None } else { migrations::facts(&copied, stage.work, output) };
    let collect = collected(&answer, stage, output)?;
    if !build.after_collectstatic.is_empty() {
        if collect != Some(Collect::Build) {
            return Err(Failure::usage("after-collectstatic has commands, and static files are not collected when the release is built")
                .hint("write collect = \"build\" under [static], or take the commands out"));
        }
        lead_static_root(&copied, stage)?;
        commands(&copied, &build.after_collectstatic, stage)?;
    }
    Ok(Outcome { migrations: answer.migrations, facts, collect })
}

/// The machine has not the app's Python: what would need it is left to the hosts, or refused when it cannot be.
fn without_python(stage: &Stage<'_>, planned: Option<Collect>, output: &Output) -> Result<Outcome> {
    let Project { spec, build } = stage.project;
    let needs = |what: &str| {
        Err(Failure::failed(format!("{what}, and this machine has no Python {}", spec.python))
            .hint(format!("install Python {} here, or take that out of roadstead.toml", spec.python)))
    };
    if !build.before_collectstatic.is_empty() || !build.after_collectstatic.is_empty() {
        return needs("[build] has commands");
    }
    if planned == Some(Collect::Build) && !build.collect_anywhere {
        return needs("static files are to be collected when the release is built");
    }
    if spec.django.is_some() {
        output.warn("the release does not list its migrations: the project cannot be asked without its Python");
    }
    let collect = planned.map(|_| if spec.django.is_some() { Collect::Host } else { Collect::Never });
    Ok(Outcome { collect, ..Outcome::default() })
}

impl<'a> Stage<'a> {
    fn django<'b>(&'b self, bin: &'b Path, root: &Path, environment: &'b BTreeMap<String, String>, collect: bool) -> django::Project<'b> {
        let spec = &self.project.spec;
        let manage = spec.django.as_ref().map(|django| root.join(django.manage.as_str()));
        django::Project {
            bin,
            folder: below(root, &spec.steps.working_directory),
            manage: manage.and_then(|manage| manage.parent().map(Path::to_owned)).unwrap_or_else(|| root.to_owned()),
            root: root.to_owned(),
            settings: spec.django.as_ref().map(|django| django.settings.as_str()),
            environment,
            statics: collect.then(|| self.collected.to_owned()),
        }
    }
}

/// Variables of the build: the defaults that hosts have, and what is given for the build alone.
fn environment(project: &Project) -> BTreeMap<String, String> {
    let defaults = project.spec.variables.iter().filter_map(|(name, variable)| Some((name.to_string(), variable.default.clone()?)));
    let mut environment: BTreeMap<String, String> = defaults.collect();
    environment.extend(project.build.environment.iter().map(|(name, value)| (name.to_string(), value.clone())));
    environment
}

fn commands(project: &django::Project<'_>, commands: &[Vec<String>], stage: &Stage<'_>) -> Result<()> {
    for command in commands {
        let Some((program, words)) = command.split_first() else { continue };
        let run = django::command(project, stage.work, program)?.args(words);
        run.expect(&format!("the build command {} failed", command.join(" ")))?;
    }
    Ok(())
}

fn exists(place: &Path) -> bool {
    fs::symlink_metadata(place).is_ok()
}

fn remove(place: &Path) -> Result<()> {
    let removed = if place.is_dir() && !place.is_symlink() { fs::remove_dir_all(place) } else { fs::remove_file(place) };
    removed.map_err(|error| failure::file("remove", place, &error))
}

/// Asks a Django project for its migrations and static files.
fn ask(project: &django::Project<'_>, stage: &Stage<'_>) -> Result<Answer> {
    let Some(django) = &stage.project.spec.django else { return Ok(Answer::default()) };
    if !project.root.join(django.manage.as_str()).is_file() {
        return Err(
            Failure::usage(format!("there is no {} in the commit", django.manage)).hint("say where it is: manage = \"…\" under [django]")
        );
    }
    let answer = django::ask(project, stage.work)?;
    if let Some(trouble) = &answer.failed {
        return Err(Failure::failed(format!("Django cannot be asked: {}", trouble.line())).detail(&trouble.text).hint(trouble.hint()));
    }
    if let Some((app, names)) = answer.conflicts.first_key_value() {
        return Err(Failure::failed(format!("the app {app} has several newest migrations: {}", names.join(", ")))
            .hint("merge them: manage.py makemigrations --merge"));
    }
    Ok(answer)
}

/// Where static files are collected: at build, unless that did not work and nobody insists on it.
fn collected(answer: &Answer, stage: &Stage<'_>, output: &Output) -> Result<Option<Collect>> {
    let Some(statics) = &stage.project.spec.statics else { return Ok(None) };
    if statics.collect != Collect::Build {
        return Ok(Some(statics.collect));
    }
    let insisted = !stage.project.build.collect_anywhere;
    let storage = answer.storage.as_deref().unwrap_or("the storage");
    let why = match &answer.uncollected {
        Some(trouble) => trouble.line(),
        None if answer.elsewhere => format!("{storage} keeps them elsewhere than in files"),
        None => return Ok(Some(Collect::Build)),
    };
    if insisted || answer.uncollected.as_ref().is_some_and(|trouble| trouble.missing.is_some()) {
        let (detail, hint) =
            answer.uncollected.as_ref().map_or((String::new(), String::new()), |trouble| (trouble.text.clone(), trouble.hint()));
        return Err(Failure::failed(format!("static files cannot be collected: {why}")).detail(&detail).hint(hint));
    }
    output.warn(format!("static files are collected on each host, not now: {why}"));
    Ok(Some(Collect::Host))
}

/// `STATIC_ROOT` in the copy is where they were collected, so that commands find and add to them.
fn lead_static_root(project: &django::Project<'_>, stage: &Stage<'_>) -> Result<()> {
    let Some(statics) = &stage.project.spec.statics else { return Ok(()) };
    let place = below(&project.root, &statics.root);
    let made = || -> std::io::Result<()> {
        if place.is_dir() && !place.is_symlink() {
            fs::remove_dir_all(&place)?;
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(stage.collected, &place)
    };
    made().map_err(|error| failure::file("make the link", &place, &error))
}

/// What a person should know before this meets a host.
fn advise(answer: &Answer, stage: &Stage<'_>, output: &Output) {
    let spec = &stage.project.spec;
    for (app, changes) in &answer.drift {
        output.warn(format!("the models of {app} differ from its migrations: {}", changes.join("; ")));
    }
    for app in &answer.unmigrated {
        output.warn(format!(
            "{app} has models and no migrations: its tables follow no release; run manage.py makemigrations {app} and commit"
        ));
    }
    if answer.debug {
        output.warn("DEBUG is on: an error page shows the insides of the application to whoever asks");
        if answer.allowed_hosts.is_empty() {
            output.warn("ALLOWED_HOSTS is empty: while DEBUG is on, only requests to localhost are answered");
        }
    } else if answer.allowed_hosts.is_empty() {
        output.warn("ALLOWED_HOSTS is empty: every request is answered with 400, unless a variable of the environment fills it");
    }
    if answer.weak_key {
        output.warn("SECRET_KEY is the one of `startproject`, readable by whoever reads the repository: sessions can be forged");
    }
    let is_shared = |path: &str| RelativePath::parse(path).is_ok_and(|path| spec.shared.iter().any(|shared| path.is_within(shared)));
    for (path, what) in answer.written.iter().filter(|(path, _)| !is_shared(path)) {
        output.warn(format!("{what} {path} lies in the release, which nobody can write: name it under shared of [files]"));
    }
    let said = spec.statics.as_ref().map(|statics| statics.root.to_string());
    if let (Some(settings), Some(said)) = (&answer.static_root, said)
        && *settings != said
    {
        output.warn(format!("STATIC_ROOT is {settings} in the settings, and {said} in roadstead.toml: write the first one there"));
    }
}

/// Files that mean something else than people think.
fn advise_on_files(stage: &Stage<'_>, output: &Output) -> Result<()> {
    let root = below(&stage.checkout.folder, &stage.project.spec.root);
    let entries = fs::read_dir(&root).map_err(|error| failure::file("read the folder", &root, &error))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let dotenv =
            name == ".env" || name.strip_prefix(".env.").is_some_and(|rest| !["example", "sample", "dist", "template"].contains(&rest));
        if dotenv {
            output.warn(format!("{name} is part of the release: what the project reads from it may override what the environment sets"));
        }
        let gunicorn = stage.project.spec.services.values().any(|service| matches!(service.kind, ServiceKind::Gunicorn { .. }));
        if name == "gunicorn.conf.py" && gunicorn {
            output.warn("gunicorn.conf.py is not read: say workers, threads, timeout and arguments in roadstead.toml");
        }
    }
    Ok(())
}

/// A path of the app below a folder.
pub(crate) fn below(folder: &Path, path: &RelativePath) -> PathBuf {
    if path.is_root() { folder.to_owned() } else { folder.join(path.as_str()) }
}

#[cfg(test)]
mod tests;
