//! A blob that comes as a zstd frame.

use roadstead_bundle::store::{Form, Store};
use roadstead_model::Digest;
use std::io::Read as _;

use crate::scratch::scratch;

/// What a run decodes at most to know what should come of it.
const CONTENT_BYTES_MAX: u64 = 1 << 20;

/// A frame is taken for what it holds and for nothing else, and what is refused leaves nothing behind.
pub fn blob(bytes: &[u8]) {
    let scratch = scratch();
    let content = content(bytes);
    for form in [Form::Raw, Form::Compressed] {
        let store = Store::open(&scratch.path().join(format!("{form:?}")), form).unwrap();
        let take = |digest, size| store.take_frame(digest, size, &mut &*bytes);
        let other = Digest::of(b"something else");
        assert!(take(other, content.len() as u64).is_err() && !store.has(&other));
        let digest = Digest::of(&content);
        assert!(take(digest, content.len() as u64 + 1).is_err(), "a blob is shorter than was said");
        assert!(content.is_empty() || take(digest, content.len() as u64 - 1).is_err(), "a blob is longer than was said");
        let taken = take(digest, content.len() as u64);
        assert_eq!(taken.is_ok(), store.has(&digest));
        if taken.is_ok() {
            assert!(store.read_checked(&digest, CONTENT_BYTES_MAX).unwrap() == content);
            store.check(&digest, content.len() as u64).unwrap();
        }
        assert_eq!(std::fs::read_dir(store.folder().join("new")).unwrap().count(), 0, "half a blob is left");
    }
}

/// What can be decoded of a frame.
fn content(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if let Ok(decoder) = zstd::Decoder::new(bytes) {
        let mut decoder = decoder.single_frame();
        decoder.window_log_max(23).unwrap();
        // Where it breaks, what came before is as good as any content.
        drop(decoder.take(CONTENT_BYTES_MAX).read_to_end(&mut content));
    }
    content
}
