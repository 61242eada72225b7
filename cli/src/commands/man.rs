//! `roadstead man`: writes the man pages; the package is made with it.

use clap::CommandFactory;
use std::path::PathBuf;

use crate::args::Cli;
use crate::failure::{self, Result};
use crate::output::Output;

/// Writes one man page per command into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  roadstead man /usr/share/man/man1")]
pub(crate) struct Arguments {
    /// The folder; it is made when it is not there.
    folder: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(arguments: &Arguments, _output: &Output) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|error| failure::file("make", folder, &error))?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| failure::file("write man pages to", folder, &error))
}
