//! `roadstead rollback`: the previous good release serves again.

use roadstead_proto::v1::RollbackRequest;

use crate::failure::Result;
use crate::output::Output;
use crate::remote::{Controller, watch};

/// Makes the previous good release serve again, on all hosts at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  roadstead rollback production --reason 'invoices without tax'")]
pub(crate) struct Arguments {
    /// The environment.
    environment: String,
    /// The release to go back to; the previous good one when it is not given.
    #[arg(long, default_value = "")]
    to: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "")]
    app: String,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    reason: String,
    /// Return as soon as it has begun.
    #[arg(long)]
    no_wait: bool,
}

/// Asks for the rollback and follows it. A rollout that is under way ends by going back: for this command that is success.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let request = RollbackRequest {
        environment: arguments.environment.clone(),
        app: arguments.app.clone(),
        to: arguments.to.clone(),
        reason: arguments.reason.clone(),
    };
    let rollout = controller.call(async |mut client| Ok(client.rollback(request).await?.into_inner()))?;
    if arguments.no_wait {
        output.result(&watch::summary(&rollout), || format!("r-{}", rollout.id));
        return Ok(());
    }
    watch::follow_back(&controller, rollout.id, output)
}
