//! A rollout as text: hosts as rows, what they do now, what went wrong grouped by its cause. Pure, so that it can be compared.

use super::excerpt::excerpt;
use roadstead_proto::v1::{Failure, Rollout, RolloutHost};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Hosts that are named for one cause; the rest is counted.
const NAMES_PER_CAUSE_MAX: usize = 3;

/// The whole picture: head, one row per host, causes.
pub(crate) fn picture(rollout: &Rollout, now_ms: u64) -> String {
    let mut text = head(rollout, now_ms);
    text.push('\n');
    text.push_str(&host_rows(&rollout.hosts));
    let causes = causes(rollout);
    if !causes.is_empty() {
        text.push('\n');
        text.push_str(&causes);
    }
    text
}

/// One line: what goes where, and how far it is.
pub(crate) fn head(rollout: &Rollout, now_ms: u64) -> String {
    let Rollout { id, kind, app, release, environment, phase, .. } = rollout;
    let end = if rollout.ended_at_ms == 0 { now_ms } else { rollout.ended_at_ms };
    let took = span(end.saturating_sub(rollout.started_at_ms));
    let mut line = format!("r-{id}  {kind} of {app} {release} to {environment}: {phase} after {took}");
    if !rollout.waiting_for.is_empty() {
        let left = rollout.waiting_until_ms.saturating_sub(now_ms);
        let _infallible = write!(line, "; waiting for {}, at most {} more", rollout.waiting_for, span(left));
    }
    line.push('\n');
    line
}

/// One line per host, in columns.
fn host_rows(hosts: &[RolloutHost]) -> String {
    let width = hosts.iter().map(|host| host.host_name.len()).max().unwrap_or(0).max("host".len());
    let mut text = format!("{:width$}  {:>5}  {:<10}  step\n", "host", "batch", "state");
    for host in hosts {
        let row = format!("{:width$}  {:>5}  {:<10}  {}", host.host_name, host.batch + 1, host.state, step(host));
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn step(host: &RolloutHost) -> String {
    if !host.step.is_empty() {
        return match host.step_total {
            0 => host.step.clone(),
            total => format!("{} {}%", host.step, host.step_done.saturating_mul(100) / total),
        };
    }
    let total: u64 = host.times.iter().map(|time| time.took_ms).sum();
    match host.times.last() {
        Some(last) => format!("{} done, {} in all", last.step, span(total)),
        None => String::new(),
    }
}

/// Why it failed, hosts with the same cause together.
fn causes(rollout: &Rollout) -> String {
    let mut by_cause: BTreeMap<(&str, &str), (&Failure, Vec<&str>)> = BTreeMap::new();
    for host in &rollout.hosts {
        if let Some(failure) = &host.failure {
            let entry = by_cause.entry((&failure.summary, &failure.hint)).or_insert((failure, Vec::new()));
            entry.1.push(&host.host_name);
        }
    }
    let mut text = String::new();
    for (failure, names) in by_cause.values() {
        let shown = names.iter().take(NAMES_PER_CAUSE_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > NAMES_PER_CAUSE_MAX { ", …" } else { "" };
        let _infallible = writeln!(text, "{} of {} hosts ({shown}{more}): {}", names.len(), rollout.hosts.len(), failure.summary);
        text.push_str(&excerpt(&failure.detail));
        if !failure.hint.is_empty() {
            let _infallible = writeln!(text, "  Hint: {}", failure.hint);
        }
    }
    if by_cause.is_empty()
        && let Some(failure) = &rollout.failure
    {
        let _infallible = writeln!(text, "{}", failure.summary);
        let _infallible = writeln!(text, "  Hint: {}", failure.hint);
    }
    text
}

/// A span for people: `850 ms`, `4.2 s`, `3 min 10 s`.
pub(crate) fn span(ms: u64) -> String {
    roadstead_model::Millis(ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::StepTime;

    fn host(name: &str, state: &str) -> RolloutHost {
        RolloutHost { host_name: name.into(), state: state.into(), ..Default::default() }
    }

    fn rollout(hosts: Vec<RolloutHost>) -> Rollout {
        Rollout {
            id: 17,
            kind: "rollout".into(),
            app: "erp".into(),
            release: "1.1.0-0123456789ab".into(),
            environment: "staging".into(),
            phase: "moving".into(),
            started_at_ms: 1_000,
            hosts,
            ..Default::default()
        }
    }

    #[test]
    fn hosts_are_rows() {
        let mut fetching = host("web-1", "preparing");
        (fetching.step, fetching.step_done, fetching.step_total) = ("fetch".into(), 25, 100);
        let mut done = host("web-10", "healthy");
        done.times = vec![StepTime { step: "health".into(), took_ms: 1500, note: String::new() }];
        let mut running = rollout(vec![fetching, done]);
        running.waiting_for = "1 hosts of batch 1 of 2 to serve the release".into();
        running.waiting_until_ms = 65_200;
        let expected = "\
r-17  rollout of erp 1.1.0-0123456789ab to staging: moving after 4.2 s; waiting for 1 hosts of batch 1 of 2 to serve the release, at most 1 min 0 s more

host    batch  state       step
web-1       1  preparing   fetch 25%
web-10      1  healthy     health done, 1.5 s in all
";
        assert_eq!(picture(&running, 5_200), expected);
    }

    #[test]
    fn hosts_with_one_cause_are_told_once() {
        let failure = Failure {
            kind: 0,
            summary: "candidate: web did not answer GET /healthz".into(),
            hint: "see `roadstead logs r-17`".into(),
            detail: "Traceback\nImportError: No module named 'x'\u{1b}[31m".into(),
        };
        let failed = |name| RolloutHost { failure: Some(failure.clone()), ..host(name, "failed") };
        let text = causes(&rollout(vec![failed("web-1"), failed("web-2"), host("web-3", "prepared")]));
        let expected = "\
2 of 3 hosts (web-1, web-2): candidate: web did not answer GET /healthz
  | Traceback
  | ImportError: No module named 'x'\u{fffd}[31m
  Hint: see `roadstead logs r-17`
";
        assert_eq!(text, expected);
    }
}
