//! What is done with a file of a release, where another release serves that may have one of the same name. Pure.
//!
//! A file whose name changes with its contents disturbs nobody: it goes where it is not. One that keeps its name is asked for by the release
//! before, too, until nobody serves that any more: it is brought to its new contents behind the rollout. No host knows what others serve, so
//! before it nothing is touched that is there.

use std::collections::BTreeMap;

use super::Entry;

/// When files are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before anybody moves.
    Before,
    /// Everybody serves the release.
    Behind,
}

/// What lies at a destination under the name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct There {
    /// How large it is.
    pub(crate) bytes: u64,
    /// What tells its contents apart, where the destination says so.
    pub(crate) tag: String,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is there, or its turn has not come.
    Nothing,
    /// It is sent.
    Send,
    /// It is sent if what is there has other contents.
    Compare,
}

/// What is done with a file.
pub(crate) fn need(entry: &Entry, there: Option<&There>, moment: Moment) -> Need {
    let Some(there) = there else { return Need::Send };
    let same_size = there.bytes == entry.bytes;
    if entry.hashed {
        return if same_size { Need::Nothing } else { Need::Send };
    }
    match (moment, same_size) {
        (Moment::Before, _) => Need::Nothing,
        (Moment::Behind, true) => Need::Compare,
        (Moment::Behind, false) => Need::Send,
    }
}

/// The files with which something is done, from one of them on: hosts that begin at different places share the work.
pub(crate) fn needed(entries: &[Entry], there: &BTreeMap<String, There>, moment: Moment, from: usize) -> Vec<(Entry, Need)> {
    let from = from.checked_rem(entries.len()).unwrap_or(0);
    let (first, last) = entries.split_at(from);
    let with = |entry: &Entry| (entry.clone(), need(entry, there.get(&entry.path), moment));
    last.iter().chain(first).map(with).filter(|(_, need)| *need != Need::Nothing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, hashed: bool) -> Entry {
        Entry { path: path.into(), bytes: 5, hashed }
    }

    fn there(bytes: u64) -> There {
        There { bytes, tag: String::new() }
    }

    #[test]
    fn nothing_that_the_serving_release_asks_for_is_changed_before_it_is_gone() {
        let (plain, hashed) = (entry("a.css", false), entry("a.1.css", true));
        for moment in [Moment::Before, Moment::Behind] {
            assert_eq!(need(&plain, None, moment), Need::Send);
            assert_eq!(need(&hashed, None, moment), Need::Send);
            assert_eq!(need(&hashed, Some(&there(5)), moment), Need::Nothing);
            assert_eq!(need(&hashed, Some(&there(4)), moment), Need::Send, "a damaged one is mended");
        }
        for bytes in [4, 5] {
            assert_eq!(need(&plain, Some(&there(bytes)), Moment::Before), Need::Nothing);
        }
        assert_eq!(need(&plain, Some(&there(4)), Moment::Behind), Need::Send);
        assert_eq!(need(&plain, Some(&there(5)), Moment::Behind), Need::Compare);
    }

    #[test]
    fn hosts_begin_at_different_places() {
        let entries = ["a", "b", "c"].map(|path| entry(path, true));
        let lies = BTreeMap::from([("b".to_owned(), there(5))]);
        let paths = |from| {
            let needed = needed(&entries, &lies, Moment::Behind, from);
            needed.into_iter().map(|(entry, _)| entry.path).collect::<String>()
        };
        assert_eq!([0, 1, 2, 3, usize::MAX].map(paths), ["ac", "ca", "ca", "ac", "ac"]);
        assert_eq!(needed(&[], &lies, Moment::Behind, 7), []);
    }
}
