//! The command line: one enum of commands; the arguments of each lie in its own file under `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::{
    admin, apply, build, bundle, completions, config, db, deploy, diff, doctor, env, history, host, init, job, key, lock, login, logs, man,
    plan, push, release, rollback, rollout, status, support_bundle,
};
use crate::output::Format;

/// Deploys Python web applications to plain servers: checked before they take traffic, and back in a second.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, propagate_version = false, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed or rolled back, 2 usage, 3 refused by a gate or policy, 4 controller unreachable, \
    130 interrupted.\n\n\
    Examples:\n  roadstead init                    begin in the repository of an application\n  \
    roadstead deploy staging 1.4.2    bring a release to an environment\n  \
    roadstead doctor                  find out what is wrong")]
pub(crate) struct Cli {
    /// Form of the results: text for people, or json for programs (one document; a line per event where something is followed).
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Whether a command stays until what it began has ended.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Wait {
    /// Stay until the end, which decides the exit code. This is the default.
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as it has begun.
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
}

impl Wait {
    /// Whether to stay.
    pub(crate) const fn is_wanted(self) -> bool {
        !self.no_wait
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Arguments),
    Key(key::Arguments),
    Build(build::Arguments),
    Bundle(bundle::Arguments),
    Push(push::Arguments),
    Login(login::Arguments),
    Host(host::Arguments),
    Apply(apply::Arguments),
    Diff(diff::Arguments),
    Env(env::Arguments),
    Release(release::Arguments),
    Plan(plan::Arguments),
    Deploy(deploy::Arguments),
    Rollback(rollback::Arguments),
    Config(config::Arguments),
    Db(db::Arguments),
    Job(job::Arguments),
    Lock(lock::Lock),
    Unlock(lock::Unlock),
    Rollout(rollout::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    History(history::Arguments),
    Doctor(doctor::Arguments),
    SupportBundle(support_bundle::Arguments),
    Admin(admin::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
}

#[cfg(test)]
mod tests;
