//! A rollout in words, for a tired operator: what it was to do, how far it came, what went wrong, what was done about it and why, where
//! everybody stands, what to do next. Pure: made of the rollout and the lines of its history.

mod decisions;
mod next;
mod progress;
mod standing;

use roadstead_proto::v1::{Event, Rollout};
use serde::Serialize;
use std::fmt::Write as _;

use super::causes::{Cause, causes, of_the_whole};
use super::excerpt::excerpt;
use super::rollout_view::{span, waiting};
use crate::output::count;

/// All that there is to say.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// Which rollout.
    pub(crate) rollout: String,
    /// What it was to do, who wanted that, and why.
    pub(crate) intent: String,
    /// What is awaited, until when, and what happens then; of a rollout that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<String>,
    /// How far it came.
    pub(crate) progress: Vec<String>,
    /// What went wrong, by root, for programs.
    pub(crate) causes: Vec<serde_json::Value>,
    /// The same for people.
    #[serde(skip)]
    told: Vec<String>,
    /// Whether it is done on every host.
    went_well: bool,
    /// What the controller and people did, and why.
    pub(crate) decisions: Vec<decisions::Decision>,
    /// Where everybody stands.
    pub(crate) hosts: Vec<standing::Standing>,
    /// What to do next.
    pub(crate) next: Vec<String>,
}

/// Explains a rollout at a moment. `moment` writes a point in time for people.
pub(crate) fn explain(rollout: &Rollout, events: &[Event], now_ms: u64, moment: &dyn Fn(u64) -> String) -> Explanation {
    let causes = causes(rollout);
    Explanation {
        rollout: format!("r-{}", rollout.id),
        intent: progress::intent(rollout, moment),
        waits_for: waiting(rollout, now_ms),
        progress: progress::progress(rollout, events, now_ms),
        told: told(rollout, &causes),
        went_well: went_well(rollout),
        causes: causes.iter().map(|cause| cause.json(rollout.id)).collect(),
        decisions: decisions::decisions(rollout, events),
        hosts: standing::standing(rollout),
        next: next::next(rollout, &causes),
    }
}

/// Each cause with how it showed, the last lines, and where the whole is.
fn told(rollout: &Rollout, causes: &[Cause<'_>]) -> Vec<String> {
    let mut told = Vec::new();
    for cause in causes {
        let mut text = format!("{} of {} ({}): {}", cause.hosts.len(), count(rollout.hosts.len(), "host"), cause.names(), cause.title());
        if cause.root.is_some() {
            let _infallible = write!(text, "\n{}", cause.failure.summary);
        }
        let last = excerpt(&cause.failure.detail);
        if !last.is_empty() {
            let _infallible = write!(text, "\n{}", last.trim_end());
        }
        if let Some(logs) = cause.logs(rollout.id) {
            let _infallible = write!(text, "\nall of it: `{logs}`");
        }
        told.push(text);
    }
    told.extend(of_the_whole(rollout).map(|failure| failure.summary.clone()));
    told
}

impl Explanation {
    /// As text, in sections; those with nothing to say are left out. What went well is told in one paragraph.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.intent);
        if self.went_well {
            let _infallible =
                writeln!(text, "{}", self.progress.iter().chain(&self.next).map(String::as_str).collect::<Vec<_>>().join(" "));
            return text;
        }
        section(&mut text, "How far it came", &self.progress);
        let waits: Vec<String> = self.waits_for.iter().map(|waits| waits.replace("; then ", "\nthen ")).collect();
        section(&mut text, "What it waits for", &waits);
        section(&mut text, "What went wrong", &self.told);
        let decisions: Vec<String> = self.decisions.iter().map(ToString::to_string).collect();
        section(&mut text, "What was done about it, and why", &decisions);
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        section(&mut text, "Where everybody stands", &hosts);
        section(&mut text, "What to do next", &self.next);
        text
    }
}

fn section(text: &mut String, title: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    let _infallible = writeln!(text, "\n{title}");
    for entry in entries {
        let _infallible = writeln!(text, "  - {}", entry.replace('\n', "\n    "));
    }
}

/// Names of hosts, or the first of them and how many more.
fn names<'a>(hosts: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<&str> = hosts.into_iter().collect();
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// `admin:ada` is ada.
fn person(actor: &str) -> &str {
    match actor.strip_prefix("admin:") {
        Some(name) => name,
        None if actor.is_empty() => "somebody",
        None => actor,
    }
}

/// How long after its beginning something of a rollout was.
fn after(rollout: &Rollout, at_ms: u64) -> String {
    span(at_ms.saturating_sub(rollout.started_at_ms))
}

/// Whether it is done on every host, and nothing went wrong.
fn went_well(rollout: &Rollout) -> bool {
    rollout.phase == "done" && rollout.hosts.iter().all(|host| host.state == "confirmed" && host.failure.is_none())
}

const fn has_ended(rollout: &Rollout) -> bool {
    rollout.ended_at_ms != 0
}

#[cfg(test)]
mod tests;
