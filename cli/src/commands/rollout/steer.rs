//! Steering a rollout that runs. Each action asks why, is kept in the history, and is done when the command returns, or refused.

use clap::Subcommand;
use roadstead_model::{Millis, RolloutId};
use roadstead_proto::v1::steer_rollout_request::{Abort, Approve, Pause, Promote, Resume, Steer};
use roadstead_proto::v1::{Rollout, SteerRolloutRequest};

use crate::args::Wait;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::remote::rollout_view::head;
use crate::remote::watch::{self, Wanted};
use crate::remote::{Controller, now_ms, spans};

/// What is done.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Approves a rollout that waits at its gates, as one of those who are asked. Whoever asked for it cannot.
    #[command(after_help = "Examples:\n  roadstead rollout approve r-17 --reason 'read the plan'\n  \
        roadstead rollout approve r-17 --as dba --reason 'the migration is short'")]
    Approve {
        #[command(flatten)]
        meant: Meant,
        /// As what, where you have several of the roles that are asked for.
        #[arg(long = "as", value_name = "ROLE", default_value = "", hide_default_value = true)]
        role: String,
    },
    /// Pauses a rollout: nothing further begins, what has begun goes on.
    ///
    /// Hosts that are lost count as before. A migration is not cut off, but no host moves after it. A rollout that nobody resumes goes
    /// back.
    #[command(after_help = "Examples:\n  roadstead rollout pause r-17 --reason 'the queue grows'\n  \
        roadstead rollout pause r-17 --for 30m --reason 'lunch'")]
    Pause {
        #[command(flatten)]
        meant: Meant,
        /// When it goes back, unless somebody resumes it; the environment's `decide` (4 hours) when nothing is said, a week at most.
        #[arg(long = "for", value_name = "TIME", value_parser = spans::parse)]
        within: Option<Millis>,
    },
    /// Lets a paused rollout go on, with what is unfinished.
    #[command(after_help = "Example:\n  roadstead rollout resume r-17 --reason 'the queue is empty'")]
    Resume {
        #[command(flatten)]
        meant: Meant,
    },
    /// Ends the bake of the batch that has moved: the next one moves, or the release is confirmed.
    ///
    /// A step of a canary with `promote = "manual"` waits for this.
    #[command(after_help = "Examples:\n  roadstead rollout promote r-17 --reason 'no errors for an hour'\n  \
        roadstead rollout promote r-17 --all --reason 'a hotfix'")]
    Promote {
        #[command(flatten)]
        meant: Meant,
        /// No batch before the last bakes any more.
        #[arg(long)]
        all: bool,
    },
    /// Tries a host again that failed or was given up, from its preparation on.
    #[command(after_help = "Example:\n  roadstead rollout retry r-17 web-2 --reason 'its disk has room again'")]
    Retry {
        #[command(flatten)]
        meant: Meant,
        /// The host, by its name or its id.
        host: String,
    },
    /// Lets a host that failed or was given up not count against the failure budget. It comes level later by itself.
    #[command(after_help = "Example:\n  roadstead rollout ignore r-17 web-2 --reason 'it is being replaced'")]
    Ignore {
        #[command(flatten)]
        meant: Meant,
        /// The host, by its name or its id.
        host: String,
    },
    /// Takes a host out of the rollout: it serves what it served, and gets the release with the next deployment at the earliest.
    #[command(after_help = "Example:\n  roadstead rollout exclude r-17 web-2 --reason 'kept for the investigation'")]
    Exclude {
        #[command(flatten)]
        meant: Meant,
        /// The host, by its name or its id.
        host: String,
    },
    /// Ends a rollout: hosts that moved go back, the others clear up.
    #[command(after_help = "Example:\n  roadstead rollout abort r-17 --reason 'wrong release'")]
    Abort {
        #[command(flatten)]
        meant: Meant,
        #[command(flatten)]
        wait: Wait,
    },
}

/// Which rollout, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Meant {
    /// Such as r-17.
    rollout: RolloutId,
    /// Why, for the history.
    #[arg(long)]
    reason: String,
}

/// Does it.
pub(super) fn run(controller: &Controller, action: &Action, output: &Output) -> Result<()> {
    if matches!(action, Action::Pause { within: Some(Millis(0)), .. }) {
        return Err(Failure::usage("a pause of no time is none").hint("say --for 30m, or leave it out"));
    }
    let (meant, steer, done) = asked(action);
    let request = SteerRolloutRequest { rollout: meant.rollout.0, reason: meant.reason.clone(), steer: Some(steer) };
    let rollout = controller.call(async |mut client| Ok(client.steer_rollout(request).await?.into_inner()))?;
    match action {
        Action::Abort { wait, .. } if wait.is_wanted() => watch::follow(controller, rollout, Wanted::Back, output),
        _ => {
            output.result(&watch::summary(&rollout), || told(&rollout, &done, now_ms()));
            Ok(())
        }
    }
}

/// What is sent, and what to say when it is done.
fn asked(action: &Action) -> (&Meant, Steer, String) {
    match action {
        Action::Approve { meant, role } => (meant, Steer::Approve(Approve { role: role.clone() }), "is approved".to_owned()),
        Action::Pause { meant, within } => {
            let within_ms = within.map_or(0, |within| within.0);
            (meant, Steer::Pause(Pause { within_ms }), "is paused".to_owned())
        }
        Action::Resume { meant } => (meant, Steer::Resume(Resume {}), "goes on".to_owned()),
        Action::Promote { meant, all } => (meant, Steer::Promote(Promote { all: *all }), "is promoted".to_owned()),
        Action::Retry { meant, host } => (meant, Steer::Retry(host.clone()), format!("tries {host} again")),
        Action::Ignore { meant, host } => (meant, Steer::Ignore(host.clone()), format!("does not count {host} any more")),
        Action::Exclude { meant, host } => (meant, Steer::Exclude(host.clone()), format!("goes on without {host}")),
        Action::Abort { meant, .. } => (meant, Steer::Abort(Abort {}), "is ending".to_owned()),
    }
}

/// What was done, and where the rollout stands now.
fn told(rollout: &Rollout, done: &str, now_ms: u64) -> String {
    format!("r-{} {done}\n{}", rollout.id, head(rollout, now_ms).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_with_what_is_awaited_now() {
        let rollout = Rollout {
            id: 17,
            kind: "rollout".into(),
            app: "erp".into(),
            release: "1.4.2-0123456789ab".into(),
            environment: "production".into(),
            phase: "moving".into(),
            on_hold: true,
            started_at_ms: 1_000,
            waiting_for: "an operator to resume it: admin:ada paused it, the queue grows".into(),
            waiting_until_ms: 14_501_000,
            waiting_then: "it goes back".into(),
            ..Rollout::default()
        };
        insta::assert_snapshot!(told(&rollout, "is paused", 101_000));
    }
}
