//! Following a rollout to its end: a picture that is drawn over on a terminal, a line per change elsewhere.
//!
//! The rollout is the controller's: neither Ctrl-C nor a controller that is away for a while ends it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roadstead_model::StepName;
use roadstead_proto::v1::{GetRolloutRequest, Rollout, RolloutHost};
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::time::sleep;

use super::Controller;
use super::causes::causes;
use super::rollout_lines::changes;
use super::rollout_view::picture;
use crate::args::Wait;
use crate::failure::{Failure, Kind, Result};
use crate::output::{Output, count};

/// How long a controller that went away is waited for.
const AWAY_AT_MOST: Duration = Duration::from_secs(300);
/// How often clocks on a terminal go on.
const REDRAW_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Which end of a rollout is a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The release serves.
    Done,
    /// The release before serves again: what an abort and a rollback ask for.
    Back,
}

/// Follows a rollout that has begun, or only says which it is where nobody waits.
///
/// # Errors
/// As [`follow`].
pub(crate) fn begun(controller: &Controller, rollout: Rollout, wait: Wait, wanted: Wanted, output: &Output) -> Result<()> {
    if wait.is_wanted() {
        return follow(controller, rollout, wanted, output);
    }
    output.result(&summary(&rollout), || format!("r-{}", rollout.id));
    Ok(())
}

/// Follows a rollout until it has ended; its end decides whether this is a failure.
///
/// # Errors
/// When the rollout did not end as wanted, or the controller went away for good, or the user stopped watching.
pub(crate) fn follow(controller: &Controller, first: Rollout, wanted: Wanted, output: &Output) -> Result<()> {
    let (began, told) = (Instant::now(), Cell::new(wanted == Wanted::Done));
    let each = |rollout: &Rollout| {
        let back = if told.get() { None } else { hosts_back(rollout) }?;
        told.set(true);
        Some(format!("the traffic is back on {} after {:.1} s", count(back, "host"), began.elapsed().as_secs_f64()))
    };
    let last = last(controller, first, output, &each, &|_| false)?;
    output.result(&summary(&last), || picture(&last, last.ended_at_ms, output.width()));
    judge(&last, wanted)
}

/// Follows a rollout until it stands as is wanted, or has ended.
///
/// # Errors
/// When the controller went away for good, or the user stopped watching.
pub(crate) fn until(controller: &Controller, first: Rollout, output: &Output, enough: &dyn Fn(&Rollout) -> bool) -> Result<Rollout> {
    last(controller, first, output, &|_| None, enough)
}

/// Follows a rollout; under JSON each change is a line.
///
/// # Errors
/// As [`follow`].
pub(crate) fn watch(controller: &Controller, first: Rollout, output: &Output) -> Result<()> {
    let each = |rollout: &Rollout| {
        if output.is_json() {
            output.line(&summary(rollout), String::new);
        }
        None
    };
    let last = last(controller, first, output, &each, &|_| false)?;
    if !output.is_json() {
        output.stdout(picture(&last, last.ended_at_ms, output.width()).trim_end());
    }
    judge(&last, Wanted::Done)
}

/// On how many hosts the release before has the traffic, once none is left on which that is awaited.
fn hosts_back(rollout: &Rollout) -> Option<usize> {
    let is_back = |host: &&RolloutHost| host.times.iter().any(|time| time.step == StepName::Revert.as_str());
    let awaited = |host: &RolloutHost| matches!(host.state.as_str(), "reverting" | "moving" | "prepared") && !is_back(&host);
    let back = rollout.hosts.iter().filter(is_back).count();
    (back > 0 && !rollout.hosts.iter().any(awaited)).then_some(back)
}

/// Shows a rollout until it has ended. What `each` makes of a change is told beside that.
fn last(
    controller: &Controller,
    first: Rollout,
    output: &Output,
    each: &dyn Fn(&Rollout) -> Option<String>,
    enough: &dyn Fn(&Rollout) -> bool,
) -> Result<Rollout> {
    let is_over = |rollout: &Rollout| rollout.ended_at_ms != 0 || enough(rollout);
    let mut screen = Screen::new(output);
    let mut last = first;
    screen.show(&last);
    let mut lost: Option<Instant> = None;
    while !is_over(&last) {
        let ended = controller.call_interruptibly(async |mut client| {
            let mut coming = client.watch_rollout(GetRolloutRequest { rollout: last.id }).await?.into_inner();
            loop {
                let change = tokio::select! {
                    change = coming.message() => change?,
                    // Clocks on the screen go on when nothing changes.
                    () = sleep(REDRAW_AFTER), if screen.is_live() => {
                        screen.show(&last);
                        continue;
                    }
                };
                let Some(change) = change else { return Ok(()) };
                lost = None;
                screen.show(&change);
                if let Some(text) = each(&change) {
                    screen.say(&text);
                }
                last = change;
                if is_over(&last) {
                    return Ok(());
                }
            }
        });
        match ended {
            None => {
                screen.clear();
                return Err(interrupted(last.id));
            }
            Some(Ok(())) => {}
            Some(Err(failure)) if failure.kind == Kind::Unreachable => {
                let since = *lost.get_or_insert_with(|| {
                    screen.say("the controller does not answer; the rollout goes on as far as its hosts can, and this command tries again");
                    Instant::now()
                });
                if since.elapsed() > AWAY_AT_MOST {
                    screen.clear();
                    return Err(
                        failure.hint(format!("watch it again, when the controller answers, with `roadstead rollout watch r-{}`", last.id))
                    );
                }
            }
            Some(Err(failure)) => {
                screen.clear();
                return Err(failure);
            }
        }
        let pause = async |_| {
            sleep(RETRY_AFTER).await;
            Ok(())
        };
        if !is_over(&last) && controller.call_interruptibly(pause).is_none() {
            screen.clear();
            return Err(interrupted(last.id));
        }
    }
    screen.clear();
    Ok(last)
}

fn interrupted(rollout: u64) -> Failure {
    Failure::new(Kind::Interrupted, format!("r-{rollout} goes on; only this command stops watching it"))
        .hint(format!("watch it again with `roadstead rollout watch r-{rollout}`, or end it with `roadstead rollout abort r-{rollout}`"))
}

/// Whether a rollout ended as wanted.
pub(crate) fn judge(rollout: &Rollout, wanted: Wanted) -> Result<()> {
    // Where no host had moved there was nothing to take back: that is what was asked for, too.
    let none_moved = || !rollout.hosts.is_empty() && rollout.hosts.iter().all(|host| host.state == "abandoned");
    let is_back = || wanted == Wanted::Back && (rollout.phase == "rolled-back" || none_moved());
    if rollout.phase == "done" || is_back() {
        return Ok(());
    }
    let Rollout { id, release, environment, phase, .. } = rollout;
    let mut failure = Failure::failed(format!("rollout r-{id} of {release} to {environment}: {phase}"));
    if let Some(cause) = &rollout.failure {
        failure = failure.cause(cause.summary.clone());
        if !cause.hint.is_empty() {
            failure = failure.hint(cause.hint.clone());
        }
    }
    Err(failure)
}

/// A rollout for programs.
pub(crate) fn summary(rollout: &Rollout) -> serde_json::Value {
    let failure = |failure: &roadstead_proto::v1::Failure| serde_json::json!({ "summary": failure.summary, "hint": failure.hint, "detail": failure.detail });
    let host = |host: &roadstead_proto::v1::RolloutHost| {
        serde_json::json!({
            "host": host.host_name,
            "batch": host.batch + 1,
            "state": host.state,
            "standing": (!host.standing.is_empty()).then_some(&host.standing),
            "attempt": host.attempt + 1,
            "step": host.step,
            "step_note": (!host.step_note.is_empty()).then_some(&host.step_note),
            "failure": host.failure.as_ref().map(failure),
            "steps": host.times.iter().map(|t| serde_json::json!({ "step": t.step, "took_ms": t.took_ms, "note": t.note })).collect::<Vec<_>>(),
        })
    };
    let waiting = (!rollout.waiting_for.is_empty())
        .then(|| serde_json::json!({ "for": rollout.waiting_for, "until_ms": rollout.waiting_until_ms, "then": rollout.waiting_then }));
    serde_json::json!({
        "rollout": format!("r-{}", rollout.id),
        "kind": rollout.kind,
        "job": (!rollout.job.is_empty()).then_some(&rollout.job),
        "environment": rollout.environment,
        "app": rollout.app,
        "release": rollout.release,
        "configuration": (rollout.configuration > 0).then_some(rollout.configuration),
        "previous": rollout.previous,
        "phase": rollout.phase,
        "on_hold": rollout.on_hold,
        "plan": (!rollout.plan.is_empty()).then_some(&rollout.plan),
        "waiting": waiting,
        "reason": rollout.reason,
        "started_by": rollout.started_by,
        "started_at_ms": rollout.started_at_ms,
        "ended_at_ms": rollout.ended_at_ms,
        "failure": rollout.failure.as_ref().map(failure),
        "analysis": super::looks_view::json(rollout),
        "backup": super::backup_view::json(rollout),
        "restore": super::loss_view::json(rollout),
        "causes": causes(rollout).iter().map(|cause| cause.json(rollout.id)).collect::<Vec<_>>(),
        "hosts": rollout.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

struct Screen<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    seen: Option<Rollout>,
}

impl<'a> Screen<'a> {
    fn new(output: &'a Output) -> Self {
        let bar = output.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { output, bar, seen: None }
    }

    const fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    fn show(&mut self, rollout: &Rollout) {
        let now = super::now_ms();
        if let Some(bar) = &self.bar {
            let width = console::Term::stderr().size_checked().map(|(_, columns)| columns.into());
            let lines = picture(rollout, now, width);
            // A line that the terminal wraps would not be drawn over.
            let fits = |line: &str| console::truncate_str(line, width.unwrap_or(usize::MAX), "…").into_owned();
            bar.set_message(lines.lines().map(fits).collect::<Vec<_>>().join("\n"));
            return;
        }
        for line in changes(self.seen.as_ref(), rollout, now) {
            self.output.note(&format!("r-{} {line}", rollout.id));
        }
        self.seen = Some(rollout.clone());
    }

    /// A line for people, above the picture where there is one.
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.output.note(text),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traffic_is_back_when_no_host_is_awaited_any_more() {
        let host = |state: &str, steps: &[&str]| RolloutHost {
            state: state.into(),
            times: steps.iter().map(|step| roadstead_proto::v1::StepTime { step: (*step).into(), ..Default::default() }).collect(),
            ..Default::default()
        };
        let back = |hosts: Vec<RolloutHost>| hosts_back(&Rollout { hosts, ..Default::default() });
        assert_eq!(back(vec![host("reverting", &["revert"]), host("reverting", &[])]), None);
        assert_eq!(back(vec![host("reverting", &["revert"]), host("reverting", &["revert"]), host("abandoned", &[])]), Some(2));
        assert_eq!(back(vec![host("reverted", &["revert", "settle"]), host("stuck", &[])]), Some(1));
        assert_eq!(back(vec![host("abandoning", &[])]), None, "nobody had moved");
    }

    #[test]
    fn the_end_that_was_asked_for_is_a_success() {
        let ended = |phase: &str| Rollout {
            id: 17,
            release: "1.1.0-0123456789ab".into(),
            environment: "staging".into(),
            phase: phase.into(),
            ..Default::default()
        };
        assert!(judge(&ended("done"), Wanted::Done).is_ok() && judge(&ended("rolled-back"), Wanted::Back).is_ok());
        assert!(judge(&ended("done"), Wanted::Back).is_ok(), "a rollback is a rollout of its own, which ends with done");
        let failure = judge(&ended("rolled-back"), Wanted::Done).unwrap_err();
        assert_eq!(failure.to_string(), "Error: rollout r-17 of 1.1.0-0123456789ab to staging: rolled-back");
        assert_eq!(judge(&ended("failed"), Wanted::Back).unwrap_err().kind, Kind::Failed);
        assert_eq!(interrupted(17).kind.code(), 130);
        insta::assert_snapshot!(interrupted(17));
    }
}
