//! The steps: what an agent does to its host for a release, one file each in `steps/`.
//!
//! A step is idempotent and looks at the world instead of trusting memory: it may be run again after a crash at any moment.
//! The journal, the order's deadline and what follows upon a failure are the worker's, not a step's.

pub(crate) mod account;
mod backup;
mod bucket;
mod bucket_access;
mod candidate;
mod collectstatic;
mod commands;
mod compatible;
pub(crate) mod configure;
mod confirm;
mod credentials;
mod cutover;
mod endings;
mod environment;
mod fetch;
pub(crate) mod fit;
mod fitness;
mod halt;
mod health;
mod hold;
mod job;
mod look;
mod migrate;
mod placed;
mod preflight;
pub(crate) mod proof;
mod prune;
mod publish;
mod recheck;
mod reconcile;
pub(crate) mod release;
mod renew;
mod restore;
mod revert;
mod secrets;
pub(crate) mod serve;
mod shared;
pub(crate) mod stage;
mod stand_down;
pub(crate) mod unpack;
pub(crate) mod util;
pub(crate) mod venv;
mod verdict;
mod verify;

pub(crate) use configure::local_variables;
pub(crate) use verify::trusted_keys;

use roadstead_model::{AppName, AppState, Failure, FailureKind, Order, ReleaseId, ReleaseRef, ServiceName, StepDone, StepName};
use roadstead_secrets::Providers;
use roadstead_worker::failure::called_off;
use roadstead_worker::leases::Leases;
use roadstead_worker::output::{OutputSink, ProgressSink};
use roadstead_worker::state::{AppMemory, States};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::fetch::ReleaseSource;
use crate::host::Host;
use crate::layout::Layout;
use crate::secrets::Secrets;
use crate::settings::Settings;
use release::Release;
use stage::Stage;

/// Everything that a step may look at and act through.
#[derive(Debug)]
pub(crate) struct StepContext {
    /// The order that the step belongs to.
    pub(crate) order: Order,
    /// Where things lie.
    pub(crate) layout: Layout,
    /// systemd.
    pub(crate) host: Arc<Host>,
    /// Where releases come from.
    pub(crate) releases: Arc<dyn ReleaseSource>,
    /// Where the output of commands goes.
    pub(crate) output: OutputSink,
    /// What nothing that leaves the host may show.
    pub(crate) secrets: Secrets,
    /// The operator's settings of this host.
    pub(crate) settings: Arc<Settings>,
    /// Where this host has secrets from.
    pub(crate) providers: Arc<Providers>,
    /// Who hands out credentials for migrations.
    pub(crate) credentials: Arc<Credentials>,
    /// Where progress is told.
    pub(crate) progress: ProgressSink,
    /// What the agent remembers of apps.
    pub(crate) states: Arc<States>,
    /// What may run here of what may run only once.
    pub(crate) leases: Arc<Leases>,
    /// Held by whoever fetches into the blob store or sweeps it: the store is that of all apps.
    pub(crate) blob_store: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when the order is superseded or its deadline passes: a step then stops what it runs and returns.
    /// A step that does not return soon after is dropped.
    pub(crate) cancelled: CancellationToken,
}

impl StepContext {
    /// The app on this host, as the acts on its units need it.
    fn stage(&self) -> Stage<'_> {
        let own_units = self.settings.apps.get(&self.order.app).map_or(&[][..], |settings| &settings.units);
        Stage { host: &self.host, layout: &self.layout, app: &self.order.app, own_units }
    }

    /// What is remembered of the app.
    fn memory(&self) -> Result<AppMemory, Failure> {
        Ok(self.states.read(&self.order.app)?)
    }

    /// A prepared release that the order names.
    fn release(&self, release: &ReleaseRef) -> Result<Release, Failure> {
        let memory = self.memory()?;
        let listed = memory.singletons.get(&release.id).map(Vec::as_slice);
        Ok(Release::load_exactly(&self.layout, &self.order.app, release, listed)?.under(&self.leases))
    }

    /// As [`Self::release`], with what runs only once and needs a lease that this host has not: it may have it a moment later.
    fn whole_release(&self, release: &ReleaseRef) -> Result<Release, Failure> {
        Ok(self.release(release)?.whole())
    }

    /// A prepared release by its id.
    fn release_by_id(&self, id: &ReleaseId) -> Result<Release, Failure> {
        Ok(Release::remembered(&self.layout, &self.states, &self.order.app, id)?.under(&self.leases))
    }

    /// The release that serves, by the link.
    fn current(&self) -> Option<ReleaseId> {
        crate::facts::current(&self.layout, &self.order.app)
    }

    /// Tells a line of a step's output.
    fn say(&self, step: StepName, line: &str) {
        if !line.starts_with(commands::PROGRESS) {
            self.output.line(step, &self.secrets.hide(line));
        }
    }

    /// Ends a step early when it was called off.
    fn go_on(&self) -> Result<(), Failure> {
        if self.cancelled.is_cancelled() {
            return Err(called_off());
        }
        Ok(())
    }
}

/// Runs one step; the note tells people in one line what it did. Neither that nor a failure shows a secret of the app.
pub(crate) async fn run(step: StepName, context: &StepContext) -> Result<StepDone, Failure> {
    match act(step, context).await {
        Ok(done) => Ok(StepDone { note: context.secrets.hide(&done.note).into_owned(), ..done }),
        Err(failure) => {
            let failure = context.secrets.hide_in(&failure);
            if matches!(failure.kind, FailureKind::Unit | FailureKind::Check) {
                // What a unit said is nobody's output yet: `roadstead logs` shows it as that of the step.
                failure.detail.lines().for_each(|line| context.output.line(step, line));
            }
            Err(failure)
        }
    }
}

async fn act(step: StepName, context: &StepContext) -> Result<StepDone, Failure> {
    context.go_on()?;
    let note = match step {
        StepName::Backup => return backup::run(context).await,
        StepName::Recheck => return recheck::run(context).await,
        StepName::Survey => return restore::survey(context).await,
        StepName::Exchange => return restore::exchange(context).await,
        StepName::Job => job::run(context).await,
        StepName::Halt => halt::run(context).await,
        StepName::Restore => restore::run(context).await,
        StepName::Preflight => preflight::run(context).await,
        StepName::Prune => prune::run(context).await,
        StepName::Fetch => fetch::run(context).await,
        StepName::Verify => verify::run(context).await,
        StepName::Unpack => unpack::run(context).await,
        StepName::Venv => venv::run(context).await,
        StepName::Configure => configure::run(context).await,
        StepName::Collectstatic => collectstatic::run(context).await,
        StepName::Publish => publish::run(context).await,
        StepName::Migrate => migrate::run(context).await,
        StepName::Compatible => compatible::run(context).await,
        StepName::Candidate => candidate::run(context).await,
        StepName::Cutover => cutover::run(context).await,
        StepName::Proof => proof::run(context).await,
        StepName::Health => health::run(context).await,
        StepName::Confirm => confirm::run(context).await,
        StepName::Revert => revert::run(context).await,
        StepName::Settle => revert::settle(context).await,
    };
    note.map(StepDone::from)
}

/// Undoes one step, from whatever it left behind.
pub(crate) async fn undo(step: StepName, context: &StepContext) -> Result<(), Failure> {
    match step {
        StepName::Candidate => candidate::undo(context).await,
        StepName::Cutover => cutover::undo(context).await,
        // What the others leave lies on disk and helps a second attempt, or cannot be undone.
        StepName::Preflight
        | StepName::Prune
        | StepName::Fetch
        | StepName::Verify
        | StepName::Unpack
        | StepName::Venv
        | StepName::Configure
        | StepName::Collectstatic
        | StepName::Publish
        | StepName::Backup
        | StepName::Migrate
        | StepName::Compatible
        | StepName::Proof
        | StepName::Health
        | StepName::Confirm
        | StepName::Recheck
        | StepName::Job
        | StepName::Survey
        | StepName::Halt
        | StepName::Restore
        | StepName::Exchange
        | StepName::Revert
        | StepName::Settle => Ok(()),
    }
}

/// Brings an app to what `current` says after a start of the agent or the host: sockets there, units running.
pub(crate) async fn reconcile(
    host: &Host,
    layout: &Layout,
    states: &States,
    leases: &Arc<Leases>,
    app: &AppName,
) -> Result<AppState, Failure> {
    reconcile::run(host, layout, states, leases, app).await
}

/// Whether an app does well since its cutover.
pub(crate) async fn look(host: &Host, layout: &Layout, states: &States, leases: &Arc<Leases>, app: &AppName) -> Result<(), Failure> {
    look::run(host, layout, states, leases, app).await
}

/// Stops what another host of the environment runs from now on, since the fleet has cut this one off; how many services that were.
pub(crate) async fn stand_down(host: &Host, layout: &Layout, states: &States, app: &AppName) -> Result<usize, Failure> {
    stand_down::run(host, layout, states, app).await
}

/// Only these services run from now on of what may run only once, and they end at that moment; whether one has to be started.
pub(crate) async fn hold(
    host: &Host,
    layout: &Layout,
    states: &States,
    app: &AppName,
    services: &BTreeSet<ServiceName>,
    until: Option<Instant>,
) -> Result<bool, Failure> {
    hold::run(&Stage { host, layout, app, own_units: &[] }, states, services, until).await
}
