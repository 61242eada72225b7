//! Output of steps: what was kept, then what comes.

use roadstead_model::{HostId, RolloutId, StepName};
use roadstead_proto::v1;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::super::Context;
use super::super::status::{invalid, stored};
use super::{Lines, hosts, put, rollouts};
use crate::store::OutputRecord;
use roadstead_driver::OutputPart;

/// Text of one message.
const TEXT_BYTES: usize = 32 * 1024;

/// Which output is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    rollout: RolloutId,
    host: Option<HostId>,
    step: Option<StepName>,
    follow: bool,
    names: BTreeMap<HostId, String>,
}

impl Wanted {
    pub(super) async fn read(context: &Context, request: v1::StepOutputRequest) -> Result<Self, Status> {
        rollouts::get(context, request.rollout).await?;
        let host = match request.host.as_str() {
            "" => None,
            text => Some(hosts::meant(context, text).await?.id),
        };
        let step = match request.step.as_str() {
            "" => None,
            text => Some(text.parse().map_err(invalid)?),
        };
        let names = context.store.hosts(None).await.map_err(stored)?.into_iter().map(|host| (host.id, host.name.to_string())).collect();
        Ok(Self { rollout: RolloutId(request.rollout), host, step, follow: request.follow, names })
    }

    /// What people call a host.
    fn name(&self, host: &HostId) -> String {
        self.names.get(host).cloned().unwrap_or_else(|| host.to_string())
    }

    fn is(&self, host: &HostId, step: StepName) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted == host) && self.step.is_none_or(|wanted| wanted == step)
    }
}

pub(super) async fn send(context: Arc<Context>, wanted: Wanted, lines: Lines<v1::OutputPart>) -> Result<(), Status> {
    let Some((kept, mut coming)) = context.outputs.follow(wanted.rollout) else {
        let kept = context.store.outputs(wanted.rollout).await.map_err(stored)?;
        return send_kept(&wanted, kept, &lines).await;
    };
    send_kept(&wanted, kept, &lines).await?;
    if !wanted.follow {
        return Ok(());
    }
    let mut missed = 0;
    loop {
        match coming.recv().await {
            Ok(OutputPart { host, step, text, dropped }) if wanted.is(&host, step) => {
                put_text(&lines, (&wanted.name(&host), step), &text, dropped).await?;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(parts)) => {
                missed += parts;
                tracing::debug!(missed, "a reader of output is slow");
            }
            // The rollout has ended.
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn send_kept(wanted: &Wanted, kept: Vec<OutputRecord>, lines: &Lines<v1::OutputPart>) -> Result<(), Status> {
    for output in kept.iter().filter(|output| wanted.is(&output.host, output.step)) {
        let name = wanted.name(&output.host);
        put_text(lines, (&name, output.step), &output.head, 0).await?;
        put_text(lines, (&name, output.step), &output.tail, output.dropped).await?;
    }
    Ok(())
}

/// Sends a text in parts that a message may hold.
async fn put_text(lines: &Lines<v1::OutputPart>, (host, step): (&str, StepName), text: &str, dropped: u64) -> Result<(), Status> {
    let mut rest = text;
    let mut dropped = dropped;
    while !rest.is_empty() || dropped > 0 {
        // Parts end with a line where one does, so that readers need not join them.
        let mut at = rest.len().min(TEXT_BYTES);
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        if at < rest.len() {
            at = rest[..at].rfind('\n').map_or(at, |end| end + 1);
        }
        let (part, later) = rest.split_at(at);
        put(lines, v1::OutputPart { host: host.to_owned(), step: step.to_string(), text: part.to_owned(), dropped }).await?;
        (rest, dropped) = (later, 0);
    }
    Ok(())
}
