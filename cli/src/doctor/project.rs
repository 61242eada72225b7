//! What building a release needs: a clean commit, a valid roadstead.toml, its Python.

use roadstead_bundle::project::{self, Project};
use roadstead_model::Finding;
use std::path::Path;

use super::Checkup;
use super::controller::finding;
use crate::build::git::Repository;
use crate::build::python;
use crate::build::run::Run;
use crate::output::count;

const FILE: &str = "roadstead.toml";

/// Looks at a folder, when it is that of an app.
pub(crate) fn look(checkup: &mut Checkup<'_>, folder: &Path) {
    let file = folder.join(FILE);
    if !file.is_file() {
        return;
    }
    let repository = match Repository::around(folder) {
        Ok(repository) => {
            checkup.tell(commit(&repository));
            Some(repository)
        }
        Err(failure) => {
            checkup.tell(finding("git", &failure));
            None
        }
    };
    let Some(project) = read(checkup, &file, repository.as_ref()) else { return };
    match python::find(project.spec.python, None) {
        Ok(python) => {
            checkup.tell(Finding::ok("python", format!("{} is {}", python.executable.display(), python.full)));
            checkup.tell(venv(&python));
        }
        Err(failure) => checkup.tell(finding("python", &failure)),
    }
}

/// What a release would be built from.
fn commit(repository: &Repository) -> Finding {
    let commit = match repository.commit("HEAD") {
        Ok(commit) => commit,
        Err(failure) => return finding("git", &failure),
    };
    let short = commit.hash.get(..12).unwrap_or(&commit.hash).to_owned();
    match repository.changed() {
        Ok(changed) if changed.is_empty() => Finding::ok("git", format!("{short} is all that there is: the working tree is clean")),
        Ok(changed) => {
            let shown = changed.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = if changed.len() > 3 { ", …" } else { "" };
            let says = format!("{} not in {short}: {shown}{more}", count(changed.len(), "changed file"));
            Finding::warning("git", says, "a release is built from the commit: commit what should be in it")
        }
        Err(failure) => finding("git", &failure),
    }
}

fn read(checkup: &mut Checkup<'_>, file: &Path, repository: Option<&Repository>) -> Option<Project> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            checkup.tell(Finding::failed(FILE, format!("cannot be read: {error}"), "check its owner and mode"));
            return None;
        }
    };
    match project::read(Path::new(FILE), &text) {
        Ok(project) => {
            let services: Vec<&str> = project.spec.services.keys().map(roadstead_model::ServiceName::as_str).collect();
            let says = format!("app {}, Python {}, services {}", project.spec.name, project.spec.python, services.join(", "));
            checkup.tell(Finding::ok(FILE, says));
            let untracked = repository.is_some_and(|repository| {
                repository.git().args(["ls-files", "--error-unmatch", FILE]).output().is_ok_and(|ran| !ran.success)
            });
            if untracked {
                checkup.tell(Finding::failed(FILE, "git does not track it", "`git add roadstead.toml`, and commit it"));
            }
            Some(project)
        }
        Err(mistakes) => {
            checkup.tell(Finding::failed(FILE, mistakes.to_string(), "correct it and commit it: see docs/roadstead-toml.md"));
            None
        }
    }
}

/// Whether the interpreter can make virtual environments, which Debian's cannot without a package of its own.
fn venv(python: &python::Python) -> Finding {
    let version = python.version().map(|version| version.to_string()).unwrap_or_default();
    match Run::clean(&python.executable, &[]).args(["-I", "-c", "import venv, ensurepip"]).output() {
        Ok(ran) if ran.success => Finding::ok("venv", "the interpreter can make virtual environments"),
        _ => Finding::warning(
            "venv",
            format!("{} may not be able to make virtual environments", python.executable.display()),
            format!("install its other half: `apt install python{version}-venv` on Debian and Ubuntu"),
        ),
    }
}
