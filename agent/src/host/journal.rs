//! What a unit wrote, read from the journal by `journalctl`, bounded at every point.

use serde::Deserialize;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use roadstead_model::hidden::CUT;
use roadstead_model::limits::OUTPUT_LINE_BYTES_MAX;

/// One entry as `journalctl` writes it: numbers for bytes that are not text make it several times as long as the line.
const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// The record of systemd that tells how a process of a unit ended (`SD_MESSAGE_UNIT_PROCESS_EXIT`).
const PROCESS_ENDED: &str = "MESSAGE_ID=98e322203f7a4ed290d09fe03c09fe15";
/// How long the journal may take to write down what a unit that ended has said.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// How many times more lines are read than are wanted of one run.
const LINES_OF_OTHERS: usize = 10;
/// How long reading what is left may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The host's journal.
#[derive(Debug)]
pub(crate) struct Journal {
    program: PathBuf,
}

/// The output of one run of a unit, as it comes.
#[derive(Debug)]
pub(crate) struct Follower {
    // Killed when the follower is dropped.
    child: Child,
    entries: Entries<ChildStdout>,
    run: Run,
    cursor: Option<String>,
}

/// A run of a unit; any where no invocation is named.
#[derive(Debug, Clone)]
struct Run {
    unit: String,
    invocation: String,
}

impl Run {
    fn of(unit: &str, invocation: &str) -> Self {
        Self { unit: unit.to_owned(), invocation: invocation.to_owned() }
    }

    fn matches(&self) -> Vec<String> {
        vec![format!("_SYSTEMD_UNIT={}", self.unit)]
    }

    /// Whether it may have written that. On a busy host the journal comes to the last words of a process when that is gone, and its run with it:
    /// it still knows the unit then, and not the run. So nothing that is of no run is left out.
    fn may_have_written(&self, entry: &Entry) -> bool {
        self.invocation.is_empty() || entry.invocation.as_ref().is_none_or(|invocation| *invocation == self.invocation)
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR", default)]
    cursor: String,
    #[serde(rename = "_SYSTEMD_INVOCATION_ID", default)]
    invocation: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: Option<Message>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
    /// Several fields of that name, or too large to show.
    Other(serde::de::IgnoredAny),
}

impl Journal {
    /// The journal that a program like `journalctl` reads.
    pub(crate) const fn new(program: PathBuf) -> Self {
        Self { program }
    }

    fn command(&self, arguments: &[&str], matches: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--no-pager", "--quiet", "--all", "--output=json", "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID"]);
        command.args(arguments).args(matches);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Follows one run of a unit from its beginning.
    pub(crate) fn follow(&self, unit: &str, invocation: &str) -> std::io::Result<Follower> {
        let run = Run::of(unit, invocation);
        // Whoever follows sees the boot that /proc names, and in a container the agent's sandbox shows that of the machine: nothing would
        // ever come. One that merges sees all boots; the run of a unit has an identity of its own.
        let mut child = self.command(&["--follow", "--no-tail", "--merge"], &run.matches()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("journalctl has no output"))?;
        Ok(Follower { child, entries: Entries::new(stdout), run, cursor: None })
    }

    /// The last lines of a run of a unit: what it said before it died.
    pub(crate) async fn tail(&self, unit: &str, invocation: &str, lines: usize) -> String {
        self.sync().await;
        let run = Run::of(unit, invocation);
        // Others may have written behind it.
        let count = format!("--lines={}", lines.saturating_mul(LINES_OF_OTHERS));
        let mut tail = VecDeque::new();
        let keep = |line: &str| {
            tail.push_back(line.to_owned());
            if tail.len() > lines {
                tail.pop_front();
            }
        };
        let _ended = self.read(&[&count], &run.matches(), &run, keep).await;
        Vec::from(tail).join("\n")
    }

    /// The last lines of all runs of a unit that systemd started again, and how each of them ended, in systemd's words: of a run that
    /// is over nothing else says so.
    pub(crate) async fn tail_of_all(&self, unit: &str, lines: usize) -> String {
        self.sync().await;
        let (count, unit_of) = (format!("--lines={lines}"), format!("UNIT={unit}"));
        let ends = ["+".to_owned(), "_PID=1".to_owned(), unit_of, PROCESS_ENDED.to_owned()];
        let run = Run::of(unit, "");
        let matches: Vec<String> = run.matches().into_iter().chain(ends).collect();
        let mut tail = Vec::new();
        let _ended = self.read(&[&count], &matches, &run, |line| tail.push(line.to_owned())).await;
        tail.join("\n")
    }

    /// Reads what is left after a run ended, line by line.
    pub(crate) async fn finish(&self, follower: Follower, mut line: impl FnMut(&str)) {
        let Follower { mut child, run, cursor, .. } = follower;
        if let Err(error) = child.start_kill() {
            tracing::debug!(%error, "journalctl had ended");
        }
        self.sync().await;
        let after = cursor.map(|cursor| format!("--after-cursor={cursor}"));
        let arguments: Vec<&str> = after.as_deref().into_iter().collect();
        let _ended = self.read(&arguments, &run.matches(), &run, &mut line).await;
        let _ended = child.wait().await;
    }

    async fn read(&self, arguments: &[&str], matches: &[String], run: &Run, mut line: impl FnMut(&str)) -> std::io::Result<()> {
        let mut child = self.command(arguments, matches).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("journalctl has no output"))?;
        let mut entries = Entries::new(stdout);
        let read = async {
            while let Some(entry) = entries.next().await {
                if run.may_have_written(&entry) {
                    text_lines(entry, &mut line);
                }
            }
        };
        if timeout(READ_TIMEOUT, read).await.is_err() {
            tracing::warn!("the journal did not answer in time");
        }
        Ok(())
    }

    /// Has the journal write down what it has received.
    async fn sync(&self) {
        let mut command = Command::new(&self.program);
        command.arg("--sync").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match timeout(SYNC_TIMEOUT, command.status()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot run journalctl"),
            Err(_) => tracing::debug!("the journal did not sync in time"),
        }
    }
}

impl Follower {
    /// The lines of the next entry; `None` when the journal went away. May be cancelled: nothing is lost.
    pub(crate) async fn next(&mut self, line: impl FnMut(&str)) -> Option<()> {
        let entry = self.entries.next().await?;
        if !entry.cursor.is_empty() {
            self.cursor = Some(entry.cursor.clone());
        }
        if self.run.may_have_written(&entry) {
            text_lines(entry, line);
        }
        Some(())
    }
}

fn text_lines(entry: Entry, mut line: impl FnMut(&str)) {
    let text = match entry.message {
        Some(Message::Text(text)) => text,
        Some(Message::Bytes(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Some(Message::Other(_)) => "(a line that the journal does not show)".to_owned(),
        None => return,
    };
    for part in text.split('\n') {
        line(&bounded_line(part));
    }
}

/// A line as it may be shown and sent: no control characters, cut to the limit with a count of what is gone.
pub(crate) fn bounded_line(line: &str) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    if clean.len() <= OUTPUT_LINE_BYTES_MAX {
        return clean;
    }
    let mut end = OUTPUT_LINE_BYTES_MAX;
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}{} more bytes)", &clean[..end], clean.len() - end)
}

/// Entries from a stream of JSON lines; one that is too long is skipped. Cancelling [`Entries::next`] loses nothing.
#[derive(Debug)]
struct Entries<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncRead + Unpin> Entries<R> {
    fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), too_long: false }
    }

    async fn next(&mut self) -> Option<Entry> {
        loop {
            let available = self.reader.fill_buf().await.ok()?;
            if available.is_empty() {
                return None;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            if self.line.len() + part.len() > ENTRY_BYTES_MAX {
                self.too_long = true;
                self.line.clear();
            } else if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.too_long)
                    && let Ok(entry) = serde_json::from_slice(&line)
                {
                    return Some(entry);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn entries_of_every_shape_are_read_and_endless_ones_skipped() {
        let mut stream = Vec::new();
        stream.extend_from_slice(b"{\"__CURSOR\":\"a\",\"MESSAGE\":\"one\\ntwo\"}\n");
        stream.extend_from_slice(b"{\"__CURSOR\":\"b\",\"MESSAGE\":[104,105,255]}\nnot json\n");
        stream.extend_from_slice(b"{\"MESSAGE\":\"");
        stream.extend(std::iter::repeat_n(b'x', ENTRY_BYTES_MAX + 1));
        stream.extend_from_slice(b"\"}\n{\"__CURSOR\":\"c\",\"MESSAGE\":null}\n{\"MESSAGE\":\"end\"}\n");
        let mut entries = Entries::new(stream.as_slice());
        let mut lines = Vec::new();
        while let Some(entry) = entries.next().await {
            text_lines(entry, |line| lines.push(line.to_owned()));
        }
        assert_eq!(lines, ["one", "two", "hi\u{fffd}", "end"]);
    }

    #[test]
    fn the_last_words_of_a_process_that_was_gone_are_not_lost() {
        let of = |text: &str| serde_json::from_str::<Entry>(text).unwrap();
        let run = Run::of("web.service", "17");
        assert!(run.may_have_written(&of(r#"{"_SYSTEMD_INVOCATION_ID":"17","MESSAGE":"it is up"}"#)));
        assert!(run.may_have_written(&of(r#"{"MESSAGE":"no module named x"}"#)), "the journal came to it too late to know the run");
        assert!(!run.may_have_written(&of(r#"{"_SYSTEMD_INVOCATION_ID":"16","MESSAGE":"of the run before"}"#)));
        assert!(Run::of("web.service", "").may_have_written(&of(r#"{"_SYSTEMD_INVOCATION_ID":"16","MESSAGE":"any"}"#)));
    }

    #[test]
    fn lines_are_cut_and_cleaned() {
        assert_eq!(bounded_line("\u{1b}[31mred\u{7}\tx"), "[31mred\tx");
        let long = bounded_line(&"é".repeat(OUTPUT_LINE_BYTES_MAX));
        assert!(long.len() < OUTPUT_LINE_BYTES_MAX + 40 && long.ends_with(" more bytes)"), "{}", &long[long.len() - 40..]);
    }
}
