//! `roadstead history`: who did what, when.

use roadstead_proto::v1::{Event, ListEventsRequest};
use std::collections::VecDeque;

use crate::failure::Result;
use crate::output::{Output, table};
use crate::remote::{Controller, hex, moment};

/// Shows who did what, when: the controller's history, which is only ever added to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead history\n  roadstead history --rollout r-17\n  roadstead history --follow\n\
    That no line was changed or removed is checked by `roadstead-controller verify`, on the controller.")]
pub(crate) struct Arguments {
    /// Only what belongs to this rollout, such as r-17.
    #[arg(long)]
    rollout: Option<roadstead_model::RolloutId>,
    /// The newest lines, so many of them.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Show all lines from the beginning, and each new one as it is written, until interrupted.
    #[arg(short, long, conflicts_with = "limit")]
    follow: bool,
}

/// Prints the lines.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let rollout = arguments.rollout.map_or(0, |rollout| rollout.0);
    let request = ListEventsRequest { rollout, after: 0, limit: 0, follow: arguments.follow };
    let kept = controller.call(async |mut client| {
        let mut events = client.list_events(request).await?.into_inner();
        let mut kept = VecDeque::new();
        while let Some(event) = events.message().await? {
            if arguments.follow {
                output.line(&json(&event), || row(&event).join("  "));
                continue;
            }
            kept.push_back(event);
            if kept.len() > arguments.limit {
                kept.pop_front();
            }
        }
        Ok(kept)
    })?;
    if !arguments.follow {
        let lines: Vec<_> = kept.iter().map(json).collect();
        output.result(&lines, || table(["TIME", "WHO", "WHAT", "TO", ""], kept.iter().map(row)));
    }
    Ok(())
}

fn row(event: &Event) -> [String; 5] {
    [moment(event.at_ms), event.actor.clone(), event.kind.clone(), event.subject.clone(), event.text.clone()]
}

/// For programs.
pub(crate) fn json(event: &Event) -> serde_json::Value {
    serde_json::json!({
        "sequence": event.sequence,
        "at_ms": event.at_ms,
        "actor": event.actor,
        "kind": event.kind,
        "subject": event.subject,
        "text": event.text,
        "hash": hex(&event.hash),
    })
}
