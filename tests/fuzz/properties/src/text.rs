//! What is text is read; other bytes are no input of a reader of texts.

/// The bytes as a text.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
