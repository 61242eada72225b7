//! `roadstead init`: a `roadstead.toml` for a project that has none.

use roadstead_bundle::spec::PythonVersion;
use std::path::{Path, PathBuf};

use crate::build::python::Python;
use crate::build::run::on_path;
use crate::failure::{self, Failure, Result};
use crate::init;
use crate::output::Output;

/// Looks at a project and writes its roadstead.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead init\n  roadstead init --print path/to/project")]
pub(crate) struct Arguments {
    /// The project's folder: the top of its repository.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print the file instead of writing it.
    #[arg(long)]
    print: bool,
    /// Replace a roadstead.toml that is there.
    #[arg(long)]
    force: bool,
}

/// Writes the file.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let path = arguments.folder.join("roadstead.toml");
    if path.exists() && !arguments.force && !arguments.print {
        return Err(Failure::usage(format!("{} is there already", path.display()))
            .hint("look at a new one with --print, or replace it with --force"));
    }
    let project = init::look(&arguments.folder)?;
    let text = init::file(&project, python_here());
    if arguments.print {
        output.stdout(text.trim_end());
        return Ok(());
    }
    std::fs::write(&path, &text).map_err(|error| failure::file("write", &path, &error))?;
    let json = serde_json::json!({ "file": path, "name": project.name, "notes": project.notes });
    output.result(&json, || {
        let notes: String = project.notes.iter().map(|note| format!("Note: {note}.\n")).collect();
        let in_git = arguments.folder.canonicalize().is_ok_and(|folder| folder.ancestors().any(|folder| folder.join(".git").exists()));
        let begin = if in_git { "git add roadstead.toml" } else { "git init && git add ." };
        format!(
            "{} is written: read it, then\n\n  {begin} && git commit -m 'Describe how to deploy'\n  roadstead build --key release.key\n\n{notes}",
            path.display()
        )
    });
    Ok(())
}

/// The Python of this machine: the best guess for the hosts'.
fn python_here() -> PythonVersion {
    let found = on_path(&["python3"]).into_iter().find_map(|program| Python::probe(Path::new(&program))?.version());
    found.unwrap_or(PythonVersion { major: 3, minor: 11 })
}
