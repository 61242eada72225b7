//! Compatible: what passed of the checks of the release that serves passes with the schema as it is after the migration, too. Until now nothing
//! has moved, and when it does not pass, nothing will. What failed before is no reason: the release that comes may be the one that mends it.

use roadstead_bundle::spec::HttpCheck;
use roadstead_model::{Failure, OrderKind, ReleaseId};
use roadstead_worker::files::{read_bounded, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

use super::StepContext;
use super::release::{Release, Role, role};
use super::util::{disk, on_disk};
use crate::host::probe::Address;

/// What serves answers at once, or not: it has been up for long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// What fails before the migration is not waited for as long.
const LOOKED_AT_FOR: Duration = Duration::from_secs(3);
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Which checks of a release passed before another one's migrations were first applied: by their service and path.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    serving: ReleaseId,
    comes: ReleaseId,
    passed: BTreeSet<String>,
}

/// Looks which checks pass before anything is changed. What was seen before the same release was first tried holds: the schema may have moved
/// since. Another release begins anew: it may be the one that mends what its predecessor broke.
pub(super) async fn look_before(context: &StepContext) -> Result<(), Failure> {
    let Some(serving) = serving(context)? else { return Ok(()) };
    if before(context, &serving).await.is_some() {
        return Ok(());
    }
    let mut passed = BTreeSet::new();
    for one in checks_of(context, &serving) {
        context.go_on()?;
        if one.passes(context, LOOKED_AT_FOR).await.is_ok() {
            passed.insert(one.key());
        }
    }
    let text = serde_json::to_vec(&Before { serving: serving.id.clone(), comes: context.order.kind.release().id.clone(), passed })
        .unwrap_or_default();
    let path = context.layout.checks_before(&context.order.app);
    disk(move || write_atomically(&path, &text, 0o600).map_err(|error| on_disk(&error))).await
}

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let Some(serving) = serving(context)? else { return Ok(not_looked_at(context).to_owned()) };
    let Some(before) = before(context, &serving).await else {
        return Ok("what serves was not looked at before the migration".to_owned());
    };
    let (checks, mut passed) = (checks_of(context, &serving), 0);
    let all = checks.len();
    for one in checks.iter().filter(|one| before.passed.contains(&one.key())) {
        context.go_on()?;
        one.passes(context, ANSWERS_WITHIN).await.map_err(|failure| broken(&serving.id, failure))?;
        passed += 1;
    }
    Ok(match all - passed {
        0 => format!("{} passes its {passed} checks with the new schema", serving.id),
        failed => format!("{} passes {passed} checks with the new schema; {failed} failed before, too", serving.id),
    })
}

/// The release that serves, where it is to be looked at.
fn serving(context: &StepContext) -> Result<Option<Release>, Failure> {
    match (&context.order.kind, context.current()) {
        (OrderKind::Migrate { release, idle: false, .. }, Some(current)) if current != release.id => {
            context.release_by_id(&current).map(Some)
        }
        _ => Ok(None),
    }
}

const fn not_looked_at(context: &StepContext) -> &'static str {
    match &context.order.kind {
        OrderKind::Migrate { idle: true, .. } => "no traffic goes to this host: what it serves is not looked at",
        _ => "nothing else served here before",
    }
}

async fn before(context: &StepContext, serving: &Release) -> Option<Before> {
    let path = context.layout.checks_before(&context.order.app);
    let text = disk(move || read_bounded(&path, FILE_BYTES_MAX).map_err(|error| on_disk(&error))).await.ok()?;
    let before: Before = serde_json::from_slice(&text).ok()?;
    // A change of configuration makes no other schema.
    let comes = &context.order.kind.release().id;
    (before.serving.bare() == serving.id.bare() && before.comes.bare() == comes.bare()).then_some(before)
}

/// One health or smoke check of what serves.
struct Check {
    unit: Option<String>,
    address: Address,
    check: HttpCheck,
}

impl Check {
    fn key(&self) -> String {
        format!("{} {} {}", self.check.service, self.check.status, self.check.path)
    }

    async fn passes(&self, context: &StepContext, at_most: Duration) -> Result<(), Failure> {
        let within = self.check.within.to_duration().min(at_most);
        let stage = context.stage();
        tokio::select! {
            () = context.cancelled.cancelled() => context.go_on(),
            checked = stage.check(self.unit.as_deref(), &self.address, &self.check, within) => checked,
        }
    }
}

/// Its health and its smoke checks, on the addresses where it serves.
fn checks_of(context: &StepContext, serving: &Release) -> Vec<Check> {
    let checks = &serving.manifest.spec.checks;
    let of_service = |(name, service, address): (&roadstead_model::ServiceName, &roadstead_bundle::spec::Service, Address)| {
        let unit = (role(service) != Role::Own).then(|| serving.unit(name));
        let of_it = checks.health.iter().chain(&checks.smoke).filter(|check| check.service == *name);
        of_it.map(|check| Check { unit: unit.clone(), address: address.clone(), check: check.clone() }).collect::<Vec<_>>()
    };
    serving.listening(&context.layout).flat_map(of_service).collect()
}

fn broken(current: &ReleaseId, mut failure: Failure) -> Failure {
    failure.summary = format!("{current}, which serves, does not pass its checks with the migrated database: {}", failure.summary);
    "no host was moved. Take the migration back (manage.py migrate APP NAME-OF-BEFORE), or restore the backup of this rollout; then release \
     the change in two parts: what adds to the schema first, and what takes away once no host runs the older release"
        .clone_into(&mut failure.hint);
    failure
}
