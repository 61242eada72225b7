//! `roadstead rollout explain`: a rollout in words.

use roadstead_model::RolloutId;
use roadstead_proto::v1::{Event, ListEventsRequest};

use crate::failure::Result;
use crate::output::Output;
use crate::remote::explain::explain;
use crate::remote::{Controller, moment, now_ms};

/// Lines of one rollout's history that are read: more than 10,000 hosts write in one.
const EVENTS_MAX: u32 = 200_000;

/// Tells what a rollout was to do, how far it came, what went wrong and why, and what to do next.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead rollout explain r-17\n  roadstead rollout explain r-17 --output json")]
pub(crate) struct Arguments {
    /// Such as r-17.
    rollout: RolloutId,
}

/// Explains it.
pub(super) fn run(controller: &Controller, arguments: &Arguments, output: &Output) -> Result<()> {
    let rollout = super::get(controller, arguments.rollout)?;
    let events = events(controller, arguments.rollout)?;
    let explanation = explain(&rollout, &events, now_ms(), &moment);
    output.result(&explanation, || explanation.text());
    Ok(())
}

/// The lines of a rollout's history.
///
/// # Errors
/// Those of a call.
pub(crate) fn events(controller: &Controller, rollout: RolloutId) -> Result<Vec<Event>> {
    let request = ListEventsRequest { rollout: rollout.0, after: 0, limit: EVENTS_MAX, follow: false };
    controller.call(async |mut client| {
        let (mut coming, mut events) = (client.list_events(request).await?.into_inner(), Vec::new());
        while let Some(event) = coming.message().await? {
            events.push(event);
        }
        Ok(events)
    })
}
