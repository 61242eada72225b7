//! Drift: where a host differs from what was deployed to it, because somebody changed it behind the product's back.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Findings that are told one by one; the rest is counted.
pub const DRIFT_FINDINGS_MAX: usize = 20;
/// Bytes of each text of a finding.
pub const DRIFT_TEXT_BYTES_MAX: usize = 300;

/// Whether differences are only told or also put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPolicy {
    /// They are told.
    #[default]
    Report,
    /// A host that differs is brought level again.
    Repair,
}

impl DriftPolicy {
    /// Whether it is the one that holds when nothing is said.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        matches!(self, Self::Report)
    }
}

/// What a look at an app of a host found: nothing, when it is as it was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// The differences, at most [`DRIFT_FINDINGS_MAX`]. What is wrong comes before what is only worth knowing.
    pub findings: Vec<DriftFinding>,
    /// How many more there are.
    #[serde(default)]
    pub more: u32,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriftFinding {
    /// How it differs.
    pub how: Differs,
    /// Of what.
    pub part: DriftPart,
    /// Where: a path, or the name of a unit.
    pub place: String,
    /// What there is instead, where that says more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What of an app differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftPart {
    /// The files of the release.
    Tree,
    /// The virtual environment.
    Packages,
    /// Unit files, drop-ins, and what starts at boot.
    Unit,
    /// The links that traffic and `current` hang on.
    Link,
    /// What runs.
    Process,
    /// Something that only a newer agent knows.
    #[serde(other)]
    Other,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Differs {
    /// It is not there.
    Missing,
    /// It is there and should not be.
    Added,
    /// It has other contents, or is another kind of thing.
    Changed,
    /// It has other rights, or another owner.
    Rights,
    /// A link leads elsewhere, or a process runs elsewhere.
    Elsewhere,
    /// It does not run.
    Down,
    /// It does not start at boot.
    Disabled,
    /// It is masked, so that nothing can start it.
    Masked,
    /// It cannot be compared.
    Unreadable,
    /// An operator's own addition, such as a drop-in: worth knowing, and left alone.
    Own,
    /// A way that only a newer agent knows.
    #[serde(other)]
    Other,
}

impl Drift {
    /// The drift that these findings are: sorted, without repetitions, cut to what is told.
    #[must_use]
    pub fn of(mut findings: Vec<DriftFinding>) -> Self {
        findings.sort_by(|a, b| (a.how == Differs::Own, a).cmp(&(b.how == Differs::Own, b)));
        findings.dedup();
        let more = u32::try_from(findings.len().saturating_sub(DRIFT_FINDINGS_MAX)).unwrap_or(u32::MAX);
        findings.truncate(DRIFT_FINDINGS_MAX);
        Self { findings, more }
    }

    /// Tells at most so many findings one by one, the first of them in any case, and counts the rest; how many are told.
    pub fn cut(&mut self, most: usize) -> usize {
        let told = self.findings.len().min(most.max(1));
        let beyond = u32::try_from(self.findings.len() - told).unwrap_or(u32::MAX);
        self.findings.truncate(told);
        self.more = self.more.saturating_add(beyond);
        told
    }

    /// Whether the app is as it was deployed, whatever operators added beside it.
    #[must_use]
    pub fn is_level(&self) -> bool {
        // What is wrong comes first: where the first is an operator's own, all are.
        self.findings.first().is_none_or(|finding| finding.how == Differs::Own)
    }

    /// How many things are wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        let told = self.findings.iter().filter(|finding| finding.how != Differs::Own).count();
        if self.is_level() { 0 } else { told.saturating_add(usize::try_from(self.more).unwrap_or(usize::MAX)) }
    }

    /// In one line, such as `3 differences: the file /srv/… was changed; …`.
    #[must_use]
    pub fn summary(&self) -> String {
        const SHOWN: usize = 3;
        let wrong: Vec<&DriftFinding> = self.findings.iter().filter(|finding| finding.how != Differs::Own).collect();
        let count = self.wrong();
        if count == 0 {
            return "as deployed".to_owned();
        }
        let shown: Vec<String> = wrong.iter().take(SHOWN).map(ToString::to_string).collect();
        let rest = if count > shown.len() { format!("; and {} more", count - shown.len()) } else { String::new() };
        format!("{count} {}: {}{rest}", if count == 1 { "difference" } else { "differences" }, shown.join("; "))
    }
}

impl DriftFinding {
    /// A difference. Texts are made fit to be shown: without control characters, and cut.
    pub fn new(part: DriftPart, how: Differs, place: impl AsRef<str>, detail: impl AsRef<str>) -> Self {
        Self { how, part, place: shown(place.as_ref()), detail: shown(detail.as_ref()) }
    }
}

/// A text without control characters, cut to what a finding holds.
fn shown(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        if kept.len() + character.len_utf8() > DRIFT_TEXT_BYTES_MAX {
            break;
        }
        kept.push(if character.is_control() { '?' } else { character });
    }
    kept
}

impl DriftPart {
    /// The word for it, on the wire and for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Packages => "packages",
            Self::Unit => "unit",
            Self::Link => "link",
            Self::Process => "process",
            Self::Other => "other",
        }
    }

    /// The part of a word; what is not known is [`Self::Other`].
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        [Self::Tree, Self::Packages, Self::Unit, Self::Link, Self::Process]
            .into_iter()
            .find(|part| part.word() == word)
            .unwrap_or(Self::Other)
    }
}

impl Differs {
    /// The word for it, on the wire and for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Rights => "rights",
            Self::Elsewhere => "elsewhere",
            Self::Down => "down",
            Self::Disabled => "disabled",
            Self::Masked => "masked",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
            Self::Own => "own",
        }
    }

    /// The way of a word; what is not known is [`Self::Other`].
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        use Differs::{Added, Changed, Disabled, Down, Elsewhere, Masked, Missing, Own, Rights, Unreadable};
        let all = [Missing, Added, Changed, Rights, Elsewhere, Down, Disabled, Masked, Unreadable, Own];
        all.into_iter().find(|how| how.word() == word).unwrap_or(Self::Other)
    }
}

/// As a half sentence, such as `/srv/…/views.py was changed`.
impl fmt::Display for DriftFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { how, part, place, detail } = self;
        let says = match how {
            Differs::Missing => "is missing",
            Differs::Added => "should not be there",
            Differs::Changed => "was changed",
            Differs::Rights => "has other rights",
            Differs::Elsewhere if *part == DriftPart::Link => "leads elsewhere",
            Differs::Elsewhere => "runs something else",
            Differs::Down => "does not run",
            Differs::Disabled => "does not start at boot",
            Differs::Masked => "is masked",
            Differs::Unreadable => "cannot be compared",
            Differs::Other => "differs",
            Differs::Own => "is an operator's own",
        };
        write!(f, "{place} {says}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(how: Differs, place: &str) -> DriftFinding {
        DriftFinding::new(DriftPart::Tree, how, place, "")
    }

    #[test]
    fn a_list_is_bounded_and_what_is_wrong_comes_first() {
        let mut all: Vec<DriftFinding> = (0..30).map(|number| finding(Differs::Changed, &format!("{number:02}"))).collect();
        all.insert(0, finding(Differs::Own, "drop-in"));
        all.push(finding(Differs::Changed, "00"));
        let drift = Drift::of(all);
        assert_eq!((drift.findings.len(), drift.more, drift.wrong()), (20, 11, 31));
        assert!(!drift.is_level() && drift.findings.iter().all(|finding| finding.how == Differs::Changed));
        assert_eq!(drift.summary(), "31 differences: 00 was changed; 01 was changed; 02 was changed; and 28 more");
    }

    #[test]
    fn a_list_that_is_cut_says_how_much_is_left_out() {
        let mut drift = Drift::of(vec![finding(Differs::Changed, "a"), finding(Differs::Changed, "b"), finding(Differs::Changed, "c")]);
        assert_eq!((drift.cut(2), drift.more, drift.wrong()), (2, 1, 3));
        assert_eq!((drift.cut(0), drift.more, drift.wrong()), (1, 2, 3), "one says that it is not level");
        assert_eq!((Drift::default().cut(0), Drift::default().cut(5)), (0, 0));
    }

    #[test]
    fn what_operators_added_is_no_difference() {
        let drift = Drift::of(vec![finding(Differs::Own, "override.conf")]);
        assert!(drift.is_level() && drift.wrong() == 0 && Drift::default().is_level());
        assert_eq!(drift.summary(), "as deployed");
        assert_eq!(drift.findings[0].to_string(), "override.conf is an operator's own");
    }

    #[test]
    fn texts_are_fit_to_be_shown() {
        let finding = DriftFinding::new(DriftPart::Tree, Differs::Added, "a\u{1b}[2Jb\n", "ä".repeat(400));
        assert_eq!(finding.place, "a?[2Jb?");
        assert!(finding.detail.len() <= DRIFT_TEXT_BYTES_MAX && finding.detail.ends_with('ä'));
    }

    #[test]
    fn words_are_read_as_they_are_written_and_new_ones_are_no_mistake() {
        for how in [Differs::Missing, Differs::Rights, Differs::Own, Differs::Masked, Differs::Other] {
            assert_eq!(Differs::of_word(how.word()), how);
            assert_eq!(serde_json::to_value(how).unwrap(), how.word());
        }
        assert_eq!(Differs::of_word("melted"), Differs::Other);
        assert_eq!(serde_json::from_value::<Differs>("melted".into()).unwrap(), Differs::Other);
        for part in [DriftPart::Tree, DriftPart::Process, DriftPart::Other] {
            assert_eq!(DriftPart::of_word(part.word()), part);
            assert_eq!(serde_json::to_value(part).unwrap(), part.word());
        }
        assert_eq!(DriftPart::of_word("kernel"), DriftPart::Other);
    }
}
