//! Names, ids, labels, selectors, digests: the words that everything else is made of.

use roadstead_bundle::sign::PublicKey;
use roadstead_bundle::spec::{PythonVersion, RelativePath};
use roadstead_model::*;
use roadstead_pki::{Identity, KeyPin, Serial};
use std::fmt::{Debug, Display};
use std::path::{Component, Path};
use std::str::FromStr;

use crate::text::text;

/// A word that is read is written as it was, and none that becomes a path or a part of one leads elsewhere.
pub fn names(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    for name in [
        same::<AppName>(text),
        same::<EnvironmentName>(text),
        same::<ServiceName>(text),
        same::<HostId>(text),
        same::<HostName>(text),
        same::<AdminName>(text),
        same::<Version>(text),
        same::<ReleaseId>(text),
        same::<VariableName>(text),
        same::<Digest>(text),
        same::<DigestStart>(text),
        same::<StepName>(text),
        same::<KeyPin>(text),
        same::<Serial>(text),
    ]
    .into_iter()
    .flatten()
    {
        let parts: Vec<Component<'_>> = Path::new(&name).components().collect();
        assert!(matches!(parts[..], [Component::Normal(part)] if part == &*name), "{name:?} is no part of a path");
        assert!(!name.contains(char::is_whitespace) && !name.contains(char::is_control));
    }
    if let Ok(rollout) = text.parse::<RolloutId>() {
        assert_eq!(rollout.to_string().parse(), Ok(rollout));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text.trim());
    }
    if let Ok(identity) = Identity::parse_uri(text) {
        assert_eq!(identity.uri(), text);
    }
    if let Ok(python) = PythonVersion::try_from(text.to_owned()) {
        // What stands behind the second number is not kept.
        assert_eq!(PythonVersion::try_from(String::from(python)), Ok(python));
    }
    if let Ok(path) = RelativePath::try_from(text.to_owned()) {
        let written = String::from(path.clone());
        assert_eq!(RelativePath::try_from(written.clone()), Ok(path));
        let parts: Vec<Component<'_>> = Path::new(&written).components().collect();
        assert!(
            parts == [Component::CurDir] || parts.iter().all(|part| matches!(part, Component::Normal(_))),
            "{written:?} leads elsewhere"
        );
    }
    labels(text);
    selector(text);
}

/// A word and how it is written.
fn same<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<String> {
    let word = text.parse::<T>().ok()?;
    assert_eq!(word.to_string(), text, "a word has two spellings");
    Some(text.to_owned())
}

fn labels(text: &str) {
    let Ok(labels) = Labels::parse(text.split(',')) else { return };
    assert_eq!(Labels::parse(labels.to_string().split(',')), Ok(labels.clone()));
    for (key, value) in labels.iter() {
        assert!(Selector::parse(&format!("{key}={value}")).unwrap().matches(&labels));
        assert!(!Selector::parse(&format!("!{key}")).unwrap().matches(&labels));
    }
}

fn selector(text: &str) {
    let Ok(selector) = Selector::parse(text) else { return };
    assert_eq!(Selector::parse(&selector.to_string()), Ok(selector.clone()));
    assert_eq!(selector.is_everything(), text.trim().is_empty());
}
