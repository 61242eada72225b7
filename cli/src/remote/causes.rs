//! What went wrong in a rollout, hosts with the same root together: the largest group first. Pure.

use roadstead_model::{RootCause, StepName, root_cause::likeness};
use roadstead_proto::v1::{Failure, Rollout, RolloutHost};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::excerpt::excerpt;
use crate::output::count;

/// Hosts that are named for one cause; the rest is counted.
const NAMES_PER_CAUSE_MAX: usize = 3;

/// Hosts that failed for one reason.
#[derive(Debug)]
pub(crate) struct Cause<'a> {
    /// The root, where the output tells one.
    pub(crate) root: Option<RootCause>,
    /// How the first of them failed: it stands for all.
    pub(crate) failure: &'a Failure,
    /// Who they are, as the rollout orders them.
    pub(crate) hosts: Vec<&'a RolloutHost>,
}

/// The causes, grouped by their roots, else by what is the same in what was said of each.
pub(crate) fn causes(rollout: &Rollout) -> Vec<Cause<'_>> {
    let mut groups: BTreeMap<String, Cause<'_>> = BTreeMap::new();
    for host in &rollout.hosts {
        let Some(failure) = &host.failure else { continue };
        let root = root_of(failure);
        let key = match &root {
            Some(root) => root.likeness(&host.host_name),
            None => format!("{}\n{}", likeness(&failure.summary, &host.host_name), failure.hint),
        };
        groups.entry(key).or_insert(Cause { root, failure, hosts: Vec::new() }).hosts.push(host);
    }
    let mut causes: Vec<Cause<'_>> = groups.into_values().collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.hosts.len()));
    causes
}

fn root_of(failure: &Failure) -> Option<RootCause> {
    match roadstead_model::Failure::try_from(failure.clone()) {
        Ok(failure) => RootCause::of(&failure),
        // A sort of failure that this command does not know yet.
        Err(_) => RootCause::raised_in(&failure.detail),
    }
}

/// Why the whole rollout ended or goes back, where no host's failure says so, too.
pub(crate) fn of_the_whole(rollout: &Rollout) -> Option<&Failure> {
    let told = |whole: &&Failure| {
        rollout.hosts.iter().filter_map(|host| host.failure.as_ref()).any(|of_host| whole.summary.contains(&of_host.summary))
    };
    rollout.failure.as_ref().filter(|whole| !told(whole))
}

impl Cause<'_> {
    /// The root, or else what failed.
    pub(crate) fn title(&self) -> String {
        self.root.as_ref().map_or_else(|| self.failure.summary.clone(), ToString::to_string)
    }

    /// `web-1, web-2, web-3, …`.
    pub(crate) fn names(&self) -> String {
        let shown = self.hosts.iter().take(NAMES_PER_CAUSE_MAX).map(|host| host.host_name.as_str()).collect::<Vec<_>>().join(", ");
        if self.hosts.len() > NAMES_PER_CAUSE_MAX { format!("{shown}, …") } else { shown }
    }

    /// The command that shows all that the step said; `None` where none failed, or nothing was said.
    pub(crate) fn logs(&self, rollout: u64) -> Option<String> {
        let first = self.hosts.first().filter(|_| !self.failure.detail.is_empty())?;
        let step = step_of(self.failure)?;
        Some(format!("roadstead logs r-{rollout} --host {} --step {step}", first.host_name))
    }

    /// For programs.
    pub(crate) fn json(&self, rollout: u64) -> serde_json::Value {
        let root = self.root.as_ref();
        serde_json::json!({
            "cause": self.title(),
            "exception": root.map(|root| root.exception.as_str()).filter(|name| !name.is_empty()),
            "place": root.and_then(|root| root.place.as_ref()).map(ToString::to_string),
            "summary": self.failure.summary,
            "hint": self.failure.hint,
            "step": step_of(self.failure).map(StepName::as_str),
            "hosts": self.hosts.iter().map(|host| host.host_name.as_str()).collect::<Vec<_>>(),
            "logs": self.logs(rollout),
        })
    }
}

/// The step at which a host failed: its failure begins with it.
pub(crate) fn step_of(failure: &Failure) -> Option<StepName> {
    failure.summary.split([':', ' ']).next()?.parse().ok()
}

/// All causes as the first screen shows them: the root, how it showed, the last words, what to do, where the whole is.
pub(crate) fn told(rollout: &Rollout) -> String {
    let mut text = String::new();
    for cause in causes(rollout) {
        if !text.is_empty() {
            text.push('\n');
        }
        let _infallible =
            writeln!(text, "{} of {} ({}): {}", cause.hosts.len(), count(rollout.hosts.len(), "host"), cause.names(), cause.title());
        if cause.root.is_some() {
            let _infallible = writeln!(text, "  {}", cause.failure.summary);
        }
        text.push_str(&excerpt(&cause.failure.detail));
        hint(&mut text, &cause.failure.hint);
        if let Some(logs) = cause.logs(rollout.id) {
            let _infallible = writeln!(text, "  All of it: `{logs}`");
        }
    }
    if let Some(whole) = of_the_whole(rollout) {
        if !text.is_empty() {
            text.push('\n');
        }
        let _infallible = writeln!(text, "{}", whole.summary);
        hint(&mut text, &whole.hint);
    }
    text
}

fn hint(text: &mut String, hint: &str) {
    if !hint.is_empty() {
        let _infallible = writeln!(text, "  Hint: {hint}");
    }
}

#[cfg(test)]
mod tests;
