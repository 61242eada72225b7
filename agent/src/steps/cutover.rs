//! Cutover: the release gets the traffic, and `current` names it. Undoing it gives both back to the release that the order expected.

use roadstead_model::{Failure, FailureKind, OrderKind};

use super::StepContext;
use super::candidate::{self, expect_current};
use super::endings::told_during;
use super::renew;
use super::revert::go_back;
use super::serve::{Why, serve, stop_serving};

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Activate { release, expected, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    expect_current(context)?;
    if !release.tree(&context.layout).is_dir() {
        let summary = format!("{} is not complete on this host", release.id);
        return Err(Failure::new(FailureKind::Host, summary, "prepare the release again"));
    }
    // Not the traffic to what nobody answers from: hours may lie between the candidate and this, and a reboot.
    let started = tokio::select! {
        () = context.cancelled.cancelled() => return context.go_on().map(|()| String::new()),
        started = candidate::start_again(context, &release) => started?,
    };
    // Before the link moves: whoever comes after a crash knows the way back.
    if let Some(before) = expected.as_ref().filter(|before| **before != release.id) {
        let before = before.clone();
        context.states.update(&context.order.app, |memory| memory.previous = Some(before))?;
    }
    let stage = context.stage();
    let moves = async {
        if context.current().as_ref() == Some(&release.id) {
            renew::others(context, &release).await?;
        }
        serve(&stage, &release, Why::Move).await
    };
    let served = told_during(context, moves).await?;
    Ok(if started == 0 { served } else { format!("{served}, {started} started again") })
}

/// Gives the traffic back.
pub(crate) async fn undo(context: &StepContext) -> Result<(), Failure> {
    let OrderKind::Activate { release, expected, .. } = &context.order.kind else { return Ok(()) };
    if context.current().as_ref() != Some(&release.id) || expected.as_ref() == Some(&release.id) {
        // It never had it, or it had it before the order: nothing to give back.
        return Ok(());
    }
    match expected {
        Some(before) => go_back(context, &context.release_by_id(before)?).await,
        None => stop_serving(&context.stage()).await,
    }
}
