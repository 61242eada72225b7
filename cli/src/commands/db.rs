//! `roadstead db`: what was done for the databases of environments, and what can be done.

mod restore;
mod tend;

use clap::Subcommand;
use roadstead_proto::v1::{FailureKind, ListRolloutsRequest, Rollout};

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::{Controller, backup_view, moment};

/// Makes backups of an environment's database, looks at them, and restores one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead db list production\n  \
    roadstead db backup production --reason nightly\n  \
    roadstead db restore erp-r-12-1795781882 --survey --reason 'what would we lose?'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the backups that were made, the newest first: which host keeps each, and how it was checked.
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
    /// Makes a backup now, checks it, and keeps it, while everything goes on serving.
    ///
    /// One host does it that serves what the environment runs. Whatever else is asked for comes first: a deployment, a rollback or a restore ends it.
    #[command(after_help = "Examples:\n  roadstead db backup production --reason nightly\n  \
        roadstead db backup production --on web-2 --check listed --reason 'before we tidy the table of sessions'")]
    Backup(tend::Backup),
    /// Looks at a backup again, as at a new one: restores it elsewhere and compares it with what the database was.
    ///
    /// One that is encrypted is decrypted with the secret key, where its host has that for the time being; else its digest alone is compared, which
    /// is told as what it is.
    #[command(after_help = "Examples:\n  roadstead db verify erp-r-12-1795781882 --reason 'the monthly drill'")]
    Verify(tend::Verify),
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
        Action::Backup(arguments) => return tend::back_up(arguments, output),
        Action::Verify(arguments) => return tend::verify(arguments, output),
        Action::Restore(arguments) => return restore::run(arguments, output),
    };
    let request = ListRolloutsRequest { environment: environment.clone(), limit: *limit };
    let rollouts = Controller::of_user()?.call(async |mut client| Ok(client.list_rollouts(request).await?.into_inner().rollouts))?;
    let made: Vec<&Rollout> = rollouts.iter().filter(|rollout| backup_view::made(rollout).is_some()).collect();
    let again = |rollout: &Rollout| rechecked(&rollouts, rollout);
    let json: Vec<_> = made.iter().map(|rollout| json(rollout, again(rollout))).collect();
    output.result(&json, || match made.as_slice() {
        [] => format!("no backup was made by the newest {} rollouts to {environment}", rollouts.len()),
        made => {
            let rows = made.iter().filter_map(|rollout| row(rollout, again(rollout)));
            table(["BACKUP", "TAKEN", "ROLLOUT", "HOST", "SIZE", "CHECK"], rows)
        }
    });
    Ok(())
}

/// The newest look at the backup that a rollout made, behind the first one.
fn rechecked<'a>(rollouts: &'a [Rollout], made: &Rollout) -> Option<&'a Rollout> {
    let (backup, _) = backup_view::made(made)?;
    let told = |rollout: &Rollout| rollout.phase == "done" || found_bad(rollout).is_some();
    let same = |rollout: &&Rollout| rollout.kind == "recheck" && rollout.backup == backup.name && told(rollout);
    rollouts.iter().filter(same).max_by_key(|rollout| rollout.ended_at_ms)
}

/// What a look at a backup found wrong with it.
fn found_bad(look: &Rollout) -> Option<&str> {
    let failure = look.failure.as_ref().filter(|failure| failure.kind() == FailureKind::Check)?;
    Some(failure.summary.as_str())
}

fn row(rollout: &Rollout, again: Option<&Rollout>) -> Option<[String; 6]> {
    let (backup, host) = backup_view::made(rollout)?;
    let mut check = backup_view::checked(backup);
    if let Some(again) = again {
        let found = found_bad(again).map(|bad| format!("FOUND BAD: {bad}"));
        let found = found.or_else(|| backup_view::looked_at(again).map(backup_view::checked)).unwrap_or_default();
        check.push_str(&format!("; r-{}, {}: {found}", again.id, moment(again.ended_at_ms)));
    }
    Some([backup.name.clone(), moment(backup.taken_at_ms), format!("r-{}", rollout.id), host.to_owned(), backup_view::kept(backup), check])
}

fn json(rollout: &Rollout, again: Option<&Rollout>) -> serde_json::Value {
    let mut backup = backup_view::json(rollout);
    if let Some(fields) = backup.as_object_mut() {
        fields.insert("rollout".to_owned(), format!("r-{}", rollout.id).into());
        let seen = again.map(|again| {
            let seen = backup_view::looked_at(again);
            serde_json::json!({
                "rollout": format!("r-{}", again.id),
                "at_ms": again.ended_at_ms,
                "check": seen.map(|seen| &seen.check),
                "seen": seen.map(|seen| &seen.seen),
                "bad": found_bad(again),
            })
        });
        fields.insert("rechecked".to_owned(), seen.into());
        fields.insert("release_before".to_owned(), rollout.previous.clone().into());
    }
    backup
}
