//! Publish: the release's static files are where everybody has them from, before any host moves to it. Files that keep their names whatever
//! is in them follow behind the rollout.
//!
//! Every host of an environment does it at the same time, and each looks at what is there: they begin at different places, look again now and
//! then, and so share the work. Nothing is ever removed: pages in browsers, and the release to which the fleet may go back, ask for old files.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_bucket::{Bucket, Labels};
use roadstead_model::{Failure, FailureKind, OrderKind, StepName, size};
use roadstead_worker::failure::called_off;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

use super::StepContext;
use super::bucket_access::STATICS;
use super::collectstatic::source;
use super::release::Release;
use super::util::{disk, io_failure};
use crate::host::statics::open_below;
use crate::publish::folder::Folder;
use crate::publish::media::type_of;
use crate::publish::need::{Moment, Need, There, need, needed};
use crate::publish::{Collected, Entry};
use crate::settings::{BucketSettings, StaticSettings};

/// Files that are under way at a time: most of one is waiting.
const AT_ONCE: usize = 4;
/// Files after which it is asked whether to look again at what others have sent meanwhile.
const ROUND: usize = 32;
/// What is older is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Pages of a bucket's list that are read, of a thousand objects each: what is sent is never removed.
const PAGES_MAX: usize = 1000;
/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// How long what follows behind a rollout may take: the release serves already.
const BEHIND_AT_MOST: Duration = Duration::from_secs(120);
/// What a failure means before anybody moves, and behind.
const NOBODY_MOVES: &str = "no host moves to a release whose static files are not all there; what serves goes on serving";
const SERVES: &str = "the release serves; the next rollout brings them along";

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    before(context, &release, StepName::Publish).await
}

/// Publishes what the release needs and nobody else could miss.
pub(super) async fn before(context: &StepContext, release: &Release, step: StepName) -> Result<String, Failure> {
    let Some(work) = Work::of(context, release, step, NOBODY_MOVES).await? else { return Ok("nothing to publish".to_owned()) };
    let done = work.run(Moment::Before).await?;
    Ok(format!("{} static files at {}, {}", work.collected.entries.len(), work.target.name(), done.words()))
}

/// Brings everything to what the release has, which serves by now. What it did, to be said behind something else.
pub(super) async fn behind(context: &StepContext, release: &Release, step: StepName) -> Result<String, Failure> {
    let followed = async {
        let Some(work) = Work::of(context, release, step, SERVES).await? else { return Ok(String::new()) };
        let done = work.run(Moment::Behind).await?;
        Ok(format!("; of the static files at {}, {}", work.target.name(), done.words()))
    };
    let within = BEHIND_AT_MOST.min(context.order.deadline.to_duration() / 2);
    let followed = timeout(within, followed).await.unwrap_or_else(|_| {
        Err(Failure::new(
            FailureKind::Deadline,
            format!("it took longer than {} s", within.as_secs()),
            format!("look at where they go; {SERVES}"),
        ))
    });
    followed.map_err(|failure: Failure| {
        let summary = format!("static files without a hash in their names may be those of another release: {}", failure.summary);
        Failure { summary, ..failure }
    })
}

/// Where files go.
enum Target<'a> {
    Folder(Folder, String),
    Bucket { bucket: Box<Bucket>, settings: &'a BucketSettings, hashed: &'a str, plain: &'a str },
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    files: u64,
    bytes: u64,
}

impl Done {
    fn words(self) -> String {
        if self.files == 0 { "none had to be sent".to_owned() } else { format!("{} sent ({})", self.files, size(self.bytes)) }
    }
}

/// Files of one release on their way.
struct Work<'a> {
    context: &'a StepContext,
    step: StepName,
    collected: Arc<Collected>,
    target: Target<'a>,
    /// What a failure means.
    kept: &'static str,
    progress: Progress,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    files: AtomicU64,
    bytes: AtomicU64,
    files_total: AtomicU64,
    bytes_total: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl<'a> Work<'a> {
    /// What there is to do; none where nothing is said or nothing was collected.
    async fn of(context: &'a StepContext, release: &Release, step: StepName, kept: &'static str) -> Result<Option<Self>, Failure> {
        let Some(settings) = context.settings.statics.get(&context.order.app) else { return Ok(None) };
        let Some(source) = source(&context.layout, release) else { return Ok(None) };
        let collected =
            disk(move || Collected::read(&source).map_err(|error| io_failure("read the static files in", &source, &error))).await?;
        if let Some(why) = &collected.distrusted {
            context.say(step, &format!("roadstead: {why}: all files are taken for such as keep their names"));
        }
        let target = match settings {
            StaticSettings::Folder(root) => Target::Folder(Folder::at(root), root.display().to_string()),
            StaticSettings::Bucket { bucket: settings, hashed, plain } => {
                let bucket = Box::new(STATICS.bucket(context, release, settings).await?);
                Target::Bucket { bucket, settings, hashed, plain }
            }
        };
        Ok(Some(Self { context, step, collected: Arc::new(collected), target, kept, progress: Progress::default() }))
    }

    async fn run(&self, moment: Moment) -> Result<Done, Failure> {
        let mut there = self.look().await?;
        let mut looked = Instant::now();
        // Each host begins somewhere else.
        let from = getrandom::u32().map_or(0, |chance| usize::try_from(chance).unwrap_or(0));
        let mut rest = needed(&self.collected.entries, &there, moment, from);
        self.progress.files_total.store(rest.len() as u64, Ordering::Relaxed);
        self.progress.bytes_total.store(rest.iter().map(|(entry, _)| entry.bytes).fold(0, u64::saturating_add), Ordering::Relaxed);
        let mut done = Done::default();
        while !rest.is_empty() {
            if rest.len() > ROUND && looked.elapsed() >= LOOK_AGAIN {
                there = self.look().await?;
                looked = Instant::now();
                rest.retain_mut(|(entry, what)| {
                    *what = need(entry, there.get(&entry.path), moment);
                    *what != Need::Nothing
                });
            }
            let later = rest.split_off(ROUND.min(rest.len()));
            let round = std::mem::replace(&mut rest, later);
            let there = &there;
            let sending = stream::iter(round).map(|(entry, what)| self.one(entry, what, there)).buffer_unordered(AT_ONCE);
            let sent: Vec<Done> = sending.try_collect().await?;
            done.files += sent.iter().map(|one| one.files).sum::<u64>();
            done.bytes += sent.iter().map(|one| one.bytes).sum::<u64>();
        }
        if done.files > 0 {
            self.context.say(self.step, &format!("roadstead: {} to {}", done.words(), self.target.name()));
        }
        Ok(done)
    }

    /// One file. What was begun is ended; called off, none is begun.
    async fn one(&self, entry: Entry, what: Need, there: &BTreeMap<String, There>) -> Result<Done, Failure> {
        self.context.go_on()?;
        let tag = there.get(&entry.path).map_or("", |there| there.tag.as_str());
        let done = if what == Need::Compare && self.is_same(&entry, tag).await? {
            self.went(entry.bytes);
            Done::default()
        } else {
            self.send(&entry).await?;
            Done { files: 1, bytes: entry.bytes }
        };
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        self.tell();
        Ok(done)
    }

    /// What lies at the destination of these files.
    async fn look(&self) -> Result<BTreeMap<String, There>, Failure> {
        match &self.target {
            Target::Folder(folder, name) => {
                let (own, collected, name, kept) = (folder.clone(), Arc::clone(&self.collected), name.clone(), self.kept);
                disk(move || {
                    own.look().map_err(|error| folder_failure("look into", &name, &error, kept))?;
                    let seen = |entry: &Entry| {
                        let seen = own
                            .seen(&entry.path)
                            .map_err(|error| folder_failure("look at", &format!("{name}/{}", entry.path), &error, kept));
                        Ok(seen?.map(|bytes| (entry.path.clone(), There { bytes, tag: String::new() })))
                    };
                    collected.entries.iter().filter_map(|entry| seen(entry).transpose()).collect()
                })
                .await
            }
            Target::Bucket { bucket, settings, .. } => {
                let wanted: BTreeSet<&str> = self.collected.entries.iter().map(|entry| entry.path.as_str()).collect();
                let prefix = format!("{}/", settings.prefix);
                let mut there = BTreeMap::new();
                let mut found = |object: roadstead_bucket::Object| {
                    if let Some(path) = object.key.strip_prefix(&prefix).filter(|path| wanted.contains(path)) {
                        there.insert(path.to_owned(), There { bytes: object.bytes, tag: object.tag });
                    }
                };
                bucket.visit(&prefix, PAGES_MAX, &mut found).await.map_err(|error| STATICS.failure(&error, self.kept))?;
                Ok(there)
            }
        }
    }

    async fn is_same(&self, entry: &Entry, tag: &str) -> Result<bool, Failure> {
        let file = self.open(entry).await?;
        match &self.target {
            Target::Folder(folder, name) => {
                let (folder, path, name, kept) = (folder.clone(), entry.path.clone(), format!("{name}/{}", entry.path), self.kept);
                disk(move || folder.is_same(&path, file).map_err(|error| folder_failure("compare", &name, &error, kept))).await
            }
            Target::Bucket { bucket, settings, .. } => {
                let name = self.collected.source.join(&entry.path);
                let same = bucket.is_same(&key(settings, entry), tag, file, &name).await;
                same.map_err(|error| STATICS.failure(&error, self.kept))
            }
        }
    }

    async fn send(&self, entry: &Entry) -> Result<(), Failure> {
        let file = self.open(entry).await?;
        match &self.target {
            Target::Folder(folder, name) => {
                let (folder, path, name, kept) = (folder.clone(), entry.path.clone(), format!("{name}/{}", entry.path), self.kept);
                disk(move || folder.put(&path, file).map_err(|error| folder_failure("write", &name, &error, kept))).await?;
                self.went(entry.bytes);
                Ok(())
            }
            Target::Bucket { bucket, settings, hashed, plain } => {
                let name = self.collected.source.join(&entry.path);
                let labels = Labels::new(type_of(&entry.path), if entry.hashed { hashed } else { plain });
                let mut last = 0;
                let mut told = |bytes: u64| {
                    self.went(bytes.saturating_sub(last));
                    last = last.max(bytes);
                };
                let sent = bucket.put_labelled(&key(settings, entry), file, &name, &labels, &mut told).await;
                sent.map_err(|error| STATICS.failure(&error, self.kept))
            }
        }
    }

    async fn open(&self, entry: &Entry) -> Result<File, Failure> {
        if self.context.cancelled.is_cancelled() {
            return Err(called_off());
        }
        let (source, path) = (self.collected.source.clone(), entry.path.clone());
        disk(move || open_below(&source, &path).map_err(|error| io_failure("read", &source.join(&path), &error))).await
    }

    fn went(&self, bytes: u64) {
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// Tells how far it is, now and then.
    fn tell(&self) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Progress { files, bytes, files_total, bytes_total, told } = &self.progress;
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let (done, total) = (of(bytes).min(of(bytes_total)), of(bytes_total));
        self.context.progress.report(done, total);
        let what =
            format!("{} of {} static files to {}, {} of {}", of(files), of(files_total), self.target.name(), size(done), size(total));
        self.context.progress.say(&self.context.secrets.hide(&what));
    }
}

impl Target<'_> {
    /// For people.
    fn name(&self) -> String {
        match self {
            Self::Folder(_, name) => name.clone(),
            Self::Bucket { settings, .. } => format!("s3://{}/{}", settings.place.bucket, settings.prefix),
        }
    }
}

fn key(settings: &BucketSettings, entry: &Entry) -> String {
    format!("{}/{}", settings.prefix, entry.path)
}

fn folder_failure(doing: &str, path: &str, error: &io::Error, kept: &str) -> Failure {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            FailureKind::Unfit,
            "make the `directory` of [static.APP], or mount what it lies in: the agent does not make it, so that nothing is written to where a \
             mount is missing",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (FailureKind::Unfit, "make room there"),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => (
            FailureKind::Unfit,
            "root of this host has to be able to write there: see ReadWritePaths= of roadstead-agent.service, and what the server of the mount \
             lets root do",
        ),
        _ => (FailureKind::Host, "see what lies there, and the host's journal and kernel log"),
    };
    Failure::new(kind, format!("cannot {doing} {path}: {error}"), format!("{hint}; {kept}"))
}
