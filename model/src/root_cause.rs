//! The root of a failure, read from what failed steps and units printed: which exception, with which message, and where in the app's own
//! code. Pure, and careful: it is given whatever a program of an app wrote.
//!
//! The text is gone through once, from its beginning, and never more than the last [`LOOKED_AT_BYTES`] of it. Of a chain of exceptions the
//! root is the first that passed the app's own code, for what follows is how others put it; of several chains it is the last, for that is
//! what the program ended with.

mod likeness;
mod lines;
mod path;

use std::fmt;

use crate::{Failure, FailureKind};
use lines::{Line, telling};

/// What is read of a text, from its end.
pub const LOOKED_AT_BYTES: usize = 64 * 1024;
/// Characters of an exception's name, a message, a path; the rest is cut.
pub const PART_CHARS_MAX: usize = 300;
/// Lines that may belong to a message which says that more follows.
const CONTINUED_LINES_MAX: usize = 3;

/// Why something failed, as far as its output tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCause {
    /// The exception's name as it was printed, such as `django.db.utils.OperationalError`; empty when a line of output is all there is.
    pub exception: String,
    /// What it said.
    pub message: String,
    /// The innermost place in the app's own code, neither Python's nor that of an installed package.
    pub place: Option<Place>,
}

/// A line of a file of the app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, from the root of the release where it lies in one.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
}

impl RootCause {
    /// The root of a failure, from its detail. `None` where its summary says all that there is.
    #[must_use]
    pub fn of(failure: &Failure) -> Option<Self> {
        let raised = Self::raised_in(&failure.detail);
        match failure.kind {
            // What a running app logs need not be why a check failed: only an exception counts.
            FailureKind::Check => raised,
            FailureKind::Unit => {
                let ended = || lines::ended(looked_at(&failure.detail));
                raised.or_else(|| Self::said(telling(looked_at(&failure.detail)).or_else(ended)?))
            }
            FailureKind::Command => {
                let last = || lines::last(looked_at(&failure.detail));
                raised.or_else(|| Self::said(telling(looked_at(&failure.detail)).or_else(last)?))
            }
            FailureKind::Unfit
            | FailureKind::Untrusted
            | FailureKind::Transfer
            | FailureKind::Deadline
            | FailureKind::Cancelled
            | FailureKind::Host => None,
        }
    }

    /// The root of the last exception that was printed with its traceback, else the last that was named at the beginning of a line.
    #[must_use]
    pub fn raised_in(output: &str) -> Option<Self> {
        let mut reader = Reader::default();
        for line in looked_at(output).lines() {
            reader.take(line);
        }
        reader.end()
    }

    fn said(line: &str) -> Option<Self> {
        let message = bounded(line);
        (!message.is_empty()).then_some(Self { exception: String::new(), message, place: None })
    }

    /// What is the same on every host that fails for this reason: without release paths, process numbers, addresses, times and the
    /// host's own name.
    #[must_use]
    pub fn likeness(&self, host: &str) -> String {
        let place = self.place.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}\n{}\n{place}", self.exception, likeness(&self.message, host))
    }
}

/// A text without what differs from host to host only. Texts of one likeness tell the same.
#[must_use]
pub fn likeness(text: &str, host: &str) -> String {
    likeness::of(looked_at(text), host)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

impl fmt::Display for RootCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exception)?;
        if !self.exception.is_empty() && !self.message.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " at {place}"))
    }
}

/// The end of a text, as much of it as is read.
fn looked_at(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LOOKED_AT_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// A part as it is shown: one line, of bounded length, which steers no terminal.
fn bounded(text: &str) -> String {
    let mut characters = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut kept: String = characters.by_ref().take(PART_CHARS_MAX).collect();
    if characters.next().is_some() {
        kept.push('…');
    }
    kept
}

/// Reads line after line; remembers one chain of exceptions at a time and the best of those that ended.
#[derive(Debug, Default)]
struct Reader {
    /// Frames of a traceback are coming: the innermost place of the app's own so far.
    open: Option<Option<Place>>,
    /// The next traceback belongs to the chain.
    linked: bool,
    /// The chain that is being read.
    chain: Option<Chain>,
    /// The last chain that ended and is no server's own.
    best: Option<RootCause>,
    /// A server's own words, for when there is nothing else.
    servers: Option<RootCause>,
    /// The last exception that was named without a traceback.
    loose: Option<RootCause>,
    /// How many more lines may belong to a message that announced them.
    continued: usize,
    /// Whether that is the message of the exception without a traceback.
    of_loose: bool,
}

/// Exceptions of which each came up while the one before was handled.
#[derive(Debug)]
struct Chain {
    /// The first that passed the app's own code.
    own: Option<RootCause>,
    last: RootCause,
}

impl Chain {
    fn root(self) -> RootCause {
        self.own.unwrap_or(self.last)
    }
}

impl Reader {
    fn take(&mut self, text: &str) {
        match Line::read(text, self.open.is_some()) {
            Line::Begin => {
                self.begin();
                self.open = Some(None);
            }
            Line::Frame(path, line) => {
                if self.open.is_none() {
                    // A syntax error of the file that Python was to run, or the head was cut off.
                    self.begin();
                }
                let innermost = self.open.get_or_insert(None);
                if let Some(path) = path::own(path) {
                    *innermost = Some(Place { path: bounded(path), line });
                }
            }
            Line::Raised(exception, message) => self.raised(exception, message),
            Line::Named(exception, message) => {
                let named = RootCause { exception: bounded(exception), message: bounded(message), place: None };
                self.announced(message, true);
                self.loose = Some(named);
            }
            Line::Link => (self.linked, self.continued) = (true, 0),
            Line::Other => self.go_on(text),
        }
    }

    /// A traceback begins: of the chain, or of another.
    fn begin(&mut self) {
        if !std::mem::take(&mut self.linked) {
            self.end_chain();
        }
        self.continued = 0;
    }

    fn raised(&mut self, exception: &str, message: &str) {
        let place = self.open.take().flatten();
        let raised = RootCause { exception: bounded(exception), message: bounded(message), place };
        self.announced(message, false);
        let own = self.chain.take().and_then(|chain| chain.own).or_else(|| raised.place.is_some().then(|| raised.clone()));
        self.chain = Some(Chain { own, last: raised });
    }

    /// A line of a message that said `these:` and went on below.
    fn go_on(&mut self, text: &str) {
        let text = text.trim();
        if self.continued == 0 || text.is_empty() || text.trim_end_matches(':') == "ERRORS" {
            return;
        }
        self.continued -= 1;
        let more = |root: &mut RootCause| {
            if is_unfinished(&root.message) {
                root.message = bounded(&format!("{} {text}", root.message));
            }
        };
        if self.of_loose {
            self.loose.iter_mut().for_each(more);
        } else if let Some(chain) = &mut self.chain {
            // Where the last is the root, too, both are the same.
            let also = chain.own.as_ref() == Some(&chain.last);
            more(&mut chain.last);
            if also {
                chain.own = Some(chain.last.clone());
            }
        }
    }

    fn announced(&mut self, message: &str, of_loose: bool) {
        self.continued = if is_unfinished(message) { CONTINUED_LINES_MAX } else { 0 };
        self.of_loose = of_loose;
    }

    fn end_chain(&mut self) {
        let Some(root) = self.chain.take().map(Chain::root) else { return };
        let kept = if lines::is_servers_own(&root.exception) { &mut self.servers } else { &mut self.best };
        *kept = Some(root);
    }

    fn end(mut self) -> Option<RootCause> {
        self.end_chain();
        self.best.or(self.loose).or(self.servers)
    }
}

/// Whether a message says that the rest of it follows below.
fn is_unfinished(message: &str) -> bool {
    let message = message.trim_end();
    message.is_empty() || message.ends_with(':')
}

#[cfg(test)]
mod tests;
