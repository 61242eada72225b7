//! `roadstead completions`: scripts for shells.

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Result;
use crate::output::Output;

/// Prints a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  roadstead completions bash > /etc/bash_completion.d/roadstead")]
pub(crate) struct Arguments {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "roadstead", &mut script);
    output.stdout(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
