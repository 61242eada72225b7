use super::*;
use crate::{AppName, EnvironmentName};
use proptest::prelude::*;

fn spec(variables: &[(&str, &str)]) -> EnvironmentSpec {
    let text = r#"{"name":"staging","app":"erp"}"#;
    let mut spec: EnvironmentSpec = serde_json::from_str(text).unwrap();
    assert_eq!((spec.name.clone(), spec.app.clone()), (EnvironmentName::parse("staging").unwrap(), AppName::parse("erp").unwrap()));
    spec.variables = variables.iter().map(|(name, value)| (VariableName::parse(name).unwrap(), (*value).to_owned())).collect();
    spec
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn hosts(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

#[test]
fn the_same_content_has_the_same_name_whoever_said_it() {
    let applied = Configuration::new(&spec(&[("DEBUG", "0")]), vec![]).unwrap();
    let set = Configuration::default().with(&Selector::default(), &key("DEBUG"), Some("0".to_owned())).unwrap();
    assert_eq!(applied.id(), set.id());
    assert_ne!(applied.id(), Configuration::new(&spec(&[("DEBUG", "1")]), vec![]).unwrap().id());
    let back = set.with(&Selector::default(), &key("DEBUG"), None).unwrap();
    assert_eq!(back, Configuration::default());
}

#[test]
fn selectors_that_mean_the_same_hosts_are_one() {
    let one = Configuration::default().with(&hosts("zone=b|a,role=web"), &key("DEBUG"), Some("1".to_owned())).unwrap();
    let other = one.with(&hosts("role=web,zone=a|b"), &key("DEBUG"), Some("2".to_owned())).unwrap();
    assert_eq!(other.set.len(), 1, "{other:?}");
    let mut spec = spec(&[]);
    spec.overrides = vec![Layer { hosts: hosts("zone=b|a,role=web"), ..one.set[0].clone() }];
    assert!(Configuration::new(&spec, one.set).is_err(), "it is said in two places");
}

#[test]
fn one_thing_comes_from_one_place() {
    let applied = Configuration::new(&spec(&[("DEBUG", "0")]), vec![]).unwrap();
    let error = applied.with(&Selector::default(), &key("DEBUG"), Some("1".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "DEBUG is said twice for all hosts: in the environment's file and by `roadstead config set`. Say it in one place: \
         `roadstead config unset`, or take it out of the file"
    );
    // To some hosts something else may be said.
    let set = applied.with(&hosts("zone=b"), &key("DEBUG"), Some("1".to_owned())).unwrap();
    assert!(Configuration::new(&spec(&[]), set.set.clone()).is_ok());
    let labels = [Labels::parse(["zone=a"]).unwrap(), Labels::parse(["zone=b"]).unwrap()];
    let resolved = set.resolve(labels.iter().map(|labels| ("web".to_owned(), labels))).unwrap();
    assert_eq!(resolved.of, [vec![], vec![0]]);
    assert_eq!(resolved.overrides[0].get(&key("DEBUG")), Some("1".to_owned()));
    assert_eq!(resolved.base.get(&key("DEBUG")), Some("0".to_owned()));
}

#[test]
fn of_two_selectors_that_say_different_things_neither_is_guessed() {
    let one = Configuration::default().with(&hosts("zone=b"), &key("file:config/a.toml"), Some("1".to_owned())).unwrap();
    let two = one.with(&hosts("role=web"), &key("file:config/a.toml"), Some("2".to_owned())).unwrap();
    let both = Labels::parse(["zone=b", "role=web"]).unwrap();
    let clash = two.resolve([("web-1".to_owned(), &both)]).unwrap_err();
    assert_eq!(
        clash.to_string(),
        "file:config/a.toml has different values for web-1: by \"role=web\" and by \"zone=b\". Let only one of these selectors match it"
    );
    let same = one.with(&hosts("role=web"), &key("file:config/a.toml"), Some("1".to_owned())).unwrap();
    assert_eq!(same.resolve([("web-1".to_owned(), &both)]).unwrap().of, [vec![0, 1]]);
}

#[test]
fn of_a_secret_only_its_place_is_said() {
    let everybody = Selector::default();
    let place = "vault:secret/erp#stripe_key?version=3";
    let said = Configuration::default().with(&everybody, &key("secret:STRIPE_KEY"), Some(place.to_owned())).unwrap();
    assert_eq!(said.set[0].values.get(&key("secret:STRIPE_KEY")), Some(place.to_owned()));
    let error = said.with(&everybody, &key("STRIPE_KEY"), Some("x".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "STRIPE_KEY has a value and is a secret, too, for all hosts: say one of the two");
    let error = Configuration::default().with(&everybody, &key("secret:STRIPE_KEY"), Some("sk_live_51".to_owned())).unwrap_err();
    assert!(error.to_string().starts_with("secret:STRIPE_KEY: ") && !error.to_string().contains("sk_live"), "{error}");
    // To some hosts it may be said otherwise: what is said last is meant.
    let both = said.with(&hosts("zone=b"), &key("STRIPE_KEY"), Some("test".to_owned())).unwrap();
    let resolved = both.resolve([("web".to_owned(), &Labels::parse(["zone=b"]).unwrap())]).unwrap();
    let mut values = resolved.base;
    values.overlay(&resolved.overrides[0]);
    assert!(values.secrets.is_empty() && values.variables.len() == 1);
}

#[test]
fn what_is_too_large_is_refused() {
    let value = |bytes: usize| Some("x".repeat(bytes));
    let everybody = Selector::default();
    let error = Configuration::default().with(&everybody, &key("A"), value(limits::VARIABLE_VALUE_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(error, InvalidConfiguration::Value { .. }));
    assert!(Configuration::default().with(&everybody, &key("A"), Some("a\0b".to_owned())).is_err());
    let mut configuration = Configuration::default();
    let found = (0..).find_map(|n| match configuration.with(&everybody, &key(&format!("A{n}")), value(50_000)) {
        Ok(next) => {
            configuration = next;
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(found, Some(InvalidConfiguration::TooLarge { .. })), "{found:?}");
}

#[test]
fn changes_are_told_without_values() {
    let old = Configuration::new(&spec(&[("DEBUG", "0"), ("OLD", "x")]), vec![]).unwrap();
    let new = Configuration::new(&spec(&[("DEBUG", "1")]), vec![]).unwrap();
    let new = new.with(&hosts("zone=b"), &key("file:config/a.toml"), Some("secret".to_owned())).unwrap();
    let told: Vec<String> = compare(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["DEBUG changed", "OLD removed", "file:config/a.toml set for zone=b"]);
    assert_eq!(compare(&new, &new), []);
}

#[test]
fn keys_read_as_they_are_written() {
    for good in ["DEBUG", "secret:STRIPE_KEY", "file:config/limits.toml"] {
        assert_eq!(key(good).to_string(), good);
    }
    for bad in ["", "1A", "secret:", "secret:A B", "file:", "file:.", "file:../x", "file:/etc/passwd", "A B", "A=B"] {
        assert!(Key::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_set_and_taken_back_leaves_no_trace(names in proptest::collection::vec("[A-Z]{1,3}", 1..8), values in proptest::collection::vec("[a-z]{0,4}", 8)) {
        let everybody = Selector::default();
        let mut configuration = Configuration::default();
        for (name, value) in names.iter().zip(&values) {
            configuration = configuration.with(&everybody, &key(name), Some(value.clone())).unwrap();
        }
        for name in &names {
            configuration = configuration.with(&everybody, &key(name), None).unwrap();
        }
        prop_assert_eq!(configuration, Configuration::default());
    }
}
