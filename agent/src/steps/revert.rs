//! Revert: an earlier release, still on disk, serves again. While its instances are warm that is a rename.

use roadstead_model::{Failure, FailureKind, OrderKind, ReleaseId};

use super::StepContext;
use super::candidate;
use super::proof;
use super::release::{Release, Role, role};
use super::serve::{Roles, Why, retire, serve, stop_all, stop_serving};
use super::util::on_disk;
use crate::files::{create_private_folder, write_atomically};

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Revert { from, to, condemn } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    if *condemn {
        mark_bad(context, &from.id)?;
    }
    let Some(to) = to else {
        stop_serving(&context.stage()).await?;
        remember(context, None, &from.id, *condemn)?;
        return Ok("nothing serves, as before".to_owned());
    };
    if context.layout.bad_mark(&context.order.app, &to.id).exists() {
        let summary = format!("{} was marked bad on this host and is never started again", to.id);
        return Err(Failure::new(FailureKind::Unfit, summary, "go back to another release, or build a new version"));
    }
    let to = context.release(to)?;
    let note = go_back(context, &to, *condemn).await?;
    super::health::checks(&context.stage(), &to).await?;
    remember(context, Some(&to.id), &from.id, *condemn)?;
    Ok(note)
}

/// Makes `to` serve and asks what else runs to stop. `anyway`: what serves now is known to be bad, so a release that does not answer yet
/// is still the better one.
pub(crate) async fn go_back(context: &StepContext, to: &Release, anyway: bool) -> Result<String, Failure> {
    let stage = context.stage();
    if !to.tree(&context.layout).is_dir() {
        let summary = format!("{} is not on this host any more", to.id);
        return Err(Failure::new(FailureKind::Host, summary, "deploy it again"));
    }
    let mut cold = 0;
    let mut late = None;
    for (name, service) in to.services().filter(|(_, service)| role(service) == Role::WebUnix) {
        let unit = to.unit(name);
        if stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?.is_active() {
            continue;
        }
        cold += 1;
        let started = async {
            let account = super::account::of(&context.layout, &context.order.app)?;
            super::configure::make_folders(&context.layout, to, &account)?;
            stage.start(&unit, service).await?;
            candidate::check(&stage, to, name, service, &unit).await
        };
        match started.await {
            Err(failure) if anyway => late = Some(failure),
            other => drop(other?),
        }
    }
    serve(&stage, to, Why::Move).await?;
    proof::prove(&stage, to).await?;
    // What was left behind drains and goes.
    let others = stage.others(Some(&to.id)).await?;
    retire(&stage, Some(to), &others, &Roles::of(&stage, &others)).await?;
    for other in &others {
        stage.host.systemd.ask_to_stop(&other.unit).await.map_err(|error| error.failure())?;
    }
    match (late, cold) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(format!("{} was warm", to.id)),
        (None, _) => Ok(format!("{} was started again", to.id)),
    }
}

/// Marks a release as bad: it is never started or gone back to again.
pub(crate) fn mark_bad(context: &StepContext, release: &ReleaseId) -> Result<(), Failure> {
    let app = &context.order.app;
    create_private_folder(&context.layout.bad_marks(app)).map_err(|error| on_disk(&error))?;
    let mark = context.layout.bad_mark(app, release);
    if mark.exists() {
        return Ok(());
    }
    write_atomically(&mark, b"", 0o600).map_err(|error| on_disk(&error))
}

fn remember(context: &StepContext, now: Option<&ReleaseId>, left: &ReleaseId, condemned: bool) -> Result<(), Failure> {
    let layout = &context.layout;
    context.states.update(&context.order.app, |memory| {
        if condemned {
            memory.good.retain(|good| good != left);
        }
        let usable = |id: &&ReleaseId| Some(*id) != now && layout.release(&context.order.app, id).is_dir();
        memory.previous = memory.good.iter().rev().find(usable).cloned();
    })?;
    Ok(())
}

/// Stops every instance that is not of the serving release, and waits.
pub(crate) async fn stop_others(context: &StepContext, serving: &Release) -> Result<usize, Failure> {
    let stage = context.stage();
    let others = stage.others(Some(&serving.id)).await?;
    let roles = Roles::of(&stage, &others);
    retire(&stage, Some(serving), &others, &roles).await?;
    stop_all(&stage, &others, &roles, |_| true).await?;
    Ok(others.len())
}
