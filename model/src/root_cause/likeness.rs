//! What is the same in what several hosts said of one failure.

/// The text with every number, address, time, digest and release written as `#`, and the host's own name as `HOST`.
///
/// A word that only ends in digits, such as `x1` or `0003_more` behind a dot, is a name and stays.
pub(super) fn of(text: &str, host: &str) -> String {
    let mut like = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_ends = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if let Some(after) = after_name(rest, host).filter(|_| !like.ends_with(is_word)) {
            like.push_str("HOST");
            rest = after;
        } else if word_ends > 0 {
            let (word, after) = rest.split_at(word_ends);
            push(&mut like, word);
            rest = after;
        } else {
            like.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    like
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What follows the host's name when the text begins with it.
fn after_name<'a>(text: &'a str, host: &str) -> Option<&'a str> {
    let after = if host.is_empty() { None } else { text.strip_prefix(host) };
    after.filter(|after| !after.starts_with(is_word))
}

/// Adds a word. Numbers with only punctuation between them are one: `10.0.0.1:5432`, `2026-03-01 10:00:00,123`, `1.4.0-0123456789ab`.
fn push(like: &mut String, word: &str) {
    if !differs(word) {
        return like.push_str(word);
    }
    let between = like.trim_end_matches(['.', ':', '-', '/', ',', '+', ' ']);
    if between.ends_with('#') && like.len() - between.len() <= 2 {
        like.truncate(between.len());
    } else {
        like.push('#');
    }
}

/// Whether a word is a number, or the digits of some digest or address.
fn differs(word: &str) -> bool {
    let hex = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit()) && word.bytes().any(|b| b.is_ascii_digit());
    let number = word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains('_');
    hex || number
}
