//! `roadstead diff`: what `roadstead apply` would change.

use std::path::PathBuf;

use crate::declared::{Change, Mode, foresee, read_all};
use crate::failure::{Failure, Result};
use crate::output::{Output, count};
use crate::remote::Controller;

/// Shows what `roadstead apply` would change, field by field, and changes nothing.
///
/// The controller compares with the same code with which it applies.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 compared, whether or not something differs; with --exit-code 1 when something differs.\n\n\
    Examples:\n  roadstead diff -f env/\n  roadstead diff -f env/ --prune --exit-code")]
pub(crate) struct Arguments {
    /// An environment's file, or a folder of such files (*.toml); may be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
    /// Show, too, what `roadstead apply --prune` would remove.
    #[arg(long)]
    prune: bool,
    /// End with exit code 1 when something differs, as `git diff --exit-code` does.
    #[arg(long)]
    exit_code: bool,
}

/// Asks the controller what applying the files would do.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let declared = read_all(&arguments.files)?;
    let changes = foresee(&Controller::of_user()?, &declared, arguments.prune)?;
    for change in &changes {
        change.warn(output);
    }
    output.result(&changes, || changes.iter().map(|change| change.text(Mode::Foreseen)).collect::<Vec<_>>().join("\n"));
    if arguments.exit_code { verdict(&changes) } else { Ok(()) }
}

/// Success only where nothing differs.
fn verdict(changes: &[Change]) -> Result<()> {
    match changes.iter().filter(|change| change.differs()).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 environment is not what the files say")),
        several => Err(Failure::failed(format!("{} are not what the files say", count(several, "environment")))),
    }
    .map_err(|failure| failure.hint("`roadstead apply` makes the environments what the files say"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::samples;

    #[test]
    fn what_differs_decides_the_exit_code_only_when_it_is_asked() {
        let told = |changes: &[Change]| verdict(changes).map_err(|failure| (failure.kind.code(), failure.summary));
        assert_eq!(told(&[]), Ok(()));
        assert_eq!(told(&samples()[..1]), Ok(()), "unchanged");
        assert_eq!(told(&samples()[..2]), Err((1, "1 environment is not what the files say".to_owned())));
        assert_eq!(told(&samples()), Err((1, "4 environments are not what the files say".to_owned())));
    }
}
