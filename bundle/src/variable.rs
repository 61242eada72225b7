//! A variable that an app declares: what its values are to be, who needs it, and what is wrong with one. Pure.

use roadstead_model::{ServiceName, VariableName};
use serde::{Deserialize, Serialize};

/// A variable that the app reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Variable {
    /// Its value where the environment sets none. May be empty and may hold several lines.
    pub default: Option<String>,
    /// It must be set by the environment or by the host: missing ones are named before anything changes.
    pub required: bool,
    /// Its value is code-bearing (a module, a path to one): only the manifest may set it.
    pub fixed: bool,
    /// What its values are.
    #[serde(rename = "type", default, skip_serializing_if = "ValueType::is_text")]
    pub kind: ValueType,
    /// The only values that it may have; any where none are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// Nobody may see its value: it never comes from an environment's file or from `config set`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// The services that need it: it is missed only where one of them runs. All of them where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceName>,
}

impl Variable {
    /// Whether it says anything that releases of before could not.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        !self.kind.is_text() || !self.one_of.is_empty() || self.secret || !self.services.is_empty()
    }

    /// What is wrong with a value, in words that do not hold it; nothing when it is right.
    #[must_use]
    pub fn mistake(&self, value: &str) -> Option<String> {
        if !self.one_of.is_empty() && !self.one_of.iter().any(|known| known == value) {
            return Some(format!("is to be one of {}", self.one_of.join(", ")));
        }
        (!self.kind.takes(value)).then(|| format!("is to be {}", self.kind.words()))
    }

    /// Who needs it, for people.
    #[must_use]
    pub fn needed_by(&self) -> String {
        if self.services.is_empty() {
            return "every service".to_owned();
        }
        self.services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// What the values of a variable are. All of them are texts to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueType {
    /// Anything.
    #[default]
    Text,
    /// A whole number, such as `-5`.
    Integer,
    /// A number, such as `0.75`.
    Number,
    /// `true`, `false`, `yes`, `no`, `on`, `off`, `1` or `0`, in whatever case.
    Boolean,
    /// An absolute URL: a scheme, `://`, and something behind it.
    Url,
    /// A JSON document.
    Json,
}

impl ValueType {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Text, Self::Integer, Self::Number, Self::Boolean, Self::Url, Self::Json];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Url => "url",
            Self::Json => "json",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Url => "a URL, as in https://example.org/",
            Self::Json => "JSON",
        }
    }

    const fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    fn takes(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer => value.parse::<i128>().is_ok(),
            Self::Number => value.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Boolean => ["true", "false", "yes", "no", "on", "off", "1", "0"].iter().any(|word| value.eq_ignore_ascii_case(word)),
            Self::Url => is_url(value),
            Self::Json => serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok(),
        }
    }
}

/// RFC 3986, as far as a mistake would be made: a scheme, `://`, something behind it, and no blanks.
fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// What is wrong with a variable's name and what is declared of it, for a value that an environment gives; nothing when it may give it.
#[must_use]
pub fn may_not_set(name: &VariableName, declared: &Variable) -> Option<String> {
    if declared.fixed {
        return Some("roadstead.toml of the release fixes it".to_owned());
    }
    roadstead_model::steers_code(name).map(|why| format!("no environment may set it: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_their_type_says() {
        let good: [(ValueType, &[&str]); 6] = [
            (ValueType::Text, &["", "anything\nat all"]),
            (ValueType::Integer, &["0", "-5", "12345678901234567890"]),
            (ValueType::Number, &["0.75", "-1e3", "7"]),
            (ValueType::Boolean, &["True", "no", "ON", "1"]),
            (ValueType::Url, &["https://example.org/", "postgres://erp@db/erp", "redis+socket:///run/redis.sock"]),
            (ValueType::Json, &["{}", "[1, 2]", "\"x\"", " null "]),
        ];
        let bad: [(ValueType, &[&str]); 5] = [
            (ValueType::Integer, &["", "many", "1.5", "0x10", " 5"]),
            (ValueType::Number, &["", "nan", "inf", "1,5"]),
            (ValueType::Boolean, &["", "maybe", "2", "y"]),
            (ValueType::Url, &["", "example.org", "://x", "http://", "http://a b", "1http://x"]),
            (ValueType::Json, &["", "{", "{'a': 1}", "1 2"]),
        ];
        let variable = |kind| Variable { kind, ..Variable::default() };
        for (kind, values) in good {
            values.iter().for_each(|value| assert_eq!(variable(kind).mistake(value), None, "{kind:?} {value:?}"));
        }
        for (kind, values) in bad {
            values.iter().for_each(|value| assert!(variable(kind).mistake(value).is_some(), "{kind:?} {value:?}"));
        }
        let level = Variable { one_of: vec!["INFO".to_owned(), "DEBUG".to_owned()], ..Variable::default() };
        assert_eq!((level.mistake("INFO"), level.mistake("s3cr3t")), (None, Some("is to be one of INFO, DEBUG".to_owned())));
    }

    #[test]
    fn what_older_readers_know_is_written_as_before() {
        let text = r#"{"default":"x","required":false,"fixed":false}"#;
        let variable = Variable { default: Some("x".to_owned()), ..Variable::default() };
        assert_eq!(serde_json::to_string(&variable).unwrap(), text);
        assert_eq!(serde_json::from_str::<Variable>(text).unwrap(), variable);
        assert!(!variable.is_typed());
    }
}
