//! Transfers that are not taken, as a host sees them.

use super::*;
use futures_util::StreamExt as _;
use roadstead_bundle::store::Form;
use roadstead_driver::samples::host_id;
use roadstead_model::limits;

/// More parts than wait for a connection.
const BYTES: usize = 16 * limits::BLOB_PART_BYTES;

struct Rig {
    _folder: tempfile::TempDir,
    blobs: Blobs,
    want: Want,
    transfers: Transfers,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Form::Compressed).unwrap();
        let digest = blobs.put(&noise()).unwrap();
        Self { _folder: folder, blobs, want: Want { digest, base: None, offset: 0 }, transfers: Transfers::default() }
    }

    fn send(&self, host: &HostId, cut: &CancellationToken) -> Taken {
        self.transfers.send(host, self.blobs.clone(), vec![self.want], cut.clone())
    }
}

/// Bytes that do not compress.
fn noise() -> Vec<u8> {
    (0..BYTES as u64 / 32).flat_map(|n| *Digest::of(&n.to_le_bytes()).as_bytes()).collect()
}

/// Takes all parts: how many bytes came, and what ended them.
async fn take(taken: Taken) -> (usize, Option<Code>) {
    taken
        .fold((0, None), async |(bytes, _), part| match part {
            Ok(part) => (bytes + part.data.len(), None),
            Err(status) => (bytes, Some(status.code())),
        })
        .await
}

#[tokio::test]
async fn one_that_takes_its_time_comes_whole_in_small_parts() {
    let rig = Rig::new();
    let mut slow = rig.send(&host_id(1), &CancellationToken::new());
    let mut bytes = 0;
    while let Some(part) = slow.next().await {
        let part = part.unwrap();
        assert!(part.data.len() <= 16 * 1024, "a line that breaks every so often would get no further than the last whole part");
        bytes += part.data.len();
        tokio::task::yield_now().await;
    }
    assert!(bytes >= BYTES, "{bytes}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_taken_ends_at_its_deadline_and_holds_nothing() {
    let rig = Rig::new();
    let [late, never] = [1, 2].map(|host| rig.send(&host_id(host), &CancellationToken::new()));
    tokio::time::sleep(TAKEN_AT_LEAST_EVERY / 2).await;
    assert_eq!(take(late).await.1, None);
    tokio::time::sleep(TAKEN_AT_LEAST_EVERY).await;
    assert_eq!(take(never).await, (0, Some(Code::DeadlineExceeded)), "what waited is gone");
}

#[tokio::test]
async fn one_too_many_ends_the_oldest_of_its_host_alone() {
    let rig = Rig::new();
    let cut = CancellationToken::new();
    let other = rig.send(&host_id(2), &cut);
    let all: Vec<_> = (0..=PER_HOST).map(|_| rig.send(&host_id(1), &cut)).collect();
    for (number, taken) in all.into_iter().enumerate() {
        let (bytes, end) = take(taken).await;
        assert_eq!((bytes >= BYTES, end), if number == 0 { (false, Some(Code::ResourceExhausted)) } else { (true, None) }, "{number}");
    }
    assert_eq!(take(other).await.1, None);
    // what has ended counts no more
    let again: Vec<_> = (0..PER_HOST).map(|_| rig.send(&host_id(1), &cut)).collect();
    for taken in again {
        assert_eq!(take(taken).await.1, None);
    }
}

#[tokio::test]
async fn a_host_that_is_cut_off_gets_nothing_more_of_what_it_did_not_take() {
    let rig = Rig::new();
    let cut = CancellationToken::new();
    let mut taken = rig.send(&host_id(1), &cut);
    taken.next().await.unwrap().unwrap();
    cut.cancel();
    let (bytes, end) = take(taken).await;
    assert_eq!(end, Some(Code::PermissionDenied));
    assert!(bytes < BYTES);
}
