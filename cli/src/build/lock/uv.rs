//! `uv.lock`: exported by uv itself, so that its forks, markers and workspaces mean what uv means.

use std::path::Path;

use super::{Demand, Wanted, requirements};
use crate::build::run::Run;
use crate::build::toolbox::Toolbox;
use crate::failure::{self, Result};

/// Exports the lock and reads the result into the demand.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>, toolbox: &Toolbox, demand: &mut Demand) -> Result<()> {
    let folder = path.parent().unwrap_or(wanted.root);
    let mut run = Run::clean(toolbox.uv()?, &["UV_"])
        .args(["export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate", "--format", "requirements-txt"])
        .args(["--no-default-groups", "--no-python-downloads", "--python"])
        .arg(&toolbox.python().executable);
    for extra in wanted.extras {
        run = run.args(["--extra", extra]);
    }
    for group in wanted.groups {
        run = run.args(["--group", group]);
    }
    let exported = run.within(folder).expect("uv cannot export uv.lock").map_err(|failure| {
        failure.hint("run `uv lock` and commit the result; extras and groups in roadstead.toml must be those of pyproject.toml")
    })?;
    let file = folder.join(".roadstead-uv-export.txt");
    std::fs::write(&file, exported).map_err(|error| failure::file("write", &file, &error))?;
    let read = requirements::read(&file, wanted, demand);
    std::fs::remove_file(&file).map_err(|error| failure::file("remove", &file, &error))?;
    demand.complete = true;
    read
}
