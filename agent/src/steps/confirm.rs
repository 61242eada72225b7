//! Confirm: the release is good. The old instances stop, static files of older releases go.

use roadstead_model::{Failure, FailureKind, OrderKind, ReleaseId};

use super::StepContext;
use super::collectstatic;
use super::renew;
use super::revert::stop_others;
use super::util::disk;

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
    let stopped = stop_others(context, &serving).await?;
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
    Ok(format!("{stopped} old instances stopped, {swept} old static files removed"))
}
