//! Credentials of the steps that migrate: asked for when such a step begins, in force while it runs, ended when it ends, however that is.
//!
//! What is issued is written down before it is used, and the values lie below `/run` alone. What runs with them keeps them, whoever began
//! it: a step that is carried on goes on with what it has, and what nobody follows any more is renewed by [`sweep`] until it has ended.
//! Everything else is ended by the next step, or by [`sweep`].

mod files;
mod keeping;
mod runs;
pub(crate) mod sweep;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use futures_util::future::join_all;
use roadstead_model::{AppName, Failure, FailureKind, OrderKey, SecretRef, StepName, Timestamp, VariableName};
use roadstead_secrets::{Asker, Fault, Lease, Providers, Secret, SecretError};
use roadstead_worker::clock;
use roadstead_worker::failure::{called_off, chain};
use roadstead_worker::tasks::blocking;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::layout::Layout;
use crate::settings::MigrationSettings;
use crate::steps::util::disk;
use files::{Hidden, Record};
use keeping::Due;
pub(crate) use runs::{Runs, Standing};

/// How long all providers together may take to issue them.
const WITHIN: Duration = Duration::from_secs(60);
/// How long the answer that a provider is about to give is waited for when the step is called off: what it issues has to be ended.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long ending one may take: a step that was called off has half a minute for all that it clears up.
const END_WITHIN: Duration = Duration::from_secs(8);

/// What of an app's credentials no output may show, as long as they are in force.
pub(crate) fn hidden(layout: &Layout, app: &AppName) -> Vec<(VariableName, String)> {
    files::hidden(layout, app)
}

/// Who hands credentials out on this host, to one step of an app at a time.
#[derive(Debug)]
pub(crate) struct Credentials {
    layout: Layout,
    providers: Arc<Providers>,
    runs: Arc<dyn Runs>,
    turns: Mutex<BTreeMap<AppName, Arc<Turns<()>>>>,
}

/// Who asks for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The app.
    pub(crate) app: &'a AppName,
    /// The order that is carried out.
    pub(crate) order: OrderKey,
    /// Its step.
    pub(crate) step: StepName,
    /// What root says of them.
    pub(crate) settings: &'a MigrationSettings,
    /// The tree of the release.
    pub(crate) tree: &'a Path,
}

/// Credentials that are in force. When it is dropped without [`Turn::end`], as when the agent stops, they stay in force for what runs on.
#[derive(Debug)]
pub(crate) struct Turn {
    app: AppName,
    layout: Layout,
    providers: Arc<Providers>,
    record: Record,
    due: Vec<Due>,
    hidden: Hidden,
    is_taken_over: bool,
    /// Set when they end. What still writes in the background then writes nothing more.
    is_over: Arc<Mutex<bool>>,
    _turn: OwnedMutexGuard<()>,
}

impl Credentials {
    /// Nothing is asked for yet.
    pub(crate) fn new(layout: Layout, providers: Arc<Providers>, runs: Arc<dyn Runs>) -> Self {
        Self { layout, providers, runs, turns: Mutex::default() }
    }

    /// Asks for them, writes them for systemd to read.
    pub(crate) async fn begin(&self, wanted: Wanted<'_>, cancelled: &CancellationToken) -> Result<Turn, Failure> {
        let turn = self.turn(wanted.app).lock_owned().await;
        let mut begun = Turn {
            app: wanted.app.clone(),
            layout: self.layout.clone(),
            providers: Arc::clone(&self.providers),
            record: Record { order: wanted.order, step: wanted.step, until: Timestamp(0), leases: Vec::new(), older: Vec::new() },
            due: Vec::new(),
            hidden: Hidden::new(),
            is_taken_over: false,
            is_over: Arc::default(),
            _turn: turn,
        };
        if begun.takes_over(&*self.runs).await? {
            return Ok(begun);
        }
        begun.record.older = self.clear(wanted.app, wanted.order).await?;
        let asked = self.ask(&wanted, cancelled, &mut begun.record.leases).await;
        begun.record.until = until(begun.record.leases.iter().chain(&begun.record.older));
        let put = match asked {
            Err(failure) if begun.record.leases.is_empty() => return Err(failure),
            Err(failure) => Err(failure),
            Ok(secrets) => begun.put(wanted.settings, &secrets).await,
        };
        match put {
            Ok(()) => Ok(begun),
            Err(failure) => {
                begun.end().await;
                Err(failure)
            }
        }
    }

    /// Whether a command of the order runs; that it does is believed where nobody can tell.
    pub(crate) async fn are_used(&self, app: &AppName, order: OrderKey) -> bool {
        let standing = self.runs.standing(app, order).await;
        let standing = standing.inspect_err(|failure| tracing::warn!(%app, %failure, "whether a command still runs is not known"));
        standing.unwrap_or(Standing::Runs) == Standing::Runs
    }

    /// What is issued is put into `issued`, whatever comes of the rest.
    async fn ask<'a>(
        &self,
        wanted: &Wanted<'a>,
        cancelled: &CancellationToken,
        issued: &mut Vec<Lease>,
    ) -> Result<Vec<(&'a SecretRef, Secret)>, Failure> {
        if cancelled.is_cancelled() {
            return Err(called_off());
        }
        let asker = Asker { app: wanted.app, tree: Some(wanted.tree), by_operator: true };
        let references: Vec<&SecretRef> = wanted.settings.variables.values().flat_map(template::Template::references).collect();
        let all: Vec<SecretRef> = references.iter().copied().cloned().collect();
        let mut asked = pin!(self.providers.resolve_all(asker, &all, Instant::now() + WITHIN, issued));
        let secrets = tokio::select! {
            biased;
            secrets = &mut asked => secrets,
            () = cancelled.cancelled() => {
                timeout(LAST_ANSWER, asked).await.ok();
                return Err(called_off());
            }
        };
        let failed = |error: SecretError| {
            let summary = format!("the credentials for migrations of {}, [migrations.{0}] of agent.toml: {}", wanted.app, chain(&error));
            Failure::new(FailureKind::Host, summary, error.hint())
        };
        Ok(references.into_iter().zip(secrets.map_err(failed)?).collect())
    }

    fn turn(&self, app: &AppName) -> Arc<Turns<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(app.clone()).or_default())
    }

    /// Ends what is left of an app, and gives what cannot be ended now. It has its turn. Nothing is begun beside a command of another order
    /// that still changes the database.
    async fn clear(&self, app: &AppName, order: OrderKey) -> Result<Vec<Lease>, Failure> {
        let (layout, of) = (self.layout.clone(), app.clone());
        let left = blocking(move || Record::read(&layout, &of)).await;
        if let Some(other) = left.as_ref().map(|left| left.order).filter(|other| *other != order)
            && self.are_used(app, other).await
        {
            let summary = format!("a command of {} that changes the database of {app} still runs on this host", other.rollout);
            let hint = format!(
                "wait until it has ended: systemctl list-units 'roadstead-{app}*-{}-{}.service'; or stop it; then deploy again",
                other.rollout, other.sequence
            );
            return Err(Failure::new(FailureKind::Host, summary, hint));
        }
        Ok(end(&self.layout, &self.providers, app, left).await?.left)
    }
}

impl Turn {
    /// What of them no output may show.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = (VariableName, String)> {
        self.hidden.iter().cloned()
    }

    /// What people are told of them.
    pub(crate) fn words(&self) -> String {
        let from = if self.is_taken_over {
            "the credentials for migrations that were issued before the agent's start stay in force"
        } else {
            "credentials for migrations are in force"
        };
        let are_kept = self.record.leases.iter().all(|lease| lease.renewable);
        match self.record.leases.iter().map(|lease| lease.duration).min() {
            Some(least) if are_kept => format!("{from}, issued for {}, renewed as long as this lasts", clock::whole_millis(least)),
            Some(least) => format!("{from}, issued for {}, and cannot be renewed", clock::whole_millis(least)),
            None => from.to_owned(),
        }
    }

    /// Whether a command that an agent before this one began for the step is there: it goes on with what it has, and so does the step.
    async fn takes_over(&mut self, runs: &dyn Runs) -> Result<bool, Failure> {
        let (layout, app) = (self.layout.clone(), self.app.clone());
        let (left, are_there) = disk(move || Ok((Record::read(&layout, &app), files::are_there(&layout, &app)))).await?;
        let is_same = |left: &Record| left.order == self.record.order && left.step == self.record.step;
        // Of a backup, what an agent before this one left is ended before it is begun anew.
        let Some(left) = left.filter(|left| are_there && left.step == StepName::Migrate && is_same(left)) else { return Ok(false) };
        let standing = runs.standing(&self.app, left.order).await?;
        if standing == Standing::Gone {
            return Ok(false);
        }
        self.record = left;
        // Whatever of it has ended meanwhile is told then.
        self.due = Due::at_once(&self.record.leases);
        // What is to be begun behind a command that has ended cannot do with what is over.
        if standing == Standing::Ended && !self.renew_all().await {
            self.record.leases.clear();
            self.due.clear();
            return Ok(false);
        }
        let (layout, app) = (self.layout.clone(), self.app.clone());
        self.hidden = disk(move || Ok(files::hidden(&layout, &app))).await?;
        self.is_taken_over = true;
        Ok(true)
    }

    /// Writes down what was issued, then the values.
    async fn put(&mut self, settings: &MigrationSettings, secrets: &[(&SecretRef, Secret)]) -> Result<(), Failure> {
        let now = Instant::now();
        self.due = self.record.leases.iter().filter_map(|lease| Due::of(lease, now)).collect();
        self.write().await?;
        let (values, hidden) = values(settings, secrets)?;
        self.hidden.clone_from(&hidden);
        let (layout, app) = (self.layout.clone(), self.app.clone());
        disk(move || files::put(&layout, &app, &values, &hidden)).await
    }

    async fn write(&self) -> Result<(), Failure> {
        let (layout, app, record, is_over) = (self.layout.clone(), self.app.clone(), self.record.clone(), Arc::clone(&self.is_over));
        disk(move || {
            let is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
            if *is_over { Ok(()) } else { record.write(&layout, &app) }
        })
        .await
    }

    /// Ends them. What cannot be ended now is tried again later, by [`sweep`]; why that is, for people.
    pub(crate) async fn end(self) -> Option<String> {
        let is_over = Arc::clone(&self.is_over);
        blocking(move || *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true).await;
        match end(&self.layout, &self.providers, &self.app, Some(self.record)).await {
            Ok(Ended { why, .. }) => why,
            Err(failure) => Some(failure.to_string()),
        }
    }
}

/// How ending what was issued went.
#[derive(Debug, Default)]
struct Ended {
    left: Vec<Lease>,
    /// Why anything is left.
    why: Option<String>,
}

/// Removes values and ends what was issued. What could not be ended stays written down.
async fn end(layout: &Layout, providers: &Providers, app: &AppName, record: Option<Record>) -> Result<Ended, Failure> {
    let (paths, of) = (layout.clone(), app.clone());
    disk(move || files::remove(&paths, &of)).await?;
    let mut ended = Ended::default();
    let at_most = Instant::now() + END_WITHIN;
    let leases: Vec<Lease> = record.iter().flat_map(|record| [record.leases.clone(), record.older.clone()].concat()).collect();
    // All at once: one provider that is away keeps nobody from ending what another has issued.
    let answers = join_all(leases.iter().map(|lease| providers.revoke(lease, at_most))).await;
    for (lease, answer) in leases.into_iter().zip(answers) {
        if let Err(error) = answer {
            let why = chain(&error);
            tracing::warn!(%app, provider = %lease.provider, error = why, "what was issued for migrations is not ended yet");
            ended.left.push(lease);
            ended.why = Some(why);
        }
    }
    let (paths, of) = (layout.clone(), app.clone());
    match record.filter(|record| !ended.left.is_empty() && record.until > clock::now()) {
        Some(record) => {
            let record = Record { leases: Vec::new(), older: ended.left.clone(), ..record };
            disk(move || record.write(&paths, &of)).await?;
            Ok(ended)
        }
        // By now what was issued has ended by itself.
        None => disk(move || Record::remove(&paths, &of)).await.map(|()| Ended::default()),
    }
}

/// When the last of them ends by itself.
fn until<'a>(leases: impl IntoIterator<Item = &'a Lease>) -> Timestamp {
    let longest = leases.into_iter().map(|lease| clock::whole_millis(lease.duration).0).max().unwrap_or_default();
    Timestamp(clock::now().0.saturating_add(longest))
}

/// The variables, and what of them is hidden: each secret as it is and as a text has it, and each value as a whole.
fn values(settings: &MigrationSettings, secrets: &[(&SecretRef, Secret)]) -> Result<(BTreeMap<VariableName, String>, Hidden), Failure> {
    let mut texts = BTreeMap::new();
    for (reference, secret) in secrets {
        let text = secret.value.reveal_text().ok_or_else(|| {
            Failure::new(FailureKind::Unfit, format!("the value of {reference} is no text"), "correct it where it is kept")
        })?;
        texts.insert((*reference).clone(), text.to_owned());
    }
    let (mut values, mut hidden) = (BTreeMap::new(), Hidden::new());
    for (name, template) in &settings.variables {
        let value = template.fill(&texts);
        for text in template.references().into_iter().filter_map(|reference| texts.get(reference)) {
            hidden.extend([text.clone(), template::encoded(text)].map(|part| (name.clone(), part)));
        }
        hidden.push((name.clone(), value.clone()));
        values.insert(name.clone(), value);
    }
    hidden.dedup();
    Ok((values, hidden))
}

/// Whether a provider says that what it issued is over.
fn is_gone(error: &SecretError) -> bool {
    matches!(error.fault, Fault::LeaseGone { .. })
}
