//! What a Celery worker tells of its tasks while it ends, pure: the words of `celery_launcher.py`, as systemd passes them on.
//!
//! They come from a process that runs the app's code. What is not exactly of their form counts as not said.

use roadstead_model::limits::{STATUS_TEXT_BYTES_MAX, TASKS_MAX};

/// What the launcher says once the app is imported.
pub(crate) const APP_LOADED: &str = "app loaded";
/// Names that the launcher tells at most, and their length.
const NAMES_MAX: usize = 3;
const NAME_BYTES_MAX: usize = 80;

/// What a worker said of its tasks last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TasksLeft {
    /// How many it runs, or ran when it was cut off.
    pub(crate) count: u32,
    /// How many of them run again, where its time was over and it knew that.
    pub(crate) again: Option<u32>,
    /// The oldest of them: `mail.send since 14:01:02`, in UTC.
    pub(crate) oldest: Vec<String>,
}

impl TasksLeft {
    /// Reads `3 tasks left: mail.send since 14:01:02, …` and `1 task cut off, 0 to run again: …`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() > STATUS_TEXT_BYTES_MAX {
            return None;
        }
        let (head, names) = text.split_once(": ").map_or((text, None), |(head, names)| (head, Some(names)));
        let (count, rest) = head.split_once(' ')?;
        let what = rest.strip_prefix("tasks ").or_else(|| rest.strip_prefix("task "))?;
        let again = match what {
            "left" | "cut off" => None,
            _ => Some(number(what.strip_prefix("cut off, ")?.strip_suffix(" to run again")?)?),
        };
        let oldest: Vec<String> = names.map(|names| names.split(", ").map(str::to_owned).collect()).unwrap_or_default();
        let fits = oldest.len() <= NAMES_MAX && oldest.iter().all(|name| is_task(name));
        fits.then_some(Self { count: number(count)?, again, oldest })
    }

    /// `3 tasks`.
    pub(crate) fn counted(&self) -> String {
        if self.count == 1 { "1 task".to_owned() } else { format!("{} tasks", self.count) }
    }

    /// The oldest tasks in brackets; empty when none is named.
    pub(crate) fn named(&self) -> String {
        match self.oldest.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= TASKS_MAX)
}

/// `NAME since HH:MM:SS`.
fn is_task(text: &str) -> bool {
    let Some((name, since)) = text.split_once(" since ") else { return false };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let of_time = |(place, byte): (usize, u8)| if matches!(place, 2 | 5) { byte == b':' } else { byte.is_ascii_digit() };
    name.len() <= NAME_BYTES_MAX && name.bytes().all(of_name) && since.len() == 8 && since.bytes().enumerate().all(of_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_words_are_read() {
        let left = TasksLeft::read("2 tasks left: mail.send since 14:01:02, report-2.build_all since 14:05:00").unwrap();
        assert_eq!((left.count, left.again, left.counted()), (2, None, "2 tasks".to_owned()));
        assert_eq!(left.named(), " (mail.send since 14:01:02, report-2.build_all since 14:05:00)");
        let none = TasksLeft::read("0 tasks left").unwrap();
        assert_eq!((none.count, none.named()), (0, String::new()));
        let cut = TasksLeft::read("1 task cut off, 0 to run again: nap since 00:00:59").unwrap();
        assert_eq!((cut.counted(), cut.again), ("1 task".to_owned(), Some(0)));
        assert_eq!(TasksLeft::read("1 task cut off: nap since 00:00:59").unwrap().again, None);
    }

    #[test]
    fn anything_else_is_not_said() {
        let endless = format!("1 task left: {} since 14:01:02", "x".repeat(81));
        for bad in [
            "",
            "ready",
            "tasks left",
            "-1 tasks left",
            "+1 tasks left",
            "1.5 tasks left",
            "99999999999 tasks left",
            "1000001 tasks left",
            "2 tasks lost",
            "2 tasks left:",
            "2 tasks left: ",
            "2 tasks left: \u{1b}[31mred since 14:01:02",
            "2 tasks left: a since 14:01:02\nb since 14:01:02",
            "2 tasks left: a since yesterday",
            "2 tasks cut off, many to run again",
            "9 tasks left: a since 14:01:02, b since 14:01:02, c since 14:01:02, d since 14:01:02",
            endless.as_str(),
            "9".repeat(100_000).as_str(),
        ] {
            assert_eq!(TasksLeft::read(bad), None, "{bad:?}");
        }
    }
}
