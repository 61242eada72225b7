//! `roadstead db`: what was done for the databases of environments, and what can be done.

mod restore;

use clap::Subcommand;
use roadstead_proto::v1::{ListRolloutsRequest, Rollout};

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::{Controller, backup_view, moment};

/// Looks at the backups of an environment's database, and restores one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead db list production\n  \
    roadstead db restore erp-r-12-1795781882 --survey --reason 'what would we lose?'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the backups that were made before migrations, the newest first: which host keeps each, and how it was checked.
    ///
    /// It is the record of the rollouts: what a host's retention has removed since is listed all the same.
    #[command(after_help = "Examples:\n  roadstead db list production\n  roadstead db list production --output json")]
    List {
        /// The environment.
        environment: String,
        /// Look at so many of its newest rollouts.
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    /// Restores a backup, and makes the release that belongs to it serve again. What was written since is lost.
    ///
    /// First it is shown what that is, table by table; nothing stops for it. It goes on when the environment's name is typed (or with
    /// --yes-lose-data), and when those have approved it who have to. Then everything of the app stops on every host, the backup is restored beside
    /// the database and compared, both change names, and the release is started. The database of before is kept. Until the names change, whatever
    /// fails leads back to it.
    #[command(after_help = "Examples:\n  roadstead db restore erp-r-12-1795781882 --survey --reason 'what would we lose?'\n  \
        roadstead db restore erp-r-12-1795781882 --reason '1.4.2 dropped the customers of March'\n  \
        roadstead db restore erp-r-12-1795781882 --on web-2 --yes-lose-data --reason 'web-1 is gone, its backups are on web-2'")]
    Restore(restore::Arguments),
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let (environment, limit) = match &arguments.action {
        Action::List { environment, limit } => (environment, limit),
        Action::Restore(arguments) => return restore::run(arguments, output),
    };
    let request = ListRolloutsRequest { environment: environment.clone(), limit: *limit };
    let rollouts = Controller::of_user()?.call(async |mut client| Ok(client.list_rollouts(request).await?.into_inner().rollouts))?;
    let made: Vec<&Rollout> = rollouts.iter().filter(|rollout| backup_view::made(rollout).is_some()).collect();
    let json: Vec<_> = made.iter().map(|rollout| json(rollout)).collect();
    output.result(&json, || match made.as_slice() {
        [] => format!("no backup was made by the newest {} rollouts to {environment}", rollouts.len()),
        made => table(["BACKUP", "TAKEN", "ROLLOUT", "HOST", "SIZE", "CHECK"], made.iter().filter_map(|rollout| row(rollout))),
    });
    Ok(())
}

fn row(rollout: &Rollout) -> Option<[String; 6]> {
    let (backup, host) = backup_view::made(rollout)?;
    Some([
        backup.name.clone(),
        moment(backup.taken_at_ms),
        format!("r-{}", rollout.id),
        host.to_owned(),
        backup_view::kept(backup),
        backup_view::checked(backup),
    ])
}

fn json(rollout: &Rollout) -> serde_json::Value {
    let mut backup = backup_view::json(rollout);
    if let Some(fields) = backup.as_object_mut() {
        fields.insert("rollout".to_owned(), format!("r-{}", rollout.id).into());
        fields.insert("release_before".to_owned(), rollout.previous.clone().into());
    }
    backup
}
