//! The hosts of a rollout as rows and their steps as columns, made narrower until they fit.

use roadstead_model::{Millis, StepName};
use roadstead_proto::v1::{Rollout, RolloutHost};

use super::causes::step_of;
use crate::output::{count, size, table};

/// Cells of the bar for bytes.
const BAR_CELLS: usize = 24;

/// Steps that belong together: what one order makes a host do.
const GROUPS: [(&str, &[StepName]); 7] = [
    ("prepare", StepName::PREPARE),
    ("migrate", StepName::MIGRATE),
    ("activate", StepName::ACTIVATE),
    ("confirm", StepName::CONFIRM),
    ("restore", &[StepName::Survey, StepName::Halt, StepName::Restore, StepName::Exchange]),
    ("revert", StepName::REVERT),
    ("work", &[StepName::Backup, StepName::Recheck, StepName::Job]),
];

/// What is not shown as 0.0 s.
const SHOWN_MS: u64 = 100;
/// What is done where no release goes anywhere.
const TEND: usize = 6;

/// A column: one step, or a whole group where there is no room for each.
struct Column {
    title: &'static str,
    steps: &'static [StepName],
}

/// The table, no wider than `width` where that can be done.
pub(crate) fn host_table(rollout: &Rollout, width: Option<usize>) -> String {
    let shown: Vec<usize> = (0..GROUPS.len()).filter(|group| is_shown(rollout, *group)).collect();
    let now = group_of_phase(&rollout.phase);
    // What runs now is folded last.
    let mut order: Vec<usize> = shown.iter().copied().filter(|group| Some(*group) != now).collect();
    order.extend(now.filter(|now| shown.contains(now)));
    let mut text = String::new();
    for folded in 0..=order.len() {
        let columns = columns(rollout, &shown, &order[..folded]);
        text = drawn(rollout, &columns);
        if width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width)) {
            break;
        }
    }
    text
}

/// All bytes that are on their way, as a bar.
pub(crate) fn transfer(hosts: &[RolloutHost]) -> Option<String> {
    let fetching: Vec<_> = hosts.iter().filter(|host| host.step == StepName::Fetch.as_str() && host.step_total > 0).collect();
    let total: u64 = fetching.iter().map(|host| host.step_total).fold(0, u64::saturating_add);
    let done: u64 = fetching.iter().map(|host| host.step_done.min(host.step_total)).fold(0, u64::saturating_add);
    (total > 0).then(|| format!("fetch  {}  {} of {} on {}", bar(done, total), size(done), size(total), count(fetching.len(), "host")))
}

/// `[#####-----]`.
fn bar(done: u64, total: u64) -> String {
    let cells = BAR_CELLS as u128;
    let full = (u128::from(done) * cells / u128::from(total.max(1))).min(cells);
    let full = usize::try_from(full).unwrap_or(BAR_CELLS);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR_CELLS - full))
}

/// Whether it brings no release anywhere, and only works for the database.
pub(super) fn only_tends(rollout: &Rollout) -> bool {
    matches!(rollout.kind.as_str(), "backup" | "recheck" | "job")
}

/// A group is shown once a host has done something of it, and while the rollout is at it.
fn is_shown(rollout: &Rollout, group: usize) -> bool {
    let tends = only_tends(rollout);
    if tends || group == TEND {
        return tends && group == TEND;
    }
    let of_group = |step: &str| GROUPS[group].1.iter().any(|known| known.as_str() == step);
    let touched = |host: &RolloutHost| of_group(&host.step) || host.times.iter().any(|time| of_group(&time.step));
    group_of_phase(&rollout.phase) == Some(group)
        || rollout.hosts.iter().any(|host| touched(host) || failed_step(host).is_some_and(of_group))
}

fn group_of_phase(phase: &str) -> Option<usize> {
    match phase {
        "preparing" => Some(0),
        "migrating" => Some(1),
        "moving" => Some(2),
        "confirming" => Some(3),
        "surveying" | "deciding" | "halting" | "restoring" | "exchanging" => Some(4),
        "starting" | "reverting" => Some(5),
        "tending" => Some(TEND),
        _ => None,
    }
}

/// Whether a host published something, or is at it: most have nowhere to publish to, and its column would only tell that.
fn publishes(rollout: &Rollout) -> bool {
    let publish = StepName::Publish.as_str();
    let took = |host: &RolloutHost| host.times.iter().any(|time| time.step == publish && time.took_ms >= SHOWN_MS);
    rollout.hosts.iter().any(|host| took(host) || failed_step(host) == Some(publish) || host.step == publish)
}

fn columns(rollout: &Rollout, shown: &[usize], folded: &[usize]) -> Vec<Column> {
    let mut columns = Vec::new();
    for group in shown {
        let (title, steps) = GROUPS[*group];
        if folded.contains(group) {
            columns.push(Column { title, steps });
        } else {
            let steps = steps.iter().filter(|step| **step != StepName::Publish || publishes(rollout));
            columns.extend(steps.map(|step| Column { title: step.as_str(), steps: std::slice::from_ref(step) }));
        }
    }
    columns
}

fn drawn(rollout: &Rollout, columns: &[Column]) -> String {
    let head = ["host", "batch", "state"].into_iter().chain(columns.iter().map(|column| column.title));
    let rows = rollout.hosts.iter().map(|host| {
        let batch = if host.batch < rollout.batches { (host.batch + 1).to_string() } else { String::new() };
        let fixed = [host.host_name.clone(), batch, state(host)];
        fixed.into_iter().chain(columns.iter().map(|column| cell(host, column))).collect::<Vec<String>>()
    });
    let mut text = table(head, rows);
    text.push('\n');
    text
}

/// Where a host stands, what an operator made of it, and which attempt this is.
pub(super) fn state(host: &RolloutHost) -> String {
    let mut text = host.state.clone();
    if !host.standing.is_empty() {
        text.push_str(&format!(", {}", host.standing));
    }
    if host.attempt > 0 {
        text.push_str(&format!(", attempt {}", u64::from(host.attempt) + 1));
    }
    text
}

/// How far a host is with the steps of a column: what runs, what failed, or how long all of it took.
fn cell(host: &RolloutHost, column: &Column) -> String {
    let of_column = |step: &str| column.steps.iter().any(|known| known.as_str() == step);
    let named = |step: &str, word: &str| if column.steps.len() > 1 { format!("{step} {word}") } else { word.to_owned() };
    if of_column(&host.step) {
        return match host.step_total {
            0 => named(&host.step, "…"),
            total => named(&host.step, &format!("{}%", u128::from(host.step_done.min(total)) * 100 / u128::from(total))),
        };
    }
    if let Some(step) = failed_step(host).filter(|step| of_column(step)) {
        return named(step, "failed");
    }
    let took = host.times.iter().filter(|time| of_column(&time.step)).map(|time| time.took_ms);
    took.reduce(u64::saturating_add).map(short).unwrap_or_default()
}

fn failed_step(host: &RolloutHost) -> Option<&'static str> {
    step_of(host.failure.as_ref()?).map(StepName::as_str)
}

/// A span in a cell: tenths of seconds up to a minute.
fn short(ms: u64) -> String {
    if ms < 60_000 { format!("{}.{} s", ms / 1000, ms % 1000 / 100) } else { Millis(ms).to_string() }
}
