//! Following a rollout to its end: a picture that is drawn over on a terminal, a line per change elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roadstead_proto::v1::operator_client::OperatorClient;
use roadstead_proto::v1::{GetRolloutRequest, Rollout};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Controller;
use super::rollout_view::picture;
use crate::failure::{Failure, Kind, Result};
use crate::output::Output;

/// How long a controller that went away is waited for: a restart or an upgrade is shorter.
const AWAY_AT_MOST: Duration = Duration::from_secs(180);
/// How long until it is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Follows a rollout until it has ended; its end decides whether this is a failure.
///
/// # Errors
/// When the rollout did not end well, or the controller went away for good.
pub(crate) fn follow(controller: &Controller, rollout: u64, output: &Output) -> Result<()> {
    ended(&last(controller, rollout, output)?, output)
}

/// Follows a rollout of which only one thing is asked: that it goes back.
///
/// # Errors
/// When some host did not go back, or the controller went away for good.
pub(crate) fn follow_back(controller: &Controller, rollout: u64, output: &Output) -> Result<()> {
    let last = last(controller, rollout, output)?;
    // Where no host had moved there was nothing to take back: that is what was asked for, too.
    let none_moved = !last.hosts.is_empty() && last.hosts.iter().all(|host| host.state == "abandoned");
    if last.phase == "rolled-back" || none_moved {
        output.result(&summary(&last), || picture(&last, last.ended_at_ms));
        return Ok(());
    }
    ended(&last, output)
}

/// Shows a rollout until it has ended. A controller that goes away meanwhile is waited for: the rollout goes on without onlookers.
fn last(controller: &Controller, rollout: u64, output: &Output) -> Result<Rollout> {
    let mut screen = Screen::new(output);
    let mut heard = Instant::now();
    loop {
        let shown = controller.call(async |client| Ok(show(client, rollout, &mut screen, &mut heard).await))?;
        let status = match shown {
            Ok(Some(last)) => {
                screen.clear();
                return Ok(last);
            }
            Ok(None) => None,
            Err(status) if is_lost(&status) => Some(status),
            Err(status) => return Err(controller.refusal(&status)),
        };
        screen.lost();
        if heard.elapsed() >= AWAY_AT_MOST {
            let lost =
                status.map_or_else(|| Failure::new(Kind::Unreachable, "the controller ends every watch"), |s| controller.refusal(&s));
            return Err(lost
                .hint(format!("the rollout goes on without you: see `roadstead rollout watch r-{rollout}` once the controller is there")));
        }
        controller.sleep(LOOK_AGAIN);
    }
}

/// Shows what the controller tells. `None` when it stopped telling before the end.
async fn show(
    mut client: OperatorClient<Channel>,
    rollout: u64,
    screen: &mut Screen<'_>,
    heard: &mut Instant,
) -> std::result::Result<Option<Rollout>, Status> {
    let mut changes = client.watch_rollout(GetRolloutRequest { rollout }).await?.into_inner();
    while let Some(change) = changes.message().await? {
        *heard = Instant::now();
        screen.show(&change);
        if change.ended_at_ms != 0 {
            return Ok(Some(change));
        }
    }
    Ok(None)
}

/// Whether a status means that the controller went away, and not that it refused.
fn is_lost(status: &Status) -> bool {
    // What was made of a broken connection has that as its source; what the controller said has none.
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// The end of a rollout, told and judged.
pub(crate) fn ended(rollout: &Rollout, output: &Output) -> Result<()> {
    output.result(&summary(rollout), || picture(rollout, rollout.ended_at_ms));
    if rollout.phase == "done" {
        return Ok(());
    }
    let mut failure =
        Failure::failed(format!("rollout r-{} of {} to {}: {}", rollout.id, rollout.release, rollout.environment, rollout.phase));
    if let Some(cause) = &rollout.failure {
        failure = failure.cause(cause.summary.clone()).hint(cause.hint.clone());
    }
    Err(failure)
}

/// A rollout for programs.
pub(crate) fn summary(rollout: &Rollout) -> serde_json::Value {
    let host = |host: &roadstead_proto::v1::RolloutHost| {
        serde_json::json!({
            "host": host.host_name,
            "batch": host.batch + 1,
            "state": host.state,
            "failure": host.failure.as_ref().map(|f| &f.summary),
            "steps": host.times.iter().map(|t| serde_json::json!({ "step": t.step, "took_ms": t.took_ms, "note": t.note })).collect::<Vec<_>>(),
        })
    };
    serde_json::json!({
        "rollout": format!("r-{}", rollout.id),
        "kind": rollout.kind,
        "environment": rollout.environment,
        "app": rollout.app,
        "release": rollout.release,
        "previous": rollout.previous,
        "phase": rollout.phase,
        "started_at_ms": rollout.started_at_ms,
        "ended_at_ms": rollout.ended_at_ms,
        "failure": rollout.failure.as_ref().map(|f| &f.summary),
        "hosts": rollout.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

struct Screen<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    said: String,
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
        Self { output, bar, said: String::new() }
    }

    fn show(&mut self, rollout: &Rollout) {
        let now = super::now_ms();
        if let Some(bar) = &self.bar {
            bar.set_message(picture(rollout, now));
            return;
        }
        let states: Vec<String> = rollout.hosts.iter().map(|h| format!("{} {} {}", h.host_name, h.state, h.step)).collect();
        let line = format!("{}: {}", rollout.phase, states.join(", "));
        if line != self.said {
            self.output.note(&format!("r-{} {line}", rollout.id));
            self.said = line;
        }
    }

    /// The controller went away; said once.
    fn lost(&mut self) {
        let line = "the controller does not answer; the rollout goes on, and this waits for the controller";
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if self.said != line => self.output.note(line),
            None => {}
        }
        line.clone_into(&mut self.said);
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
