//! Serving: a release becomes the one that has the traffic and runs the workers. Forwards and backwards are the same act.
//!
//! The links come first: that is all that web services behind a unix socket need, and it takes a millisecond. Everything after it
//! looks at what runs and moves it; a second run finds nothing to do. A failure does not keep the rest from being moved: the first is told.

use futures_util::future::{BoxFuture, join_all};
use roadstead_bundle::spec::{Service, ServiceKind, UnitCutover};
use roadstead_model::{Failure, FailureKind, Millis, ServiceName};
use roadstead_worker::files::write_atomically;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::collectstatic;
use super::configure::write_boot_files;
use super::endings::{self, CutOff};
use super::fitness::permitted;
use super::release::{Release, Role, role};
use super::stage::{Other, Stage};
use super::util::{disk, io_failure, on_disk};
use crate::host::links;
use crate::host::unit_file::{socket_name, socket_unit};

/// Why a release is made to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It gets the traffic, forwards or backwards.
    Move,
    /// It has it already, and is brought up after a start of the host or the agent.
    Reconcile,
}

/// How long a stop may take of an instance whose release is not on the disk any more.
const UNKNOWN_STOP: Millis = Millis::from_secs(60);
/// How long a unit of the team's own may take to restart.
const OWN_UNIT_RESTART: Millis = Millis::from_secs(120);

/// Makes a release serve.
pub(crate) async fn serve(stage: &Stage<'_>, release: &Release, why: Why) -> Result<String, Failure> {
    point_links(stage, release)?;
    let traffic = move_traffic(stage, release, why).await;
    // Also when a part of that failed: what can follow, follows.
    let rest = follow(stage, release).await;
    traffic.and(rest).map(|()| format!("{} units", release.services().count()))
}

/// Gives a release the traffic, and nothing else.
pub(crate) async fn take_traffic(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    point_links(stage, release)?;
    move_traffic(stage, release, Why::Move).await
}

async fn move_traffic(stage: &Stage<'_>, release: &Release, why: Why) -> Result<(), Failure> {
    let mut outcome = Outcome::default();
    let others = outcome.of(stage.others(Some(&release.id)).await).unwrap_or_default();
    outcome.of(serve_tcp(stage, release, &others, &Roles::of(stage, &others)).await);
    if why == Why::Reconcile {
        outcome.of(start_all(stage, release, |role| role == Role::WebUnix).await);
    } else {
        outcome.of(move_own_units(stage, release).await);
    }
    outcome.end()
}

/// What has no traffic follows the release that has it.
pub(crate) async fn follow(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    let mut outcome = Outcome::default();
    let others = outcome.of(stage.others(Some(&release.id)).await).unwrap_or_default();
    let roles = Roles::of(stage, &others);
    // First what nobody runs meanwhile; the boot of workers would take the processor from it.
    outcome.of(move_singles(stage, release, &others, &roles).await);
    let (workers, boot) = tokio::join!(move_workers(stage, release, &others, &roles), start_at_boot(stage, release, &others));
    outcome.of(workers);
    outcome.of(boot);
    let (layout, moved) = (stage.layout.clone(), release.clone());
    outcome.of(disk(move || collectstatic::prefer(&layout, &moved)).await);
    outcome.end()
}

/// The app serves nothing any more: links go, instances stop.
pub(crate) async fn stop_serving(stage: &Stage<'_>) -> Result<(), Failure> {
    let (current, sockets) = (stage.layout.current(stage.app), stage.layout.sockets(stage.app));
    links::remove(&current).map_err(|error| io_failure("remove", &current, &error))?;
    for entry in std::fs::read_dir(&sockets).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            links::remove(&entry.path()).map_err(|error| io_failure("remove", &entry.path(), &error))?;
        }
    }
    write_boot_files(stage, None)?;
    let mut outcome = Outcome::default();
    let others = stage.others(None).await?;
    let roles = Roles::of(stage, &others);
    outcome.of(retire(stage, None, &others, &roles).await);
    outcome.of(stop_all(stage, &others, &roles, |_| true).await);
    outcome.of(forget_units(stage, &others).await);
    outcome.end()
}

/// The first failure of several acts that are all tried.
#[derive(Default)]
struct Outcome {
    first: Option<Failure>,
}

impl Outcome {
    fn end(self) -> Result<(), Failure> {
        self.first.map_or(Ok(()), Err)
    }

    fn of<T>(&mut self, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(failure) => {
                tracing::warn!(failure = %failure.summary, "a part of the move failed");
                self.first.get_or_insert(failure);
                None
            }
        }
    }
}

/// What the instances of other releases are, by their own manifests.
pub(crate) struct Roles(BTreeMap<String, (Option<Role>, Millis)>);

impl Roles {
    pub(crate) fn of(stage: &Stage<'_>, others: &[Other]) -> Self {
        let describe = |other: &Other| {
            let release = Release::load(stage.layout, stage.app, &other.release, None).ok()?;
            let name = ServiceName::parse(other.service.strip_suffix("-trial").unwrap_or(&other.service)).ok()?;
            let exact = ServiceName::parse(&other.service).ok();
            let services = &release.manifest.spec.services;
            let service = exact.and_then(|exact| services.get(&exact)).or_else(|| services.get(&name))?;
            Some((Some(role(service)), service.stop_timeout))
        };
        Self(others.iter().map(|other| (other.unit.clone(), describe(other).unwrap_or((None, UNKNOWN_STOP)))).collect())
    }

    /// What an instance is; `None` when its release is not on the disk any more.
    pub(crate) fn role(&self, other: &Other) -> Option<Role> {
        self.0.get(&other.unit).and_then(|(role, _)| *role)
    }

    fn stop_timeout(&self, other: &Other) -> Millis {
        self.0.get(&other.unit).map_or(UNKNOWN_STOP, |(_, timeout)| *timeout)
    }
}

/// `current`, then the public sockets. Each is one rename.
fn point_links(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    let current = stage.layout.current(stage.app);
    let target = Path::new("releases").join(release.id.as_str());
    links::point(&current, &target, true).map_err(|error| io_failure("move the link", &current, &error))?;
    for (name, _) in release.services().filter(|(_, service)| role(service) == Role::WebUnix) {
        let public = stage.layout.public_socket(stage.app, name);
        let target = Path::new(name.as_str()).join(format!("{}.sock", release.id));
        links::point(&public, &target, false).map_err(|error| io_failure("move the link", &public, &error))?;
    }
    Ok(())
}

/// Services on TCP: the new instance joins the socket that systemd holds, then the old ones leave it.
async fn serve_tcp(stage: &Stage<'_>, release: &Release, others: &[Other], roles: &Roles) -> Result<(), Failure> {
    let mut joins: Vec<BoxFuture<'_, Result<(), Failure>>> = Vec::new();
    for (name, service) in release.services() {
        let Role::WebTcp(address) = role(service) else { continue };
        hold_socket(stage, release, name, address).await?;
        let unit = release.unit(name);
        joins.push(Box::pin(async move {
            stage.start(&unit, service).await?;
            // An answer would show nothing, the old instance gives some too: it leaves when the new one takes connections itself.
            stage.joined(&unit, address, start_time(service)).await
        }));
    }
    join_all(joins).await.into_iter().collect::<Result<(), Failure>>()?;
    // Those of services that this release has no more stay until it is confirmed, as behind a unix socket.
    let replaced = |other: &Other| release.services().any(|(name, service)| *name.as_str() == *other.service && is_tcp(role(service)));
    let leaving: Vec<Other> = others.iter().filter(|other| replaced(other)).cloned().collect();
    stop_all(stage, &leaving, roles, |role| role.is_some_and(is_tcp)).await
}

const fn is_tcp(role: Role) -> bool {
    matches!(role, Role::WebTcp(_))
}

/// What a release leaves behind of web services that the serving one does not have, or has elsewhere: a socket that systemd holds would start
/// the old instance again at the next connection, a link would lead nowhere.
pub(crate) async fn retire(stage: &Stage<'_>, serving: Option<&Release>, others: &[Other], roles: &Roles) -> Result<(), Failure> {
    for other in others {
        let Ok(name) = ServiceName::parse(&other.service) else { continue };
        let now = serving.and_then(|release| release.services().find(|(known, _)| **known == name)).map(|(_, service)| role(service));
        match roles.role(other) {
            Some(Role::WebTcp(_)) if !now.is_some_and(is_tcp) => {
                let socket = socket_name(stage.app, &name);
                if !stage.layout.units().join(&socket).exists() {
                    continue;
                }
                stage.host.systemd.stop(&socket, UNKNOWN_STOP.to_duration()).await.map_err(|error| error.failure())?;
                stage.host.systemd.disable(&[&socket]).await.map_err(|error| error.failure())?;
                let file = stage.layout.units().join(&socket);
                links::remove(&file).map_err(|error| io_failure("remove", &file, &error))?;
            }
            Some(Role::WebUnix) if now != Some(Role::WebUnix) => {
                let link = stage.layout.public_socket(stage.app, &name);
                links::remove(&link).map_err(|error| io_failure("remove", &link, &error))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The socket unit is there, belongs to this release, and listens.
async fn hold_socket(stage: &Stage<'_>, release: &Release, name: &ServiceName, address: SocketAddr) -> Result<(), Failure> {
    let systemd = &stage.host.systemd;
    let unit = release.socket(name);
    let path = stage.layout.units().join(&unit);
    let text = socket_unit(stage.app, name, address, &release.unit(name));
    let before = std::fs::read_to_string(&path).ok();
    if before.as_deref() != Some(text.as_str()) {
        write_atomically(&path, text.as_bytes(), 0o644).map_err(|error| on_disk(&error))?;
        systemd.link(&[&path]).await.map_err(|error| error.failure())?;
        systemd.daemon_reload().await.map_err(|error| error.failure())?;
    }
    let moved = before.is_some_and(|before| !before.contains(&format!("ListenStream={address}\n")));
    if moved {
        // Another address: this once the socket closes and opens.
        systemd.stop(&unit, UNKNOWN_STOP.to_duration()).await.map_err(|error| error.failure())?;
    }
    if systemd.unit(&unit).await.map_err(|error| error.failure())?.is_active() {
        return Ok(());
    }
    systemd.start(&unit, UNKNOWN_STOP.to_duration()).await.map_err(|_| {
        let summary = format!("{unit} cannot listen on {address}");
        Failure::new(FailureKind::Unfit, summary, format!("see who has the port: ss -ltnp 'sport = :{}'", address.port()))
    })
}

/// The team's own units, which run what `current` names.
async fn move_own_units(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    for (_, service) in release.services() {
        let ServiceKind::Units { units, cutover, .. } = &service.kind else { continue };
        for unit in units {
            permitted(stage.own_units, stage.app, unit)?;
            let within = OWN_UNIT_RESTART.to_duration();
            // One that was stopped cannot be asked to load anything again.
            let is_up = stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?.is_active();
            let moved = match cutover {
                UnitCutover::Reload if !is_up => stage.host.systemd.restart(unit, within).await,
                UnitCutover::Restart => stage.host.systemd.restart(unit, within).await,
                UnitCutover::Reload => stage.host.systemd.reload(unit, within).await,
            };
            if let Err(error) = moved {
                return Err(stage.unit_failure(unit, "did not come to the new release").await.unwrap_or_else(|| error.failure()));
            }
        }
    }
    Ok(())
}

/// Never two: the old ones are gone before the new ones start.
async fn move_singles(stage: &Stage<'_>, release: &Release, others: &[Other], roles: &Roles) -> Result<(), Failure> {
    let stopped = stop_all(stage, others, roles, |role| role == Some(Role::Single)).await;
    let started = start_all(stage, release, |role| role == Role::Single).await;
    // What this release ran here until the host was prepared anew, without it. And a lease that ended meanwhile has ended nothing that was
    // not there yet.
    let mut ended = Ok(());
    for (unit, stop_timeout) in left_over(stage, release, Role::Single) {
        ended = ended.and(stage.stop(&unit, stop_timeout).await.map(drop));
    }
    stopped.and(started).and(ended)
}

/// Units of the serving release that this host has, though the service is not here: what they run ends, and does not start with the machine.
fn left_over(stage: &Stage<'_>, release: &Release, wanted: Role) -> Vec<(String, Millis)> {
    let services = release.elsewhere().into_iter().filter(|(_, service)| role(service) == wanted);
    let units = services.map(|(name, service)| (release.unit(name), service.stop_timeout));
    units.filter(|(unit, _)| stage.layout.units().join(unit).exists()).collect()
}

/// The old ones take no more work and end what they have; whoever confirms waits for those of other releases.
async fn move_workers(stage: &Stage<'_>, release: &Release, others: &[Other], roles: &Roles) -> Result<(), Failure> {
    let mut moved = start_all(stage, release, |role| role == Role::Worker).await;
    let theirs = others.iter().filter(|other| roles.role(other) == Some(Role::Worker)).map(|other| other.unit.clone());
    for unit in theirs.chain(left_over(stage, release, Role::Worker).into_iter().map(|(unit, _)| unit)) {
        let asked = stage.host.systemd.ask_to_stop(&unit).await;
        moved = moved.and(asked.map_err(|error| error.failure()));
    }
    moved
}

async fn start_all(stage: &Stage<'_>, release: &Release, chosen: impl Fn(Role) -> bool) -> Result<(), Failure> {
    let mut starts: Vec<BoxFuture<'_, Result<(), Failure>>> = Vec::new();
    for (name, service) in release.services().filter(|(_, service)| chosen(role(service))) {
        let unit = release.unit(name);
        starts.push(Box::pin(async move { stage.start(&unit, service).await }));
    }
    join_all(starts).await.into_iter().collect()
}

pub(crate) async fn stop_all(
    stage: &Stage<'_>,
    others: &[Other],
    roles: &Roles,
    chosen: impl Fn(Option<Role>) -> bool,
) -> Result<(), Failure> {
    stop_and_look(stage, others, roles, chosen).await.map(drop)
}

/// As [`stop_all`], with how those ended that had to be ended.
pub(crate) async fn stop_and_look(
    stage: &Stage<'_>,
    others: &[Other],
    roles: &Roles,
    chosen: impl Fn(Option<Role>) -> bool,
) -> Result<Vec<CutOff>, Failure> {
    let mut stops: Vec<BoxFuture<'_, Result<Option<CutOff>, Failure>>> = Vec::new();
    for other in others.iter().filter(|other| chosen(roles.role(other))) {
        let within = roles.stop_timeout(other);
        stops.push(Box::pin(async move {
            let ended = stage.stop(&other.unit, within).await?;
            Ok(endings::cut_off(stage, other, &ended, within).filter(|_| roles.role(other) == Some(Role::Worker)))
        }));
    }
    let ended = join_all(stops).await.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    Ok(ended.into_iter().flatten().collect())
}

/// The serving release's units start at boot, but for what needs a lease then; those of others do not. All stay known, so that they can be started again.
async fn start_at_boot(stage: &Stage<'_>, release: &Release, others: &[Other]) -> Result<(), Failure> {
    write_boot_files(stage, Some(release))?;
    let path_of = |unit: &str| stage.layout.units().join(unit);
    let mut ours: Vec<PathBuf> = Vec::new();
    let left_over = [Role::Single, Role::Worker].into_iter().flat_map(|role| left_over(stage, release, role));
    let mut later: Vec<String> = left_over.map(|(unit, _)| unit).collect();
    for (name, service) in release.services() {
        let unit = match role(service) {
            Role::Own => continue,
            Role::WebTcp(_) => {
                ours.push(path_of(&release.socket(name)));
                release.unit(name)
            }
            Role::Single if !release.starts_at_boot(service) => {
                later.push(release.unit(name));
                continue;
            }
            Role::WebUnix | Role::Worker | Role::Single => release.unit(name),
        };
        ours.push(path_of(&unit));
    }
    let systemd = &stage.host.systemd;
    let theirs: Vec<&str> = others.iter().map(|other| other.unit.as_str()).chain(later.iter().map(String::as_str)).collect();
    let their_files: Vec<PathBuf> = theirs.iter().map(|unit| path_of(unit)).filter(|path| path.exists()).collect();
    let (ours, their_files) = (paths(&ours), paths(&their_files));
    if !theirs.is_empty() {
        systemd.disable(&theirs).await.map_err(|error| error.failure())?;
    }
    if !their_files.is_empty() {
        systemd.link(&their_files).await.map_err(|error| error.failure())?;
    }
    if !ours.is_empty() {
        systemd.enable(&ours).await.map_err(|error| error.failure())?;
    }
    Ok(())
}

/// Units of instances that will not run again: their links and files go.
pub(crate) async fn forget_units(stage: &Stage<'_>, others: &[Other]) -> Result<(), Failure> {
    let units: Vec<&str> = others.iter().map(|other| other.unit.as_str()).collect();
    if !units.is_empty() {
        stage.host.systemd.disable(&units).await.map_err(|error| error.failure())?;
    }
    Ok(())
}

fn paths(list: &[PathBuf]) -> Vec<&Path> {
    list.iter().map(PathBuf::as_path).collect()
}

/// The time that a service has until it counts as not coming up.
pub(crate) fn start_time(service: &Service) -> std::time::Duration {
    service.start_timeout.to_duration()
}
