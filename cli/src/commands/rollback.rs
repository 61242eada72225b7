//! `roadstead rollback`: the previous good release serves again.

use roadstead_proto::v1::{RollbackRequest, Rollout};

use crate::args::Wait;
use crate::failure::Result;
use crate::output::Output;
use crate::remote::Controller;
use crate::remote::watch::{self, Wanted};

/// Makes the previous good release serve again, on all hosts at once.
///
/// It is not asked twice: this is what one types when something is wrong. A rollout that is under way is ended that way.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead rollback production --reason 'invoices without tax'\n  roadstead rollback production --to 1.4.0"
)]
pub(crate) struct Arguments {
    /// The environment.
    environment: String,
    /// The release to go back to; the previous good one when it is not given.
    #[arg(long, default_value = "", hide_default_value = true)]
    to: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// Why, for the history.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    wait: Wait,
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
    output.note(&format!("r-{}: {} goes back to {} in {}", rollout.id, rollout.app, back_to(&rollout), rollout.environment));
    if !arguments.wait.is_wanted() {
        output.result(&watch::summary(&rollout), || format!("r-{}", rollout.id));
        return Ok(());
    }
    watch::follow(&controller, rollout, Wanted::Back, output)
}

/// The release that will serve: a rollback is a rollout to it, a rollout that is ended goes back to the one before.
fn back_to(rollout: &Rollout) -> &str {
    if rollout.kind == "rollback" { &rollout.release } else { &rollout.previous }
}
