//! What a Django project says of itself at build: its migrations, models that they do not cover, its collected static files.
//!
//! The project runs in a copy of the checkout with an almost empty environment and no database, so that what it writes or reads
//! at import reaches neither the release nor the developer's home.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::Work;
use super::run::Run;
use crate::failure::{self, Failure, Result};

const SCRIPT: &str = include_str!("scripts/django.py");
const TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// A project to ask.
#[derive(Debug)]
pub(crate) struct Project<'a> {
    /// The `bin` of the environment with its packages.
    pub(crate) bin: &'a Path,
    /// The app's root, in a copy that it may write to.
    pub(crate) root: PathBuf,
    /// The folder of `manage.py` in it.
    pub(crate) manage: PathBuf,
    /// The current directory of commands.
    pub(crate) folder: PathBuf,
    /// `DJANGO_SETTINGS_MODULE`.
    pub(crate) settings: Option<&'a str>,
    /// Variables that it sees.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Where static files are collected to, when they are.
    pub(crate) statics: Option<PathBuf>,
}

/// What it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// Django's version.
    pub(crate) django: Option<String>,
    /// Migrations as `app_label.name`, sorted.
    pub(crate) migrations: Vec<String>,
    /// Apps with more than one newest migration, and those.
    pub(crate) conflicts: BTreeMap<String, Vec<String>>,
    /// Own apps that have models and no migrations at all.
    pub(crate) unmigrated: Vec<String>,
    /// Own apps whose models differ from their migrations, and how.
    pub(crate) drift: BTreeMap<String, Vec<String>>,
    /// `STATIC_ROOT`, relative to the app's root, when it lies there.
    pub(crate) static_root: Option<String>,
    /// `DEBUG` is on.
    pub(crate) debug: bool,
    /// `ALLOWED_HOSTS`.
    pub(crate) allowed_hosts: Vec<String>,
    /// `SECRET_KEY` is the one that `startproject` made.
    pub(crate) weak_key: bool,
    /// Paths below the app's root that the settings write to, and what each is.
    pub(crate) written: BTreeMap<String, String>,
    /// The class that stores static files.
    pub(crate) storage: Option<String>,
    /// That class stores them elsewhere than in files.
    pub(crate) elsewhere: bool,
    /// That class reads a manifest below `STATIC_ROOT` at run time.
    pub(crate) needs_files: bool,
    /// They were collected.
    pub(crate) collected: bool,
    /// Why the project did not answer at all.
    pub(crate) failed: Option<Trouble>,
    /// Why they were not collected.
    pub(crate) uncollected: Option<Trouble>,
}

/// Why something went wrong in the project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Trouble {
    /// What it was at: `settings`, `setup`, `migrations`, `collectstatic`.
    pub(crate) stage: String,
    /// The key that a `KeyError` named: a variable, most of the time.
    pub(crate) missing: Option<String>,
    /// The traceback.
    pub(crate) text: String,
}

/// Asks the project.
pub(crate) fn ask(project: &Project<'_>, work: &Work) -> Result<Answer> {
    let report = work.join("django.json");
    let job = serde_json::json!({ "manage": project.manage, "root": project.root, "statics": project.statics, "report": report });
    let run = command(project, work, "python")?.args(["-B", "-c", SCRIPT]).input(job.to_string()).at_most(TIME_MAX);
    let ran = run.output()?;
    let Ok(bytes) = fs::read(&report) else {
        return Err(ran.failure("python", "the Django project ended before it could be asked").hint("see its output above"));
    };
    serde_json::from_slice(&bytes).map_err(|error| Failure::failed("the Django project's answer cannot be read").because(&error))
}

/// A command of the build, as the project's own code sees the world.
pub(crate) fn command(project: &Project<'_>, work: &Work, program: &str) -> Result<Run> {
    let home = work.folder("home")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let own = project.bin.join(program);
    let mut run = if own.exists() { Run::clean(own, &[]) } else { Run::clean(program, &[]) };
    run = run.env("HOME", home).env("PATH", format!("{}:{path}", project.bin.display())).env("VIRTUAL_ENV", project.bin.with_file_name(""));
    run = run.env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(settings) = project.settings {
        run = run.env("DJANGO_SETTINGS_MODULE", settings);
    }
    for (name, value) in project.environment {
        run = run.env(name, value);
    }
    Ok(run.within(&project.folder))
}

impl Trouble {
    /// One line: what it was at, and the last line of the traceback.
    pub(crate) fn line(&self) -> String {
        let last = self.text.trim_end().lines().last().unwrap_or_default();
        format!("{}: {last}", self.stage)
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match &self.missing {
            Some(name) => {
                format!("if {name} is a variable of the environment: give it a value for the build under [build.env] in roadstead.toml")
            }
            None => "give the build what the settings need under [build.env] in roadstead.toml".to_owned(),
        }
    }
}

/// A copy of a folder that code may write to.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|error| failure::file("make", parent, &error))?;
    }
    let run = Run::new("cp").args(["-a", "--reflink=auto", "--"]).arg(from).arg(to);
    run.expect("the checkout cannot be copied").map(drop)
}
