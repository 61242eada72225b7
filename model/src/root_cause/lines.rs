//! What a line of a program's output is, in the forms of Python (<https://docs.python.org/3/library/traceback.html>) and its servers.

/// Exceptions by which servers say that something else went wrong.
const SERVERS_OWN: [&str; 4] = ["HaltServer", "SystemExit", "KeyboardInterrupt", "GeneratorExit"];
/// How the names of exceptions end, where nothing else shows that one is meant.
const ENDINGS: [&str; 8] =
    ["Error", "Exception", "Configured", "DoesNotExist", "NotFound", "NotReady", "NotRegistered", "MultipleObjectsReturned"];
/// Words that begin a line of a log as an exception would.
const LEVELS: [&str; 6] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"];
/// Characters of the longest name that is looked at.
const NAME_BYTES_MAX: usize = 200;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `Traceback (most recent call last):`, perhaps of a group.
    Begin,
    /// `File "PATH", line N, in FUNCTION`; a syntax error has no function.
    Frame(&'a str, u32),
    /// The end of a traceback: an exception and what it said.
    Raised(&'a str, &'a str),
    /// An exception without a traceback.
    Named(&'a str, &'a str),
    /// The next traceback came up while the last was handled, or because of it.
    Link,
    /// Anything else.
    Other,
}

impl<'a> Line<'a> {
    /// Reads a line; `open` says that frames have come and their exception has not.
    pub(super) fn read(line: &'a str, open: bool) -> Self {
        let line = of_group(line);
        let inner = line.trim();
        if inner.ends_with("Traceback (most recent call last):") {
            return Self::Begin;
        }
        if let Some((path, number)) = frame(inner) {
            return Self::Frame(path, number);
        }
        if inner.starts_with("During handling of the above exception") || inner.starts_with("The above exception was the direct cause") {
            return Self::Link;
        }
        match exception(line) {
            Some((name, message)) if open => Self::Raised(name, message),
            Some((name, message)) if is_known_ending(name) => Self::Named(name, message),
            _ => Self::Other,
        }
    }
}

/// A line of an exception group without its frame: `  | ValueError: x`, `  + Exception Group Traceback (most recent call last):`.
fn of_group(line: &str) -> &str {
    let inner = line.trim_start();
    match inner.strip_prefix("| ").or_else(|| inner.strip_prefix("+ ")) {
        Some(rest) if inner.len() < line.len() => rest,
        _ => line,
    }
}

fn frame(line: &str) -> Option<(&str, u32)> {
    let (path, rest) = line.strip_prefix("File \"")?.split_once("\", line ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    Some((path, rest[..digits].parse().ok()?))
}

/// `package.SomeError: words` or `SomeError` at the beginning of a line.
fn exception(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    let end =
        line.bytes().take(NAME_BYTES_MAX).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_') || !b.is_ascii()).count();
    if !line.is_char_boundary(end) {
        return None;
    }
    let (name, rest) = line.split_at(end);
    let is_part = |part: &str| part.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let begins_great = name.rsplit('.').next().is_some_and(|last| last.trim_start_matches('_').starts_with(char::is_uppercase));
    if !name.split('.').all(is_part) || !begins_great || LEVELS.contains(&name) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(message) if message.is_empty() || message.starts_with(' ') => Some((name, message.trim())),
        None if rest.is_empty() => Some((name, "")),
        _ => None,
    }
}

fn is_known_ending(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether an exception only says that a server falls over what was told before.
pub(super) fn is_servers_own(exception: &str) -> bool {
    let last = exception.rsplit('.').next().unwrap_or(exception);
    SERVERS_OWN.contains(&last)
}

/// Why Roadstead's own runner of migrations ended; behind that it says what helps.
const RUNNERS_OWN: &str = "roadstead failed: ";

/// The last line that calls itself an error, without the prefix of its log; the runner's own word comes first.
pub(super) fn telling(text: &str) -> Option<&str> {
    const WORDS: [&str; 7] = ["ERROR", "CRITICAL", "FATAL", "fatal:", "error:", "Error:", "Error "];
    let is_error = |line: &&str| WORDS.iter().any(|word| line.contains(word));
    let own = text.lines().rev().find_map(|line| line.trim().strip_prefix(RUNNERS_OWN));
    own.or_else(|| text.lines().rev().find(is_error).map(unprefixed)).filter(|line| !line.is_empty())
}

/// What systemd said of how a unit's main process ended, the last time: `Main process exited, code=killed, status=9/KILL`.
pub(super) fn ended(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| line.find("Main process exited, code=").map(|at| line[at..].trim_end()))
}

/// The last line that says anything.
pub(super) fn last(text: &str) -> Option<&str> {
    text.lines().rev().map(unprefixed).find(|line| !line.is_empty())
}

/// `[2026-03-01 10:00:00 +0000] [12] [ERROR] words` and `ERROR:    words` say `words`.
fn unprefixed(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((_, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        rest = after.trim_start_matches([':', ' ']);
    }
    for level in LEVELS {
        if let Some(after) = rest.strip_prefix(level).and_then(|after| after.strip_prefix(':')) {
            rest = after.trim_start();
        }
    }
    if rest.is_empty() { line.trim() } else { rest }
}
