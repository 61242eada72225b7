//! What came of the power cuts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of the power cuts of a trial.
#[derive(Debug, Default)]
pub struct Report {
    /// How many power cuts hit which step.
    pub steps: BTreeMap<String, usize>,
    /// What was wrong, a story each.
    pub failures: Vec<String>,
    /// How long each host took from its plug being pulled until it was level.
    level: Vec<Duration>,
}

impl Report {
    /// Takes in one power cut: what it hit, how long the host took if it booted, and what was wrong.
    pub(super) fn add(&mut self, step: &str, level: Option<Duration>, failure: Option<String>) {
        *self.steps.entry(step.to_owned()).or_default() += 1;
        self.level.extend(level);
        self.failures.extend(failure);
    }

    /// Both together.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        self.level.extend(other.level);
        self.failures.extend(other.failures);
        self
    }

    /// How many power cuts there were.
    pub fn cuts(&self) -> usize {
        self.steps.values().sum()
    }

    /// From how many disks the host booted.
    pub fn boots(&self) -> usize {
        self.level.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.level.iter().max().copied().unwrap_or_default();
        writeln!(f, "{} power cuts, {} boots, the slowest level after {slowest:.0?}", self.cuts(), self.boots())?;
        let steps: Vec<String> = self.steps.iter().map(|(step, count)| format!("{step} {count}")).collect();
        writeln!(f, "they hit: {}", steps.join(", "))?;
        match self.failures.len() {
            0 => write!(f, "nothing was wrong"),
            failures => write!(f, "{failures} of them went wrong:\n{}", self.failures.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_what_was_hit_and_tells_what_was_wrong() {
        let mut report = Report::default();
        report.add("fetch", Some(Duration::from_secs(3)), None);
        let mut other = Report::default();
        other.add("fetch", None, None);
        other.add("venv", None, Some("it is half there".to_owned()));
        let report = report.and(other);
        let text = "3 power cuts, 1 boots, the slowest level after 3s\nthey hit: fetch 2, venv 1\n1 of them went wrong:\nit is half there";
        assert_eq!(report.to_string(), text);
        assert!(Report::default().to_string().ends_with("nothing was wrong"));
    }
}
