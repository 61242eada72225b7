//! Fetches: only what is lacking, taken up again after a break, nothing that is not what its name says.

use roadstead_bundle::manifest::{Entry, EntryKind, Node};
use roadstead_model::*;
use roadstead_proto::v1;
use roadstead_worker::output::{Outbox, ProgressSink};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::controller::{Controller, Manner, PlainDial};
use crate::fetch::{Fetched, ReleaseSource};
use crate::link::{ControllerSource, Dial};

const KEY: OrderKey = OrderKey { rollout: RolloutId(1), sequence: 1 };

/// Bytes that do not compress, so that they come in many parts.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

impl Manner {
    fn file(&mut self, name: &str, content: Vec<u8>) -> Entry {
        let (digest, size) = (Digest::of(&content), content.len() as u64);
        self.blobs.insert(digest, content);
        Entry { name: name.into(), kind: EntryKind::File { digest, size, executable: false } }
    }

    fn folder(&mut self, name: &str, entries: Vec<Entry>) -> Entry {
        let encoded = serde_json::to_vec(&Node(entries)).unwrap();
        let digest = Digest::of(&encoded);
        self.blobs.insert(digest, encoded);
        Entry { name: name.into(), kind: EntryKind::Folder { digest } }
    }
}

fn digest_of(entry: &Entry) -> Digest {
    match &entry.kind {
        EntryKind::File { digest, .. } | EntryKind::Folder { digest } => *digest,
        EntryKind::Link { .. } => panic!("a link has no digest"),
    }
}

/// A tree of a few folders, with a large file; `edit` differs between versions.
pub(super) fn tree(manner: &mut Manner, edit: &str) -> Digest {
    let views: Vec<Entry> = (0..20)
        .map(|n| manner.file(&format!("view{n:02}.py"), format!("def view{n}():\n    return {n}\n").repeat(40).into_bytes()))
        .collect();
    let large = manner.file("logo.bin", noise(7, 400_000));
    let settings = manner.file("settings.py", format!("{}\nVERSION = {edit:?}\n", "DEBUG = False\n".repeat(200)).into_bytes());
    let empty = manner.file("__init__.py", vec![]);
    let app = manner.folder("app", views);
    let assets = manner.folder("assets", vec![large]);
    let root = manner.folder("root", vec![empty, app, assets, settings]);
    digest_of(&root)
}

async fn source(controller: &Controller) -> (ControllerSource, watch::Sender<Option<tonic::transport::Channel>>) {
    let channel = PlainDial(controller.address).dial(Arc::default()).await.unwrap();
    let (keep, channel) = watch::channel(Some(channel));
    (ControllerSource::new(channel), keep)
}

async fn fetch(controller: &Controller, store: &Path, root: Digest, bases: &[Digest]) -> Result<Fetched, Failure> {
    let (source, _keep) = source(controller).await;
    let progress = ProgressSink::new(KEY, StepName::Fetch, Arc::<Outbox>::default());
    source.fetch(&[root], bases, store, &progress, &CancellationToken::new()).await
}

/// Everything below a root is in the store, with the right content.
fn assert_whole(store: &Path, root: Digest) {
    let hex = root.to_string();
    let bytes = std::fs::read(store.join(&hex[..2]).join(&hex[2..])).unwrap();
    assert_eq!(Digest::of(&bytes), root);
    let Ok(node) = serde_json::from_slice::<Node>(&bytes) else { return };
    node.0.iter().for_each(|entry| assert_whole(store, digest_of(entry)));
}

fn left_aside(store: &Path) -> Vec<String> {
    std::fs::read_dir(store.join(".partial")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_tree_comes_whole_and_only_once() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    let blobs = manner.blobs.len() as u64;
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    let fetched = fetch(&controller, store.path(), root, &[]).await.unwrap();
    assert_whole(store.path(), root);
    assert_eq!(fetched.blobs, blobs);
    assert_eq!(left_aside(store.path()), [""; 0]);
    let requests = controller.manner.lock().unwrap().requests;
    assert!(requests <= 4, "a request for each depth and one for the files, not one for each blob: {requests}");
    assert_eq!(fetch(&controller, store.path(), root, &[]).await.unwrap(), Fetched::default());
    assert_eq!(controller.manner.lock().unwrap().requests, requests, "nothing is asked for that is there");
}

#[tokio::test]
async fn a_small_change_costs_little() {
    let mut manner = Manner::default();
    let (old, new) = (tree(&mut manner, "1.0"), tree(&mut manner, "1.1"));
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    fetch(&controller, store.path(), old, &[]).await.unwrap();
    let fetched = fetch(&controller, store.path(), new, &[old]).await.unwrap();
    assert_whole(store.path(), new);
    assert_eq!(fetched.blobs, 2, "the root and the file that changed");
    assert!(fetched.wire_bytes < 300, "{fetched:?}");
}

#[tokio::test]
async fn a_transfer_that_breaks_anywhere_is_taken_up_where_it_broke() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    let large = Digest::of(&noise(7, 400_000));
    let plain: usize = manner.blobs.values().map(|content| zstd::bulk::compress(content, 3).unwrap().len()).sum();
    manner.breaks = vec![0, 1, 3, 2, 5];
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    let fetched = fetch(&controller, store.path(), root, &[]).await.unwrap();
    assert_whole(store.path(), root);
    let manner = controller.manner.lock().unwrap();
    assert!(manner.breaks.is_empty() && manner.requests > 5);
    let offsets: Vec<u64> = manner.asked.iter().filter(|want| want.digest == large.as_bytes()).map(|want| want.offset).collect();
    assert!(offsets.is_sorted() && *offsets.last().unwrap() > 0, "{offsets:?}");
    assert_eq!(fetched.wire_bytes, plain as u64, "no byte came twice");
}

#[tokio::test]
async fn a_patch_that_is_too_long_for_the_line_gives_way_to_the_plain_blob() {
    let mut manner = Manner::default();
    let [old, new] = [1, 2].map(|seed| {
        let picture = manner.file("picture.bin", noise(seed, 400_000));
        digest_of(&manner.folder("root", vec![picture]))
    });
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    fetch(&controller, store.path(), old, &[]).await.unwrap();
    controller.manner.lock().unwrap().breaks = vec![2; 5];
    fetch(&controller, store.path(), new, &[old]).await.unwrap();
    assert_whole(store.path(), new);
    let (picture, manner) = (Digest::of(&noise(2, 400_000)), controller.manner.lock().unwrap());
    let asked: Vec<_> = manner.asked.iter().filter(|want| want.digest == picture.as_bytes()).collect();
    let [first, rest @ ..] = &asked[..] else { panic!("{asked:?}") };
    assert!(!first.base.is_empty() && rest.len() > 2 && rest.iter().all(|want| want.base.is_empty()), "{asked:?}");
    assert!(rest.iter().map(|want| want.offset).is_sorted(), "{asked:?}");
}

#[tokio::test]
async fn parts_of_a_large_blob_outlive_the_agent() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    let large = Digest::of(&noise(7, 400_000));
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    let encoded = zstd::bulk::compress(&noise(7, 400_000), 3).unwrap();
    std::fs::create_dir(store.path().join(".partial")).unwrap();
    std::fs::write(store.path().join(format!(".partial/{large}.zst")), &encoded[..100_000]).unwrap();
    std::fs::write(store.path().join(format!(".partial/{large}")), "not whole").unwrap();
    fetch(&controller, store.path(), root, &[]).await.unwrap();
    assert_whole(store.path(), root);
    let asked = controller.manner.lock().unwrap().asked.iter().find(|want| want.digest == large.as_bytes()).cloned().unwrap();
    assert_eq!(asked.offset, 100_000);
}

#[tokio::test]
async fn parts_that_turn_out_wrong_are_asked_for_anew() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    let large = Digest::of(&noise(7, 400_000));
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    std::fs::create_dir(store.path().join(".partial")).unwrap();
    std::fs::write(store.path().join(format!(".partial/{large}.zst")), vec![9; 100_000]).unwrap();
    fetch(&controller, store.path(), root, &[]).await.unwrap();
    assert_whole(store.path(), root);
}

#[tokio::test]
async fn an_altered_blob_is_refused_and_never_gets_its_name() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    let view = Digest::of("def view3():\n    return 3\n".repeat(40).as_bytes());
    for altered in [view, root, Digest::of(&noise(7, 400_000))] {
        let controller = Controller::start(Manner { alters: Some((altered, false)), ..manner.clone() }).await;
        let store = tempfile::tempdir().unwrap();
        let failure = fetch(&controller, store.path(), root, &[]).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Untrusted, "{failure:?}");
        let hex = altered.to_string();
        assert!(!store.path().join(&hex[..2]).join(&hex[2..]).exists());
        let hex = root.to_string();
        assert!(!store.path().join(&hex[..2]).join(&hex[2..]).exists(), "a folder is named only when all below it is there");
        controller.manner.lock().unwrap().alters = None;
        fetch(&controller, store.path(), root, &[]).await.unwrap();
        assert_whole(store.path(), root);
    }
}

#[tokio::test]
async fn a_patch_that_fails_is_replaced_by_the_plain_blob() {
    let mut manner = Manner::default();
    let (old, new) = (tree(&mut manner, "1.0"), tree(&mut manner, "1.1"));
    let settings = format!("{}\nVERSION = \"1.1\"\n", "DEBUG = False\n".repeat(200));
    let controller = Controller::start(Manner { alters: Some((Digest::of(settings.as_bytes()), true)), ..manner }).await;
    let store = tempfile::tempdir().unwrap();
    fetch(&controller, store.path(), old, &[]).await.unwrap();
    fetch(&controller, store.path(), new, &[old]).await.unwrap();
    assert_whole(store.path(), new);
}

#[tokio::test]
async fn a_file_that_is_larger_than_its_folder_says_is_refused() {
    let mut manner = Manner::default();
    let bomb = vec![0; 50_000_000];
    let digest = Digest::of(&bomb);
    manner.blobs.insert(digest, bomb);
    let entry = Entry { name: "bomb".into(), kind: EntryKind::File { digest, size: 1000, executable: false } };
    let root = digest_of(&manner.folder("root", vec![entry]));
    let controller = Controller::start(manner).await;
    let store = tempfile::tempdir().unwrap();
    let failure = fetch(&controller, store.path(), root, &[]).await.unwrap_err();
    assert!(failure.summary.contains("larger than announced"), "{failure:?}");
    let left: u64 =
        left_aside(store.path()).iter().map(|name| std::fs::metadata(store.path().join(".partial").join(name)).unwrap().len()).sum();
    assert!(left < 100_000, "{left} bytes were written");
}

#[tokio::test]
async fn what_the_controller_lacks_fails_at_once_with_advice() {
    let controller = Controller::start(Manner::default()).await;
    let store = tempfile::tempdir().unwrap();
    let failure = fetch(&controller, store.path(), Digest::of(b"unknown"), &[]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transfer);
    assert!(failure.summary.contains("no such blob") && failure.hint.contains("roadstead push"), "{failure:?}");
    let (source, _keep) = source(&controller).await;
    assert_eq!(source.release(Digest::of(b"unknown"), &CancellationToken::new()).await.unwrap_err().kind, FailureKind::Transfer);
}

#[tokio::test]
async fn a_manifest_that_was_not_ordered_is_refused() {
    let mut manner = Manner::default();
    let ordered = Digest::of(b"ordered");
    let answer = |manifest: &[u8]| v1::FetchReleaseResponse {
        manifest: manifest.to_vec(),
        signatures: vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 64] }],
    };
    manner.releases.insert(ordered, answer(b"another"));
    manner.releases.insert(Digest::of(b"right"), answer(b"right"));
    let controller = Controller::start(manner).await;
    let (source, _keep) = source(&controller).await;
    assert_eq!(source.release(ordered, &CancellationToken::new()).await.unwrap_err().kind, FailureKind::Untrusted);
    let right = source.release(Digest::of(b"right"), &CancellationToken::new()).await.unwrap();
    assert_eq!((right.manifest.as_slice(), right.signatures[0].key_id.len()), (&b"right"[..], 16));
}

#[tokio::test]
async fn a_transfer_that_is_called_off_ends_wherever_it_waits() {
    let mut manner = Manner::default();
    let root = tree(&mut manner, "1.0");
    manner.breaks = vec![0; 5];
    let controller = Controller::start(manner).await;
    let (roots, store) = ([root], tempfile::tempdir().unwrap());
    let progress = ProgressSink::new(KEY, StepName::Fetch, Arc::<Outbox>::default());
    let (source, keep) = source(&controller).await;

    // between two attempts, or within one
    let called_off = CancellationToken::new();
    let call_off = async {
        while controller.manner.lock().unwrap().requests == 0 {
            tokio::task::yield_now().await;
        }
        called_off.cancel();
    };
    let (fetched, ()) = tokio::join!(source.fetch(&roots, &[], store.path(), &progress, &called_off), call_off);
    assert_eq!(fetched.unwrap_err().kind, FailureKind::Cancelled);
    assert!(controller.manner.lock().unwrap().breaks.len() >= 3, "it was not taken up to its end");

    // without a session
    keep.send(None).unwrap();
    let fetched = source.fetch(&roots, &[], store.path(), &progress, &called_off).await;
    assert_eq!(fetched.unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(source.release(root, &called_off).await.unwrap_err().kind, FailureKind::Cancelled);
}
