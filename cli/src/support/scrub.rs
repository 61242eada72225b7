//! Texts without secrets: known values, and what by its form lets somebody in: keys and certificates, join tokens, passwords.
//!
//! Values of variables lie on the hosts and in environments. Agents tell no values of the hosts' own files; here those of environments are
//! replaced, too, and by their form such as nobody knows of.

use roadstead_model::hidden::Hidden;
use roadstead_proto::v1::{Event, Failure, Rollout};
use serde_json::Value;
use std::collections::BTreeMap;

/// Words after which a value is one that nobody else may know.
const TELLING: [&str; 9] = ["password", "passwd", "secret", "secret_key", "token", "api_key", "apikey", "access_key", "authorization"];
/// What stands for what is left out by its form.
const LEFT_OUT: &str = "[left out]";
/// How a join token begins.
const JOIN_TOKEN: &str = "rst1.";

/// What is left out.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    hidden: Hidden,
}

impl Scrub {
    /// One that knows the values of variables. What is `public` (names of hosts, of environments, of apps) is shown all the same.
    pub(crate) fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, public: &[&str]) -> Self {
        let values = variables.into_iter().filter(|(_, value)| !public.contains(value));
        Self { hidden: Hidden::new(values.map(|(name, value)| (format!("[{name}: {}]", length(value)), value.to_owned()))) }
    }

    /// A text without secrets. Its lines stay lines, except for those of keys and certificates.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut scrubbed = String::with_capacity(text.len());
        let mut pem: Option<&str> = None;
        for line in text.split_inclusive('\n') {
            match (pem, pem_label(line, "-----BEGIN ")) {
                (None, Some(label)) => {
                    scrubbed.push_str(&format!("[{} left out]\n", label.to_lowercase()));
                    pem = pem_label(line, "-----END ").is_none().then_some(label);
                }
                // The head of a text may have been cut off within a key.
                (None, None) if pem_label(line, "-----END ").is_some() => {
                    scrubbed.truncate(before_base64(&scrubbed));
                    scrubbed.push_str("[the end of a key left out]\n");
                }
                (None, None) => scrubbed.push_str(&by_form(&self.hidden.hide(line))),
                (Some(label), _) if pem_label(line, "-----END ") == Some(label) => pem = None,
                // A key has no blanks within its lines: one that was cut off ends here.
                (Some(_), _) if line.trim().contains(' ') && !line.contains(": ") => {
                    pem = None;
                    scrubbed.push_str(&by_form(&self.hidden.hide(line)));
                }
                (Some(_), _) => {}
            }
        }
        scrubbed
    }

    /// A failure without secrets.
    fn failure(&self, failure: &Failure) -> Failure {
        let Failure { kind, summary, hint, detail } = failure;
        Failure { kind: *kind, summary: self.text(summary), hint: self.text(hint), detail: self.text(detail) }
    }

    /// A rollout without secrets, before anything is made of it: what shows only some lines of a key hides how it began.
    pub(crate) fn rollout(&self, rollout: &Rollout) -> Rollout {
        let mut scrubbed = rollout.clone();
        scrubbed.reason = self.text(&rollout.reason);
        scrubbed.failure = rollout.failure.as_ref().map(|failure| self.failure(failure));
        for host in &mut scrubbed.hosts {
            host.failure = host.failure.as_ref().map(|failure| self.failure(failure));
        }
        scrubbed
    }

    /// A line of the history without secrets.
    pub(crate) fn event(&self, event: &Event) -> Event {
        Event { text: self.text(&event.text), ..event.clone() }
    }

    /// A document without secrets in any of its texts.
    pub(crate) fn document(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.document(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.document(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Values of variables as a bundle shows them.
pub(crate) fn lengths(variables: &BTreeMap<String, String>) -> Value {
    variables.iter().map(|(name, value)| (name.clone(), Value::String(length(value)))).collect::<serde_json::Map<_, _>>().into()
}

fn length(value: &str) -> String {
    crate::output::count(value.len(), "byte")
}

/// Where the lines at a text's end begin that hold nothing but a key's characters.
fn before_base64(text: &str) -> usize {
    let is_key =
        |line: &str| !line.trim().is_empty() && line.trim().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    let lines = text.split_inclusive('\n').rev().take_while(|line| is_key(line));
    text.len() - lines.map(str::len).sum::<usize>()
}

fn pem_label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(begin)?;
    rest.split_once("-----").map(|(label, _)| label).filter(|label| label.len() <= 60)
}

/// A line without tokens and passwords, as far as their form tells them.
fn by_form(line: &str) -> String {
    let (mut scrubbed, mut rest) = (String::with_capacity(line.len()), line);
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        if rest.starts_with(JOIN_TOKEN) {
            scrubbed.push_str("[join token left out]");
            rest = after.trim_start_matches(|c| is_word(c) || c == '.');
            continue;
        }
        // What comes next is no word: it is shown, and what is behind it perhaps not.
        let next = after.chars().next().map_or(0, char::len_utf8);
        let (shown, hidden) = told_after(word, after).or_else(|| password_after(after)).unwrap_or((next, 0));
        scrubbed.push_str(&rest[..word.len() + shown]);
        if hidden > 0 {
            scrubbed.push_str(LEFT_OUT);
        }
        rest = &after[shown + hidden..];
    }
    scrubbed
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// After a telling word: the bytes between it and its value (`=`, `: `, quotes), and those of the value.
fn told_after(word: &str, rest: &str) -> Option<(usize, usize)> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    if !TELLING.iter().any(|telling| word.ends_with(telling)) {
        return None;
    }
    let blank = |text: &str| text.len() - text.trim_start_matches([' ', '"', '\'']).len();
    let before = blank(rest);
    let sign = rest[before..].chars().next().filter(|c| matches!(c, '=' | ':'))?;
    let mut between = before + sign.len_utf8();
    between += blank(&rest[between..]);
    if rest[between..].starts_with(LEFT_OUT) {
        return None;
    }
    if word.ends_with("authorization") {
        // `Authorization: Bearer abc` has two words.
        let line = rest[between..].trim_end_matches(['\n', '"', '\'', '}', ']']).len();
        return (line > 0).then_some((between, line));
    }
    let value = rest[between..]
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '&' | ';' | ')'))
        .unwrap_or(rest.len() - between);
    (value > 0).then_some((between, value))
}

/// After the scheme of a URL with a password, as in `://user:password@host`: the bytes before it and its own.
fn password_after(rest: &str) -> Option<(usize, usize)> {
    let inner = rest.strip_prefix("://")?;
    let end = inner.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(inner.len());
    let at = inner[..end].rfind('@')?;
    let colon = inner[..at].find(':')?;
    (colon + 1 < at).then(|| ("://".len() + colon + 1, at - colon - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_by_their_lengths() {
        let scrub = Scrub::new([("MAIL", "smtp.example.org"), ("STAGE", "production"), ("DEBUG", "True")], &["production"]);
        assert_eq!(scrub.text("smtp.example.org of production, True\n"), "[MAIL: 16 bytes] of production, True\n");
        let mut document = serde_json::json!({ "a": ["x smtp.example.org"], "b": { "c": 1, "d": null } });
        scrub.document(&mut document);
        assert_eq!(document.to_string(), r#"{"a":["x [MAIL: 16 bytes]"],"b":{"c":1,"d":null}}"#);
        assert_eq!(lengths(&[("A".to_owned(), "x".to_owned())].into()).to_string(), r#"{"A":"1 byte"}"#);
    }

    #[test]
    fn what_lets_somebody_in_is_known_by_its_form() {
        let scrub = Scrub::default();
        for (text, shown) in [
            ("with rst1.abc-DEF_0.123-x done", "with [join token left out] done"),
            ("postgres://erp:hunter2@db:5432/erp?x", "postgres://erp:[left out]@db:5432/erp?x"),
            ("amqp://guest:p@ss@rabbit/ x", "amqp://guest:[left out]@rabbit/ x"),
            ("http://a:80/x and http://b/y@z", "http://a:80/x and http://b/y@z"),
            ("SECRET_KEY = 'abc def'", "SECRET_KEY = '[left out] def'"),
            ("password=hunter2&user=x", "password=[left out]&user=x"),
            ("{\"api_key\": \"abc\", \"n\": 1}", "{\"api_key\": \"[left out]\", \"n\": 1}"),
            ("Authorization: Bearer a.b.c\n", "Authorization: [left out]\n"),
            ("x-api-key: abc", "x-api-key: [left out]"),
            ("the token is used once", "the token is used once"),
            ("password authentication failed for user \"erp\"", "password authentication failed for user \"erp\""),
            ("KeyError: 'SECRET_KEY'\n", "KeyError: 'SECRET_KEY'\n"),
            ("Überlauf: ä", "Überlauf: ä"),
            ("", ""),
        ] {
            assert_eq!(scrub.text(text), shown, "{text}");
            assert_eq!(scrub.text(shown), shown, "what was scrubbed stays as it is");
        }
    }

    #[test]
    fn keys_and_certificates_are_left_out_whole() {
        let scrub = Scrub::default();
        let text = "a\n-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(scrub.text(text), "a\n[private key left out]\nb\n");
        let cut = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nand then it went on\n";
        assert_eq!(scrub.text(cut), "[private key left out]\nand then it went on\n");
        let headless = "GciOiJI\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\nb\n";
        assert_eq!(scrub.text(headless), "[the end of a key left out]\nb\n");
        assert_eq!(scrub.text("a b\nMIIEvQIBADANBg\n-----END X-----"), "a b\n[the end of a key left out]\n");
        assert_eq!(scrub.text("-----BEGIN X-----MII-----END X-----\nb"), "[x left out]\nb");
    }
}
