//! Values that must not be told, and texts without them. Pure.
//!
//! Values of fewer than [`SHORTEST`] bytes are not looked for: `True` and `8000` are everywhere. Texts come line by line, so each line of
//! a longer value is looked for by itself. Of a value that an edge of the text cut off, what is left is hidden too.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of the shortest value that is hidden.
pub const SHORTEST: usize = 6;
/// What stands where a line was cut.
pub const CUT: &str = "… (";

/// Values to hide, and what is shown instead of each.
#[derive(Default)]
pub struct Hidden {
    /// By their first bytes, the longest first.
    by_first: BTreeMap<u8, Vec<Entry>>,
}

struct Entry {
    value: String,
    label: String,
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hidden").field("count", &self.by_first.values().map(Vec::len).sum::<usize>()).finish()
    }
}

impl Hidden {
    /// Values with what is shown for each.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut by_first: BTreeMap<u8, Vec<Entry>> = BTreeMap::new();
        for (label, value) in values {
            for part in parts(&value) {
                let Some(first) = part.bytes().next().filter(|_| part.len() >= SHORTEST) else { continue };
                by_first.entry(first).or_default().push(Entry { value: part, label: label.clone() });
            }
        }
        for entries in by_first.values_mut() {
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.value.len()));
        }
        Self { by_first }
    }

    /// The text without the values.
    #[must_use]
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hidden_in(text, false)
    }

    /// The end of a text without the values: its head was cut off, and what it begins with may be the end of one.
    #[must_use]
    pub fn hide_in_end<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hidden_in(text, true)
    }

    fn hidden_in<'a>(&self, text: &'a str, head_is_cut: bool) -> Cow<'a, str> {
        let (mut hidden, mut shown, mut at) = (String::new(), 0, 0);
        if self.by_first.is_empty() {
            return Cow::Borrowed(text);
        }
        while let Some(character) = text[at..].chars().next() {
            let rest = &text[at..];
            let found = self.begins(rest).or_else(|| if at == 0 && head_is_cut { self.ends(rest) } else { None });
            match found {
                Some((length, label)) => {
                    hidden.push_str(&text[shown..at]);
                    hidden.push_str(label);
                    at += length;
                    shown = at;
                }
                None => at += character.len_utf8(),
            }
        }
        if shown == 0 {
            return Cow::Borrowed(text);
        }
        hidden.push_str(&text[shown..]);
        Cow::Owned(hidden)
    }

    /// The longest value with which a text begins, whole or cut off by its end, and how much of it there is.
    fn begins(&self, rest: &str) -> Option<(usize, &str)> {
        let here = self.by_first.get(rest.as_bytes().first()?)?;
        here.iter().filter_map(|entry| Some((entry.length_in(rest)?, entry.label.as_str()))).max_by_key(|(length, _)| *length)
    }

    /// The longest end of a value with which a text begins.
    fn ends(&self, rest: &str) -> Option<(usize, &str)> {
        let all = self.by_first.values().flatten();
        all.filter_map(|entry| Some((entry.end_in(rest)?, entry.label.as_str()))).max_by_key(|(length, _)| *length)
    }
}

impl Entry {
    /// How much of the value a text begins with: all of it, or what an edge left.
    fn length_in(&self, rest: &str) -> Option<usize> {
        if rest.starts_with(&self.value) {
            return Some(self.value.len());
        }
        let mut common = self.value.bytes().zip(rest.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
        while !rest.is_char_boundary(common) {
            common -= 1;
        }
        let after = &rest[common..];
        // At the very end of a text, a few characters may be any word.
        let is_edge = after.starts_with(CUT) || (after.is_empty() && common >= self.value.len() / 2);
        (common >= SHORTEST && is_edge).then_some(common)
    }

    /// How much of the value's end a text begins with.
    fn end_in(&self, rest: &str) -> Option<usize> {
        let longest = self.value.len().checked_sub(SHORTEST)?;
        let begin = (1..=longest).find(|begin| self.value.get(*begin..).is_some_and(|end| rest.starts_with(end)))?;
        Some(self.value.len() - begin)
    }
}

/// What is looked for of a value: each of its lines as a journal shows it, and the password of a URL by itself.
fn parts(value: &str) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
    let mut parts: Vec<String> = value.lines().map(|line| clean(line).trim().to_owned()).collect();
    // As Python and JSON show it within quotes.
    parts.extend(value.lines().filter(|line| line.contains('\\')).map(|line| clean(line).replace('\\', "\\\\")));
    let user = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    parts.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| clean(password)));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(values: &[(&str, &str)]) -> Hidden {
        Hidden::new(values.iter().map(|(name, value)| (format!("[{name}]"), (*value).to_owned())))
    }

    #[test]
    fn values_are_named_and_not_shown() {
        let hidden = hidden(&[
            ("SECRET_KEY", "s3cr3t-key"),
            ("LONGER", "s3cr3t-key-and-more"),
            ("DATABASE_URL", "postgres://erp:hunter22@db/erp"),
            ("DEBUG", "True"),
            ("NAME", "Müller-Straße"),
            ("BACKSLASH", r"pass\word"),
        ]);
        for (text, shown) in [
            ("KeyError: 's3cr3t-key'", "KeyError: '[SECRET_KEY]'"),
            ("s3cr3t-key-and-mores3cr3t-key", "[LONGER][SECRET_KEY]"),
            ("cannot reach postgres://erp:hunter22@db/erp", "cannot reach [DATABASE_URL]"),
            ("password hunter22 is wrong", "password [DATABASE_URL] is wrong"),
            ("DEBUG is True", "DEBUG is True"),
            ("für Müller-Straße 5", "für [NAME] 5"),
            (r"ValueError: 'pass\\word'", "ValueError: '[BACKSLASH]'"),
            ("s3cr3t", "[SECRET_KEY]"),
            ("s3cr3t and s3cr3t-ke", "s3cr3t and [SECRET_KEY]"),
            ("uses postgres", "uses postgres"),
            ("", ""),
        ] {
            assert_eq!(hidden.hide(text), shown, "{text}");
        }
        assert_eq!(format!("{hidden:?}"), "Hidden { count: 7 }");
    }

    #[test]
    fn a_value_of_several_lines_is_hidden_line_by_line() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQEF\nend\n";
        let hidden = hidden(&[("KEY", key)]);
        let shown: Vec<_> = key.lines().map(|line| hidden.hide(line).into_owned()).collect();
        assert_eq!(shown, ["[KEY]", "[KEY]", "  [KEY]", "end"]);
    }

    #[test]
    fn what_an_edge_left_of_a_value_is_hidden_too() {
        let value: String = (0..40).map(|n| char::from(b'a' + n % 26)).collect();
        let hidden = hidden(&[("TOKEN", &value)]);
        for kept in SHORTEST..value.len() {
            let line = format!("x={}{CUT}9 more bytes)", &value[..kept]);
            assert_eq!(hidden.hide(&line), format!("x=[TOKEN]{CUT}9 more bytes)"));
            let end = format!("{} and more", &value[value.len() - kept..]);
            assert_eq!(hidden.hide_in_end(&end), "[TOKEN] and more");
            assert_eq!(hidden.hide(&end), end, "a text that was not cut does not begin with a part of anything");
        }
    }

    proptest! {
        #[test]
        fn no_text_shows_a_value(values in proptest::collection::vec("[a-zß\\\\ ]{6,12}", 1..6), text in "[a-zß\\\\ ]{0,80}", at in 0..80_usize) {
            let value = values[0].trim().to_owned();
            let mut text = text;
            let mut place = at.min(text.len());
            while !text.is_char_boundary(place) { place -= 1; }
            text.insert_str(place, &value);
            // No label is made of the letters that values are made of.
            let shown = Hidden::new(values.iter().map(|value| ("#".to_owned(), value.clone()))).hide(&text).into_owned();
            prop_assert!(value.len() < SHORTEST || !shown.contains(&value), "{value:?} in {shown:?}");
        }
    }
}
