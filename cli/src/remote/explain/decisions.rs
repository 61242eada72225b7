//! What the controller and people did to a rollout, and why, out of the lines of its history.

use roadstead_proto::v1::{Event, Rollout};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

use super::{after, names, person};

/// Decisions that are told; of more, the last.
const DECISIONS_MAX: usize = 30;

/// Something that was done.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Decision {
    /// How long after the rollout's beginning.
    pub(crate) after: String,
    /// When, in milliseconds since 1970 UTC.
    pub(crate) at_ms: u64,
    /// What, by whom, and why.
    pub(crate) what: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}: {}", self.after, self.what)
    }
}

/// What was decided, as it followed. What hosts did and how they failed is told elsewhere.
pub(super) fn decisions(rollout: &Rollout, events: &[Event]) -> Vec<Decision> {
    let mut told: Vec<(u64, String)> = Vec::new();
    let mut left: BTreeMap<&str, (u64, Vec<&str>)> = BTreeMap::new();
    let mut aborted = false;
    for event in events {
        let text = event.text.as_str();
        let what = match event.kind.as_str() {
            "rollout-aborted" => {
                aborted = true;
                let why = if text.is_empty() { "gave no reason".to_owned() } else { format!("said why: {text}") };
                Some(format!("{} aborted it, and {why}", person(&event.actor)))
            }
            "asking" | "resumed" | "gates-open" => Some(text.to_owned()),
            "aborting" => Some("a migration is never interrupted: it is let through, and then nobody moves".to_owned()),
            // The line before said who and why.
            "going-back" if aborted && text.starts_with("aborted by") => {
                Some("hosts that had moved were told to go back, the others to clear up".to_owned())
            }
            "going-back" => Some(format!("the way back began, because {}", reason(text))),
            "giving-way" => Some(format!("{text}: no more hosts move")),
            "host-left" => {
                let (name, why) = text.split_once(": ").unwrap_or(("a host", text));
                left.entry(why).or_insert((event.at_ms, Vec::new())).1.push(name);
                None
            }
            "variables-unused" => Some(text.to_owned()),
            "ended" => Some(format!("it ended as {text}")),
            kind if steered(kind).is_some() => {
                let (who, what) = (person(&event.actor), steered(kind).unwrap_or_default());
                Some(format!("{who} {what}{}{text}", if kind.starts_with("host-") { " " } else { ": " }))
            }
            _ if event.actor.starts_with("admin:") && !is_beginning(&event.kind) => Some(format!(
                "{}: {}{}",
                person(&event.actor),
                event.kind,
                if text.is_empty() { String::new() } else { format!(": {text}") }
            )),
            _ => None,
        };
        told.extend(what.map(|what| (event.at_ms, what)));
    }
    told.extend(left.into_iter().map(|(why, (at, hosts))| (at, format!("left out: {}, because {why}", names(hosts)))));
    // Lines of one moment stay in their order.
    told.sort_by_key(|(at, _)| *at);
    let skipped = told.len().saturating_sub(DECISIONS_MAX);
    told.into_iter().skip(skipped).map(|(at_ms, what)| Decision { after: after(rollout, at_ms), at_ms, what }).collect()
}

/// What somebody did to a rollout; of a host, its name and the reason follow.
fn steered(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "rollout-approved" => "approved it",
        "rollout-paused" => "paused it",
        "rollout-resumed" => "let it go on",
        "rollout-promoted" => "promoted it",
        "host-retried" => "had a host tried again,",
        "host-ignored" => "said that a host does not count any more,",
        "host-excluded" => "took a host out,",
        _ => return None,
    })
}

fn is_beginning(kind: &str) -> bool {
    matches!(kind, "rollout-started" | "rollback-started" | "level-started")
}

/// A budget that is used up says so by itself: the failure that it goes on with is told among the causes.
fn reason(text: &str) -> String {
    match text.split_once(" may be: ") {
        Some((budget, _)) => match budget.split_once(" hosts lost, ") {
            Some((lost, may)) => format!("{lost} hosts are lost, and the failure budget allows {may}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}
