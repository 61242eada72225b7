//! Several problems as the one that travels, and those that any balancer may have.

use roadstead_model::{Failure, FailureKind, HostName};

use super::Weights;

/// One problem that tells of all; the first is the one that is told in full.
pub(super) fn joined(problems: Vec<Failure>) -> Option<Failure> {
    let more = problems.len().saturating_sub(1);
    let all: Vec<String> = problems.iter().map(|problem| problem.summary.clone()).collect();
    let first = problems.into_iter().next()?;
    if more == 0 {
        return Some(first);
    }
    let detail = if first.detail.is_empty() { all.join("\n") } else { format!("{}\n{}", all.join("\n"), first.detail) };
    let summary = format!("{} (and {more} more)", first.summary);
    Some(Failure { summary, ..first }.with_detail(&detail))
}

/// Some host of a table takes traffic.
pub(super) fn someone_takes(wanted: &Weights, can: impl Fn(&HostName) -> bool) -> bool {
    wanted.iter().any(|(host, weight)| weight.takes() && can(host))
}

/// What is refused, whoever asks.
pub(super) fn nobody_left(why: &str) -> Failure {
    Failure::new(
        FailureKind::Unfit,
        format!("nobody would be left to take the traffic: {why}; no server is drained"),
        "see which hosts the environment has, and which of them the balancer knows and may send traffic to",
    )
}

/// The balancer knows no such host.
pub(super) fn not_known(host: &HostName, what: &str, hint: &str) -> Failure {
    Failure::new(FailureKind::Unfit, format!("the balancer does not know {host}: {what}"), hint)
}
