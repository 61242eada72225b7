//! Anything else that shares out traffic: a command of the operator's, which is asked to `show` and told to `set HOST PERCENT`.

mod runner;
mod show;

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, FailureKind, HostName, ServerSeen, Weight};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::problems::{joined, nobody_left, not_known, someone_takes};
use super::{Balancer, Sight, Weights};
use crate::host::Host;
use crate::layout::Layout;
use crate::settings::CommandSettings;
use runner::{OnHost, Runner};

type Shown = BTreeMap<HostName, ServerSeen>;

/// The command of an app.
#[derive(Debug)]
pub(crate) struct Custom {
    runner: Box<dyn Runner>,
}

impl Custom {
    /// Runs nothing yet.
    pub(super) fn of(app: &AppName, settings: CommandSettings, host: Arc<Host>, layout: &Layout) -> Self {
        Self { runner: Box::new(OnHost::new(app, settings, host, layout)) }
    }

    async fn show(&self) -> Result<Shown, Failure> {
        let lines = self.runner.run(&["show".to_owned()]).await?;
        show::read(lines.iter().map(String::as_str)).map_err(|error| {
            let hint = "let `show` print one line for each host, and nothing else but lines that begin with #";
            Failure::new(FailureKind::Command, format!("the command for traffic: {error}"), hint).with_detail(&lines.join("\n"))
        })
    }

    async fn brought(&self, wanted: &Weights) -> Result<Sight, Failure> {
        let before = self.show().await?;
        let changes = changes(wanted, &before);
        let (mut after, mut problems) = (before, Vec::new());
        if !changes.is_empty() {
            for (host, weight) in &changes {
                let set = self.runner.run(&["set".to_owned(), host.to_string(), weight.get().to_string()]).await;
                // Whoever is to take more comes first: who takes less waits until they do.
                if let Err(failure) = set {
                    problems.push(failure);
                    break;
                }
                tracing::info!(%host, "told the command for traffic: {weight}");
            }
            after = self.show().await?;
        }
        let told = problems.is_empty();
        problems.extend(self::problems(wanted, &after, told));
        let servers = after.into_iter().filter(|(host, _)| wanted.contains_key(host)).collect();
        Ok(Sight { servers, problem: joined(problems) })
    }
}

#[async_trait]
impl Balancer for Custom {
    async fn bring(&self, wanted: &Weights) -> Sight {
        self.brought(wanted).await.unwrap_or_else(Sight::failed)
    }
}

/// What is to be set: first who takes more, then who takes less, so that at no moment nobody is left.
fn changes(wanted: &Weights, shown: &Shown) -> Vec<(HostName, Weight)> {
    let differ = |(host, weight): (&HostName, &Weight)| {
        let seen = shown.get(host)?.weight;
        (seen != *weight).then(|| (*weight > seen, host.clone(), *weight))
    };
    let someone_is_left = someone_takes(wanted, |host| shown.contains_key(host));
    let differing: Vec<_> = wanted.iter().filter_map(differ).collect();
    let (more, less): (Vec<_>, Vec<_>) = differing.into_iter().partition(|(more, ..)| *more);
    let less = less.into_iter().filter(|(_, _, weight)| weight.takes() || someone_is_left);
    more.into_iter().chain(less).map(|(_, host, weight)| (host, weight)).collect()
}

/// What is not as wanted. `told` when everything was told that there was to tell.
fn problems(wanted: &Weights, shown: &Shown, told: bool) -> Vec<Failure> {
    let mut problems = Vec::new();
    if !someone_takes(wanted, |host| shown.contains_key(host)) {
        problems.push(nobody_left("the command for traffic shows none of those that are to take it"));
    }
    for (host, weight) in wanted {
        match shown.get(host) {
            None => {
                let hint = "add the host to what the command speaks to, or let `show` print it by its name in Roadstead";
                problems.push(not_known(host, "`show` prints no line for it", hint));
            }
            Some(seen) if seen.weight != *weight && told => {
                let summary = format!("the command for traffic still shows {host} at {} instead of {weight}", seen.weight);
                problems.push(Failure::new(FailureKind::Host, summary, "run it by hand: does `set` come back before it has taken effect?"));
            }
            Some(_) => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests;
