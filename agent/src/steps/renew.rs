//! Renew: instances of the release that serves already run what was laid out since they started, and no request is lost meanwhile.
//!
//! A web instance behind a unix socket has a stand-in: one more of the same release, on a socket of its own, which gets the traffic while
//! the instance restarts. Where systemd holds the socket, connections wait in it.

use roadstead_bundle::spec::{Service, ServiceKind};
use roadstead_model::{Failure, ServiceName};
use roadstead_worker::files::write_atomically;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

use super::StepContext;
use super::candidate::{check, check_at};
use super::configure::stand_in_text;
use super::release::{Release, Role, role};
use super::util::{io_failure, on_disk};
use crate::host::links;
use crate::host::probe::Address;
use crate::host::proof::{Expected, prove};
use crate::host::systemd::UnitState;
use crate::host::unit_file::release_of_unit;
use crate::layout::Layout;
use crate::steps::proof::programs;

/// How long connections that were made before the traffic moved may wait to be taken.
const DRAIN: Duration = Duration::from_secs(3);

/// Renews the web instances that run something else than what lies here now; how many there were.
pub(crate) async fn web(context: &StepContext, release: &Release) -> Result<usize, Failure> {
    let mut renewed = 0;
    for (name, service) in release.services() {
        let kind = role(service);
        if matches!(kind, Role::WebUnix | Role::WebTcp(_)) && is_stale(context, release, name, service).await? {
            tracing::info!(app = %release.app(), service = %name, "it is started anew from what lies here now");
            match kind {
                Role::WebUnix => behind_stand_in(context, release, name, service).await?,
                _ => context.stage().restart(&release.unit(name), service).await?,
            }
            renewed += 1;
        }
    }
    Ok(renewed)
}

/// The same of what has no traffic.
pub(crate) async fn others(context: &StepContext, release: &Release) -> Result<usize, Failure> {
    let mut renewed = 0;
    for (name, service) in release.services().filter(|(_, service)| matches!(role(service), Role::Worker | Role::Single)) {
        if is_stale(context, release, name, service).await? {
            context.stage().restart(&release.unit(name), service).await?;
            renewed += 1;
        }
    }
    Ok(renewed)
}

/// Stops instances of the serving release that are not its services on this host: stand-ins, and what only another host runs.
pub(crate) async fn clear(context: &StepContext, release: &Release) -> Result<(), Failure> {
    let stage = context.stage();
    let ours: Vec<String> = release.services().map(|(name, _)| release.unit(name)).collect();
    let units = stage.host.systemd.units(&format!("{}-*@*.service", stage.app)).await.map_err(|error| error.failure())?;
    for unit in units.iter().filter(|unit| release_of_unit(stage.app, unit).as_ref() == Some(&release.id) && !ours.contains(unit)) {
        if !stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?.is_down() {
            tracing::warn!(unit, "it is stopped: it is no service of this host");
            stage.stop(unit, roadstead_model::Millis::from_secs(60)).await?;
        }
    }
    Ok(())
}

/// Whether an instance runs and was started before what it runs from was laid out, or runs something else altogether.
async fn is_stale(context: &StepContext, release: &Release, name: &ServiceName, service: &Service) -> Result<bool, Failure> {
    let (stage, unit) = (context.stage(), release.unit(name));
    let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
    if !state.is_active() {
        return Ok(false);
    }
    // What died once since then counts as one that does not stay up, until it is started anew.
    let died = state.restarts > 0 && matches!(role(service), Role::Worker | Role::Single);
    Ok(died || is_elsewhere(context, release, service, &unit, &state) || started_before(&context.layout, release, name, &state))
}

fn is_elsewhere(context: &StepContext, release: &Release, service: &Service, unit: &str, state: &UnitState) -> bool {
    let tree = std::fs::canonicalize(release.tree(&context.layout)).unwrap_or_default();
    let (python, anything) = (programs(&context.layout, release), [PathBuf::from("/")]);
    let programs: &[PathBuf] = if matches!(service.kind, ServiceKind::Command { .. }) { &anything } else { &python };
    prove(&context.host.root, unit, state, &Expected { release: &tree, programs }).is_err()
}

/// A tree gets its name, and a unit or a file of variables its text, at one moment: that of the last change of its inode.
fn started_before(layout: &Layout, release: &Release, name: &ServiceName, state: &UnitState) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = now.saturating_sub(state.up_for());
    let unit = layout.units().join(release.unit(name));
    let own = layout.service_environment_file(release.app(), &release.id, name);
    let mut parts = vec![release.tree(layout), release.venv(layout), unit, own];
    parts.extend(release.environment_files(layout));
    let (spec, placed) = (&release.manifest.spec, layout.placed_of(release.app(), &release.id));
    parts.extend(spec.from_host.iter().chain(&spec.configured).map(|path| placed.join(path.as_str())));
    parts.iter().filter_map(|path| changed_at(path)).any(|changed| changed > started)
}

fn changed_at(path: &Path) -> Option<Duration> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some(Duration::new(u64::try_from(found.ctime()).ok()?, u32::try_from(found.ctime_nsec()).ok()?))
}

/// Restarts a web instance while another one of the same release has its traffic.
async fn behind_stand_in(context: &StepContext, release: &Release, name: &ServiceName, service: &Service) -> Result<(), Failure> {
    let (stage, layout, app) = (context.stage(), &context.layout, release.app());
    let (unit, stand_in) = (release.unit(name), release.trial(name));
    let socket = layout.stand_in_socket(app, name, &release.id);
    let file = layout.units().join(&stand_in);
    let text = stand_in_text(layout, release, &super::account::of(layout, app)?, name, service)?;
    write_atomically(&file, text.as_bytes(), 0o644).map_err(|error| on_disk(&error))?;
    stage.host.systemd.link(&[&file]).await.map_err(|error| error.failure())?;
    stage.host.systemd.daemon_reload().await.map_err(|error| error.failure())?;
    // Of an attempt that a crash ended.
    stage.stop(&stand_in, service.stop_timeout).await?;
    let tried = async {
        stage.start(&stand_in, service).await?;
        check_at(&stage, release, &Address::Unix(socket.clone()), name, service, &stand_in).await
    };
    if let Err(failure) = tried.await {
        // The instance keeps its traffic.
        stage.stop(&stand_in, service.stop_timeout).await?;
        return Err(failure);
    }
    let public = layout.public_socket(app, name);
    let point = |target: &Path| {
        let target = Path::new(name.as_str()).join(target.file_name().unwrap_or_default());
        links::point(&public, &target, false).map_err(|error| io_failure("move the link", &public, &error))
    };
    point(&socket)?;
    sleep(DRAIN).await;
    stage.restart(&unit, service).await?;
    check(&stage, release, name, service, &unit).await?;
    point(&stage.private_socket(release, name))?;
    sleep(DRAIN).await;
    stage.stop(&stand_in, service.stop_timeout).await?;
    stage.host.systemd.disable(&[&stand_in]).await.map_err(|error| error.failure())?;
    links::remove(&file).map_err(|error| io_failure("remove", &file, &error))
}
