//! The page about `roadstead.toml`, held against what reads it: both know the same keys, and its examples are understood.

use super::*;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../../docs/roadstead-toml.md");

/// The TOML examples of the page.
fn examples() -> Vec<&'static str> {
    PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A table as the page calls it: services and jobs have one name there, variables none.
fn table(name: &str) -> String {
    let service = |rest: &str| format!("[services.NAME{rest}]");
    match name.split_once(" of ") {
        Some((_, "[env]")) => "[env]".to_owned(),
        Some((inner, _)) => service(&format!(".{inner}")),
        None if name.starts_with("[services.") => service(""),
        None if name.starts_with("[jobs.") => "[jobs.NAME]".to_owned(),
        None => name.to_owned(),
    }
}

/// Keys that the reader asks for while it reads an example, but for tables of the file itself.
fn asked(text: &str) -> BTreeSet<(String, String)> {
    let reader = Reader::default();
    let parsed = toml::de::DeTable::parse(text).unwrap();
    assert!(sections::project(&reader, &parsed).is_some());
    let asked = reader.asked.borrow().iter().map(|(name, key)| (table(name), (*key).to_owned())).collect();
    let mistakes = reader.into_mistakes();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    asked
}

/// Words between backticks.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Keys that the page lists: the first column of the tables below each heading.
fn listed() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut names = Vec::new();
    for line in PAGE.lines() {
        if line.starts_with("##") {
            names = quoted(line);
        } else if let Some(key) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            found.extend(names.iter().map(|name| ((*name).to_owned(), key.to_owned())));
        }
    }
    found
}

#[test]
fn the_page_lists_every_key_and_no_other() {
    let all = examples();
    let whole = all.last().unwrap();
    // A table of the file or of the checks is no key of its own on the page.
    let keys: BTreeSet<_> = asked(whole).into_iter().filter(|(name, _)| !["the file", "[checks]"].contains(&name.as_str())).collect();
    let listed = listed();
    let only = |one: &BTreeSet<_>, other: &BTreeSet<_>| one.difference(other).cloned().collect::<Vec<(String, String)>>();
    assert_eq!((only(&keys, &listed), only(&listed, &keys)), (vec![], vec![]), "known but not on the page; on the page but unknown");
}

#[test]
fn the_examples_are_understood_and_the_last_one_uses_every_key() {
    for example in examples() {
        read(Path::new("roadstead.toml"), example).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
    let text = *examples().last().unwrap();
    let unused: Vec<_> =
        listed().into_iter().filter(|(_, key)| !text.contains(&format!("{key} = ")) && !text.contains(&format!(".{key}]"))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
