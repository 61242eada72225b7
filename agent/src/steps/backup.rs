//! Backup: before migrations are applied, the database is backed up and the backup is checked. Whoever demands one gets it or no migration.

use roadstead_bundle::spec::Django;
use roadstead_model::{
    Backup, BackupCheck, BackupDemand, Failure, FailureKind, Millis, OrderKind, Safeguard, StepDone, StepName, Timestamp, size,
};
use roadstead_worker::clock;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::StepContext;
use super::bucket::{self, Remote};
use super::commands::{self, PROGRESS, Task, expect_success};
use super::credentials;
use super::job;
use super::release::{Release, below};
use super::util::{disk, io_failure};
use crate::backup::compare::{CheckOutcome, Refusal, TakeOutcome, Taken, compare};
use crate::backup::loss::line as bounded;
use crate::backup::shelf::{Shelf, weigh};
use crate::backup::{CHECK, TAKE, command as told, retention};
use crate::host::command::{self, Bind, Command};
use crate::host::links;
use crate::host::user::{self, Account};
use crate::settings::{BackupSettings, CommandSettings};

/// As whom backups are looked at: a user that owns nothing, made by the agent's package.
const CHECKER: &str = "roadstead-restore";
/// Where a unit that takes a backup sees its folder.
pub(super) const TAKE_AT: &str = "/run/roadstead-backup";
/// Where a unit that looks at a backup sees all that it needs.
const CHECK_AT: &str = "/run/roadstead-check";
const CHECK_MEMORY: u64 = 1 << 30;
/// How long backups in a bucket may take to be removed.
const TIDY_AT_MOST: Duration = Duration::from_secs(120);
/// Lines of an operator's command that count.
const COMMAND_LINES_MAX: usize = 100;
pub(super) const AGE: &str = "/usr/bin/age";
static CHECKING: Mutex<()> = Mutex::const_new(());
const STEP: StepName = StepName::Backup;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<StepDone, Failure> {
    let (release, demand, always) = match &context.order.kind {
        OrderKind::Migrate { release, backup: Some(demand), .. } => (release, demand, false),
        OrderKind::Backup { release, demand } => (release, demand, true),
        _ => return Ok("nothing to do".to_owned().into()),
    };
    let release = context.release(release)?;
    let settings = context.settings.backup(&context.order.app);
    let demand = (*demand).max(settings.at_least);
    if !demand.wants_one() {
        return Ok(not_needed("the environment wants none"));
    }
    let Some(django) = release.manifest.spec.django.as_ref().filter(|django| always || django.migrate) else {
        return if always {
            Err(nothing_to_keep("the release names no manage.py"))
        } else {
            Ok(not_needed("the release has no migrations"))
        };
    };
    let shelf = Shelf::of(&settings.folder, &context.order.app);
    Work { context, release: &release, django, shelf, settings: &settings, demand, always }.run().await
}

/// Ends whatever still works on a backup of the app: an agent before this one may have begun it, for an order that was called off since. What it
/// did is looked at by nobody any more.
pub(super) async fn end_all(context: &StepContext) -> Result<(), Failure> {
    // Nor does anything else work on the database then.
    job::end_others(context, None).await?;
    let app = &context.order.app;
    let units = context.host.systemd.units(&format!("roadstead-{app}-backup*.service")).await.map_err(|error| error.failure())?;
    for unit in units.iter().filter(|unit| is_of(unit, app.as_str())) {
        command::clear(&context.host, unit).await.map_err(|error| error.failure())?;
    }
    Ok(())
}

/// A unit of an order that works on a backup; the first, without more to its name, takes it.
pub(super) fn unit(context: &StepContext, what: &str) -> String {
    let order = &context.order;
    format!("roadstead-{}-backup{what}-{}-{}.service", order.app, order.fence.rollout, order.fence.sequence)
}

/// Whether a unit works on a backup of the app, and not of one whose name goes on where this one's ends.
fn is_of(unit: &str, app: &str) -> bool {
    let rest = unit.strip_prefix("roadstead-").and_then(|rest| rest.strip_prefix(app)).and_then(|rest| rest.strip_prefix("-backup"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    rest.and_then(|rest| rest.strip_suffix(".service")).is_some_and(|rest| {
        ["", "-check", "-encrypt", "-decrypt", "-command"]
            .iter()
            .filter_map(|what| rest.strip_prefix(what)?.strip_prefix("-r-"))
            .any(|order| order.split_once('-').is_some_and(|(rollout, sequence)| number(rollout) && number(sequence)))
    })
}

/// Whoever asks for a backup wants one.
fn nothing_to_keep(why: &str) -> Failure {
    Failure::new(
        FailureKind::Unfit,
        format!("no backup is made: {why}"),
        "look whether the app's settings lead to the database that is meant",
    )
}

fn not_needed(why: &str) -> StepDone {
    done(Safeguard::NotNeeded { why: why.to_owned() })
}

pub(super) fn made(backup: Backup) -> StepDone {
    done(Safeguard::Made(Box::new(backup)))
}

fn done(safeguard: Safeguard) -> StepDone {
    StepDone { note: safeguard.words(), safeguard: Some(safeguard) }
}

/// What the script is to do, as it reads it.
fn way(settings: &BackupSettings, demand: BackupDemand, always: bool) -> String {
    let mut words = vec![if settings.command.is_some() { "looks" } else { "takes" }.to_owned()];
    match demand {
        BackupDemand::AtLeast(BackupCheck::Restored) => words.push(format!("restored={}", u64::MAX)),
        BackupDemand::RestoredUpTo(limit) => words.push(format!("restored={limit}")),
        BackupDemand::AtLeast(BackupCheck::Listed | BackupCheck::Taken) | BackupDemand::None => {}
    }
    if always {
        words.push("always".to_owned());
    }
    words.push(format!("jobs={}", settings.jobs));
    words.join(",")
}

/// One backup that is made.
struct Work<'a> {
    context: &'a StepContext,
    release: &'a Release,
    django: &'a Django,
    shelf: Shelf,
    settings: &'a BackupSettings,
    demand: BackupDemand,
    /// Whether migrations wait or not.
    always: bool,
}

impl Work<'_> {
    /// Whatever becomes of it, nothing in clear is left behind but what is kept.
    async fn run(&self) -> Result<StepDone, Failure> {
        end_all(self.context).await?;
        let (app, checker) = self.accounts()?;
        let shelf = self.shelf.clone();
        disk(move || shelf.clear().and_then(|()| shelf.prepare(&app, &checker))).await?;
        let made = self.make().await;
        let shelf = self.shelf.clone();
        let cleared = disk(move || shelf.clear()).await;
        let done = made?;
        cleared?;
        if let Some(Safeguard::Made(backup)) = &done.safeguard {
            let (shelf, fresh, settings) = (self.shelf.clone(), backup.name.clone(), self.settings.clone());
            let (mut notes, gone) = disk(move || Ok(tidy(&shelf, &fresh, &settings))).await?;
            // It is no reason not to deploy, so it does not take long either.
            let tidied = timeout(TIDY_AT_MOST, bucket::tidy(self.context, self.release, self.settings, &self.shelf, &gone)).await;
            notes
                .extend(tidied.unwrap_or_else(|_| {
                    vec!["the bucket of backups answers too slowly to be tidied: the next backup tries it".to_owned()]
                }));
            notes.iter().for_each(|note| self.context.say(STEP, note));
        }
        Ok(done)
    }

    async fn make(&self) -> Result<StepDone, Failure> {
        let (taken_at, began) = (clock::now(), Instant::now());
        let name = self.name(taken_at);
        let outcome = self.take(&name).await?;
        if outcome.name() != name {
            return Err(not_of_this_run("taking the backup"));
        }
        match outcome {
            TakeOutcome::NotNeeded { why, .. } if self.always => Err(nothing_to_keep(&bounded(&why))),
            TakeOutcome::NotNeeded { why, .. } => Ok(not_needed(&bounded(&why))),
            TakeOutcome::Refused(refusal) => Err(refused(FailureKind::Unfit, &refusal)),
            TakeOutcome::Waiting { database, .. } => self.by_command(&name, taken_at, &database).await.map(made),
            TakeOutcome::Taken(taken) => self.built_in(&name, taken_at, clock::whole_millis(began.elapsed()), &taken).await.map(made),
        }
    }

    /// It tells the app, the rollout and when: no two have one name, whatever a controller counts from.
    fn name(&self, at: Timestamp) -> String {
        let order = &self.context.order;
        format!("{}-{}-{}", order.app, order.fence.rollout, at.0 / 1000)
    }

    fn accounts(&self) -> Result<(Account, Account), Failure> {
        let app = super::account::of(&self.context.layout, &self.context.order.app)?;
        Ok((app, checker()?))
    }

    /// Takes the backup in the app's own environment, or only looks whether one is needed.
    async fn take(&self, name: &str) -> Result<TakeOutcome, Failure> {
        let (context, release) = (self.context, self.release);
        let manage = below(&release.root(&context.layout), &self.django.manage).display().to_string();
        let way = way(self.settings, self.demand, self.always);
        let words = ["python", "-c", TAKE, TAKE_AT, name, &way, &manage, "migrate", "--noinput"].map(str::to_owned);
        let task = Task {
            step: STEP,
            name: "backup".to_owned(),
            within: release.manifest.spec.steps.migrate_timeout,
            writable: Vec::new(),
            binds: vec![Bind { from: self.shelf.take(), to: TAKE_AT.into(), writable: true }],
            environment_files: credentials::files(context, STEP),
            anew: true,
        };
        let mut progress = Progress::new(context);
        let run = commands::run(context, release, &words, &task, |line| progress.read(line));
        let finished = credentials::during(context, release, STEP, run).await?;
        expect_success(&finished, "taking the backup")?;
        let shelf = self.shelf.clone();
        disk(move || shelf.read(&shelf.taken())).await
    }

    async fn built_in(&self, name: &str, taken_at: Timestamp, took: Millis, taken: &Taken) -> Result<Backup, Failure> {
        let shelf = self.shelf.clone();
        disk(move || shelf.take_over()).await?;
        // That it cannot go where it has to is known before it is looked at, which takes long.
        let remote = Remote::open(self.context, self.release, STEP, self.settings, &self.shelf).await?;
        let began = Instant::now();
        // Who demands nothing comes not here.
        let check = self.demand.of(taken.bytes).unwrap_or(BackupCheck::Restored);
        let seen = self.check(taken, check).await?;
        let checked_in = clock::whole_millis(began.elapsed());
        let (from, encrypted) = self.encrypt().await?;
        let kind = match taken.format.as_str() {
            "sqlite" => "sqlite",
            _ if taken.jobs > 1 => "tar",
            _ => "dump",
        };
        let ending = if encrypted { format!("{kind}.age") } else { kind.to_owned() };
        let place = match &remote {
            None => self.shelf.finished(name, &ending).display().to_string(),
            Some(remote) => remote.place(&format!("{name}.{ending}")),
        };
        let mut backup = Backup {
            name: name.to_owned(),
            taken_at,
            database: bounded(&taken.database),
            identity: bounded(&taken.identity),
            database_bytes: taken.bytes,
            place,
            bytes: 0,
            digest: String::new(),
            encrypted,
            check,
            seen,
            took,
            checked_in,
            bad: String::new(),
        };
        let file = from.clone();
        (backup.bytes, backup.digest) = disk(move || weigh(&file)).await?;
        // Its keys may have been for an hour, and what came before took longer.
        let remote = Remote::open(self.context, self.release, STEP, self.settings, &self.shelf).await?;
        if let Some(remote) = &remote {
            remote.send(&backup, &from).await?;
        }
        let (shelf, keeps) = (self.shelf.clone(), remote.is_none_or(|remote| remote.keeps_here()));
        disk(move || {
            if keeps {
                shelf.put(&from, &backup)?
            } else {
                shelf.record(&backup)?
            }
            Ok(backup)
        })
        .await
    }

    /// Looks at the backup as it is demanded. What was seen, in words.
    async fn check(&self, taken: &Taken, check: BackupCheck) -> Result<String, Failure> {
        if check == BackupCheck::Taken {
            return Ok(String::new());
        }
        let unit = unit(self.context, "-check");
        let checked = look_at(self.context, self.release, &self.shelf, check, unit, STEP).await?;
        if checked.name() != taken.name {
            return Err(not_of_this_run("checking the backup"));
        }
        if let Some(failure) = in_the_way(&checked) {
            return Err(failure);
        }
        let seen = compare(taken, &checked).map_err(|differs| {
            let hint = "look at what it says below, at the backup's own tools and at the host's disk; nothing was migrated";
            let summary = format!("the backup is not what the database was: {}", differs.first().map_or("", String::as_str));
            Failure::new(FailureKind::Check, summary, hint).with_detail(&differs.join("\n"))
        })?;
        Ok(match self.demand {
            BackupDemand::RestoredUpTo(limit) if taken.bytes > limit => {
                format!("{seen}; its database of {} is larger than what is {}", size(taken.bytes), self.demand)
            }
            _ => seen,
        })
    }

    /// What is to be kept: the backup as it is, or encrypted to the team's keys.
    async fn encrypt(&self) -> Result<(PathBuf, bool), Failure> {
        if self.settings.recipients.is_empty() {
            return Ok((self.shelf.unfinished(), false));
        }
        if !Path::new(AGE).exists() {
            let summary = format!("backups are to be encrypted, and {AGE} is not here");
            return Err(Failure::new(FailureKind::Unfit, summary, "install the package age on this host, then deploy again"));
        }
        let (list, shelf) = (self.settings.recipients.join("\n") + "\n", self.shelf.clone());
        let recipients = shelf.recipients();
        std::fs::write(&recipients, list).map_err(|error| io_failure("write", &recipients, &error))?;
        let words = [AGE, "--encrypt", "--recipients-file"].map(str::to_owned).into_iter();
        let paths = [recipients, PathBuf::from("--output"), shelf.encrypted(), shelf.unfinished()];
        let argv = words.chain(paths.iter().map(|path| path.display().to_string())).collect();
        let command = Command { offline: true, ..self.command("encrypt", "a backup is encrypted", argv) };
        let encrypted = shelf.encrypted();
        // age refuses to write over what an attempt before this one left
        disk(move || links::remove(&encrypted).map_err(|error| io_failure("remove", &encrypted, &error))).await?;
        self.finish(&command, "encrypting the backup with age", |_| {}).await?;
        Ok((self.shelf.encrypted(), true))
    }

    /// The operator's command makes the backup.
    async fn by_command(&self, name: &str, taken_at: Timestamp, database: &str) -> Result<Backup, Failure> {
        let Some(CommandSettings { words, within, user }) = &self.settings.command else {
            return Err(Failure::new(FailureKind::Host, "no command makes backups here any more", "deploy again"));
        };
        let order = &self.context.order;
        let command = Command {
            user: user.clone(),
            within: *within,
            environment: [("APP", order.app.as_str()), ("ENVIRONMENT", order.environment.as_str()), ("BACKUP", name)]
                .map(|(key, value)| format!("ROADSTEAD_{key}={value}"))
                .to_vec(),
            hidden: vec![self.context.layout.agent_state()],
            ..self.command("command", "a backup by the operator's command", words.clone())
        };
        let began = Instant::now();
        let mut lines = Vec::new();
        self.finish(&command, &words.join(" "), |line| {
            if told::counts(line) {
                lines.push(line.to_owned());
                lines.drain(..lines.len().saturating_sub(COMMAND_LINES_MAX));
            }
        })
        .await?;
        let wrong =
            |what: String| Failure::new(FailureKind::Command, format!("the backup command of agent.toml: {what}"), "correct the command");
        let told = told::read(lines.iter().map(String::as_str)).map_err(wrong)?;
        // How large the database is a command does not say: it is held to the whole.
        let least = self.demand.of(0).unwrap_or(BackupCheck::Taken);
        if told.check < least {
            let what = format!("its backup was {}, and one that was {} is demanded", told.check.words(), least.words());
            return Err(wrong(what));
        }
        let backup = Backup {
            name: name.to_owned(),
            taken_at,
            database: bounded(database),
            identity: String::new(),
            database_bytes: 0,
            place: told.place,
            bytes: told.bytes,
            digest: String::new(),
            encrypted: false,
            check: told.check,
            seen: if told.seen.is_empty() {
                "as the command says".to_owned()
            } else {
                bounded(&format!("as the command says: {}", told.seen))
            },
            took: clock::whole_millis(began.elapsed()),
            checked_in: Millis(0),
            bad: String::new(),
        };
        let (shelf, noted) = (self.shelf.clone(), backup.clone());
        disk(move || shelf.note(&noted)).await?;
        Ok(backup)
    }

    fn command(&self, what: &str, description: &str, argv: Vec<String>) -> Command {
        let order = &self.context.order;
        let description = format!("{}: {description}", order.app);
        Command::bare(unit(self.context, &format!("-{what}")), description, argv, Duration::from_millis(order.deadline.0))
    }

    async fn finish(&self, command: &Command, what: &str, mut line: impl FnMut(&str)) -> Result<(), Failure> {
        let context = self.context;
        let finished = command::run_anew(&context.host, command, &context.cancelled, |text| {
            context.say(STEP, text);
            line(text);
        });
        expect_success(&finished.await.map_err(|error| error.failure())?, what)
    }
}

/// Looks at an unfinished backup in a unit of its own, without network, as a user that owns nothing.
pub(super) async fn look_at(
    context: &StepContext,
    release: &Release,
    shelf: &Shelf,
    how: BackupCheck,
    unit: String,
    step: StepName,
) -> Result<CheckOutcome, Failure> {
    // They all run as one user: of two at a time, one could see what the other has.
    let _one_at_a_time = CHECKING.lock().await;
    let interpreter = interpreter(&release.bin(&context.layout))?;
    let at = |name: &str| PathBuf::from(format!("{CHECK_AT}/{name}"));
    let bind = |from: PathBuf, name: &str, writable| Bind { from, to: at(name), writable };
    let argv = vec![interpreter, "-I".into(), "-c".into(), CHECK.to_owned(), how.to_string()];
    let description = format!("{}: a backup is looked at", context.order.app);
    let command = Command {
        user: Some(CHECKER.to_owned()),
        offline: true,
        memory_max: Some(CHECK_MEMORY),
        hidden: vec![context.layout.agent_state(), context.layout.configuration()],
        writable: vec![at("place")],
        binds: vec![
            bind(shelf.unfinished(), "backup", false),
            bind(shelf.taken(), "taken.json", false),
            bind(shelf.place(), "place", true),
        ],
        ..Command::bare(unit, description, argv, Duration::from_millis(context.order.deadline.0))
    };
    let mut progress = Progress::new(context);
    let finished = command::run_anew(&context.host, &command, &context.cancelled, |text| {
        context.say(step, text);
        progress.read(text);
    });
    expect_success(&finished.await.map_err(|error| error.failure())?, "looking at the backup")?;
    let shelf = shelf.clone();
    disk(move || shelf.take_check_over().and_then(|()| shelf.read(&shelf.checked()))).await
}

/// As whom backups are looked at.
pub(super) fn checker() -> Result<Account, Failure> {
    let missing = || {
        let hint = "run `systemd-sysusers` on the host, which makes it as the agent's package does, then try again";
        Failure::new(FailureKind::Unfit, format!("the user {CHECKER}, as whom backups are checked, is missing"), hint)
    };
    user::find(CHECKER).ok().flatten().ok_or_else(missing)
}

/// Removes backups that need not stay, and files that belong to none. What cannot be removed is no reason not to deploy. Also those that have
/// had their time and lie in a bucket.
fn tidy(shelf: &Shelf, fresh: &str, settings: &BackupSettings) -> (Vec<String>, Vec<Backup>) {
    let all = shelf.own();
    let expired = retention::expired(&all, fresh, settings.keep, settings.keep_for, clock::now());
    let (away, gone): (Vec<Backup>, Vec<Backup>) =
        all.into_iter().filter(|backup| expired.contains(&backup.name)).partition(crate::backup::bucket::is_in_one);
    let mut notes: Vec<String> = gone
        .iter()
        .map(|backup| match shelf.remove(backup) {
            Ok(()) => format!("the backup {} has had its time and is removed", backup.name),
            Err(failure) => format!("the backup {} has had its time and stays: {failure}", backup.name),
        })
        .collect();
    let strays = shelf.sweep();
    if strays > 0 {
        notes.push(format!("{strays} files that no evidence speaks of are removed"));
    }
    (notes, away)
}

pub(super) fn refused(kind: FailureKind, refusal: &Refusal) -> Failure {
    Failure::new(kind, bounded(&refusal.what), bounded(&refusal.next)).with_detail(&refusal.detail)
}

/// Why a look at a backup came to nothing: it does not pass, or nobody could look.
pub(super) fn in_the_way(checked: &CheckOutcome) -> Option<Failure> {
    match checked {
        CheckOutcome::Refused(refusal) => Some(refused(FailureKind::Check, refusal)),
        CheckOutcome::Unable(refusal) => Some(refused(FailureKind::Unfit, refusal)),
        CheckOutcome::Restored(_) | CheckOutcome::Listed { .. } => None,
    }
}

pub(super) fn not_of_this_run(what: &str) -> Failure {
    let hint = "see the output of the step: the app's manage.py ended without doing what it was called for; nothing was migrated";
    Failure::new(FailureKind::Command, format!("{what} ended well and told nothing of this run"), hint)
}

/// The interpreter behind a virtual environment: who looks at a backup is to run nothing of the app's.
fn interpreter(bin: &Path) -> Result<String, Failure> {
    let python = bin.join("python");
    let found = std::fs::canonicalize(&python).map_err(|error| io_failure("find", &python, &error))?;
    Ok(found.display().to_string())
}

/// How far a script is, by its lines `roadstead-progress DONE TOTAL WHAT`.
pub(super) struct Progress<'a> {
    context: &'a StepContext,
    began: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(context: &'a StepContext) -> Self {
        Self { context, began: Instant::now() }
    }

    pub(super) fn read(&mut self, line: &str) {
        if let Some((done, total, what)) = progress(line) {
            self.tell(done, total, what);
        }
    }

    /// What is done now, and how far it is.
    pub(super) fn tell(&mut self, done: u64, total: u64, what: &str) {
        self.context.progress.report(done, total);
        self.context.progress.say(&self.context.secrets.hide(&noted(done, total, what, self.began.elapsed())));
    }
}

fn progress(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.strip_prefix(PROGRESS)?.splitn(3, ' ');
    let done = words.next()?.parse().ok()?;
    let total: u64 = words.next()?.parse().ok()?;
    Some((done, total, words.next().unwrap_or_default()))
}

/// What is done now, and how long it may still take, once enough is done to say so.
fn noted(done: u64, total: u64, what: &str, since: Duration) -> String {
    if since < Duration::from_secs(5) || done == 0 || done >= total || done.saturating_mul(20) < total {
        return what.to_owned();
    }
    let left = since.as_secs().saturating_mul(total - done) / done;
    format!("{what}, about {} left", Millis::from_secs(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_an_app_are_told_from_those_of_others() {
        assert!(is_of("roadstead-erp-backup-r-7-2.service", "erp") && is_of("roadstead-erp-backup-check-r-7-2.service", "erp"));
        for other in
            ["roadstead-erp-backup-migrate-r-7-2.service", "roadstead-erp-migrate-r-7-2.service", "roadstead-erp-backup-r-x-2.service"]
        {
            assert!(!is_of(other, "erp"), "{other}");
        }
        assert!(
            is_of("roadstead-erp-backup-backup-r-7-2.service", "erp-backup") && !is_of("roadstead-erp-backup-backup-r-7-2.service", "erp")
        );
    }

    #[test]
    fn how_far_it_is_is_read_from_a_line() {
        assert_eq!(progress("roadstead-progress 12 400 dumping public.orders"), Some((12, 400, "dumping public.orders")));
        assert_eq!(progress("roadstead-progress 12 many x"), None);
        assert_eq!(progress("12 400"), None);
    }

    #[test]
    fn the_time_that_is_left_is_told_once_it_can_be_known() {
        assert_eq!(noted(1, 400, "dumping x", Duration::from_secs(60)), "dumping x");
        assert_eq!(noted(100, 400, "dumping x", Duration::from_secs(2)), "dumping x");
        assert!(noted(100, 400, "dumping x", Duration::from_secs(10)).starts_with("dumping x, about 30"));
        assert_eq!(noted(400, 400, "dumped", Duration::from_secs(10)), "dumped");
    }
}
