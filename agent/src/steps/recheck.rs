//! Recheck: a backup that was made before is looked at once more, as a new one would be. What is found out about it stands in its evidence from
//! then on.

use roadstead_model::{Backup, BackupCheck, Failure, FailureKind, OrderKind, StepDone, StepName, size};
use roadstead_worker::clock;
use tokio::time::Instant;

use super::StepContext;
use super::backup::made;
use super::restore::{Work, same};
use super::util::{disk, io_failure};
use crate::backup::loss::line as bounded;
use crate::backup::shelf::weigh;
use crate::host::disk::free;

/// How many times larger a database may be than its backup, where nobody knows.
const UNPACKED: u64 = 8;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<StepDone, Failure> {
    let OrderKind::Recheck { backup, demand, .. } = &context.order.kind else { return Ok("nothing to do".to_owned().into()) };
    let work = Work::begin(context, backup, StepName::Recheck).await?;
    let demand = (*demand).max(context.settings.backup(&context.order.app).at_least);
    let check = demand.of(work.backup.database_bytes).unwrap_or(BackupCheck::Restored);
    let is_there_alone = work.is_in_a_bucket_alone();
    let found = look(&work, check).await;
    work.let_go().await?;
    work.end().await?;
    let backup = &work.backup;
    match found {
        Ok(looked) => {
            note(&work, is_there_alone, &|known| better(known, &looked)).await?;
            let bad = better(backup, &looked).bad;
            Ok(made(Backup { bad, ..looked }))
        }
        Err(failure) => {
            if failure.kind == FailureKind::Check {
                // It is no longer the last good one, which stays, and whoever wants to restore it is told.
                note(&work, is_there_alone, &|known| Backup { bad: bounded(&failure.summary), ..known.clone() }).await?;
            }
            Err(failure)
        }
    }
}

/// What is seen of it now.
async fn look(work: &Work<'_>, wanted: BackupCheck) -> Result<Backup, Failure> {
    let (began, backup) = (Instant::now(), &work.backup);
    let (check, seen) = match wanted {
        _ if !work.is_readable() => {
            same_bytes(work).await?;
            (BackupCheck::Taken, "its digest is that of then; it is encrypted, and its secret key is not here".to_owned())
        }
        BackupCheck::Taken => {
            same_bytes(work).await?;
            (BackupCheck::Taken, "its digest is that of then".to_owned())
        }
        BackupCheck::Listed | BackupCheck::Restored if work.taken.is_none() => {
            same_bytes(work).await?;
            (BackupCheck::Taken, "its digest is that of then; what the database held then is not known here any more".to_owned())
        }
        BackupCheck::Listed | BackupCheck::Restored => {
            work.bring().await?;
            if wanted == BackupCheck::Restored {
                room(work)?;
            }
            (wanted, work.look(wanted).await?)
        }
    };
    Ok(Backup { check, seen: bounded(&seen), checked_in: clock::whole_millis(began.elapsed()), ..backup.clone() })
}

/// What is kept is what was kept.
async fn same_bytes(work: &Work<'_>) -> Result<(), Failure> {
    work.fetch().await?;
    let (kept, expected) = (work.kept()?, work.backup.digest.clone());
    disk(move || weigh(&kept).and_then(|(_, digest)| same(&kept, &digest, &expected))).await
}

/// As much as a new backup has to have, where it is restored.
fn room(work: &Work<'_>) -> Result<(), Failure> {
    let (place, backup) = (work.shelf.place(), &work.backup);
    // Of one that was made before that was noted: what is packed in it takes a few times as much room.
    let database = if backup.database_bytes > 0 { backup.database_bytes } else { backup.bytes.saturating_mul(UNPACKED) };
    let parts = if work.taken.as_ref().is_some_and(|taken| taken.jobs > 1) { backup.bytes } else { 0 };
    let needed = database.saturating_add(database / 4).saturating_add(parts);
    let space = free(&place).map_err(|error| io_failure("look at the disk of", &place, &error))?;
    if space.free_bytes >= needed {
        return Ok(());
    }
    let summary = format!("{} are free where backups are looked at, and {} may be needed", size(space.free_bytes), size(needed));
    Err(Failure::new(FailureKind::Unfit, summary, "make room, or ask with --check listed, which only reads it back"))
}

/// A lighter look than the one before says nothing against it, and only one that restored it clears it of what another one found.
fn better(known: &Backup, looked: &Backup) -> Backup {
    let bad = if looked.check == BackupCheck::Restored { String::new() } else { known.bad.clone() };
    let best = if looked.check >= known.check { looked } else { known };
    Backup { bad, ..best.clone() }
}

/// What was found out stands in the evidence of this host, and of the bucket, if what lies there was looked at: others take its word.
async fn note(work: &Work<'_>, is_there_alone: bool, found: &(dyn Fn(&Backup) -> Backup + Sync)) -> Result<(), Failure> {
    let (shelf, evidence) = (work.shelf.clone(), found(&work.backup));
    disk(move || shelf.note(&evidence)).await?;
    if is_there_alone && let Err(failure) = work.tell_bucket(found).await {
        work.context.say(StepName::Recheck, &format!("roadstead: the evidence in the bucket says nothing of this look: {failure}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::samples;

    #[test]
    fn a_lighter_look_takes_nothing_back() {
        let restored = samples::backup("erp-r-1-1");
        let weighed = Backup { check: BackupCheck::Taken, seen: "its digest".into(), ..restored.clone() };
        assert_eq!(better(&restored, &weighed), restored);
        assert_eq!(better(&weighed, &restored), restored);
        let again = Backup { seen: "3 tables".into(), ..restored.clone() };
        assert_eq!(better(&restored, &again), again, "the newest of the best looks");
    }

    #[test]
    fn what_was_found_bad_stays_bad_until_it_was_restored() {
        let bad = Backup { bad: "its digest differs".into(), ..samples::backup("erp-r-1-1") };
        for check in [BackupCheck::Taken, BackupCheck::Listed] {
            assert_eq!(better(&bad, &Backup { check, bad: String::new(), ..bad.clone() }), bad);
        }
        assert_eq!(better(&bad, &samples::backup("erp-r-1-1")).bad, "");
    }
}
