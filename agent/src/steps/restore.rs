//! Survey, restore and exchange: what a restore of a backup would lose is told before anything stops; then the backup becomes a database beside
//! the present one, is compared with what it was made of, and takes its place, while the present one is kept under another name.

use roadstead_bundle::spec::Django;
use roadstead_model::{
    Backup, BackupCheck, BackupName, DigestHasher, Failure, FailureKind, Loss, OrderKind, Safeguard, StepDone, StepName, size,
};
use roadstead_worker::clock;
use roadstead_worker::files::write_atomically;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

use super::StepContext;
use super::backup::{self, AGE, Progress, TAKE_AT, checker, in_the_way, look_at, not_of_this_run, refused, unit};
use super::bucket;
use super::commands::{self, Task, expect_success};
use super::release::{Release, below};
use super::util::{disk, io_failure, on_disk};
use crate::backup::RESTORE;
use crate::backup::bucket::{is_in_one, let_go};
use crate::backup::compare::{TakeOutcome, Taken, compare};
use crate::backup::loss::{self, RestoreOutcome};
use crate::backup::shelf::{Shelf, weigh};
use crate::host::command::{self, Bind, Command};
use crate::host::disk::free;
use crate::settings::BackupSettings;

/// Where the scripts see the backup and what they are to do.
const SEEN_AT: &str = "/run/roadstead-restore";
/// Where the secret key lies for as long as it is needed, if `identity` of agent.toml says nothing else: in memory, gone with the next boot.
const IDENTITIES: &str = "/run/roadstead-identity";
/// What stays free on the disk of backups.
const SLACK: u64 = 64 * 1024 * 1024;
/// How often the exchange is looked at again that ended without telling what came of it.
const LOOKS: usize = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);
const AS_IT_WAS: &str = "nothing was changed";

/// Runs the step `survey`.
pub(crate) async fn survey(context: &StepContext) -> Result<StepDone, Failure> {
    let OrderKind::Survey { backup, .. } = &context.order.kind else { return Ok("nothing to do".to_owned().into()) };
    let work = Work::begin(context, backup, StepName::Survey).await?;
    let loss = work.survey().await;
    if loss.is_err() {
        work.let_go().await?;
    }
    work.end().await?;
    loss.map(told)
}

/// Runs the step `restore`.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Restore { backup, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let work = Work::begin(context, backup, StepName::Restore).await?;
    let restored = work.restore().await;
    work.let_go().await?;
    work.end().await?;
    restored
}

/// Runs the step `exchange`.
pub(crate) async fn exchange(context: &StepContext) -> Result<StepDone, Failure> {
    let OrderKind::Exchange { backup, .. } = &context.order.kind else { return Ok("nothing to do".to_owned().into()) };
    // Whether an attempt before this one has exchanged them is not known yet: what fails until that was seen says nothing of it.
    let unknown = |failure: Failure| Failure { kind: FailureKind::Host, ..failure };
    let work = Work::begin(context, backup, StepName::Exchange).await.map_err(unknown)?;
    let loss = work.exchange().await;
    if let Err(failure) = work.end().await {
        tracing::warn!(failure = failure.summary, "what the exchange worked with is not cleared away");
    }
    loss.map(told)
}

fn told(loss: Loss) -> StepDone {
    StepDone { note: loss.words(), safeguard: Some(Safeguard::Loss(Box::new(loss))) }
}

/// One step about one backup.
pub(super) struct Work<'a> {
    pub(super) context: &'a StepContext,
    release: Release,
    django: Django,
    pub(super) shelf: Shelf,
    settings: BackupSettings,
    pub(super) backup: Backup,
    /// What the database held when it was made, where that is known.
    pub(super) taken: Option<Taken>,
    step: StepName,
}

impl<'a> Work<'a> {
    /// Ends what an attempt before this one left, and makes the folders anew.
    pub(super) async fn begin(context: &'a StepContext, name: &BackupName, step: StepName) -> Result<Self, Failure> {
        let (app, settings) = (&context.order.app, context.settings.backup(&context.order.app));
        backup::end_all(context).await?;
        let release = context.release(context.order.kind.release())?;
        let Some(django) = release.manifest.spec.django.clone() else {
            let summary = format!("{} names no manage.py, by which its database is found", release.id);
            return Err(Failure::new(FailureKind::Unfit, summary, "docs/recovery.md says how to restore a backup by hand"));
        };
        let shelf = Shelf::of(&settings.folder, app);
        let found = match shelf.find(name.as_str()) {
            Some(own) if !shelf.is_adopted(&own) => Some(own),
            // Whoever made it, or looked at it since, may know more by now.
            known => bucket::adopt(context, &release, step, &settings, &shelf, name).await?.or(known),
        };
        let backup = found.ok_or_else(|| {
            let summary = format!("{name} is not among the backups of this host, in {}", settings.folder.join(app.as_str()).display());
            let hint = "its files are called NAME.json, NAME.facts and NAME.dump: bring them back, or say with --on which host has them";
            Failure::new(FailureKind::Unfit, summary, hint)
        })?;
        let account = super::account::of(&context.layout, app)?;
        let (folders, checks) = (shelf.clone(), checker()?);
        disk(move || folders.clear().and_then(|()| folders.prepare(&account, &checks))).await?;
        let taken = match shelf.read::<TakeOutcome>(&shelf.facts(name.as_str())) {
            Ok(TakeOutcome::Taken(taken)) => Some(*taken),
            _ => None,
        };
        Ok(Self { context, release, django, shelf, settings, backup, taken, step })
    }

    /// Nothing of it stays in clear but what is kept.
    pub(super) async fn end(&self) -> Result<(), Failure> {
        let shelf = self.shelf.clone();
        disk(move || shelf.clear()).await
    }

    /// What was brought from a bucket for this is there no longer.
    pub(super) async fn let_go(&self) -> Result<(), Failure> {
        let (shelf, settings, backup) = (self.shelf.clone(), self.settings.clone(), self.backup.clone());
        disk(move || let_go(&shelf, &settings, &[backup])).await
    }

    async fn survey(&self) -> Result<Loss, Failure> {
        self.refuse_sqlite()?;
        self.bring().await?;
        self.read_back().await?;
        let at = clock::now();
        match self.script("survey").await? {
            RestoreOutcome::Refused(refusal) => Err(refused(FailureKind::Unfit, &refusal)),
            RestoreOutcome::Surveyed(now) => Ok(loss::foreseen(self.backup.clone(), self.taken.as_ref(), &now, at)),
            _ => Err(not_of_this_run("the survey")),
        }
    }

    async fn restore(&self) -> Result<String, Failure> {
        self.refuse_sqlite()?;
        self.bring().await?;
        let restored = match self.script("restore").await? {
            RestoreOutcome::Refused(refusal) => return Err(refused(FailureKind::Check, &refusal)),
            other => other.into_check().ok_or_else(|| not_of_this_run("the restore"))?,
        };
        let Some(taken) = &self.taken else {
            return Ok("restored; what it was made of is not known, so it is not compared".to_owned());
        };
        match compare(taken, &restored) {
            Ok(seen) => Ok(format!("restored and compared: {seen}")),
            Err(differs) => {
                self.script("discard").await?;
                let summary = format!("what was restored is not what was backed up: {}", differs.first().map_or("", String::as_str));
                let hint = "look at what it says below; the database is as it was";
                Err(Failure::new(FailureKind::Check, summary, hint).with_detail(&differs.join("\n")))
            }
        }
    }

    async fn exchange(&self) -> Result<Loss, Failure> {
        let mut looks = 1;
        loop {
            // It finds out by itself what an attempt before has done.
            match self.script("exchange").await {
                Ok(RestoreOutcome::Refused(refusal)) => {
                    // What was restored for nothing goes; where it cannot, the next restore removes it.
                    if let Err(failure) = self.script("discard").await {
                        self.context.say(self.step, &format!("what was restored stays for now: {failure}"));
                    }
                    return Err(refused(FailureKind::Check, &refusal));
                }
                Ok(RestoreOutcome::Exchanged(exchanged)) => return Ok(loss::counted(self.backup.clone(), &exchanged, clock::now())),
                Ok(_) if looks >= LOOKS => return Err(not_of_this_run("the exchange")),
                Err(failure) if looks >= LOOKS || self.context.cancelled.is_cancelled() => {
                    // What is told of a check that failed means that nothing was exchanged, and nobody knows that.
                    return Err(Failure { kind: FailureKind::Host, ..failure });
                }
                Ok(_) | Err(_) => {}
            }
            looks += 1;
            sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    fn refuse_sqlite(&self) -> Result<(), Failure> {
        if !self.backup.place.contains(".sqlite") {
            return Ok(());
        }
        let summary = format!("{} is a backup of an SQLite file: restores of those are not built in", self.backup.name);
        Err(Failure::new(FailureKind::Unfit, summary, "docs/recovery.md says how to restore one by hand"))
    }

    /// The file of the backup.
    pub(super) fn kept(&self) -> Result<PathBuf, Failure> {
        let backup = &self.backup;
        self.shelf.kept(backup).filter(|_| !backup.digest.is_empty()).ok_or_else(|| {
            let summary = format!("{} was made by the command of agent.toml, and lies at {}", backup.name, backup.place);
            let hint = "look at it, and restore it, by its own means: docs/recovery.md says what belongs around a restore";
            Failure::new(FailureKind::Unfit, summary, hint)
        })
    }

    /// Whether what is kept can be read here.
    pub(super) fn is_readable(&self) -> bool {
        !self.backup.encrypted || self.identity().is_ok()
    }

    /// Whether what is looked at comes from a bucket: no copy lies here.
    pub(super) fn is_in_a_bucket_alone(&self) -> bool {
        is_in_one(&self.backup) && !self.shelf.kept(&self.backup).is_some_and(|kept| kept.exists())
    }

    /// Adds what was found out to the evidence that lies with the backup in its bucket.
    pub(super) async fn tell_bucket(&self, found: &(dyn Fn(&Backup) -> Backup + Sync)) -> Result<(), Failure> {
        bucket::vouch(self.context, &self.release, self.step, &self.settings, &self.shelf, &self.backup, found).await
    }

    /// What lies in a bucket comes to its place on this host.
    pub(super) async fn fetch(&self) -> Result<(), Failure> {
        bucket::bring(self.context, &self.release, self.step, &self.settings, &self.shelf, &self.backup).await
    }

    /// The very bytes that are restored, as they were when the backup was made, where the scripts can read them.
    pub(super) async fn bring(&self) -> Result<(), Failure> {
        self.fetch().await?;
        let (kept, backup) = (self.kept()?, &self.backup);
        let (from, to, expected) = (kept.clone(), self.shelf.unfinished(), backup.digest.clone());
        if !backup.encrypted {
            return disk(move || copied(&from, &to, &expected)).await;
        }
        let identity = self.identity()?;
        disk(move || room(&to, &from).and_then(|()| weigh(&from)).and_then(|(_, digest)| same(&from, &digest, &expected))).await?;
        self.decrypt(&identity, &kept).await
    }

    /// The team's secret key, which is on the host for no longer than it is needed.
    fn identity(&self) -> Result<PathBuf, Failure> {
        let app = &self.context.order.app;
        let path = self.settings.identity.clone().unwrap_or_else(|| Path::new(IDENTITIES).join(format!("{app}.txt")));
        let lacks = |what: &str| {
            let summary = format!("{} is encrypted, and the secret key {} {what}", self.backup.name, path.display());
            let hint = format!(
                "put the team's secret key of age there, as root and readable by root alone (install -D -m 600 /dev/stdin {}), ask again, and \
                 remove it when the restore is done",
                path.display()
            );
            Failure::new(FailureKind::Unfit, summary, hint)
        };
        match fs::symlink_metadata(&path) {
            Err(_) => Err(lacks("is not there")),
            Ok(found) if !found.is_file() || found.uid() != 0 || found.mode() & 0o077 != 0 => {
                Err(lacks("is no file that root alone can read"))
            }
            Ok(_) => Ok(path),
        }
    }

    async fn decrypt(&self, identity: &Path, kept: &Path) -> Result<(), Failure> {
        if !Path::new(AGE).exists() {
            let summary = format!("{} is encrypted, and {AGE} is not here", self.backup.name);
            return Err(Failure::new(FailureKind::Unfit, summary, "install the package age on this host, then ask again"));
        }
        let to = self.shelf.unfinished();
        let words = [AGE, "--decrypt", "--identity"].map(str::to_owned).into_iter();
        let paths = [identity, Path::new("--output"), &to, kept].map(|path| path.display().to_string());
        let unit = unit(self.context, "-decrypt");
        let description = format!("{}: a backup is decrypted", self.context.order.app);
        let command = Command { offline: true, ..Command::bare(unit, description, words.chain(paths).collect(), self.within()) };
        let finished = command::run_anew(&self.context.host, &command, &self.context.cancelled, |line| self.context.say(self.step, line));
        let finished = finished.await.map_err(|error| error.failure())?;
        expect_success(&finished, "decrypting the backup with age").map_err(|failure| {
            let hint = "the secret key has to be that of one of the recipients of the backup; nothing was changed";
            Failure { kind: FailureKind::Unfit, hint: hint.to_owned(), ..failure }
        })?;
        disk(move || fs::set_permissions(&to, fs::Permissions::from_mode(0o444)).map_err(|error| io_failure("let be read", &to, &error)))
            .await
    }

    /// All of it can be read, and it holds the tables that it should.
    async fn read_back(&self) -> Result<(), Failure> {
        self.look(BackupCheck::Listed).await.map(drop)
    }

    /// Looks at what was brought, in a unit of its own. What was seen, in words; nothing where it is not known what it was made of.
    pub(super) async fn look(&self, check: BackupCheck) -> Result<String, Failure> {
        let Some(taken) = &self.taken else { return Ok(String::new()) };
        let (shelf, name) = (self.shelf.clone(), self.backup.name.clone());
        disk(move || {
            fs::copy(shelf.facts(&name), shelf.taken()).map_err(|error| io_failure("copy", &shelf.facts(&name), &error))?;
            fs::set_permissions(shelf.taken(), fs::Permissions::from_mode(0o444))
                .map_err(|error| io_failure("let be read", &shelf.taken(), &error))
        })
        .await?;
        let unit = unit(self.context, "-check");
        let checked = look_at(self.context, &self.release, &self.shelf, check, unit, self.step).await?;
        let _ignored: std::io::Result<()> = fs::remove_file(self.shelf.taken());
        if let Some(failure) = in_the_way(&checked) {
            return Err(failure);
        }
        compare(taken, &checked).map_err(|differs| {
            let summary = format!("{} does not hold what it should: {}", self.backup.name, differs.first().map_or("", String::as_str));
            Failure::new(FailureKind::Check, summary, "take another backup: see `roadstead db list`").with_detail(&differs.join("\n"))
        })
    }

    /// Runs the script in the app's own environment, and reads what came of it.
    async fn script(&self, act: &str) -> Result<RestoreOutcome, Failure> {
        let (context, order) = (self.context, &self.context.order);
        let run = format!("{}-{}-{act}", order.fence.rollout, order.fence.sequence);
        let every = self.taken.as_ref().map(|taken| taken.every.clone()).unwrap_or_default();
        self.write_order(&every).await?;
        let manage = below(&self.release.root(&context.layout), &self.django.manage).display().to_string();
        let words = ["python", "-c", RESTORE, TAKE_AT, &run, act, &manage, "migrate", "--noinput"].map(str::to_owned);
        let at = |name: &str| PathBuf::from(format!("{SEEN_AT}/{name}"));
        let mut binds = vec![
            Bind { from: self.shelf.take(), to: TAKE_AT.into(), writable: true },
            Bind { from: self.shelf.order(), to: at("order.json"), writable: false },
        ];
        if act == "restore" {
            binds.push(Bind { from: self.shelf.unfinished(), to: at("backup"), writable: false });
        }
        // Named as the units of backups are: whoever ends those ends these.
        // In the name of the app itself: what a restore makes has to belong to somebody who is there afterwards, and who was issued is not.
        let environment_files = Vec::new();
        let (name, within) = ("backup".to_owned(), order.deadline);
        let task = Task { step: self.step, name, within, writable: Vec::new(), environment_files, binds, anew: true };
        let mut progress = Progress::new(context);
        let finished = commands::run(context, &self.release, &words, &task, |line| progress.read(line)).await?;
        expect_success(&finished, &format!("the script of the step {}", self.step))?;
        let shelf = self.shelf.clone();
        let outcome: RestoreOutcome = disk(move || shelf.read(&shelf.taken())).await?;
        if outcome.name() == run { Ok(outcome) } else { Err(not_of_this_run(act)) }
    }

    async fn write_order(&self, every: &BTreeMap<String, u64>) -> Result<(), Failure> {
        let jobs = self.taken.as_ref().map_or(1, |taken| taken.jobs);
        let rollout = self.context.order.fence.rollout.to_string();
        let told = serde_json::json!({ "rollout": rollout, "backup": self.backup.name, "every": every, "jobs": jobs });
        let path = self.shelf.order();
        disk(move || write_atomically(&path, told.to_string().as_bytes(), 0o444).map_err(|error| on_disk(&error))).await
    }

    const fn within(&self) -> Duration {
        Duration::from_millis(self.context.order.deadline.0)
    }
}

/// Copies a backup to where it is read from, and looks on the way whether it still is what it was.
fn copied(from: &Path, to: &Path, expected: &str) -> Result<(), Failure> {
    room(to, from)?;
    let reading = |error: std::io::Error| io_failure("read", from, &error);
    let writing = |error: std::io::Error| io_failure("write", to, &error);
    let (mut source, mut copy) = (File::open(from).map_err(reading)?, File::create(to).map_err(writing)?);
    let (mut hasher, mut buffer) = (DigestHasher::new(), vec![0; 256 * 1024]);
    loop {
        let count = source.read(&mut buffer).map_err(reading)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        copy.write_all(&buffer[..count]).map_err(writing)?;
    }
    copy.set_permissions(fs::Permissions::from_mode(0o444)).map_err(writing)?;
    same(from, &hasher.finish().to_string(), expected)
}

pub(super) fn same(file: &Path, digest: &str, expected: &str) -> Result<(), Failure> {
    if digest == expected {
        return Ok(());
    }
    let summary = format!("{} is not what it was when it was made: its digest differs", file.display());
    Err(Failure::new(
        FailureKind::Check,
        summary,
        format!("look at the disk, and take another backup: see `roadstead db list`; {AS_IT_WAS}"),
    ))
}

fn room(to: &Path, from: &Path) -> Result<(), Failure> {
    let needed = fs::metadata(from).map_err(|error| io_failure("look at", from, &error))?.len();
    let space = free(to).map_err(|error| io_failure("look at the disk of", to, &error))?;
    if space.free_bytes >= needed.saturating_add(SLACK) {
        return Ok(());
    }
    let summary = format!("{} are free where backups lie, and {} are needed to read this one", size(space.free_bytes), size(needed));
    Err(Failure::new(FailureKind::Unfit, summary, format!("make room; {AS_IT_WAS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_restored_is_what_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("kept"), folder.path().join("copy"));
        fs::write(&from, "rows").unwrap();
        let (_, digest) = weigh(&from).unwrap();
        copied(&from, &to, &digest).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"rows");
        fs::write(&from, "rowz").unwrap();
        let failure = copied(&from, &to, &digest).unwrap_err();
        assert!(failure.kind == FailureKind::Check && failure.summary.contains("digest differs"), "{failure:?}");
    }
}
