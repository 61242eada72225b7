//! Waiting for conditions, and telling what the hosts said when a test fails.

use crate::lab::command::tail;
use crate::lab::error::{LabError, Result};
use crate::lab::host::Host;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks again and again until the condition holds; after the deadline the error names what was waited for.
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, deadline, || if holds() { Ok(()) } else { Err(String::new()) })
}

/// The same for a condition that gives a value, or says what it saw instead.
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> std::result::Result<T, String>) -> Result<T> {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if began.elapsed() >= deadline => {
                return Err(LabError::Timeout { what: what.to_owned(), after: deadline, last: tail(&last) });
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// What Roadstead's units said last on every host: the first thing that one wants after a failed test.
pub(crate) fn show_last_words(hosts: &[Host]) {
    for host in hosts {
        let words = host.journal_lines("roadstead*", 40).unwrap_or_else(|error| error.to_string());
        if !words.trim().is_empty() {
            complain(&format!("-- journal of {}, roadstead* --{}", host.name(), tail(&words)));
        }
    }
}

/// Speaks where nobody can be given an error any more.
#[expect(clippy::print_stderr, reason = "a destructor and a failed test have no other way to be heard")]
pub(crate) fn complain(words: &str) {
    eprintln!("{words}");
}
