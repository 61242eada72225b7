//! Proof: the processes that serve are shown to be the release's, by what the kernel says of them.

use roadstead_bundle::spec::ServiceKind;
use roadstead_model::{Failure, FailureKind, OrderKind};
use std::path::PathBuf;

use super::StepContext;
use super::release::{Release, Role, role};
use super::stage::Stage;
use crate::host::proof::{Expected, ProofError, prove as prove_unit, prove_connection, prove_listener};

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Activate { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    prove(&context.stage(), &context.release(release)?).await
}

/// Shows it for every service of the release on this host.
pub(crate) async fn prove(stage: &Stage<'_>, release: &Release) -> Result<String, Failure> {
    let current = std::fs::canonicalize(stage.layout.current(stage.app)).unwrap_or_default();
    let tree = std::fs::canonicalize(release.tree(stage.layout)).unwrap_or_default();
    if current != tree {
        return Err(Failure::new(
            FailureKind::Host,
            format!("current names {}, not {}", current.display(), release.id),
            "see who else moves it",
        ));
    }
    let venv = release.venv(stage.layout);
    let interpreter = std::fs::canonicalize(venv.join("bin/python")).unwrap_or_else(|_| venv.clone());
    let python = [interpreter, std::fs::canonicalize(&venv).unwrap_or(venv)];
    let anything = [PathBuf::from("/")];
    let (mut processes, mut services) = (0, 0);
    for (name, service) in release.services() {
        let units = match &service.kind {
            ServiceKind::Units { units, .. } => units.clone(),
            _ => vec![release.unit(name)],
        };
        // Scripts and the team's own units may be any program; where they run shows whose they are.
        let any_program = matches!(service.kind, ServiceKind::Units { .. } | ServiceKind::Command { .. });
        let programs: &[PathBuf] = if any_program { &anything } else { &python };
        for unit in units {
            let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
            let expected = Expected { release: &tree, programs };
            let proven = prove_unit(&stage.host.root, &unit, &state, &expected);
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
        }
        services += 1;
    }
    Ok(format!("{processes} processes of {services} services run {}", release.id))
}

async fn failure(stage: &Stage<'_>, unit: &str, error: &ProofError) -> Failure {
    let found = Failure::new(FailureKind::Unit, error.to_string(), "see the unit's journal below");
    match stage.unit_failure(unit, "").await {
        Some(told) => found.with_detail(&told.detail),
        None => found,
    }
}
