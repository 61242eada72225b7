//! `roadstead db restore`: what it would lose is shown before anything stops, and somebody says that it may be lost.

use roadstead_proto::v1::steer_rollout_request::{Abort, Accept, Steer};
use roadstead_proto::v1::{RestoreDatabaseRequest, Rollout, SteerRolloutRequest};

use crate::args::Wait;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::remote::watch::{self, Wanted};
use crate::remote::{Controller, loss_view};

/// What `roadstead db restore` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The backup, as `roadstead db list` names it.
    backup: String,
    /// Only show what it would lose.
    #[arg(long, conflicts_with_all = ["yes_lose_data", "no_wait"])]
    survey: bool,
    /// Do not ask for the environment's name: what is written since the backup may be lost.
    #[arg(long)]
    yes_lose_data: bool,
    /// The host that has the backup; the one that made it when nothing is said.
    #[arg(long = "on", value_name = "HOST", default_value = "", hide_default_value = true)]
    host: String,
    /// The release that serves behind it; the one that served when the backup was made when nothing is said.
    #[arg(long, default_value = "", hide_default_value = true)]
    release: String,
    /// Why, for the history.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    wait: Wait,
}

/// Looks what would be lost, asks, and follows the restore to its end.
pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    if !arguments.survey && !arguments.yes_lose_data && !output.can_ask() {
        return Err(Failure::usage("a restore loses data, and nobody can be asked here whether it may")
            .hint("look with --survey; then say --yes-lose-data when you mean it"));
    }
    let controller = Controller::of_user()?;
    let request = RestoreDatabaseRequest {
        backup: arguments.backup.clone(),
        host: arguments.host.clone(),
        release: arguments.release.clone(),
        reason: arguments.reason.clone(),
        only_survey: arguments.survey,
    };
    let begun = controller.call(async |mut client| Ok(client.restore_database(request).await?.into_inner()))?;
    output.note(&format!("r-{}: what a restore of {} in {} would lose is looked at", begun.id, begun.backup, begun.environment));
    let looked = watch::until(&controller, begun, output, &|rollout| !is_undecided(rollout))?;
    if looked.phase != "deciding" {
        return ended(&looked, arguments.survey, output);
    }
    output.note(loss_view::survey(&looked).unwrap_or_default().trim_end());
    let accepted = if looked.accepted_by.is_empty() { accept(&controller, arguments, &looked, output)? } else { looked };
    watch::begun(&controller, accepted, arguments.wait, Wanted::Done, output)
}

/// Whether there is nothing to decide yet, or not any more: it looks, or it ends.
fn is_undecided(rollout: &Rollout) -> bool {
    matches!(rollout.phase.as_str(), "preparing" | "surveying" | "reverting")
}

/// It ended before anybody was asked: that was wanted, or something is in the way.
fn ended(looked: &Rollout, only_survey: bool, output: &Output) -> Result<()> {
    if only_survey && looked.phase == "done" {
        output.result(&watch::summary(looked), || loss_view::survey(looked).unwrap_or_default());
        return Ok(());
    }
    watch::judge(looked, Wanted::Done)
}

/// The loss is accepted, by the environment's name or by the word for it; anything else ends the restore.
fn accept(controller: &Controller, arguments: &Arguments, looked: &Rollout, output: &Output) -> Result<Rollout> {
    let environment = &looked.environment;
    let means_it = arguments.yes_lose_data
        || output
            .ask(&format!("Everything of {} in {environment} stops for the restore. Type the environment's name to go on: ", looked.app))
            == *environment;
    let steer = if means_it { Steer::Accept(Accept {}) } else { Steer::Abort(Abort {}) };
    let reason = if means_it { arguments.reason.clone() } else { "the environment's name was not typed".to_owned() };
    let request = SteerRolloutRequest { rollout: looked.id, reason, steer: Some(steer) };
    let steered = controller.call(async |mut client| Ok(client.steer_rollout(request).await?.into_inner()))?;
    if means_it {
        return Ok(steered);
    }
    // Whoever asks again is not told that this one has not ended.
    watch::until(controller, steered, output, &|_| false)?;
    Err(Failure::refused(format!("that is not {environment}: nothing is restored, and nothing was stopped"))
        .hint("ask again when you mean it"))
}
