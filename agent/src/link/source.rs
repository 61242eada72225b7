//! Releases from the controller, over the channel of the open session.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use roadstead_model::{Digest, Failure, FailureKind, limits};
use roadstead_proto::v1::{self, fleet_client::FleetClient};
use roadstead_worker::failure::{called_off, host_failure};
use roadstead_worker::files::FileError;
use roadstead_worker::output::ProgressSink;
use roadstead_worker::redial::pause;
use roadstead_worker::tasks::blocking;
use std::collections::BTreeSet;
use std::path::Path;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::session::spoken;
use super::{OpenChannel, chance};
use crate::fetch::receive::{Encoding, Part, ReceiveError, Receiver, Want};
use crate::fetch::shelf::Shelf;
use crate::fetch::tree::{Tree, TreeError};
use crate::fetch::{Fetched, ReceivedRelease, ReceivedSignature, ReleaseSource};

/// How long a call waits for a session to be there.
const SESSION_AT_MOST: Duration = Duration::from_secs(120);
/// How long the controller may take to answer a call, and between two parts of a blob.
const ANSWER_AT_MOST: Duration = Duration::from_secs(60);
/// Attempts in a row that get no further.
const ATTEMPTS_MAX: u32 = 6;
/// Bytes of blobs in one request, beyond the first blob: after them their names are made durable.
const REQUEST_BYTES: u64 = 64 * 1024 * 1024;

/// Parts that go to the disk in one turn, when so many have come.
const PARTS_AT_ONCE: usize = 32;

/// The controller as the place where releases come from.
#[derive(Debug)]
pub(crate) struct ControllerSource {
    channel: OpenChannel,
}

/// Why a call did not end well.
enum CallError {
    /// Another attempt may help.
    Passing(String),
    /// The controller said no.
    Final(String),
    /// A blob is not what its digest says.
    Wrong(String),
    /// The host's own disk.
    Host(FileError),
    /// Nobody wants it any more.
    CalledOff,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::NotFound | Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented | Code::FailedPrecondition => {
                Self::Final(spoken(&status))
            }
            _ => Self::Passing(spoken(&status)),
        }
    }
}

impl From<ReceiveError> for CallError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::File(error) => Self::Host(error),
            ReceiveError::Disorder(_) => Self::Final(error.to_string()),
            ReceiveError::Wrong { .. } => Self::Wrong(error.to_string()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Passing(why) => transfer(why, "look at the network between the host and the controller, then deploy again"),
            CallError::Final(why) => transfer(why, "push the release again with `roadstead push`, then deploy again"),
            CallError::Wrong(why) => Self::new(
                FailureKind::Untrusted,
                why,
                "push the release again with `roadstead push`, which repairs it; look at the controller's disk",
            ),
            CallError::CalledOff => called_off(),
            CallError::Host(error) => host_failure(&error, "make room on the disk and look at the permissions, then deploy again"),
        }
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        Self::new(FailureKind::Untrusted, error.to_string(), "build the release again")
    }
}

fn transfer(why: String, hint: &str) -> Failure {
    Failure::new(FailureKind::Transfer, format!("the release did not arrive: {why}"), hint)
}

/// How a fetch stands.
struct Progress<'a> {
    sink: &'a ProgressSink,
    called_off: &'a CancellationToken,
    total: u64,
    fetched: Fetched,
}

impl ControllerSource {
    /// The controller behind a link's channel.
    pub(crate) const fn new(channel: OpenChannel) -> Self {
        Self { channel }
    }

    async fn client(&self) -> Result<FleetClient<Channel>, CallError> {
        let mut channel = self.channel.clone();
        let there = timeout(SESSION_AT_MOST, channel.wait_for(Option::is_some)).await;
        let there = there.map_err(|_| CallError::Passing("there is no session with the controller".to_owned()))?;
        let channel = there.ok().and_then(|channel| channel.clone()).ok_or_else(|| CallError::Passing("the agent stops".to_owned()))?;
        Ok(FleetClient::new(channel).max_decoding_message_size(2 * limits::MESSAGE_BYTES_MAX))
    }

    async fn ask_for_release(&self, manifest: Digest) -> Result<ReceivedRelease, CallError> {
        let request = v1::FetchReleaseRequest { manifest: manifest.as_bytes().to_vec() };
        let mut client = self.client().await?;
        let answer = timeout(ANSWER_AT_MOST, client.fetch_release(request)).await.map_err(|_| too_slow())??.into_inner();
        if answer.manifest.len() as u64 > limits::MANIFEST_BYTES_MAX || answer.signatures.len() > limits::SIGNATURES_MAX {
            return Err(CallError::Final("its manifest is larger than it may be".to_owned()));
        }
        if Digest::of(&answer.manifest) != manifest {
            return Err(CallError::Wrong("the manifest is not the one that was ordered".to_owned()));
        }
        let signature = |s: v1::Signature| ReceivedSignature { key_id: s.key_id, signature: s.signature };
        Ok(ReceivedRelease { manifest: answer.manifest, signatures: answer.signatures.into_iter().map(signature).collect() })
    }

    /// Fetches blobs until they all lie aside. What came before a failure is not asked for again.
    async fn collect(&self, shelf: &Shelf, wants: &[Want], progress: &mut Progress<'_>) -> Result<(), CallError> {
        let mut aside = BTreeSet::new();
        let mut attempts = 0;
        let mut patches = true;
        loop {
            let rest: Vec<Want> = wants.iter().filter(|want| !aside.contains(&want.digest)).copied().collect();
            if rest.is_empty() {
                return Ok(());
            }
            let before = (progress.fetched.wire_bytes, aside.len());
            match self.collect_once(shelf, &rest, patches, &mut aside, progress).await {
                Ok(()) => {}
                // A patch can fail where the plain blob does not.
                Err(CallError::Wrong(why)) if patches => {
                    tracing::warn!(why, "a blob came wrong; it is asked for once more, without dictionaries");
                    patches = false;
                }
                Err(CallError::Passing(why)) => {
                    let further = (progress.fetched.wire_bytes, aside.len()) != before;
                    // Of a patch nothing is kept. One that is too long for such a line gives way to the blob, which gets further each time.
                    let kept = rest.first().is_some_and(|want| Receiver::resume_at(shelf, want) > 0);
                    patches &= !further || kept || aside.len() != before.1;
                    attempts = if further { 1 } else { attempts + 1 };
                    if attempts >= ATTEMPTS_MAX {
                        return Err(CallError::Passing(why));
                    }
                    tracing::info!(why, "the transfer broke and is taken up again");
                    waiting(progress.called_off, wait(attempts)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn collect_once(
        &self,
        shelf: &Shelf,
        wants: &[Want],
        patches: bool,
        aside: &mut BTreeSet<Digest>,
        progress: &mut Progress<'_>,
    ) -> Result<(), CallError> {
        let asked = wants.iter().map(|want| wanted(shelf, want, patches)).collect();
        let called_off = progress.called_off;
        let mut parts = waiting(called_off, self.ask_for_blobs(asked)).await?;
        let mut receiver = Receiver::new(shelf.clone(), wants.to_vec());
        while !receiver.is_complete() {
            let mut some = vec![waiting(called_off, next_part(&mut parts)).await?];
            // What has come meanwhile goes to the disk in the same turn.
            let mut broke = None;
            while some.len() < PARTS_AT_ONCE
                && let Some(next) = next_part(&mut parts).now_or_never()
            {
                match next {
                    Ok(part) => some.push(part),
                    Err(error) => {
                        broke = Some(error);
                        break;
                    }
                }
            }
            let taken;
            (receiver, taken) = blocking(move || {
                let taken = take_all(&mut receiver, &some);
                (receiver, taken)
            })
            .await;
            for (wire_bytes, taken) in taken {
                progress.fetched.wire_bytes += wire_bytes;
                let Some((digest, size)) = taken? else { continue };
                aside.insert(digest);
                progress.fetched.blobs += 1;
                progress.fetched.bytes += size;
                progress.sink.report(progress.fetched.bytes, progress.total);
            }
            // The end of the answer is only too early while something is wanted.
            if let Some(error) = broke.filter(|_| !receiver.is_complete()) {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn ask_for_blobs(&self, wants: Vec<v1::BlobWant>) -> Result<tonic::Streaming<v1::BlobPart>, CallError> {
        let mut client = self.client().await?;
        let asked = timeout(ANSWER_AT_MOST, client.fetch_blobs(v1::FetchBlobsRequest { wants })).await;
        Ok(asked.map_err(|_| too_slow())??.into_inner())
    }

    async fn keep(shelf: &Shelf, digests: Vec<Digest>) -> Result<(), CallError> {
        let shelf = shelf.clone();
        blocking(move || shelf.keep(&digests)).await.map_err(CallError::Host)
    }
}

/// Waits for the network, for as long as what comes is wanted. Work on the disk is waited for in any case.
async fn waiting<T>(called_off: &CancellationToken, network: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    tokio::select! {
        biased;
        () = called_off.cancelled() => Err(CallError::CalledOff),
        came = network => came,
    }
}

async fn wait(attempts: u32) -> Result<(), CallError> {
    sleep(pause(attempts, chance())).await;
    Ok(())
}

/// The next part of an answer. May be dropped while it waits: nothing is lost.
async fn next_part(parts: &mut tonic::Streaming<v1::BlobPart>) -> Result<Part, CallError> {
    let part = timeout(ANSWER_AT_MOST, parts.message()).await.map_err(|_| too_slow())??;
    part_of(part.ok_or_else(|| CallError::Passing("the controller ended the transfer early".to_owned()))?)
}

/// How many bytes a part has, and what became of it: digest and size of the blob that it ended, if it ended one.
type Taken = (u64, Result<Option<(Digest, u64)>, ReceiveError>);

/// Hands parts to the receiver, up to the first that it does not take.
fn take_all(receiver: &mut Receiver, parts: &[Part]) -> Vec<Taken> {
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let taken = receiver.take(part);
        let ended = taken.is_err();
        all.push((part.data.len() as u64, taken));
        if ended {
            break;
        }
    }
    all
}

/// What is asked for: with an offset where an earlier attempt left parts, else with a dictionary where there is one.
fn wanted(shelf: &Shelf, want: &Want, patches: bool) -> v1::BlobWant {
    let offset = Receiver::resume_at(shelf, want);
    let base = want.base.filter(|_| patches && offset == 0).map(|base| base.as_bytes().to_vec()).unwrap_or_default();
    v1::BlobWant { digest: want.digest.as_bytes().to_vec(), base, offset }
}

fn part_of(part: v1::BlobPart) -> Result<Part, CallError> {
    let encoding = match part.encoding() {
        v1::BlobEncoding::Zstd => Encoding::Plain,
        v1::BlobEncoding::ZstdPatch => Encoding::Patch,
        v1::BlobEncoding::Unspecified => {
            return Err(CallError::Final("a blob came in an encoding that this agent does not know".to_owned()));
        }
    };
    let index = usize::try_from(part.index).unwrap_or(usize::MAX);
    Ok(Part { index, encoding, data: part.data, last: part.last })
}

fn too_slow() -> CallError {
    CallError::Passing(format!("the controller did not answer within {} s", ANSWER_AT_MOST.as_secs()))
}

/// Wants in portions that one request may hold.
fn portions(wants: &[Want]) -> impl Iterator<Item = &[Want]> {
    let mut rest = wants;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |want: &&Want| {
            let before = bytes;
            bytes += want.size.max();
            before < REQUEST_BYTES
        };
        let count = rest.iter().take(limits::BLOBS_PER_REQUEST_MAX).take_while(fits).count();
        let (portion, later) = rest.split_at(count);
        rest = later;
        (!portion.is_empty()).then_some(portion)
    })
}

#[async_trait]
impl ReleaseSource for ControllerSource {
    async fn release(&self, manifest: Digest, called_off: &CancellationToken) -> Result<ReceivedRelease, Failure> {
        let mut attempt = 1;
        loop {
            match waiting(called_off, self.ask_for_release(manifest)).await {
                Err(CallError::Passing(why)) if attempt < ATTEMPTS_MAX => {
                    tracing::info!(why, "the manifest did not arrive and is asked for again");
                    waiting(called_off, wait(attempt)).await?;
                    attempt += 1;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn fetch(
        &self,
        roots: &[Digest],
        bases: &[Digest],
        store: &Path,
        progress: &ProgressSink,
        called_off: &CancellationToken,
    ) -> Result<Fetched, Failure> {
        let folder = store.to_path_buf();
        let shelf = blocking(move || Shelf::open(&folder)).await.map_err(CallError::Host)?;
        let mut progress = Progress { sink: progress, called_off, total: 0, fetched: Fetched::default() };
        let mut tree = Tree::new(&shelf, roots, bases);
        loop {
            let wants = tree.frontier();
            if wants.is_empty() {
                break;
            }
            for portion in wants.chunks(limits::BLOBS_PER_REQUEST_MAX) {
                self.collect(&shelf, portion, &mut progress).await?;
            }
            let place = shelf.clone();
            let descended;
            (tree, descended) = blocking(move || {
                let descended = tree.descend(&place);
                (tree, descended)
            })
            .await;
            descended?;
        }
        progress.total = progress.fetched.bytes + tree.bytes();
        for portion in portions(tree.files()) {
            self.collect(&shelf, portion, &mut progress).await?;
            Self::keep(&shelf, portion.iter().map(|want| want.digest).collect()).await?;
        }
        Self::keep(&shelf, tree.nodes_upwards()).await?;
        Ok(progress.fetched)
    }
}
