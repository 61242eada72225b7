//! The commands, one file each: arguments and `run`.

pub(crate) mod admin;
pub(crate) mod apply;
pub(crate) mod build;
pub(crate) mod bundle;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod release;
pub(crate) mod rollback;
pub(crate) mod rollout;
pub(crate) mod status;
pub(crate) mod support_bundle;

use crate::args::Command;
use crate::failure::Result;
use crate::output::Output;

/// Runs a command to its end.
pub(crate) fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Init(arguments) => init::run(&arguments, output),
        Command::Key(arguments) => key::run(&arguments, output),
        Command::Build(arguments) => build::run(&arguments, output),
        Command::Bundle(arguments) => bundle::run(&arguments, output),
        Command::Push(arguments) => push::run(&arguments, output),
        Command::Login(arguments) => login::run(&arguments, output),
        Command::Host(arguments) => host::run(&arguments, output),
        Command::Apply(arguments) => apply::run(&arguments, output),
        Command::Diff(arguments) => diff::run(&arguments, output),
        Command::Env(arguments) => env::run(&arguments, output),
        Command::Release(arguments) => release::run(&arguments, output),
        Command::Plan(arguments) => plan::run(&arguments, output),
        Command::Deploy(arguments) => deploy::run(&arguments, output),
        Command::Rollback(arguments) => rollback::run(&arguments, output),
        Command::Config(arguments) => config::run(&arguments, output),
        Command::Db(arguments) => db::run(&arguments, output),
        Command::Job(arguments) => job::run(&arguments, output),
        Command::Lock(arguments) => lock::lock(&arguments, output),
        Command::Unlock(arguments) => lock::unlock(&arguments, output),
        Command::Rollout(arguments) => rollout::run(&arguments, output),
        Command::Status(arguments) => status::run(&arguments, output),
        Command::Logs(arguments) => logs::run(&arguments, output),
        Command::History(arguments) => history::run(&arguments, output),
        Command::Doctor(arguments) => doctor::run(&arguments, output),
        Command::SupportBundle(arguments) => support_bundle::run(&arguments, output),
        Command::Admin(arguments) => admin::run(&arguments, output),
        Command::Completions(arguments) => completions::run(&arguments, output),
        Command::Man(arguments) => man::run(&arguments, output),
    }
}
