//! What a run of `migrate` tells, pure: Django's own lines of what it applies, and those of the runner around it (`told.py`).

use roadstead_model::Failure;

/// Bytes of the runner's words that a failure takes over.
const WORDS_BYTES_MAX: usize = 4096;

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Migrations that were applied, as the runner tells it.
    applied: u64,
    /// The same, by Django's own lines: what a migration prints may stand within them, but there is nothing else for databases that the
    /// runner does not follow.
    ended: u64,
    /// The one that is being applied.
    last: Option<String>,
    /// What it waits for.
    waits: Option<String>,
    /// Why it ended, and what helps.
    failed: Option<String>,
    next: Option<String>,
}

/// What a line changes of what is shown while it runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// What it waits for; empty when it goes on.
    Waits(&'a str),
    /// How many migrations were applied.
    Applied(u64),
    /// Nothing.
    Nothing,
}

impl Told {
    /// How many migrations were applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied.max(self.ended)
    }

    /// Takes the next line.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Shown<'a> {
        if let Some((kind, text)) = line.strip_prefix("roadstead ").and_then(|rest| rest.split_once(": ")) {
            return self.read_own(kind, text);
        }
        if let Some((name, end)) = line.trim().strip_prefix("Applying ").and_then(|rest| rest.split_once("...")) {
            if end.trim_start().starts_with("OK") {
                self.ended += 1;
                self.last = None;
            } else {
                // The same one is told again when it is tried again.
                self.last = Some(name.to_owned());
            }
        }
        self.count()
    }

    /// A number would take the place of what is waited for.
    fn count(&self) -> Shown<'static> {
        if self.waits.is_some() { Shown::Nothing } else { Shown::Applied(self.applied()) }
    }

    fn read_own<'a>(&mut self, kind: &str, text: &'a str) -> Shown<'a> {
        match kind {
            "waits" => {
                self.waits = Some(text.to_owned());
                return Shown::Waits(text);
            }
            "goes on" => {
                self.waits = None;
                return Shown::Waits("");
            }
            "applied" => {
                self.applied += 1;
                self.last = None;
                return self.count();
            }
            "failed" => self.failed = Some(cut(text)),
            "next" => self.next = Some(cut(text)),
            _ => {}
        }
        Shown::Nothing
    }

    /// Adds to a failure where it stopped and what the runner says of it.
    pub(super) fn explain(&self, failure: &mut Failure) {
        failure.summary.push_str(&match &self.last {
            Some(name) => format!(" while applying {name}, after {} migrations", self.applied()),
            None if self.applied() > 0 => format!(" after {} migrations", self.applied()),
            None => String::new(),
        });
        // One that was killed in the middle could not say why; what it waited for is what is known.
        let waited = self.waits.as_ref().map(|waits| format!("it waited {waits}"));
        if let Some(why) = self.failed.clone().or(waited) {
            failure.summary.push_str(": ");
            failure.summary.push_str(&cut(&why));
        }
        if let Some(next) = &self.next {
            failure.hint.clone_from(next);
        }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(WORDS_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::FailureKind;

    fn told(lines: &[&str]) -> (Told, Failure) {
        let mut told = Told::default();
        for line in lines {
            told.read(line);
        }
        let mut failure = Failure::new(FailureKind::Command, "'migrate' ended with exit status 1", "see its last output");
        told.explain(&mut failure);
        (told, failure)
    }

    #[test]
    fn a_migration_that_failed_is_named() {
        let lines = [
            "Operations to perform:",
            "  Applying sales.0001_initial... OK",
            "  Applying sales.0002_more... OK (0.1s)",
            "  Applying sales.0003_bad...",
        ];
        let (_, failure) = told(&lines);
        assert_eq!(failure.summary, "'migrate' ended with exit status 1 while applying sales.0003_bad, after 2 migrations");
        assert_eq!(failure.hint, "see its last output");
    }

    #[test]
    fn one_that_is_tried_again_counts_once() {
        let lines = [
            "  Applying sales.0001_initial...",
            "roadstead waits: for a lock on sales_order held by pid 7 (psql)",
            "  Applying sales.0001_initial...",
            "roadstead goes on: sales.0001_initial is through",
            "  Applying sales.0001_initial... OK",
        ];
        let (told, failure) = told(&lines);
        assert_eq!((told.applied(), failure.summary.as_str()), (1, "'migrate' ended with exit status 1 after 1 migrations"));
    }

    #[test]
    fn what_a_migration_prints_hides_no_end() {
        let lines = [
            "  Applying sales.0001_initial... OK",
            "roadstead applied: sales.0001_initial",
            "  Applying sales.0002_more...copied 7 rows",
            " OK",
            "roadstead applied: sales.0002_more",
        ];
        let (told, failure) = told(&lines);
        assert_eq!((told.applied(), failure.summary.as_str()), (2, "'migrate' ended with exit status 1 after 2 migrations"));
    }

    #[test]
    fn what_is_waited_for_stays_until_it_goes_on() {
        let mut told = Told::default();
        let waits = "for a lock on sales_order held by pid 7 (psql, idle in transaction for 40 s): SELECT …";
        assert_eq!(told.read("  Applying sales.0001_initial..."), Shown::Applied(0));
        assert_eq!(told.read(&format!("roadstead waits: {waits}")), Shown::Waits(waits));
        assert_eq!(told.read("  Applying sales.0001_initial..."), Shown::Nothing, "a number would take its place");
        assert_eq!(told.read("roadstead: the connection was lost"), Shown::Nothing);
        assert_eq!(told.read("roadstead goes on: the lock is there"), Shown::Waits(""));
        assert_eq!(told.read("  Applying sales.0001_initial... OK"), Shown::Applied(1));
        told.read(&format!("roadstead waits: {waits}"));
        let mut failure = Failure::new(FailureKind::Deadline, "'migrate' took too long and was stopped", "");
        told.explain(&mut failure);
        assert!(failure.summary.ends_with(&format!(" after 1 migrations: it waited {waits}")), "{}", failure.summary);
    }

    #[test]
    fn why_it_ended_and_what_helps_is_the_failure() {
        let lines =
            ["  Applying sales.0001_initial...", "roadstead failed: sales.0001_initial is half done", "roadstead next: look: SELECT 1"];
        let (_, failure) = told(&lines);
        assert_eq!(
            failure.summary,
            "'migrate' ended with exit status 1 while applying sales.0001_initial, after 0 migrations: sales.0001_initial is half done"
        );
        assert_eq!(failure.hint, "look: SELECT 1");
    }

    #[test]
    fn words_of_an_app_are_taken_for_no_more_than_words() {
        for line in [
            "roadstead",
            "roadstead ",
            "roadstead waits",
            "roadstead waits:",
            "roadstead failed:x",
            "Applying ",
            "Applying ...",
            "\u{fffd}",
        ] {
            let (told, _) = told(&[line]);
            assert!(told.failed.is_none() && told.waits.is_none() && told.applied() == 0, "{line}");
        }
        let (_, failure) = told(&[&format!("roadstead failed: {}", "ä".repeat(9000))]);
        assert!(failure.summary.len() < WORDS_BYTES_MAX + 100);
    }
}
