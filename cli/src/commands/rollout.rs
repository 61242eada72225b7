//! `roadstead rollout`: look at rollouts, follow one, steer one.

pub(crate) mod explain;
mod steer;

use clap::Subcommand;
use roadstead_proto::v1::{GetRolloutRequest, ListRolloutsRequest, Rollout};

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::rollout_view::{picture, span};
use crate::remote::watch;
use crate::remote::{Controller, moment, now_ms};

/// Looks at rollouts, follows, explains or steers one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead rollout list\n  roadstead rollout watch r-17\n  roadstead rollout explain r-17\n  \
    roadstead rollout pause r-17 --reason 'the queue grows'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the newest rollouts.
    #[command(after_help = "Examples:\n  roadstead rollout list\n  roadstead rollout list --env production --limit 5")]
    List {
        /// Only those of this environment.
        #[arg(long, default_value = "", hide_default_value = true)]
        env: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows one rollout: where every host stands, and what is awaited until when.
    #[command(after_help = "Example:\n  roadstead rollout show r-17")]
    Show {
        /// Such as r-17.
        rollout: roadstead_model::RolloutId,
    },
    /// Follows a rollout to its end; its end decides the exit code.
    ///
    /// Ctrl-C stops only the watching. With `--output json` every change is a line.
    #[command(after_help = "Example:\n  roadstead rollout watch r-17")]
    Watch {
        /// Such as r-17.
        rollout: roadstead_model::RolloutId,
    },
    Explain(explain::Arguments),
    #[command(flatten)]
    Steer(steer::Action),
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::List { env, limit } => list(&controller, env, *limit, output),
        Action::Show { rollout } => {
            let rollout = get(&controller, *rollout)?;
            output.result(&watch::summary(&rollout), || picture(&rollout, now_ms(), output.width()));
            Ok(())
        }
        Action::Watch { rollout } => watch::watch(&controller, get(&controller, *rollout)?, output),
        Action::Explain(arguments) => explain::run(&controller, arguments, output),
        Action::Steer(action) => steer::run(&controller, action, output),
    }
}

/// The rollout of this number.
pub(crate) fn get(controller: &Controller, rollout: roadstead_model::RolloutId) -> Result<Rollout> {
    let request = GetRolloutRequest { rollout: rollout.0 };
    controller.call(async |mut client| Ok(client.get_rollout(request).await?.into_inner()))
}

fn list(controller: &Controller, environment: &str, limit: u32, output: &Output) -> Result<()> {
    let request = ListRolloutsRequest { environment: environment.to_owned(), limit };
    let rollouts = controller.call(async |mut client| Ok(client.list_rollouts(request).await?.into_inner().rollouts))?;
    let json: Vec<_> = rollouts.iter().map(watch::summary).collect();
    output
        .result(&json, || table(["ROLLOUT", "KIND", "ENVIRONMENT", "RELEASE", "PHASE", "STARTED", "BY", "TOOK"], rollouts.iter().map(row)));
    Ok(())
}

fn row(rollout: &Rollout) -> [String; 8] {
    let end = if rollout.ended_at_ms == 0 { now_ms() } else { rollout.ended_at_ms };
    [
        format!("r-{}", rollout.id),
        rollout.kind.clone(),
        rollout.environment.clone(),
        rollout.release.clone(),
        rollout.phase.clone(),
        moment(rollout.started_at_ms),
        rollout.started_by.clone(),
        span(end.saturating_sub(rollout.started_at_ms)),
    ]
}
