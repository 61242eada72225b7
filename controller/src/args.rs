//! The command line of the controller.

use clap::{Parser, Subcommand};
use roadstead_model::AdminName;
use std::path::PathBuf;

const ABOUT: &str = "The Roadstead controller: plans and drives rollouts.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "roadstead-controller", version, about = ABOUT, propagate_version = true)]
pub(crate) struct Args {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The operator's settings.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/roadstead/controller.toml")]
    pub(crate) config: PathBuf,
}

/// What the controller can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controller. systemd does this.
    Run,
    /// Make the authority, the database and the first admin's credential. What is there already stays as it is.
    #[command(after_help = "Examples:
  roadstead-controller init
  roadstead-controller init --admin ada --address deploy.example.org:7443 --out ada.pem
  roadstead login --controller deploy.example.org:7443 --credential ada.pem")]
    Init(Init),
    /// Say that the database was restored from a backup, while the controller is stopped. Hosts obey no order that is older than the
    /// newest that they have heard: the numbers of terms and rollouts jump beyond all that they may have heard since the backup. What
    /// environments run may have changed since, too: it is forgotten, so that no host is moved before someone deploys.
    #[command(after_help = "Example:
  systemctl stop roadstead-controller
  roadstead-controller restored
  systemctl start roadstead-controller")]
    Restored,
    /// Check the whole history: that no line was changed, removed or put in between.
    Verify,
    /// Measure how many lines of history a second this machine makes durable. Takes five seconds; the daemon may run meanwhile.
    Measure,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

/// How to begin.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The first admin's name.
    #[arg(long, default_value = "admin")]
    pub(crate) admin: AdminName,
    /// Where the credential is written; it must not be there yet.
    #[arg(long, value_name = "FILE", default_value = "admin.pem")]
    pub(crate) out: PathBuf,
    /// How agents and admins reach this machine, as it is written into the credential.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
        assert!(Args::parse_from(["roadstead-controller"]).command.is_none());
    }
}
