//! Blobs streamed to a host: as they lie, from where an earlier attempt broke, or as what differs from one that the host has.
//!
//! A transfer waits for its host in a task. A thread is borrowed for reading only, and only while there is room for what is
//! read: whoever takes nothing holds up nobody, and holds a few parts of memory until the deadline.

mod line;
mod source;
#[cfg(test)]
mod tests;

use roadstead_bundle::store::Store as Blobs;
use roadstead_model::{Digest, HostId, InvalidDigest};
use roadstead_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::status::{denied, internal, status};
use crate::access::Denied;
use line::Line;
use source::Source;

pub(super) use line::Taken;

/// Transfers of one host at a time. Those that died with its connection may not have been noticed yet, so the oldest gives way.
const PER_HOST: usize = 8;
/// Threads that read for all hosts together, and make patches, which take tens of megabytes each.
const READERS: usize = 8;
/// Parts that one turn reads at most, before another transfer has its turn.
const PARTS_AT_ONCE: usize = 128;
/// A transfer of which nothing is taken for so long is over. Hosts give up after half of that.
const TAKEN_AT_LEAST_EVERY: Duration = Duration::from_secs(120);

/// A part, or why there are no more.
type Sent = Result<v1::BlobPart, Status>;

/// A blob that a host wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    digest: Digest,
    base: Option<Digest>,
    offset: u64,
}

impl Want {
    pub(super) fn read(want: &v1::BlobWant) -> Result<Self, InvalidDigest> {
        let base = if want.base.is_empty() { None } else { Some(Digest::from_slice(&want.base)?) };
        Ok(Self { digest: Digest::from_slice(&want.digest)?, base, offset: want.offset })
    }
}

/// All transfers to hosts.
#[derive(Debug)]
pub(crate) struct Transfers {
    readers: Arc<Semaphore>,
    open: Mutex<BTreeMap<HostId, Vec<Weak<Line>>>>,
}

impl Default for Transfers {
    fn default() -> Self {
        Self { readers: Arc::new(Semaphore::new(READERS)), open: Mutex::default() }
    }
}

impl Transfers {
    /// Streams blobs to a host, in the order in which they are wanted, until it has them, is cut off, or takes no more.
    pub(super) fn send(&self, host: &HostId, blobs: Blobs, wants: Vec<Want>, cut: CancellationToken) -> Taken {
        let (parts, taken) = line::line();
        self.admit(host, &taken);
        let sending = Sending { blobs, wants: (0..).zip(wants).collect::<Vec<_>>().into_iter(), current: None, parts, cut };
        tokio::spawn(carry(sending, taken.line(), Arc::clone(&self.readers)));
        taken
    }

    /// Notes a transfer; one too many ends the host's oldest.
    fn admit(&self, host: &HostId, taken: &Taken) {
        // Nothing panics while it holds the lock.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = open.entry(host.clone()).or_default();
        lines.retain(|line| line.strong_count() > 0);
        if lines.len() >= PER_HOST {
            tracing::info!(%host, "a host has too many transfers: its oldest ends");
            end(&lines.remove(0), status(Code::ResourceExhausted, "newer transfers of this host took the place of this one", ""));
        }
        lines.push(taken.line());
    }
}

fn end(line: &Weak<Line>, why: Status) {
    // Where there is no line any more, the host has gone.
    if let Some(line) = line.upgrade() {
        line.end(why);
    }
}

/// Carries a transfer to its end.
async fn carry(mut sending: Sending, line: Weak<Line>, readers: Arc<Semaphore>) {
    loop {
        let room = tokio::select! {
            biased;
            () = sending.cut.cancelled() => return end(&line, denied(Denied::Revoked)),
            room = tokio::time::timeout(TAKEN_AT_LEAST_EVERY, sending.parts.reserve()) => room.map(|room| room.map(drop)),
        };
        match room {
            Ok(Ok(())) => {}
            // The host has gone.
            Ok(Err(_)) => return,
            Err(_) => return end(&line, status(Code::DeadlineExceeded, "the host takes nothing of the transfer", "see the network")),
        }
        // It is never closed.
        let Ok(_reader) = readers.acquire().await else { return };
        let turn = move || {
            let more = sending.turn();
            (sending, more)
        };
        match tokio::task::spawn_blocking(turn).await {
            Ok((rest, true)) => sending = rest,
            Ok((_, false)) => return,
            Err(error) => return end(&line, internal(error)),
        }
    }
}

/// What is still to be sent.
struct Sending {
    blobs: Blobs,
    wants: std::vec::IntoIter<(u32, Want)>,
    current: Option<Source>,
    parts: mpsc::Sender<Sent>,
    cut: CancellationToken,
}

impl Sending {
    /// Reads parts while there is room for them. Whether there is more to send.
    fn turn(&mut self) -> bool {
        for _ in 0..PARTS_AT_ONCE {
            if self.cut.is_cancelled() {
                return true;
            }
            let Ok(room) = self.parts.clone().try_reserve_owned() else { return !self.parts.is_closed() };
            let Some(part) = self.next().transpose() else { return false };
            let failed = part.is_err();
            drop(room.send(part));
            if failed {
                return false;
            }
        }
        true
    }

    fn next(&mut self) -> Result<Option<v1::BlobPart>, Status> {
        if self.current.is_none() {
            let Some((index, want)) = self.wants.next() else { return Ok(None) };
            self.current = Some(Source::open(&self.blobs, index, &want)?);
        }
        let part = self.current.as_mut().map(Source::next).transpose()?;
        if part.as_ref().is_some_and(|part| part.last) {
            self.current = None;
        }
        Ok(part)
    }
}
