//! What a variable of `[migrations.APP]` is made of, pure: a reference to a secret, or a text with references in braces.

use roadstead_model::SecretRef;
use std::collections::BTreeMap;

/// The value of a variable, before its secrets are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Template {
    /// The secret itself.
    Whole(SecretRef),
    /// A text, such as an URL, in which secrets stand as an URL has them.
    Text(Vec<Part>),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it is.
    Plain(String),
    /// A secret, with all but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
    Secret(SecretRef),
}

const BRACES: &str = "a '{' here begins a reference to a secret, such as {vault:database/erp-migrator#password}, and a '}' ends it";

impl Template {
    /// Reads one. Of what is none, nothing is shown: it may be a secret.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let reference = |text: &str| SecretRef::parse(text).map_err(|error| error.to_string());
        if !text.contains(['{', '}']) {
            return reference(text).map(Self::Whole);
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((plain, behind)) = rest.split_once('{') {
            let (inside, after) = behind.split_once('}').ok_or(BRACES)?;
            parts.extend([Part::Plain(plain.to_owned()), Part::Secret(reference(inside)?)]);
            rest = after;
        }
        parts.push(Part::Plain(rest.to_owned()));
        let is_odd = |part: &Part| matches!(part, Part::Plain(plain) if plain.contains('}') || plain.chars().any(char::is_control));
        parts.retain(|part| !matches!(part, Part::Plain(plain) if plain.is_empty()));
        if parts.iter().any(is_odd) { Err(BRACES.to_owned()) } else { Ok(Self::Text(parts)) }
    }

    /// What it refers to.
    pub(crate) fn references(&self) -> Vec<&SecretRef> {
        match self {
            Self::Whole(reference) => vec![reference],
            Self::Text(parts) => parts.iter().filter_map(|part| if let Part::Secret(of) = part { Some(of) } else { None }).collect(),
        }
    }

    /// The value. A secret that is not known is left out.
    pub(crate) fn fill(&self, secrets: &BTreeMap<SecretRef, String>) -> String {
        let of = |reference: &SecretRef| secrets.get(reference).map_or("", String::as_str);
        match self {
            Self::Whole(reference) => of(reference).to_owned(),
            Self::Text(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Plain(plain) => plain.clone(),
                    Part::Secret(reference) => encoded(of(reference)),
                })
                .collect(),
        }
    }
}

/// As a part of an URL has it (RFC 3986, 2.3).
pub(super) fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeMap<SecretRef, String> {
        let one = |text: &str, value: &str| (SecretRef::parse(text).unwrap(), value.to_owned());
        BTreeMap::from([one("db:erp#user", "v-erp-1"), one("db:erp#password", "a/b@c:d%ä")])
    }

    #[test]
    fn a_reference_is_the_value_and_in_braces_a_part_of_an_url() {
        let whole = Template::parse("db:erp#password").unwrap();
        assert_eq!(whole.fill(&known()), "a/b@c:d%ä");
        let url = Template::parse("postgres://{db:erp#user}:{db:erp#password}@10.0.0.5/erp").unwrap();
        assert_eq!(url.fill(&known()), "postgres://v-erp-1:a%2Fb%40c%3Ad%25%C3%A4@10.0.0.5/erp");
        assert_eq!(url.references().len(), 2);
        assert_eq!(Template::parse("{db:erp#user}").unwrap().fill(&known()), "v-erp-1");
    }

    #[test]
    fn what_is_none_is_refused_and_not_shown() {
        for bad in ["canary", "", "x{", "x}", "{canary}", "{db:erp#user", "{db:erp#user}}", "{{db:erp#user}}", "a\n{db:erp#user}"] {
            let error = Template::parse(bad).unwrap_err();
            assert!(!error.contains("canary") && error.contains("reference to a secret"), "{bad}: {error}");
        }
    }
}
