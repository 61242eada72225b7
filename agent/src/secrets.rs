//! What an app's programs must not tell: the values that the host's operator set for it as root. Nothing that leaves the host shows them:
//! where one stands in output or in a failure, the variable is named instead.
//!
//! Values of fewer than [`SHORTEST`] bytes are not looked for: `True` and `8000` are everywhere. Nor is what every path of the app says.
//! Output comes line by line, so each line of a longer value is looked for by itself.

use roadstead_model::{AppName, Failure, VariableName, limits};
use roadstead_worker::files::read_bounded;
use roadstead_worker::tasks::blocking;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::host::environment_file;
use crate::host::journal::CUT;
use crate::layout::Layout;

/// Bytes of the shortest value that is hidden.
const SHORTEST: usize = 6;
/// Environment files of releases that are read: more than a host keeps.
const FILES_MAX: usize = 64;

/// The values to hide, and whose they are.
#[derive(Default)]
pub(crate) struct Secrets {
    /// By their first bytes, the longest first.
    by_first: BTreeMap<u8, Vec<Secret>>,
}

struct Secret {
    value: String,
    name: VariableName,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("count", &self.by_first.values().map(Vec::len).sum::<usize>()).finish()
    }
}

impl Secrets {
    /// What the host's operator set for an app, now and when its releases were prepared.
    pub(crate) async fn of(layout: &Layout, app: &AppName) -> Self {
        let (layout, app) = (layout.clone(), app.clone());
        blocking(move || Self::read(&layout, &app)).await
    }

    fn read(layout: &Layout, app: &AppName) -> Self {
        let now = variables(&layout.host_variables(app));
        if now.is_empty() {
            return Self::default();
        }
        let mut values: BTreeSet<(VariableName, String)> = BTreeSet::new();
        // A value that was changed meanwhile is still what the release runs with.
        for entry in std::fs::read_dir(layout.environment_files(app)).into_iter().flatten().flatten().take(FILES_MAX) {
            values.extend(variables(&entry.path()).into_iter().filter(|(name, _)| now.contains_key(name)));
        }
        values.extend(now);
        let public = layout.app(app).display().to_string();
        Self::new(values.into_iter().filter(|(_, value)| !public.contains(value.as_str())))
    }

    fn new(values: impl Iterator<Item = (VariableName, String)>) -> Self {
        let mut by_first: BTreeMap<u8, Vec<Secret>> = BTreeMap::new();
        for (name, value) in values {
            for part in parts(&value) {
                let Some(first) = part.bytes().next().filter(|_| part.len() >= SHORTEST) else { continue };
                by_first.entry(first).or_default().push(Secret { value: part, name: name.clone() });
            }
        }
        for secrets in by_first.values_mut() {
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.value.len()));
        }
        Self { by_first }
    }

    /// The text without the values.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let (mut hidden, mut shown, mut at) = (String::new(), 0, 0);
        while let Some(character) = text[at..].chars().next() {
            match self.found(text, at) {
                Some((length, name)) => {
                    hidden.push_str(&text[shown..at]);
                    hidden.push_str(&format!("[value of {name}]"));
                    at += length;
                    shown = at;
                }
                None => at += character.len_utf8(),
            }
        }
        if shown == 0 && hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.push_str(&text[shown..]);
        Cow::Owned(hidden)
    }

    /// The failure without the values.
    pub(crate) fn hide_in(&self, failure: &Failure) -> Failure {
        let shown = Failure::new(failure.kind, self.hide(&failure.summary), self.hide(&failure.hint));
        shown.with_detail(&self.hide(&failure.detail))
    }

    /// The value that stands at a place of the text, whole or cut off by an edge, and how much of it there is.
    fn found(&self, text: &str, at: usize) -> Option<(usize, &VariableName)> {
        let rest = &text[at..];
        let begins = self.by_first.get(rest.as_bytes().first()?).into_iter().flatten();
        let here = begins.filter_map(|secret| Some((secret.length_in(rest)?, &secret.name))).max_by_key(|(length, _)| *length);
        // A detail is cut at its head: the first that it shows may be the end of a value.
        let was_cut = at == 0 && text.len() + 4 > limits::FAILURE_DETAIL_BYTES_MAX;
        let ends = self.by_first.values().flatten().filter(|_| was_cut);
        here.or_else(|| ends.filter_map(|secret| Some((secret.end_in(rest)?, &secret.name))).max_by_key(|(length, _)| *length))
    }
}

impl Secret {
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

/// The variables of a file; of one that is not in order, what stands behind each `=`.
fn variables(path: &std::path::Path) -> BTreeMap<VariableName, String> {
    let Ok(bytes) = read_bounded(path, limits::CONFIG_FILE_BYTES_MAX) else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(&bytes);
    environment_file::parse(&text).unwrap_or_else(|_| {
        let assigned = text.lines().filter_map(|line| line.split_once('='));
        let trimmed = assigned.map(|(name, value)| (name.trim(), value.trim().trim_matches(['"', '\'']).to_owned()));
        trimmed.filter_map(|(name, value)| Some((VariableName::parse(name).ok()?, value))).collect()
    })
}

/// What is looked for of a value: each of its lines as the journal shows it, and the password of a URL by itself.
fn parts(value: &str) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
    let mut parts: Vec<String> = value.lines().map(|line| clean(line).trim().to_owned()).collect();
    // As Python shows it within quotes.
    parts.extend(value.lines().filter(|line| line.contains('\\')).map(|line| clean(line).replace('\\', "\\\\")));
    let user = value.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    parts.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| clean(password)));
    parts
}

#[cfg(test)]
mod tests;
