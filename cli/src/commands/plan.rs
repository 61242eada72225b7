//! `roadstead plan`: what a rollout would be, before it is.

use roadstead_model::outlook::Outlook;
use roadstead_proto::v1::PlanRolloutRequest;
use serde::Deserialize as _;

use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::remote::Controller;
use crate::remote::outlook_view::{Shown, picture};

/// Shows what `roadstead deploy` would do now, host by host, and changes nothing.
///
/// The controller draws the plan with the same code with which it begins a rollout. All that decides has a digest: `roadstead deploy
/// --plan DIGEST` does exactly this, and is refused with the difference when the world has changed since.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 it could begin now; 3 something refuses it, and the plan says what.\n\n\
    Examples:\n  roadstead plan production 1.4.2\n  roadstead plan production 1.4.2 --sql\n  roadstead plan production 1.4.2 --output json\n  \
    roadstead deploy production 1.4.2 --plan 3f2a91c07be4")]
pub(crate) struct Arguments {
    /// The environment.
    environment: String,
    /// The release: its id, its version, or the beginning of its manifest's digest.
    release: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// Show the SQL of all new migrations whole, and not the first lines of each.
    #[arg(long)]
    sql: bool,
}

/// Asks the controller, shows the plan, and fails when something refuses it.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let Arguments { environment, app, release, sql } = arguments;
    let request = PlanRolloutRequest { environment: environment.clone(), app: app.clone(), release: release.clone() };
    let answer = controller.call(async |mut client| Ok(client.plan_rollout(request).await?.into_inner()))?;
    let unreadable = |error: serde_json::Error| {
        Failure::failed("the controller's plan cannot be read")
            .because(&error)
            .hint("it is older or newer than this command: `roadstead doctor` shows both versions; upgrade the older one")
    };
    let document: serde_json::Value = serde_json::from_slice(&answer.outlook).map_err(unreadable)?;
    let outlook = Outlook::deserialize(&document).map_err(unreadable)?;
    output.result(&document, || picture(&outlook, Shown { named_app: !app.is_empty(), whole_sql: *sql }));
    verdict(&outlook)
}

/// Success where nothing refuses it.
fn verdict(outlook: &Outlook) -> Result<()> {
    let Outlook { app, release, environment, obstacles, .. } = outlook;
    let Some(first) = obstacles.first() else { return Ok(()) };
    let refused = Failure::refused(format!("{app} {release} would not go to {environment} now"));
    Err(obstacles.iter().fold(refused, |failure, obstacle| failure.cause(obstacle.what.clone())).hint(first.next.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::outlook_view::samples;

    #[test]
    fn what_refuses_it_decides_the_exit_code() {
        assert_eq!(verdict(&samples::upgrade()), Ok(()));
        let failure = verdict(&samples::refused()).unwrap_err();
        insta::assert_snapshot!(format!("{failure}\nexit code {}", failure.kind.code()));
    }
}
