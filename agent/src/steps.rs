//! The steps: what an agent does to its host for a release, one file each in `steps/`.
//!
//! A step is idempotent and looks at the world instead of trusting memory: it may be run again after a crash at any moment.
//! The journal, the order's deadline and what follows upon a failure are the worker's, not a step's.

#![allow(clippy::unused_async, reason = "the steps behind this seam wait for the host")]

use roadstead_model::{AppName, AppState, Failure, FailureKind, Order, StepName};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::fetch::ReleaseSource;
use crate::host::Host;
use crate::layout::Layout;
use crate::output::{OutputSink, ProgressSink};
use crate::settings::Settings;
use crate::state::States;

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
    /// The operator's settings of this host.
    pub(crate) settings: Arc<Settings>,
    /// Where progress is told.
    pub(crate) progress: ProgressSink,
    /// What the agent remembers of apps.
    pub(crate) states: Arc<States>,
    /// Cancelled when the order is superseded or its deadline passes: a step then stops what it runs and returns.
    /// A step that does not return soon after is dropped.
    pub(crate) cancelled: CancellationToken,
}

/// Runs one step; the note tells people in one line what it did.
pub(crate) async fn run(step: StepName, context: &StepContext) -> Result<String, Failure> {
    let _ = context;
    Err(Failure::new(FailureKind::Host, format!("the step {step} is not there yet"), "upgrade the agent"))
}

/// Undoes one step, from whatever it left behind.
pub(crate) async fn undo(step: StepName, context: &StepContext) -> Result<(), Failure> {
    let _ = (step, context);
    Ok(())
}

/// Brings an app to what `current` says after a start of the agent or the host: sockets there, units running.
pub(crate) async fn reconcile(host: &Host, layout: &Layout, app: &AppName) -> Result<AppState, Failure> {
    let _ = (host, layout, app);
    Ok(AppState::default())
}
