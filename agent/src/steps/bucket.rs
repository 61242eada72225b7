//! What steps do with backups in a bucket: send one, bring one back, take over what another host made, remove what has had its time.

use roadstead_bucket::{Bucket, BucketError, Fault};
use roadstead_model::{Backup, BackupName, Failure, FailureKind, StepName, size};
use roadstead_worker::clock;
use std::path::Path;
use tokio::time::Instant;

use super::StepContext;
use super::backup::Progress;
use super::bucket_access::BACKUPS;
use super::release::Release;
use super::util::{disk, io_failure};
use crate::backup::bucket::{believed, is_in_one, key, key_of, keys_of, let_go, place, strays};
use crate::backup::shelf::{EVIDENCE_BYTES_MAX, FACTS_BYTES_MAX, Shelf};
use crate::host::disk::free;
use crate::settings::{BackupSettings, BucketSettings};

/// What stays free on the disk of backups.
const SLACK: u64 = 64 * 1024 * 1024;

/// The bucket of an app's backups, for one step.
pub(super) struct Remote<'a> {
    context: &'a StepContext,
    settings: &'a BucketSettings,
    shelf: &'a Shelf,
    step: StepName,
    bucket: Bucket,
}

impl<'a> Remote<'a> {
    /// The bucket of the settings, if there is one; it was looked into.
    pub(super) async fn open(
        context: &'a StepContext,
        release: &Release,
        step: StepName,
        settings: &'a BackupSettings,
        shelf: &'a Shelf,
    ) -> Result<Option<Self>, Failure> {
        let Some(settings) = &settings.bucket else { return Ok(None) };
        let bucket = BACKUPS.bucket(context, release, settings).await?;
        let remote = Self { context, settings, shelf, step, bucket };
        remote.bucket.look(&key(settings, "")).await.map_err(|error| remote.failure(&error))?;
        Ok(Some(remote))
    }

    /// Where a file of backups is there.
    pub(super) fn place(&self, file: &str) -> String {
        place(self.settings, file)
    }

    /// Whether the file stays on the host, too.
    pub(super) const fn keeps_here(&self) -> bool {
        self.settings.keep_here
    }

    /// Sends a backup, and its evidence last: what is there without it counts for nothing.
    pub(super) async fn send(&self, backup: &Backup, file: &Path) -> Result<(), Failure> {
        let [evidence, facts, kept] = keys_of(self.settings, backup).ok_or_else(|| self.elsewhere(backup))?;
        let (what, began) = (format!("sending the backup to {}", backup.place), Instant::now());
        let mut progress = Progress::new(self.context);
        let mut told = |bytes| progress.tell(bytes, backup.bytes, &format!("{what}, {} of {}", size(bytes), size(backup.bytes)));
        let failed = |error: BucketError| self.failure(&error);
        self.bucket.put(&kept, file, &mut told).await.map_err(failed)?;
        self.bucket.put(&facts, &self.shelf.taken(), &mut |_| {}).await.map_err(failed)?;
        self.vouch(&evidence, backup).await?;
        let took = clock::whole_millis(began.elapsed());
        self.context.say(self.step, &format!("roadstead: {} is at {}, sent in {took}", size(backup.bytes), backup.place));
        Ok(())
    }

    async fn vouch(&self, key: &str, evidence: &Backup) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(evidence).map_err(|error| {
            Failure::new(FailureKind::Host, format!("the evidence of {} cannot be written: {error}", evidence.name), "report this")
        })?;
        self.bucket.write(key, text).await.map_err(|error| self.failure(&error))
    }

    fn elsewhere(&self, backup: &Backup) -> Failure {
        let summary = format!("{} lies at {}, and agent.toml names {}", backup.name, backup.place, self.place(""));
        let hint = "let [backup.APP.bucket] of agent.toml name the bucket and the prefix where it lies, for as long as it takes; nothing was \
                    changed";
        Failure::new(FailureKind::Unfit, summary, hint)
    }

    fn failure(&self, error: &BucketError) -> Failure {
        let kept = if self.step == StepName::Backup {
            "without a backup in its place nothing is migrated, and none counts as made"
        } else {
            "nothing was changed"
        };
        BACKUPS.failure(error, kept)
    }
}

/// Brings a backup that lies in a bucket alone to its place on this host.
pub(super) async fn bring(
    context: &StepContext,
    release: &Release,
    step: StepName,
    settings: &BackupSettings,
    shelf: &Shelf,
    backup: &Backup,
) -> Result<(), Failure> {
    if !is_in_one(backup) || shelf.kept(backup).is_some_and(|kept| kept.exists()) {
        return Ok(());
    }
    let Some(remote) = Remote::open(context, release, step, settings, shelf).await? else {
        let summary = format!("{} lies at {}, and agent.toml of this host names no bucket", backup.name, backup.place);
        let hint = "add [backup.APP.bucket] to agent.toml and restart the agent, then ask again; nothing was changed";
        return Err(Failure::new(FailureKind::Unfit, summary, hint));
    };
    let kept = key_of(remote.settings, backup).ok_or_else(|| remote.elsewhere(backup))?;
    let to = shelf.encrypted();
    room(&to, backup.bytes)?;
    let mut progress = Progress::new(context);
    let mut told = |bytes| {
        progress.tell(bytes, backup.bytes, &format!("bringing {}, {} of {}", backup.place, size(bytes), size(backup.bytes)));
    };
    let got = remote.bucket.get(&kept, &to, backup.bytes, &mut told).await;
    got.map_err(|error| match &error.fault {
        // It is not there, or not what was sent: that says something about the backup, and not about the way to it.
        fault if fault.is_missing() || matches!(fault, Fault::Size { .. }) => {
            Failure { kind: FailureKind::Check, ..remote.failure(&error) }
        }
        _ => remote.failure(&error),
    })?;
    let (shelf, backup) = (shelf.clone(), backup.clone());
    disk(move || shelf.keep(&to, &backup)).await
}

/// Adds to the evidence of a backup in the bucket what was found out. Where there is none (any more), or that of another one, it stays so.
pub(super) async fn vouch(
    context: &StepContext,
    release: &Release,
    step: StepName,
    settings: &BackupSettings,
    shelf: &Shelf,
    backup: &Backup,
    found: &(dyn Fn(&Backup) -> Backup + Sync),
) -> Result<(), Failure> {
    let Some(remote) = Remote::open(context, release, step, settings, shelf).await? else { return Ok(()) };
    let [evidence, ..] = keys_of(remote.settings, backup).ok_or_else(|| remote.elsewhere(backup))?;
    let max = usize::try_from(EVIDENCE_BYTES_MAX).unwrap_or(usize::MAX);
    let text = remote.bucket.read(&evidence, max).await.map_err(|error| remote.failure(&error))?;
    let known = text.and_then(|text| serde_json::from_slice::<Backup>(&text).ok());
    let Some(known) = known.filter(|known| known.name == backup.name && known.digest == backup.digest) else { return Ok(()) };
    let found = found(&known);
    if found == known { Ok(()) } else { remote.vouch(&evidence, &found).await }
}

/// It is there twice while it is restored: as it came, and decrypted.
fn room(to: &Path, bytes: u64) -> Result<(), Failure> {
    let space = free(to).map_err(|error| io_failure("look at the disk of", to, &error))?;
    let needed = bytes.saturating_mul(2).saturating_add(SLACK);
    if space.free_bytes >= needed {
        return Ok(());
    }
    let summary =
        format!("{} are free where backups lie, and {} are needed to bring this one and to read it", size(space.free_bytes), size(needed));
    Err(Failure::new(FailureKind::Unfit, summary, "make room; nothing was changed"))
}

/// Takes over what a bucket knows of a backup that this host has not made; none where it knows nothing of it.
pub(super) async fn adopt(
    context: &StepContext,
    release: &Release,
    step: StepName,
    settings: &BackupSettings,
    shelf: &Shelf,
    name: &BackupName,
) -> Result<Option<Backup>, Failure> {
    let Some(remote) = Remote::open(context, release, step, settings, shelf).await? else { return Ok(None) };
    let read = async |ending: &str, max: u64| {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        remote.bucket.read(&key(remote.settings, &format!("{name}.{ending}")), max).await.map_err(|error| remote.failure(&error))
    };
    let (Some(evidence), Some(facts)) = (read("json", EVIDENCE_BYTES_MAX).await?, read("facts", FACTS_BYTES_MAX).await?) else {
        return Ok(None);
    };
    let backup = believed(remote.settings, name.as_str(), &evidence, &facts).map_err(|why| {
        let summary = format!("{} is in the bucket, and cannot be used: {why}", remote.place(name.as_str()));
        Failure::new(FailureKind::Untrusted, summary, "look at who may write there; nothing was changed")
    })?;
    if shelf.kept(&backup).is_none() {
        let summary = format!("{} is in the bucket, and is no backup of {}", remote.place(name.as_str()), context.order.app);
        return Err(Failure::new(FailureKind::Unfit, summary, "see `roadstead db list`; give each app a prefix of its own"));
    }
    context.say(step, &format!("roadstead: {name} is not of this host: what its evidence says is taken from {}", remote.place("")));
    let (shelf, adopted) = (shelf.clone(), backup.clone());
    disk(move || shelf.adopt(&adopted, &facts)).await?;
    Ok(Some(backup))
}

/// Removes backups from the bucket that have had their time, and what is left of uploads that were not finished. What cannot be removed is
/// told, and no reason not to deploy.
pub(super) async fn tidy(
    context: &StepContext,
    release: &Release,
    settings: &BackupSettings,
    shelf: &Shelf,
    gone: &[Backup],
) -> Vec<String> {
    let stays = |backup: &Backup, why: &str| format!("the backup {} has had its time and stays: {why}", backup.name);
    let remote = match Remote::open(context, release, StepName::Backup, settings, shelf).await {
        Ok(Some(remote)) => remote,
        Ok(None) => return gone.iter().map(|backup| stays(backup, "agent.toml names no bucket any more")).collect(),
        Err(failure) => return vec![format!("nothing is removed from the bucket of backups: {failure}")],
    };
    let mut notes = Vec::new();
    for backup in gone {
        notes.push(match remote.remove(backup).await {
            Ok(()) => format!("the backup {} has had its time and is removed from {}", backup.name, remote.place("")),
            Err(failure) => stays(backup, &failure.to_string()),
        });
    }
    match remote.sweep().await {
        Ok(0) => {}
        Ok(count) => notes.push(format!("{count} objects of uploads that were not finished are removed from {}", remote.place(""))),
        Err(failure) => notes.push(format!("what is left of uploads that were not finished stays: {failure}")),
    }
    let (shelf, settings) = (shelf.clone(), settings.clone());
    if let Err(failure) = disk(move || let_go(&shelf, &settings, &shelf.all())).await {
        notes.push(format!("a file that was brought from the bucket stays on this host: {failure}"));
    }
    notes
}

impl Remote<'_> {
    /// Its evidence goes first there, and last here: what is left half-way is gone on with.
    async fn remove(&self, backup: &Backup) -> Result<(), Failure> {
        for key in keys_of(self.settings, backup).ok_or_else(|| self.elsewhere(backup))? {
            self.bucket.delete(&key).await.map_err(|error| self.failure(&error))?;
        }
        let (shelf, backup) = (self.shelf.clone(), backup.clone());
        disk(move || shelf.remove(&backup)).await
    }

    async fn sweep(&self) -> Result<usize, Failure> {
        let ours = key(self.settings, &format!("{}-r-", self.context.order.app));
        let objects = self.bucket.list(&ours).await.map_err(|error| self.failure(&error))?;
        let shelf = self.shelf.clone();
        let known = disk(move || Ok(shelf.all().into_iter().map(|backup| backup.name).collect())).await?;
        let strays = strays(&objects, self.shelf, &known, clock::now().0 / 1000);
        for key in &strays {
            self.bucket.delete(key).await.map_err(|error| self.failure(&error))?;
        }
        Ok(strays.len())
    }
}
