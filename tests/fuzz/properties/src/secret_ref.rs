//! References to secrets, as they come from a controller.

use roadstead_model::SecretRef;

/// A reference has one spelling, and nothing in it can be misread: by a path, a URL, a program or a line of a log. What is none is refused
/// in few words.
pub fn secret_ref(bytes: &[u8]) {
    let Some(text) = crate::text::text(bytes) else { return };
    let reference = match SecretRef::parse(text) {
        Ok(reference) => reference,
        Err(why) => return assert!((1..=400).contains(&why.to_string().chars().count()), "{why}"),
    };
    assert_eq!(reference.to_string(), text);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"%&\\\"'`$*~;<>|(){}[]^,!".contains(&byte)), "{text:?}");
    assert!(reference.path.segments().all(|part| !part.is_empty() && !part.starts_with(['.', '-', '/'])), "{text:?}");
    assert!(reference.key.iter().all(|key| !key.as_str().starts_with(['.', '-'])), "{text:?}");
    assert_ne!(reference.version, Some(0));
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<SecretRef>(&json).unwrap(), reference);
}
