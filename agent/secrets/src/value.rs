//! A value that must not be told.

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of the largest value.
pub(crate) const VALUE_BYTES_MAX: usize = roadstead_model::limits::VARIABLE_VALUE_BYTES_MAX;

/// A secret's value: overwritten when it is dropped, shown by nothing but [`Value::reveal`].
///
/// What passed through TLS, the kernel and a reader of JSON on its way here is not overwritten there.
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes bytes as a value.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes: only for where they are delivered to.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, where they are text without a NUL: what a variable or a header can hold.
    #[must_use]
    pub fn reveal_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().filter(|text| !text.contains('\0'))
    }

    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// The value without the line break that editors and programs end a text with.
    pub(crate) fn without_line_end(mut self) -> Self {
        if self.0.last() == Some(&b'\n') {
            self.0.pop();
            if self.0.last() == Some(&b'\r') {
                self.0.pop();
            }
        }
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Read from a JSON text, number or truth value; what else there is makes an error that shows nothing of it.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts)?.ok_or_else(|| de::Error::custom("it is no text"))
    }
}

/// The values of a JSON object by their keys: those that are texts, numbers or truth values. What else it holds is nobody's secret here.
#[derive(Debug, Default)]
pub(crate) struct Values(pub(crate) BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = BTreeMap::<String, Item>::deserialize(deserializer)?;
        Ok(Self(read.into_iter().filter_map(|(key, Item(value))| Some((key, value?))).collect()))
    }
}

struct Item(Option<Value>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts).map(Self)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Value>, E> {
        Ok(Some(Value::new(text.as_bytes().to_vec())))
    }

    fn visit_string<E>(self, text: String) -> Result<Option<Value>, E> {
        Ok(Some(Value::new(text.into_bytes())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Option<Value>, E> {
        self.visit_string(value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<Value>, E> {
        self.visit_string(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<Value>, E> {
        self.visit_string(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<Value>, E> {
        self.visit_string(value.to_string())
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Option<Value>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Bytes as they come in, so many at most. Growing leaves no copy behind.
#[derive(Default)]
pub(crate) struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    /// Takes more bytes, unless they are too many.
    pub(crate) fn push(&mut self, bytes: &[u8], max: usize) -> Result<(), ()> {
        let needed = self.0.len() + bytes.len();
        if needed > max {
            return Err(());
        }
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.0.capacity() * 2).max(4096)));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn into_value(mut self) -> Value {
        Value(std::mem::take(&mut self.0))
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes, hidden]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_nothing_of_itself() {
        let value = Value::new(b"canary".to_vec());
        assert_eq!((value.reveal(), value.reveal_text()), (&b"canary"[..], Some("canary")));
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "[hidden] Some([hidden])");
        assert_eq!(Value::new(b"a\0b".to_vec()).reveal_text(), None);
        assert_eq!(Value::new(vec![0xff]).reveal_text(), None);
    }

    #[test]
    fn values_of_json_are_texts() {
        let of = |json: &str| serde_json::from_str::<Value>(json).map(|value| String::from_utf8(value.reveal().to_vec()).unwrap());
        for (json, text) in [(r#""a\nb""#, "a\nb"), ("5432", "5432"), ("-1", "-1"), ("true", "true"), ("1.5", "1.5"), (r#""""#, "")] {
            assert_eq!(of(json).unwrap(), text);
        }
        for json in ["null", "[1]", r#"{"a": "canary"}"#] {
            assert!(!of(json).unwrap_err().to_string().contains("canary"));
        }
        let values = r#"{"a": "x", "b": {"c": ["d"]}, "e": null, "f": [1, {}], "g": 5}"#;
        assert_eq!(serde_json::from_str::<Values>(values).unwrap().0.into_keys().collect::<Vec<_>>(), ["a", "g"]);
    }

    #[test]
    fn one_line_end_is_none_of_the_value() {
        for (text, value) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", ""), ("\n", "")] {
            assert_eq!(Value::new(text.into()).without_line_end().reveal(), value.as_bytes());
        }
    }

    #[test]
    fn what_comes_in_is_bounded() {
        let mut buffer = Buffer::default();
        for _ in 0..10 {
            buffer.push(&[7; 1000], 10_000).unwrap();
        }
        assert!(buffer.push(&[7], 10_000).is_err());
        assert_eq!(format!("{buffer:?}"), "[10000 bytes, hidden]");
        assert_eq!(buffer.into_value().reveal(), [7; 10_000]);
    }
}
