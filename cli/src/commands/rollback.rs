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
    /// Also to a release that the schema of the database no longer allows (below the rollback floor).
    #[arg(long)]
    despite_schema: bool,
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
        despite_schema: arguments.despite_schema,
    };
    let rollout = controller.call(async |mut client| Ok(client.rollback(request).await?.into_inner()))?;
    output.note(&format!("r-{}: {} goes back to {} in {}", rollout.id, rollout.app, back_to(&rollout), rollout.environment));
    let wanted = if is_ended_early(&rollout) { Wanted::Back } else { Wanted::Done };
    watch::begun(&controller, rollout, arguments.wait, wanted, output)
}

/// The release that will serve: that of a rollout of its own, or the one before where a rollout that was under way is ended.
fn back_to(rollout: &Rollout) -> &str {
    if is_ended_early(rollout) { &rollout.previous } else { &rollout.release }
}

/// Whether the rollback is the way back of a rollout that was under way: that one knows already why it goes back.
fn is_ended_early(rollout: &Rollout) -> bool {
    rollout.failure.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::Failure;

    #[test]
    fn a_rollout_that_is_ended_goes_back_and_one_of_its_own_goes_forward() {
        let own = Rollout { release: "1.0".into(), previous: "1.1".into(), kind: "rollout".into(), ..Default::default() };
        assert_eq!((back_to(&own), is_ended_early(&own)), ("1.0", false), "also where a host has to be brought there as any other");
        let ended = Rollout { failure: Some(Failure::default()), release: "1.1".into(), previous: "1.0".into(), ..own };
        assert_eq!((back_to(&ended), is_ended_early(&ended)), ("1.0", true));
    }
}
