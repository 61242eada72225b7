//! `roadstead apply`: environments become what their files say.

use std::path::PathBuf;

use crate::declared::{apply, consent, foresee, read_all};
use crate::failure::Result;
use crate::output::Output;
use crate::remote::Controller;

/// Makes environments what their files say. Applying the same files again changes nothing.
///
/// Prints what is different now. All files are read, and looked at by the controller, before the first is applied: a mistake in one
/// of them changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead apply -f env/staging.toml\n  roadstead apply -f env/\n  roadstead apply -f env/ --prune\n\n\
    `roadstead diff` shows before what would change."
)]
pub(crate) struct Arguments {
    /// An environment's file, or a folder of such files (*.toml); may be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
    /// Remove environments that no file names; asks first. Refused for one in which a rollout has not ended or to which hosts belong.
    #[arg(long)]
    prune: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Applies all of them, then removes what no file names if that is wanted.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let declared = read_all(&arguments.files)?;
    let controller = Controller::of_user()?;
    let foreseen = foresee(&controller, &declared, arguments.prune)?;
    consent(&foreseen, arguments.yes, output)?;
    let done = apply(&controller, &declared, &foreseen, output)?;
    if output.is_json() {
        output.result(&done, String::new);
    }
    Ok(())
}
