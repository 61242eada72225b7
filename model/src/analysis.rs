//! By what a release is judged while it bakes: numbers of a metrics server, and answers of its hosts to somebody who asks from outside.
//! Neither is told by the hosts' agents.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::http_url::{HttpUrl, InvalidUrl};
use crate::{Millis, Number, limits};

/// Stands in a query for the hosts that serve the release, as a regular expression.
pub const HOSTS: &str = "hosts";
/// Stands in the address of a check for each of those hosts.
pub const HOST: &str = "host";
/// Stands in the text that a check looks for, for the version of the release.
pub const VERSION: &str = "version";

/// What is looked at after each batch, until its bake ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// The metrics server that answers the queries, which speaks the HTTP API of Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
    /// How often is looked.
    #[serde(default = "Analysis::default_every")]
    pub every: Millis,
    /// What the metrics server is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<Query>,
    /// What the hosts are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// A number that a metrics server computes, and what it may be. Every bound that is given holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// What it is called.
    pub name: String,
    /// The query; `$hosts` stands for the hosts that serve the release.
    pub query: String,
    /// Its value is no more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Number>,
    /// Its value is no less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Number>,
    /// Its value is no more than so many times that of the hosts that serve the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_baseline: Option<Number>,
    /// So many failing looks in a row fail it.
    #[serde(default = "Query::default_failures")]
    pub failures: u32,
    /// So many looks in a row that tell nothing put the rollout on hold.
    #[serde(default = "Query::default_inconclusive")]
    pub inconclusive: u32,
}

/// An HTTP request to every host that serves the release, and the answer that it must get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// What is asked for; `$host` stands for the name of each host.
    pub url: String,
    /// The status of a good answer.
    #[serde(default = "Check::default_status")]
    pub status: u16,
    /// A text that a good answer contains; `$version` stands for that of the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// So many failing looks in a row fail it.
    #[serde(default = "Query::default_failures")]
    pub failures: u32,
    /// So many looks in a row without an answer put the rollout on hold.
    #[serde(default = "Query::default_inconclusive")]
    pub inconclusive: u32,
}

impl Analysis {
    /// Where nothing is said of it.
    #[must_use]
    pub const fn default_every() -> Millis {
        Millis::from_secs(15)
    }
}

impl Query {
    /// One failing look is enough where nothing is said of it.
    #[must_use]
    pub const fn default_failures() -> u32 {
        1
    }

    /// Where nothing is said of it.
    #[must_use]
    pub const fn default_inconclusive() -> u32 {
        5
    }

    /// Whether there is something that its value is compared with even when no host serves the release before.
    #[must_use]
    pub const fn is_absolute(&self) -> bool {
        self.at_most.is_some() || self.at_least.is_some()
    }
}

impl Check {
    /// Where nothing is said of it.
    #[must_use]
    pub const fn default_status() -> u16 {
        200
    }
}

/// What its value may be, such as `at most 0.01 and at most 1.5 × the baseline`.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = [
            self.at_least.map(|least| format!("at least {least}")),
            self.at_most.map(|most| format!("at most {most}")),
            self.at_most_baseline.map(|factor| format!("at most {factor} × the baseline")),
        ];
        f.write_str(&bounds.into_iter().flatten().collect::<Vec<_>>().join(" and "))
    }
}

/// What it wants, such as `200 with "ok" from http://$host/healthz`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = self.contains.as_ref().map(|text| format!(" with {text:?}")).unwrap_or_default();
        write!(f, "{}{with} from {}", self.status, self.url)
    }
}

/// An analysis that could judge nothing, or not as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnalysis {
    /// Nothing is looked at.
    #[error("analysis without queries and checks judges nothing: leave the section out")]
    Nothing,
    /// More than anybody reads.
    #[error("{0} are more than an analysis has of them ({max})", max = limits::ANALYSIS_MAX)]
    TooMany(&'static str),
    /// Too often, or hardly ever.
    #[error("every = {0}: it is at least {min} and at most a week", min = limits::LOOK_EVERY_MIN)]
    Every(Millis),
    /// Queries that nobody answers.
    #[error("queries need a server that answers them: prometheus = \"http://HOST:9090\"")]
    NobodyAnswers,
    /// A server that nobody asks.
    #[error("prometheus is never asked: there are no queries")]
    NobodyAsks,
    /// The address of the server.
    #[error("prometheus: {0}")]
    Server(InvalidUrl),
    /// A name that no line holds.
    #[error("{0:?} is no name: it has 1 to {max} characters, all on one line", max = limits::ANALYSIS_NAME_MAX)]
    Name(String),
    /// The same name twice.
    #[error("{0:?} is the name of two: names tell queries and checks apart")]
    NameTwice(String),
    /// Something about one query or check.
    #[error("{0}: {1}")]
    Of(String, Mistake),
}

/// What is wrong with one query or check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// Nothing that it could miss.
    #[error("nothing says what its value may be: give at-most, at-least or at-most-baseline")]
    NoBound,
    /// Bounds between which no number is.
    #[error("no value is at least {0} and at most {1}")]
    NoValueFits(Number, Number),
    /// A factor that makes no sense.
    #[error("at-most-baseline = {0}: it is a factor, and more than 0")]
    Factor(Number),
    /// A query that is the same for every release.
    #[error("its query does not name $hosts, so it would not be the release's hosts that are judged")]
    NoHosts,
    /// An address that is the same for every host.
    #[error("its url does not name $host as who is asked, so it would not be the release's hosts")]
    NoHost,
    /// A word that stands for nothing.
    #[error("${0} stands for nothing here: known is ${1}")]
    Placeholder(String, &'static str),
    /// Too long, or nothing.
    #[error("its {0} has 1 to {1} bytes")]
    Length(&'static str, usize),
    /// Not an address.
    #[error("{0}")]
    Url(InvalidUrl),
    /// Not a status of an answer.
    #[error("status = {0}: an answer's status is from 200 to 599")]
    Status(u16),
    /// Never, or hardly ever.
    #[error("{0} = {1}: it is at least 1 and at most {max}", max = limits::IN_A_ROW_MAX)]
    InARow(&'static str, u32),
}

impl Analysis {
    /// Whether it can judge, as it is written.
    ///
    /// # Errors
    /// [`InvalidAnalysis`] for the first reason why not.
    pub fn check(&self) -> Result<(), InvalidAnalysis> {
        let Self { prometheus, every, queries, checks } = self;
        for (what, count) in [("queries", queries.len()), ("checks", checks.len())] {
            if count > limits::ANALYSIS_MAX {
                return Err(InvalidAnalysis::TooMany(what));
            }
        }
        match prometheus {
            _ if queries.is_empty() && checks.is_empty() => return Err(InvalidAnalysis::Nothing),
            None if !queries.is_empty() => return Err(InvalidAnalysis::NobodyAnswers),
            Some(_) if queries.is_empty() => return Err(InvalidAnalysis::NobodyAsks),
            Some(url) => drop(HttpUrl::parse(url).map_err(InvalidAnalysis::Server)?),
            None => {}
        }
        if !(limits::LOOK_EVERY_MIN.0..=limits::SPAN_MAX.0).contains(&every.0) {
            return Err(InvalidAnalysis::Every(*every));
        }
        let names: Vec<&String> = queries.iter().map(|query| &query.name).chain(checks.iter().map(|check| &check.name)).collect();
        for (index, name) in names.iter().enumerate() {
            let count = name.chars().count();
            if !(1..=limits::ANALYSIS_NAME_MAX).contains(&count) || name.contains(char::is_control) || name.trim() != name.as_str() {
                return Err(InvalidAnalysis::Name(name.chars().take(80).collect()));
            }
            if names[..index].contains(name) {
                return Err(InvalidAnalysis::NameTwice((*name).clone()));
            }
        }
        let of = |name: &String, mistake| InvalidAnalysis::Of(name.clone(), mistake);
        queries.iter().try_for_each(|query| query.check().map_err(|mistake| of(&query.name, mistake)))?;
        checks.iter().try_for_each(|check| check.check().map_err(|mistake| of(&check.name, mistake)))
    }
}

impl Query {
    fn check(&self) -> Result<(), Mistake> {
        let Self { name: _, query, at_most, at_least, at_most_baseline, failures, inconclusive } = self;
        if !(1..=limits::QUERY_BYTES_MAX).contains(&query.len()) {
            return Err(Mistake::Length("query", limits::QUERY_BYTES_MAX));
        }
        placeholders(query, HOSTS)?.then_some(()).ok_or(Mistake::NoHosts)?;
        match (at_least, at_most, at_most_baseline) {
            (None, None, None) => return Err(Mistake::NoBound),
            (Some(least), Some(most), _) if least > most => return Err(Mistake::NoValueFits(*least, *most)),
            (_, _, Some(factor)) if factor.get() <= 0.0 => return Err(Mistake::Factor(*factor)),
            _ => {}
        }
        in_a_row(*failures, *inconclusive)
    }
}

impl Check {
    fn check(&self) -> Result<(), Mistake> {
        let Self { name: _, url, status, contains, failures, inconclusive } = self;
        placeholders(url, HOST)?.then_some(()).ok_or(Mistake::NoHost)?;
        HttpUrl::parse(&filled(url, HOST, "host")).map_err(Mistake::Url)?;
        // Its hosts are asked, and nothing else that the controller reaches.
        let asks_hosts = |(_, rest): &(&str, &str)| rest.strip_prefix('$').is_some_and(|rest| name_of(rest) == HOST);
        url.split_once("://").filter(asks_hosts).ok_or(Mistake::NoHost)?;
        if !(200..=599).contains(status) {
            return Err(Mistake::Status(*status));
        }
        if let Some(text) = contains {
            if !(1..=limits::CONTAINS_BYTES_MAX).contains(&text.len()) {
                return Err(Mistake::Length("contains", limits::CONTAINS_BYTES_MAX));
            }
            let _stands_for_the_version: bool = placeholders(text, VERSION)?;
        }
        in_a_row(*failures, *inconclusive)
    }
}

fn in_a_row(failures: u32, inconclusive: u32) -> Result<(), Mistake> {
    for (what, count) in [("failures", failures), ("inconclusive", inconclusive)] {
        if !(1..=limits::IN_A_ROW_MAX).contains(&count) {
            return Err(Mistake::InARow(what, count));
        }
    }
    Ok(())
}

/// Whether a text names what `known` stands for; one that names something else is a mistake. A `$` before anything but a name is itself.
fn placeholders(text: &str, known: &'static str) -> Result<bool, Mistake> {
    let mut found = false;
    for name in text.split('$').skip(1).map(name_of).filter(|name| !name.is_empty()) {
        if name != known {
            return Err(Mistake::Placeholder(name.chars().take(40).collect(), known));
        }
        found = true;
    }
    Ok(found)
}

/// The name at the beginning of what follows a `$`.
fn name_of(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// A text with a value in the place of each `$name`.
pub(crate) fn filled(text: &str, name: &str, value: &str) -> String {
    let mut parts = text.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match name_of(part) == name {
            true => filled.extend([value, &part[name.len()..]]),
            false => filled.extend(["$", part]),
        }
    }
    filled
}

impl Query {
    /// The query about these hosts: their names are taken as they are, whatever they mean to a regular expression. One in brackets needs no
    /// backslash, which would mean something else in each of a query's kinds of quotes.
    #[must_use]
    pub fn about<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> String {
        let names: Vec<String> = hosts.map(|name| name.replace('.', "[.]")).collect();
        filled(&self.query, HOSTS, &format!("({})", names.join("|")))
    }
}

impl Check {
    /// What a host is asked for.
    #[must_use]
    pub fn url_of(&self, host: &str) -> String {
        filled(&self.url, HOST, host)
    }

    /// The text that an answer of a release contains.
    #[must_use]
    pub fn text_of(&self, version: &str) -> Option<String> {
        self.contains.as_ref().map(|text| filled(text, VERSION, version))
    }
}

#[cfg(test)]
mod tests;
