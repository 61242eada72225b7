//! A rollout as text: hosts as rows, steps as columns, what went wrong grouped by its root. Pure, so that it can be compared.

use super::rollout_table::{host_table, transfer};
use super::{backup_view, causes, looks_view, loss_view};
use roadstead_proto::v1::Rollout;
use std::fmt::Write as _;

/// The whole picture: head, one row per host, causes. `width` is that of the terminal, when there is one.
pub(crate) fn picture(rollout: &Rollout, now_ms: u64, width: Option<usize>) -> String {
    let mut text = head(rollout, now_ms);
    text.push('\n');
    text.push_str(&host_table(rollout, width));
    if let Some(transfer) = transfer(&rollout.hosts) {
        let _infallible = writeln!(text, "\n{transfer}");
    }
    text.push_str(&step_notes(rollout));
    if let Some(looks) = looks_view::table_of(rollout) {
        let _infallible = write!(text, "\n{looks}");
    }
    let causes = causes::told(rollout);
    if !causes.is_empty() {
        text.push('\n');
        text.push_str(&causes);
    }
    text
}

/// What the steps that run wait for, a line per host that says so.
fn step_notes(rollout: &Rollout) -> String {
    let notes = rollout.hosts.iter().filter(|host| !host.step_note.is_empty());
    let lines: Vec<String> = notes.map(|host| format!("{}: {} waits: {}\n", host.host_name, host.step, host.step_note)).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// What goes where and how far it is; what is awaited, until when, and what happens then.
pub(crate) fn head(rollout: &Rollout, now_ms: u64) -> String {
    let Rollout { id, kind, app, release, environment, phase, .. } = rollout;
    let end = if rollout.ended_at_ms == 0 { now_ms } else { rollout.ended_at_ms };
    let took = span(end.saturating_sub(rollout.started_at_ms));
    let on_hold = if rollout.on_hold { ", on hold," } else { "" };
    let what = match (kind.as_str(), rollout.backup.as_str()) {
        ("backup", _) => format!("backup of {app} in {environment}"),
        ("job", _) => format!("job {} of {app} {release} in {environment}", rollout.job),
        ("recheck", backup) => format!("another look at {backup} of {app} in {environment}"),
        (_, "") => format!("{kind} of {app} {release} to {environment}"),
        (_, backup) => format!("restore of {backup} in {environment}, with {app} {release}"),
    };
    let mut text = format!("r-{id}  {what}: {phase}{on_hold} after {took}\n");
    if let Some(short) = rollout.plan.get(..12) {
        let _infallible = writeln!(text, "      its plan is {short}: `roadstead plan {environment} {release}` tells it");
    }
    if rollout.configuration > 0 {
        let version = rollout.configuration;
        let _infallible = writeln!(text, "      configuration {version}: `roadstead config list {environment}@{version}` shows it");
    }
    if let Some(backup) = backup_view::line(rollout) {
        let _infallible = writeln!(text, "      backup {backup}");
    }
    text.push_str(&loss_view::lines(rollout).unwrap_or_default());
    if let Some(waiting) = waiting(rollout, now_ms) {
        let _infallible = writeln!(text, "      waits for {}", waiting.replace("; then ", "\n      then "));
    }
    text
}

/// What is awaited, until when, and what happens then.
pub(crate) fn waiting(rollout: &Rollout, now_ms: u64) -> Option<String> {
    if rollout.waiting_for.is_empty() {
        return None;
    }
    let left = match rollout.waiting_until_ms.checked_sub(now_ms) {
        Some(left) => format!("at most {} more", span(left / 1000 * 1000)),
        None => "any moment".to_owned(),
    };
    let then = if rollout.waiting_then.is_empty() { String::new() } else { format!("; then {}", rollout.waiting_then) };
    Some(format!("{}, {left}{then}", rollout.waiting_for))
}

/// A span for people: `850 ms`, `4.2 s`, `3 min 10 s`.
pub(crate) fn span(ms: u64) -> String {
    roadstead_model::Millis(ms).to_string()
}

#[cfg(test)]
mod tests;
