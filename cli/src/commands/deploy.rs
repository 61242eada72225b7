//! `roadstead deploy`: a release goes to an environment.

use roadstead_model::DigestStart;
use roadstead_proto::v1::StartRolloutRequest;

use crate::args::Wait;
use crate::failure::Result;
use crate::output::{Output, count};
use crate::remote::Controller;
use crate::remote::watch::{self, Wanted};

/// Brings a release to an environment, and waits until it serves there or has gone back.
///
/// Ctrl-C stops only the waiting: the rollout is the controller's and goes on. `roadstead rollout abort` ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead deploy staging 1.4.2\n  roadstead deploy production 1.4.2 --no-wait --reason 'quarter end'\n  roadstead deploy production 1.4.2 --plan 3f2a91c07be4\n  roadstead deploy production current"
)]
pub(crate) struct Arguments {
    /// The environment.
    environment: String,
    /// The release: its id, its version, or the beginning of its manifest's digest; `current` for the one that runs, with the newest
    /// configuration. An id that names a configuration (`…-0123456789ab_9f3a21cc`) brings that one.
    release: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// Why, for the history.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// The plan that it is to be, by its digest: refused, with the difference, when it would be another one now. See `roadstead plan`.
    #[arg(long, value_name = "DIGEST")]
    plan: Option<DigestStart>,
    /// Also to an older release that the schema of the database no longer allows (below the rollback floor).
    #[arg(long)]
    despite_schema: bool,
    #[command(flatten)]
    wait: Wait,
    /// A repeat with the same key finds the rollout that the first one began: for CI jobs that may be run again.
    #[arg(long, default_value = "", hide_default_value = true)]
    idempotency_key: String,
}

/// Starts the rollout and follows it.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let request = StartRolloutRequest {
        environment: arguments.environment.clone(),
        app: arguments.app.clone(),
        release: arguments.release.clone(),
        reason: arguments.reason.clone(),
        idempotency_key: arguments.idempotency_key.clone(),
        plan: arguments.plan.as_ref().map(ToString::to_string).unwrap_or_default(),
        despite_schema: arguments.despite_schema,
    };
    let rollout = controller.call(async |mut client| Ok(client.start_rollout(request).await?.into_inner()))?;
    output.note(&format!(
        "r-{}: {} {} goes to {} ({})",
        rollout.id,
        rollout.app,
        rollout.release,
        rollout.environment,
        count(rollout.hosts.len(), "host")
    ));
    watch::begun(&controller, rollout, arguments.wait, Wanted::Done, output)
}
