//! How a file's or a program's bytes are read.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::secret::Content;
use crate::value::{Value, Values};

/// What bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One value; a line break at its end is none of it.
    #[default]
    Text,
    /// One value, as it is.
    Binary,
    /// Lines of `KEY=value`.
    Env,
    /// A JSON object; its texts, numbers and truth values count.
    Json,
}

impl Format {
    /// Reads the bytes that somebody gave.
    pub(crate) fn read(self, value: Value, from: &str) -> Result<Content, Fault> {
        let malformed = |what| Fault::Malformed { from: from.to_owned(), what };
        match self {
            Self::Text => Ok(Content::Whole(value.without_line_end())),
            Self::Binary => Ok(Content::Whole(value)),
            Self::Env => {
                let text = std::str::from_utf8(value.reveal()).map_err(|_| malformed("it is no UTF-8 text"))?;
                lines(text).map(Content::Keys).map_err(malformed)
            }
            // What the reader of JSON says of a mistake may show what stands there.
            Self::Json => serde_json::from_slice::<Values>(value.reveal())
                .map(|values| Content::Keys(values.0))
                .map_err(|_| malformed("it is no JSON object")),
        }
    }
}

/// The lines of an environment file: one value each, in no quotes or wholly in quotes; `#` and `;` begin comments.
fn lines(text: &str) -> Result<BTreeMap<String, Value>, &'static str> {
    let mut values = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        let (key, value) = line.split_once('=').ok_or("a line is neither KEY=value nor a comment")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if key.is_empty() || !key.bytes().all(plain) {
            return Err("a key before '=' is not of letters, digits and '_' alone");
        }
        if values.insert(key.to_owned(), unquoted(value.trim())?).is_some() {
            return Err("a key stands there twice");
        }
    }
    Ok(values)
}

fn unquoted(text: &str) -> Result<Value, &'static str> {
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok(Value::new(text.as_bytes().to_vec()));
    };
    let open = "a quote is not closed at the end of its line, or text stands behind it";
    let inner = text[1..].strip_suffix(quote).ok_or(open)?;
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quote == '"' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => value.push(escaped),
                _ => return Err("a backslash within double quotes stands before another character than \" \\ $ `"),
            },
            byte if char::from(byte) == quote => return Err(open),
            byte => value.push(byte),
        }
    }
    Ok(Value::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(format: Format, text: &str) -> Result<Vec<(String, String)>, Fault> {
        let shown = |value: &Value| String::from_utf8(value.reveal().to_vec()).unwrap();
        Ok(match format.read(Value::new(text.into()), "x")? {
            Content::Whole(value) => vec![(String::new(), shown(&value))],
            Content::Keys(values) => values.iter().map(|(key, value)| (key.clone(), shown(value))).collect(),
        })
    }

    #[test]
    fn files_of_variables_are_read() {
        let text = "# comment\n; another\n\nA=plain value \nB=\"quoted \\\" \\\\ \\$x\"\nC='si\\ngle'\nD=\nE=a=b#c\n";
        let values = read(Format::Env, text).unwrap();
        let of = |key: &str| values.iter().find(|(known, _)| known == key).unwrap().1.clone();
        assert_eq!((of("A"), of("B")), ("plain value".into(), "quoted \" \\ $x".into()));
        assert_eq!((of("C"), of("D"), of("E")), ("si\\ngle".into(), String::new(), "a=b#c".into()));
        for bad in ["canary", "A-B=canary", "=canary", "A=1\nA=canary", "A=\"canary", "A='canary'x", "A=\"canary\\n\"", "A=\"", "A='a'b'"] {
            let error = read(Format::Env, bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{bad}: {error}");
        }
        assert!(Format::Env.read(Value::new(vec![b'A', b'=', 0xff]), "x").is_err());
    }

    #[test]
    fn json_objects_are_read_and_mistakes_show_nothing() {
        assert_eq!(read(Format::Json, r#"{"a": "x", "b": 5}"#).unwrap(), [("a".into(), "x".into()), ("b".into(), "5".into())]);
        for bad in [r#""canary""#, r#"["canary"]"#, r#"{"a": "canary""#, "canary"] {
            let error = read(Format::Json, bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_text_is_one_value() {
        assert_eq!(read(Format::Text, "a b\n").unwrap()[0].1, "a b");
        assert_eq!(read(Format::Binary, "a b\n").unwrap()[0].1, "a b\n");
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_as_it_was(value in "[^\\x00-\\x1f\\x7f\u{85}\u{2028}\u{2029}]{0,40}") {
            let quoted: String = value.chars().flat_map(|c| if "\"\\$`".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
            prop_assert_eq!(&read(Format::Env, &format!("K=\"{quoted}\"\n")).unwrap()[0].1, &value);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[A-C=\"'\\\\\n #x]{0,60}") {
            drop(read(Format::Env, &text));
        }
    }
}
