//! The history.

use roadstead_proto::v1;
use std::sync::Arc;
use tonic::Status;

use super::super::Context;
use super::super::status::stored;
use super::{Lines, put};
use crate::store::EventRecord;

/// Lines that are read at a time.
const PAGE: u32 = 500;

/// Lines of the history, then those that are added, when that is wanted.
pub(super) async fn list(context: Arc<Context>, request: v1::ListEventsRequest, lines: Lines<v1::Event>) -> Result<(), Status> {
    let mut newest = context.store.newest_event();
    let mut after = request.after;
    let mut left = if request.limit == 0 { u64::MAX } else { u64::from(request.limit) };
    loop {
        newest.mark_unchanged();
        loop {
            let page = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let events = context.store.events(request.rollout, after, page).await.map_err(stored)?;
            let whole = events.len() == page as usize;
            for event in events {
                after = event.sequence;
                left -= 1;
                put(&lines, shown(event)).await?;
            }
            if left == 0 {
                return Ok(());
            }
            if !whole {
                break;
            }
        }
        if !request.follow || newest.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn shown(event: EventRecord) -> v1::Event {
    v1::Event {
        sequence: event.sequence,
        at_ms: event.at.0,
        actor: event.actor,
        kind: event.kind,
        subject: event.subject,
        text: event.text,
        hash: event.hash.as_bytes().to_vec(),
    }
}
