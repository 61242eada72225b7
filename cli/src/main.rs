//! `roadstead`: the command of admins and CI. It builds and signs releases on its own, and asks a controller for everything else.
//!
//! A command is one file in `commands/`: its arguments, and a `run` that ends in `Ok` or in one [`failure::Failure`].
//! Making a release from a commit is `build/`; looking at a project that has no `roadstead.toml` yet is `init/`.
//! What a developer gets to see of a fleet is `support/`.
//! This crate holds no rules of releases or rollouts: those lie in the bundle crate and in the controller.

mod args;
mod build;
mod commands;
mod declared;
mod doctor;
mod failure;
mod init;
mod output;
mod remote;
mod support;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = output::Output::of_process(cli.output);
    match commands::run(cli.command, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}
