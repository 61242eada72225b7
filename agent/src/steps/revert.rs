//! Revert and settle: an earlier release, still on disk, serves again. While its instances are warm that is a rename; only then come
//! workers and the rest, which have to boot.

use roadstead_model::{Failure, FailureKind, OrderKind, ReleaseId, StepName};
use std::time::Duration;
use tokio::time::timeout;

use super::StepContext;
use super::candidate;
use super::endings::{CutOff, told_during};
use super::proof;
use super::publish;
use super::release::{Release, Role, role};
use super::serve::{Roles, follow, retire, stop_and_look, stop_serving, take_traffic};
use super::stage::Stage;
use super::verdict;

/// Runs the step: the traffic goes back.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Revert { from, to, condemn, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    if *condemn {
        verdict::condemn(&context.layout, &context.order.app, &from.id)?;
    }
    let Some(to) = to else {
        stop_serving(&context.stage()).await?;
        return Ok("nothing serves, as before".to_owned());
    };
    verdict::refuse(&context.layout, &context.order.app, &to.id, "started")?;
    let to = context.release(to)?;
    let warmth = give_traffic(context, &to, *condemn).await?;
    Ok(match warmth {
        Warmth::Warm => format!("{} was warm and has the traffic", to.id),
        Warmth::Started => format!("{} was started again and has the traffic", to.id),
        // Settling asks it once more, and fails if it still does not answer.
        Warmth::Late(why) => format!("{} has the traffic, but does not answer yet: {}", to.id, why.summary),
    })
}

/// Runs the step `settle`: everything else follows the traffic.
pub(crate) async fn settle(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Revert { from, to, condemn, everywhere } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let Some(to) = to else {
        remember(context, None, &from.id, *condemn)?;
        return Ok("nothing runs".to_owned());
    };
    let to = context.release(to)?;
    let proven = told_during(context, settle_on(&context.stage(), &to)).await?;
    let passed = super::health::checks(&context.stage(), &to, Duration::MAX).await?;
    remember(context, Some(&to.id), &from.id, *condemn)?;
    // What is published is everybody's: one host that goes back changes nothing of it. The release serves, which is no worse for what is away.
    let published = match everywhere {
        true => publish::behind(context, &to, StepName::Settle).await.unwrap_or_else(|failure| format!("; {}", failure.summary)),
        false => String::new(),
    };
    Ok(format!("{proven}, {passed} checks passed{published}"))
}

/// Makes `to` serve and asks what else runs to stop. It is the better one even where it does not answer yet: what serves now is known
/// to be bad.
pub(crate) async fn go_back(context: &StepContext, to: &Release) -> Result<(), Failure> {
    let warmth = give_traffic(context, to, true).await?;
    settle_on(&context.stage(), to).await?;
    match warmth {
        Warmth::Late(failure) => Err(failure),
        Warmth::Warm | Warmth::Started => Ok(()),
    }
}

/// How a release was found that gets the traffic back.
enum Warmth {
    /// Its instances ran.
    Warm,
    /// Some had to boot again.
    Started,
    /// Some had to boot again, and do not answer.
    Late(Failure),
}

/// Gives the traffic to `to` and proves it. `anyway`: also when it does not answer yet.
async fn give_traffic(context: &StepContext, to: &Release, anyway: bool) -> Result<Warmth, Failure> {
    let stage = context.stage();
    if !to.tree(&context.layout).is_dir() {
        let summary = format!("{} is not on this host any more", to.id);
        return Err(Failure::new(FailureKind::Host, summary, "deploy it again"));
    }
    let mut warmth = Warmth::Warm;
    for (name, service) in to.services().filter(|(_, service)| role(service) == Role::WebUnix) {
        match (candidate::start_if_down(context, to, name, service).await, &warmth) {
            (Err(failure), _) if anyway => warmth = Warmth::Late(failure),
            (Err(failure), _) => return Err(failure),
            (Ok(false), _) | (Ok(true), Warmth::Late(_)) => {}
            (Ok(true), _) => warmth = Warmth::Started,
        }
    }
    take_traffic(&stage, to).await?;
    proof::prove(&stage, to, Role::has_traffic).await?;
    Ok(warmth)
}

/// Everything that has no traffic follows; what was left behind drains and goes.
async fn settle_on(stage: &Stage<'_>, to: &Release) -> Result<String, Failure> {
    follow(stage, to).await?;
    let proven = proof::prove(stage, to, |_| true).await?;
    let others = stage.others(Some(&to.id)).await?;
    retire(stage, Some(to), &others, &Roles::of(stage, &others)).await?;
    for other in &others {
        stage.host.systemd.ask_to_stop(&other.unit).await.map_err(|error| error.failure())?;
    }
    Ok(proven)
}

/// Marks a release as bad: it is never started or gone back to again.
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

/// What became of the instances that are not of the serving release.
#[derive(Debug, Default)]
pub(crate) struct Stopped {
    /// How many there were.
    pub(crate) count: usize,
    /// Those that did not end by themselves within their time.
    pub(crate) cut_off: Vec<CutOff>,
    /// Whether some still end what they are at, and nobody waits for them any more. systemd ends them when their time is over.
    pub(crate) some_go_on: bool,
}

/// Stops every instance that is not of the serving release, and waits for so long at most.
pub(crate) async fn stop_others(context: &StepContext, serving: &Release, at_most: Duration) -> Result<Stopped, Failure> {
    let stage = context.stage();
    let others = stage.others(Some(&serving.id)).await?;
    let roles = Roles::of(&stage, &others);
    retire(&stage, Some(serving), &others, &roles).await?;
    let count = others.len();
    match timeout(at_most, told_during(context, stop_and_look(&stage, &others, &roles, |_| true))).await {
        Ok(cut_off) => Ok(Stopped { count, cut_off: cut_off?, some_go_on: false }),
        Err(_) => Ok(Stopped { count, cut_off: Vec::new(), some_go_on: true }),
    }
}
