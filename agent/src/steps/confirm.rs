//! Confirm: the release is good. The old instances stop, static files of older releases go.

use roadstead_model::{Failure, FailureKind, Millis, OrderKind, ReleaseId, StepName};
use std::time::Duration;

use super::StepContext;
use super::collectstatic;
use super::endings;
use super::publish;
use super::renew;
use super::revert::{Stopped, stop_others};
use super::util::disk;

/// What the step takes beside waiting for old instances.
const REST: Duration = Duration::from_secs(30);
/// Good releases that are remembered.
const GOOD_MAX: usize = 20;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Confirm { release } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let current = context.current();
    if current.as_ref() != Some(&release.id) {
        let serving = current.map_or_else(|| "no release".to_owned(), |id| id.to_string());
        let summary = format!("{} is to be confirmed, but {serving} serves here", release.id);
        return Err(Failure::new(FailureKind::Host, summary, "look at the host's last rollout: it went back by itself or by hand"));
    }
    let serving = context.release(release)?;
    let stopping = stop_others(context, &serving, patience(context.order.deadline));
    let (stopped, published) = tokio::join!(stopping, publish::behind(context, &serving, StepName::Confirm));
    let stopped = stopped?;
    for cut_off in &stopped.cut_off {
        context.say(StepName::Confirm, &cut_off.to_string());
    }
    renew::clear(context, &serving).await?;
    let memory = context.states.update(&context.order.app, |memory| {
        memory.good.retain(|good| *good != release.id);
        memory.good.push(release.id.clone());
        let excess = memory.good.len().saturating_sub(GOOD_MAX);
        memory.good.drain(..excess);
    })?;
    let kept: Vec<ReleaseId> = [Some(release.id.clone()), memory.previous].into_iter().flatten().collect();
    let (layout, app) = (context.layout.clone(), context.order.app.clone());
    let swept = disk(move || collectstatic::sweep(&layout, &app, &kept)).await?;
    // All is done, and the release serves. That work was cut off is told all the same, in the history too.
    if let Some(failure) = endings::failure(&stopped.cut_off) {
        if let Err(failure) = &published {
            context.say(StepName::Confirm, &failure.to_string());
        }
        return Err(failure);
    }
    Ok(note(&stopped, swept, &published?))
}

fn note(stopped: &Stopped, swept: u64, published: &str) -> String {
    let Stopped { count, some_go_on, .. } = stopped;
    let going_on = if *some_go_on { ", some still end what they are at and are not waited for" } else { "" };
    format!("{count} old instances stopped{going_on}, {swept} old static files removed{published}")
}

/// How long old instances are waited for: what is left of the order's time is for the rest of the step.
fn patience(deadline: Millis) -> Duration {
    let whole = deadline.to_duration();
    whole.saturating_sub(REST).max(whole / 2)
}
