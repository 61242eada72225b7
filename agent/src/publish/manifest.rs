//! `staticfiles.json`, which Django's `ManifestStaticFilesStorage` and what is made of it write beside the files that they collect: what each
//! file is called with its contents in its name. It comes from the release, and is believed in nothing but that.

use roadstead_model::RelativePath;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What it is called.
pub(crate) const NAME: &str = "staticfiles.json";
/// Some fifty thousand files.
pub(crate) const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// What compressed siblings of a file are called, behind its name.
const COMPRESSED: [&str; 3] = [".gz", ".br", ".zst"];

#[derive(Debug, Deserialize)]
struct Manifest {
    paths: BTreeMap<String, String>,
}

/// The names in which contents are. Where a name is not changed, or is no plain path, it is none of them.
///
/// # Errors
/// Why it is not read.
pub(crate) fn hashed(text: &[u8]) -> Result<BTreeSet<String>, String> {
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("{NAME} is larger than {} MiB", BYTES_MAX >> 20));
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        format!("{NAME} is not what Django writes ({place})")
    })?;
    let plain = |path: &String| RelativePath::parse(path).is_ok_and(|plain| plain.as_str() == path && !plain.is_root());
    // A name that is a file's own in another place of the list changes with nothing.
    let hashed = manifest.paths.values().filter(|name| !manifest.paths.contains_key(*name) && plain(name));
    Ok(hashed.cloned().collect())
}

/// Whether contents are in a name: it is one of these, or that of a compressed sibling.
pub(crate) fn is_among(path: &str, hashed: &BTreeSet<String>) -> bool {
    let plain = COMPRESSED.iter().find_map(|ending| path.strip_suffix(ending));
    hashed.contains(path) || plain.is_some_and(|plain| hashed.contains(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_contents_are_those_that_were_changed() {
        let text = r#"{"paths": {"a.css": "a.0123.css", "b.txt": "b.txt", "c": "../c.1", "d": "/d.1", "e": "./e.1", "f": "", "g": ".", "h": "a.css"},
                       "version": "1.1", "hash": "f00d"}"#;
        let hashed = hashed(text.as_bytes()).unwrap();
        assert_eq!(hashed, BTreeSet::from(["a.0123.css".to_owned()]));
        for (path, among) in
            [("a.0123.css", true), ("a.0123.css.gz", true), ("a.0123.css.br", true), ("a.css", false), ("a.0123.css.txt", false)]
        {
            assert_eq!(is_among(path, &hashed), among, "{path}");
        }
    }

    #[test]
    fn whatever_else_comes_is_told_and_names_nothing() {
        for bad in ["", "[]", "{}", r#"{"paths": []}"#, r#"{"paths": {"a": 1}}"#, "{\"paths\": {\"a\": \"b\"}", "\u{0}"] {
            assert!(hashed(bad.as_bytes()).unwrap_err().contains("not what Django writes"), "{bad}");
        }
        let large = vec![b' '; usize::try_from(BYTES_MAX).unwrap() + 1];
        assert!(hashed(&large).unwrap_err().contains("8 MiB"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _whatever_it_is = hashed(&text);
        }
    }
}
