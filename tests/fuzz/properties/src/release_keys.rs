//! `release-keys.toml`: whom a host believes.

use roadstead_bundle::sign::SigningKey;
use roadstead_bundle::trust::TrustedKeys;
use roadstead_model::limits;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::text::text;

/// A file that is read asks for at least one key and for no more than there are, counts none twice, and reads the same when it is
/// written anew. (The text of a key file that signs reads back too.)
pub fn release_keys(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(key) = SigningKey::parse(text) {
        assert_eq!(SigningKey::parse(&key.reveal()).unwrap().public(), key.public());
    }
    let Ok(keys) = TrustedKeys::read(text) else { return };
    assert!(text.len() as u64 <= limits::CONFIG_FILE_BYTES_MAX);
    assert!((1..=keys.keys().len()).contains(&keys.threshold()));
    let different: BTreeSet<String> = keys.keys().iter().map(|key| key.public.to_string()).collect();
    assert_eq!(different.len(), keys.keys().len(), "a key counts twice");
    let mut written = format!("threshold = {}\n", keys.threshold());
    for key in keys.keys() {
        let name = toml::Value::String(key.name.clone());
        writeln!(written, "[[key]]\nname = {name}\npublic = \"{}\"", key.public).unwrap();
    }
    assert_eq!(TrustedKeys::read(&written).unwrap(), keys);
}
