//! What a host remembers of its looks, in `apps/APP/drift.json`: when the contents of each tree were read last, and what was found.

use roadstead_model::{AppName, Drift};
use roadstead_worker::failure::chain;
use roadstead_worker::files::{read_bounded, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::tree::{Seen, Tree};
use crate::layout::Layout;

const BYTES_MAX: u64 = 256 * 1024;
/// Trees that are remembered: those of the serving release, and some of those before it.
const TREES_MAX: usize = 32;
/// How often contents are read although nothing seems to have touched them, in milliseconds: a disk may fail, a clock may jump.
const WHOLE_EVERY_MS: i64 = 24 * 3600 * 1000;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// By the place of each tree.
    trees: BTreeMap<String, Read>,
    /// What was told last.
    pub(crate) drift: Option<Drift>,
}

/// When the contents of a tree were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    /// All of them, in milliseconds.
    whole_at: i64,
    /// What was not changed after this is known to be right.
    right_until: i64,
}

impl Memory {
    /// What is remembered of an app; nothing when it cannot be read: then all is read anew.
    pub(crate) fn of(layout: &Layout, app: &AppName) -> Self {
        let bytes = read_bounded(&layout.drift(app), BYTES_MAX);
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes it down. When that fails, the next agent reads all contents once more.
    pub(crate) fn write(&self, layout: &Layout, app: &AppName) {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = write_atomically(&layout.drift(app), &bytes, 0o600) {
            tracing::warn!(%app, error = chain(&error), "what was looked at is not remembered");
        }
    }

    /// Since when contents of a tree may have changed; `None`: all have to be read.
    pub(crate) fn since(&self, tree: &Path, now: i64) -> Option<i64> {
        let read = self.trees.get(&key(tree))?;
        let age = now.checked_sub(read.whole_at)?;
        (0..WHOLE_EVERY_MS).contains(&age).then_some(read.right_until)
    }

    /// Whether contents of other trees were read whole than before.
    pub(crate) fn was_read_whole_since(&self, before: &Self) -> bool {
        self.trees.iter().any(|(place, read)| before.trees.get(place).is_none_or(|known| known.whole_at != read.whole_at))
    }

    /// A tree was looked at, beginning at `began`: what does not differ is right until then.
    pub(crate) fn looked(&mut self, tree: &Tree, whole: bool, began: i64, seen: &Seen) {
        let before = self.trees.get(&key(&tree.place)).map_or(began, |read| read.whole_at);
        let right_until = seen.first_change.map_or(began, |change| change.min(began));
        self.trees.insert(key(&tree.place), Read { whole_at: if whole { began } else { before }, right_until });
        while self.trees.len() > TREES_MAX {
            let oldest = self.trees.iter().min_by_key(|(_, read)| read.right_until).map(|(place, _)| place.clone());
            oldest.map(|place| self.trees.remove(&place));
        }
    }
}

fn key(tree: &Path) -> String {
    tree.to_string_lossy().into_owned()
}

/// The time of the host, in milliseconds: that by which inodes change.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    #[test]
    fn contents_are_read_once_a_day_and_whenever_the_clock_went_back() {
        let tree = Tree { place: "/srv/tree".into(), ..Tree::default() };
        let mut memory = Memory::default();
        assert_eq!(memory.since(&tree.place, 5_000), None);
        memory.looked(&tree, true, 5_000, &Seen::default());
        assert_eq!(memory.since(&tree.place, 6_000), Some(5_000));
        // A short look moves on what is known to be right, not the day of the long one.
        memory.looked(&tree, false, 60_000, &Seen::default());
        assert_eq!(memory.since(&tree.place, 61_000), Some(60_000));
        assert_eq!(memory.since(&tree.place, 5_000 + WHOLE_EVERY_MS), None);
        assert_eq!(memory.since(&tree.place, 4_000), None, "the clock went back");
        // What differs is read at each look, whenever it was changed.
        memory.looked(&tree, false, 80_000, &Seen { first_change: Some(7_000), ..Seen::default() });
        assert_eq!(memory.since(&tree.place, 81_000), Some(7_000));
    }

    #[test]
    fn it_is_remembered_and_a_damaged_file_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let (layout, app) = (Layout::new(root.path()), samples::app());
        std::fs::create_dir_all(layout.app_state(&app)).unwrap();
        let mut memory = Memory { drift: Some(Drift::default()), ..Memory::default() };
        memory.looked(&Tree::default(), true, 5_000, &Seen::default());
        memory.write(&layout, &app);
        assert_eq!(Memory::of(&layout, &app), memory);
        std::fs::write(layout.drift(&app), "{").unwrap();
        assert_eq!(Memory::of(&layout, &app), Memory::default());
    }
}
