//! Reconcile: after a start of the agent or the host, the app is what `current` says.

use roadstead_model::{AppName, AppState, Failure};
use roadstead_worker::leases::Leases;
use roadstead_worker::state::States;
use std::sync::Arc;

use super::configure;
use super::release::Release;
use super::serve::{Why, serve};
use super::stage::Stage;
use super::util::disk;
use crate::facts;
use crate::host::Host;
use crate::layout::Layout;

/// Makes the app's sockets and runs its units as the serving release has them.
pub(crate) async fn run(host: &Host, layout: &Layout, states: &States, leases: &Arc<Leases>, app: &AppName) -> Result<AppState, Failure> {
    let look = facts::look(layout, states, app);
    let Some(current) = &look.current else { return Ok(look) };
    let release = Release::remembered(layout, states, app, current)?.under(leases);
    let (folders, layout_too, app_too) = (release.clone(), layout.clone(), app.clone());
    disk(move || configure::make_folders(&layout_too, &folders, &super::account::of(&layout_too, &app_too)?)).await?;
    serve(&Stage { host, layout, app, own_units: &[] }, &release, Why::Reconcile).await?;
    Ok(look)
}
