//! The command line: one enum of commands; the arguments of each lie in its own file under `commands/`.

use clap::{Parser, Subcommand};

use crate::commands::{
    admin, build, bundle, completions, deploy, env, history, host, init, key, login, logs, man, push, release, rollback, rollout, status,
};
use crate::output::Format;

/// Deploys Python web applications to plain servers: checked before they take traffic, and back in a second.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, propagate_version = false, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed or rolled back, 2 usage, 3 refused by a gate or policy, 4 controller unreachable.\n\
    Start with `roadstead init` in the repository of an application.")]
pub(crate) struct Cli {
    /// Form of the results on stdout.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
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
    Env(env::Arguments),
    Release(release::Arguments),
    Deploy(deploy::Arguments),
    Rollback(rollback::Arguments),
    Rollout(rollout::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    History(history::Arguments),
    Admin(admin::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
