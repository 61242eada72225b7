//! The witness: the story of a run, and every promise that was broken in it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Lines of the story that are kept; a longer one loses its beginning.
const LINES_MAX: usize = 4000;

#[derive(Debug)]
struct Notes {
    began: Instant,
    lines: Vec<String>,
    broken: Vec<String>,
}

/// What is seen of a run.
#[derive(Debug, Clone)]
pub(crate) struct Witness(Arc<Mutex<Notes>>);

impl Witness {
    /// Looks on from now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Notes { began: Instant::now(), lines: Vec::new(), broken: Vec::new() })))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened.
    pub(crate) fn saw(&self, text: impl AsRef<str>) {
        let mut notes = self.notes();
        let at = notes.began.elapsed().as_secs_f64();
        let line = format!("{at:>10.3}  {}", text.as_ref());
        notes.lines.push(line);
        if notes.lines.len() > LINES_MAX {
            notes.lines.drain(..LINES_MAX / 4);
        }
    }

    /// A promise was broken.
    pub(crate) fn broken(&self, promise: &str, how: impl AsRef<str>) {
        let text = format!("{promise}: {}", how.as_ref());
        self.saw(format!("!!! {text}"));
        self.notes().broken.push(text);
    }

    /// Whether any promise was broken.
    pub(crate) fn is_broken(&self) -> bool {
        !self.notes().broken.is_empty()
    }

    /// What was broken, first of all the first.
    pub(crate) fn verdict(&self) -> Vec<String> {
        self.notes().broken.clone()
    }

    /// The story.
    pub(crate) fn story(&self) -> String {
        let mut text = String::new();
        for line in &self.notes().lines {
            let _infallible = writeln!(text, "{line}");
        }
        text
    }
}
