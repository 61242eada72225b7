//! `roadstead rollout`: look at rollouts, follow one, end one.

use clap::Subcommand;
use roadstead_proto::v1::{AbortRolloutRequest, GetRolloutRequest, ListRolloutsRequest, Rollout};

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::rollout_view::{picture, span};
use crate::remote::{Controller, moment, now_ms, watch};

/// Looks at rollouts, follows one, or ends one.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the newest rollouts.
    List {
        /// Only those of this environment.
        #[arg(long, default_value = "")]
        env: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows one rollout: where every host stands, and what is awaited until when.
    Show {
        /// Such as r-17.
        rollout: roadstead_model::RolloutId,
    },
    /// Follows a rollout to its end; its end decides the exit code.
    Watch {
        /// Such as r-17.
        rollout: roadstead_model::RolloutId,
    },
    /// Ends a rollout: hosts that moved go back, the others clear up.
    Abort {
        /// Such as r-17.
        rollout: roadstead_model::RolloutId,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
        /// Return without waiting for the end.
        #[arg(long)]
        no_wait: bool,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::List { env, limit } => list(&controller, env, *limit, output),
        Action::Show { rollout } => {
            let request = GetRolloutRequest { rollout: rollout.0 };
            let rollout = controller.call(async |mut client| Ok(client.get_rollout(request).await?.into_inner()))?;
            output.result(&watch::summary(&rollout), || picture(&rollout, now_ms()));
            Ok(())
        }
        Action::Watch { rollout } => watch::follow(&controller, rollout.0, output),
        Action::Abort { rollout, reason, no_wait } => {
            let request = AbortRolloutRequest { rollout: rollout.0, reason: reason.clone() };
            let aborted = controller.call(async |mut client| Ok(client.abort_rollout(request).await?.into_inner()))?;
            if *no_wait {
                output.result(&watch::summary(&aborted), || format!("{rollout} is ending"));
                return Ok(());
            }
            watch::follow_back(&controller, rollout.0, output)
        }
    }
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
