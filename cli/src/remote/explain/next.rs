//! What an operator does next.

use roadstead_proto::v1::Rollout;

use super::{has_ended, names};
use crate::remote::causes::{Cause, of_the_whole};

/// Causes whose hints are told.
const HINTS_MAX: usize = 5;

/// Advice, the most urgent first.
pub(super) fn next(rollout: &Rollout, causes: &[Cause<'_>]) -> Vec<String> {
    let Rollout { id, environment, .. } = rollout;
    let of_state =
        |state: &str| rollout.hosts.iter().filter(|host| host.state == state).map(|host| host.host_name.as_str()).collect::<Vec<_>>();
    let mut told = Vec::new();
    let stuck = of_state("stuck");
    if !stuck.is_empty() {
        let who = names(stuck);
        told.push(format!(
            "look at {who} yourself: `roadstead-agent doctor` there says what is wrong; docs/recovery.md says how it goes on"
        ));
    }
    for cause in causes.iter().take(HINTS_MAX) {
        told.extend(of_cause(cause).filter(|hint| !told.contains(hint)));
    }
    let whole = of_the_whole(rollout).map(|failure| failure.hint.clone());
    told.extend(whole.filter(|hint| !hint.is_empty() && !told.contains(hint)));
    if !has_ended(rollout) {
        told.push(format!("follow it: `roadstead rollout watch r-{id}`; end it: `roadstead rollout abort r-{id} --reason '…'`"));
        return told;
    }
    if !of_state("level-later").is_empty() {
        told.push(format!("see when the hosts that were left out are heard again: `roadstead host list --env {environment}`"));
    }
    if rollout.phase == "done" {
        if rollout.kind == "rollout" && told.is_empty() {
            told.push(format!("Should the release prove wrong: `roadstead rollback {environment} --reason '…'`."));
        }
    } else if rollout.kind == "rollout" && causes.iter().any(is_the_releases_own) {
        told.push(format!(
            "then deploy a new version; whether this one may be deployed again says `roadstead release show {}`",
            rollout.release
        ));
    }
    told
}

/// Whether another release is what helps: its own programs failed, not the host, the network or the clock.
fn is_the_releases_own(cause: &Cause<'_>) -> bool {
    use roadstead_proto::v1::FailureKind::{Check, Command, Unit};
    matches!(cause.failure.kind(), Command | Unit | Check)
}

fn of_cause(cause: &Cause<'_>) -> Option<String> {
    if let Some(place) = cause.root.as_ref().and_then(|root| root.place.as_ref()) {
        return Some(format!("look at {place} in the release's commit"));
    }
    (!cause.failure.hint.is_empty()).then(|| cause.failure.hint.clone())
}
