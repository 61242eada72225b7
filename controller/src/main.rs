//! The daemon that plans and drives rollouts: store, sessions of hosts, calls of operators; a shell around the pure rollout core.
//!
//! It holds no key that could sign a release and runs nothing of a release: what hosts do follows from signed manifests.

mod access;
mod announce;
mod api;
mod args;
mod clock;
mod evidence;
mod floor;
mod init;
mod layout;
mod logging;
mod measure;
mod notify;
mod outlook;
mod relay;
mod run;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod view;

use clap::{CommandFactory as _, Parser as _};
use std::io::Write as _;
use std::process::ExitCode;

use args::{Args, Command};
use settings::Settings;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match perform(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut cause = error.source();
            while let Some(source) = cause {
                text.push_str(&format!("\n  because: {source}"));
                cause = source.source();
            }
            // Nothing is left to tell it to when this fails.
            drop(writeln!(std::io::stderr(), "{text}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(args: Args) -> Result<(), Failure> {
    // What is kept here is nobody else's: files of the database too.
    if !matches!(args.command, Some(Command::Man { .. } | Command::Completions { .. })) {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    }
    match args.command.unwrap_or(Command::Run) {
        Command::Run => {
            logging::set_up();
            runtime()?.block_on(run::run(Settings::read(&args.config)?))
        }
        Command::Init(init) => {
            let said = runtime()?.block_on(init::init(&Settings::read(&args.config)?, &init))?;
            say(&said)
        }
        Command::Restored => say(&runtime()?.block_on(run::restored(&Settings::read(&args.config)?))?),
        Command::Verify => {
            let settings = Settings::read(&args.config)?;
            let lines = runtime()?.block_on(run::verify(&settings))?;
            say(&format!("{lines} lines, every one follows from the one before\n"))
        }
        Command::Measure => say(&runtime()?.block_on(measure::measure(&Settings::read(&args.config)?))?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "roadstead-controller", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { folder } => {
            std::fs::create_dir_all(&folder)?;
            Ok(clap_mangen::generate_to(Args::command(), &folder)?)
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
