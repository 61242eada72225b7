//! `roadstead db backup` and `roadstead db verify`: a backup is made now, or one is looked at again.

use roadstead_proto::v1::{BackUpDatabaseRequest, RecheckBackupRequest};

use crate::args::Wait;
use crate::failure::Result;
use crate::output::Output;
use crate::remote::Controller;
use crate::remote::watch::{self, Wanted};

/// What `roadstead db backup` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The environment.
    environment: String,
    /// The app, where the environment has several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    #[command(flatten)]
    asked: Asked,
}

/// What `roadstead db verify` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The backup, as `roadstead db list` names it.
    backup: String,
    #[command(flatten)]
    asked: Asked,
}

/// Who does it, how, and why.
#[derive(Debug, clap::Args)]
struct Asked {
    /// The host that does it; of a backup that is there, the one that made it, else the first that serves what the environment runs, when nothing
    /// is said.
    #[arg(long = "on", value_name = "HOST", default_value = "", hide_default_value = true)]
    host: String,
    /// How it is checked: "restored", "restored up to 50 GB", "listed" or "taken"; as the environment demands it when nothing is said.
    #[arg(long, default_value = "", hide_default_value = true)]
    check: String,
    /// Why, for the history.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    wait: Wait,
}

/// Has a backup made.
pub(super) fn back_up(arguments: &Backup, output: &Output) -> Result<()> {
    let Backup { environment, app, asked: Asked { host, check, reason, wait } } = arguments;
    let request = BackUpDatabaseRequest {
        environment: environment.clone(),
        app: app.clone(),
        host: host.clone(),
        check: check.clone(),
        reason: reason.clone(),
    };
    let controller = Controller::of_user()?;
    let begun = controller.call(async |mut client| Ok(client.back_up_database(request).await?.into_inner()))?;
    watch::begun(&controller, begun, *wait, Wanted::Done, output)
}

/// Has a backup looked at again.
pub(super) fn verify(arguments: &Verify, output: &Output) -> Result<()> {
    let Verify { backup, asked: Asked { host, check, reason, wait } } = arguments;
    let request = RecheckBackupRequest { backup: backup.clone(), host: host.clone(), check: check.clone(), reason: reason.clone() };
    let controller = Controller::of_user()?;
    let begun = controller.call(async |mut client| Ok(client.recheck_backup(request).await?.into_inner()))?;
    watch::begun(&controller, begun, *wait, Wanted::Done, output)
}
