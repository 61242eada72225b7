//! Proof: the processes that serve are shown to be the release's, by what the kernel says of them.

use roadstead_bundle::spec::{ServiceKind, UnitCutover};
use roadstead_model::{Failure, FailureKind, OrderKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::StepContext;
use super::release::{Release, Role, role};
use super::serve::start_time;
use super::stage::Stage;
use crate::host::proof::{Expected, ProofError, prove as prove_unit, prove_connection, prove_listener, prove_some};
use crate::layout::Layout;

/// How often a unit that reloads is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Activate { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    prove(&context.stage(), &context.release(release)?, |_| true).await
}

/// Shows it for every chosen service of the release on this host.
pub(crate) async fn prove(stage: &Stage<'_>, release: &Release, chosen: impl Fn(Role) -> bool) -> Result<String, Failure> {
    let current = std::fs::canonicalize(stage.layout.current(stage.app)).unwrap_or_default();
    let tree = std::fs::canonicalize(release.tree(stage.layout)).unwrap_or_default();
    if current != tree {
        return Err(Failure::new(
            FailureKind::Host,
            format!("current names {}, not {}", current.display(), release.id),
            "see who else moves it",
        ));
    }
    let python = programs(stage.layout, release);
    let anything = [PathBuf::from("/")];
    let (mut processes, mut services) = (0, 0);
    for (name, service) in release.services().filter(|(_, service)| chosen(role(service))) {
        if let ServiceKind::Units { units, cutover, .. } = &service.kind {
            for unit in units {
                processes += own_unit(stage, unit, *cutover, &tree, start_time(service)).await?;
            }
            services += 1;
            continue;
        }
        let unit = release.unit(name);
        let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
        // A command may be any program; where it runs shows whose it is.
        let programs: &[PathBuf] = if matches!(service.kind, ServiceKind::Command { .. }) { &anything } else { &python };
        let proven = prove_unit(&stage.host.root, &unit, &state, &Expected { release: &tree, programs });
        let proven = proven.and_then(|count| match role(service) {
            Role::WebUnix => {
                let public = stage.layout.public_socket(stage.app, name);
                prove_listener(&stage.host.root, &public, &unit, &state).map(|()| count)
            }
            Role::WebTcp(address) => prove_connection(&stage.host.root, address, &unit, &state).map(|()| count),
            Role::Worker | Role::Single | Role::Own => Ok(count),
        });
        match proven {
            Ok(count) => processes += count,
            Err(error) => return Err(failure(stage, &unit, &error).await),
        }
        services += 1;
    }
    Ok(format!("{processes} processes of {services} services run {}", release.id))
}

/// The programs that processes of a release are: its interpreter, and what lies in its virtual environment.
pub(crate) fn programs(layout: &Layout, release: &Release) -> [PathBuf; 2] {
    let venv = release.venv(layout);
    let interpreter = std::fs::canonicalize(venv.join("bin/python")).unwrap_or_else(|_| venv.clone());
    [interpreter, std::fs::canonicalize(&venv).unwrap_or(venv)]
}

/// systemd counts a unit of the team's own as started or reloaded before its processes show it: they have their time.
async fn own_unit(stage: &Stage<'_>, unit: &str, cutover: UnitCutover, tree: &Path, within: Duration) -> Result<usize, Failure> {
    let (end, anything) = (Instant::now() + within, [PathBuf::from("/")]);
    loop {
        let state = stage.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        let proven = match cutover {
            UnitCutover::Restart => prove_unit(&stage.host.root, unit, &state, &Expected { release: tree, programs: &anything }),
            UnitCutover::Reload => prove_some(&stage.host.root, unit, &state, tree),
        };
        match proven {
            Ok(count) => return Ok(count),
            Err(error) if state.is_down() || Instant::now() >= end => {
                let mut failure = failure(stage, unit, &error).await;
                if matches!(error, ProofError::NotReloaded { .. }) {
                    failure.hint =
                        "let the unit change to current/ when it reloads (gunicorn: --chdir), or write cutover = \"restart\"".to_owned();
                }
                return Err(failure);
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

async fn failure(stage: &Stage<'_>, unit: &str, error: &ProofError) -> Failure {
    let found = Failure::new(FailureKind::Unit, error.to_string(), "see the unit's last lines");
    stage.with_unit(found, unit).await
}
