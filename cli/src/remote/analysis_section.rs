//! `[analysis]` of an environment file.

use roadstead_model::{Analysis, Check, Number, Query};
use serde::Deserialize;
use toml::Spanned;

use super::spans::Span;

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AnalysisSection {
    prometheus: Option<String>,
    every: Option<Span>,
    #[serde(default)]
    queries: Vec<WrittenQuery>,
    #[serde(default)]
    checks: Vec<WrittenCheck>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenQuery {
    name: String,
    query: String,
    at_most: Option<Number>,
    at_least: Option<Number>,
    at_most_baseline: Option<Number>,
    #[serde(default = "Query::default_failures")]
    failures: u32,
    #[serde(default = "Query::default_inconclusive")]
    inconclusive: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenCheck {
    name: String,
    url: String,
    #[serde(default = "Check::default_status")]
    status: u16,
    contains: Option<String>,
    #[serde(default = "Query::default_failures")]
    failures: u32,
    #[serde(default = "Query::default_inconclusive")]
    inconclusive: u32,
}

impl AnalysisSection {
    /// By what releases are judged.
    ///
    /// # Errors
    /// Where the section begins, and why it could not judge.
    pub(crate) fn read(section: Spanned<Self>) -> Result<Analysis, (usize, String)> {
        let place = section.span().start;
        let Self { prometheus, every, queries, checks } = section.into_inner();
        let analysis = Analysis {
            prometheus,
            every: every.map_or_else(Analysis::default_every, |span| span.0),
            queries: queries.into_iter().map(WrittenQuery::read).collect(),
            checks: checks.into_iter().map(WrittenCheck::read).collect(),
        };
        analysis.check().map_err(|error| (place, error.to_string()))?;
        Ok(analysis)
    }
}

impl WrittenQuery {
    fn read(self) -> Query {
        let Self { name, query, at_most, at_least, at_most_baseline, failures, inconclusive } = self;
        Query { name, query, at_most, at_least, at_most_baseline, failures, inconclusive }
    }
}

impl WrittenCheck {
    fn read(self) -> Check {
        let Self { name, url, status, contains, failures, inconclusive } = self;
        Check { name, url, status, contains, failures, inconclusive }
    }
}
