//! The command line of the agent.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

const ABOUT: &str = "The Roadstead agent: brings releases to this host, and takes them back when something is wrong.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "roadstead-agent", version, about = ABOUT, propagate_version = true)]
pub(crate) struct Args {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The operator's settings.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/roadstead/agent.toml")]
    pub(crate) config: PathBuf,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent. systemd does this.
    Run,
    /// Give this host its identity, with a join token of `roadstead host token`.
    #[command(after_help = "Examples:
  roadstead-agent enroll --controller deploy.example.org:7443 --token-file token
  roadstead host token --env staging | ssh web-1 roadstead-agent enroll --controller deploy.example.org:7443 --token-file -")]
    Enroll(Enroll),
    /// Show what this host knows of itself, without asking the controller.
    Status(StatusArgs),
    /// Look at what usually is wrong on a host, one thing after another, and say what to do about it. Nothing is changed.
    #[command(after_help = "Example:\n  roadstead-agent doctor\n\nThe exit code is 1 when something failed.")]
    Doctor(StatusArgs),
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        folder: PathBuf,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How to enroll.
#[derive(Debug, clap::Args)]
pub(crate) struct Enroll {
    /// Where the controller is.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) controller: String,
    /// A file with the join token; `-` for standard input. Never the token itself: others can read a command line.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Enroll again, as a new host, although this host has an identity.
    #[arg(long)]
    pub(crate) again: bool,
}

/// How to show the status.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn nothing_said_means_run() {
        assert!(Args::parse_from(["roadstead-agent"]).command.is_none());
    }
}
