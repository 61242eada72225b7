//! `env/*.toml`: the policy of an environment as people write it, with durations in words and errors with line and column.

use roadstead_model::mistake;
use roadstead_model::{
    AppName, BackupDemand, Configuration, DatabasePolicy, DriftPolicy, EnvironmentName, EnvironmentSpec, Layer, LeaseSpan, Millis,
    RelativePath, SecretRef, Selector, Timeouts, Values, VariableName, limits,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use toml::Spanned;

use super::analysis_section::AnalysisSection;
use super::gates_section::GatesSection;
use super::spans::Span;
use super::strategy_section::StrategySection;
use super::traffic_section::TrafficSection;

/// Why an environment file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidEnvironmentFile {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than any such file should be.
    #[error("{path} is too large: an environment file has at most {max} bytes", max = limits::CONFIG_FILE_BYTES_MAX)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no valid TOML, or holds something that is not known or does not fit.
    #[error("{path}:{message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, column, what is wrong and what was probably meant.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    environment: Environment,
    gates: Option<Spanned<GatesSection>>,
    #[serde(default)]
    strategy: StrategySection,
    traffic: Option<TrafficSection>,
    analysis: Option<Spanned<AnalysisSection>>,
    #[serde(default)]
    database: DatabaseSection,
    #[serde(default)]
    timeouts: FileTimeouts,
    #[serde(default)]
    env: BTreeMap<VariableName, String>,
    #[serde(default)]
    secrets: BTreeMap<VariableName, SecretRef>,
    #[serde(default)]
    files: BTreeMap<RelativePath, String>,
    #[serde(default)]
    overrides: Vec<Override>,
}

/// What hosts with certain labels are told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    hosts: Selector,
    #[serde(default)]
    env: BTreeMap<VariableName, String>,
    #[serde(default)]
    secrets: BTreeMap<VariableName, SecretRef>,
    #[serde(default)]
    files: BTreeMap<RelativePath, String>,
}

/// What is done for the database.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct DatabaseSection {
    backup: BackupDemand,
    contract_after: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Environment {
    name: EnvironmentName,
    app: AppName,
    #[serde(default)]
    hosts: Selector,
    #[serde(default = "default_keep")]
    keep: u32,
    #[serde(default)]
    drift: DriftPolicy,
    failover: Option<Spanned<Span>>,
}

const fn default_keep() -> u32 {
    3
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTimeouts {
    prepare: Option<Span>,
    migrate: Option<Span>,
    activate: Option<Span>,
    confirm: Option<Span>,
    away: Option<Span>,
    decide: Option<Span>,
    gates: Option<Span>,
}

/// Reads an environment file.
///
/// # Errors
/// [`InvalidEnvironmentFile`], with line and column where it is the text that is wrong.
pub(crate) fn read(path: &Path) -> Result<EnvironmentSpec, InvalidEnvironmentFile> {
    let unreadable = |source| InvalidEnvironmentFile::Unreadable { path: path.to_owned(), source };
    // What is no plain file may have no size and no end: it is read to the limit, and a byte more tells that there is more.
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(limits::CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > limits::CONFIG_FILE_BYTES_MAX {
        return Err(InvalidEnvironmentFile::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(text).map_err(|error| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    parse(&text).map_err(|message| InvalidEnvironmentFile::Invalid { path: path.to_owned(), message })
}

/// Reads the text of an environment file; a mistake is told as `LINE:COLUMN: what`.
fn parse(text: &str) -> Result<EnvironmentSpec, String> {
    let wrong = |at: usize, what: &str| mistake::located(text, at, what);
    let file: File = toml::from_str(text).map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
    let strategy = file.strategy.read().map_err(|(at, what)| wrong(at, &what))?;
    let gates = GatesSection::read(file.gates, &file.environment.name).map_err(|(at, what)| wrong(at, &what))?;
    let traffic = file.traffic.map(TrafficSection::read).transpose().map_err(|(at, what)| wrong(at, &what))?;
    if let (None, Some(at)) = (&traffic, file.strategy.sharing()) {
        return Err(wrong(at, "traffic of a step needs a [traffic] section: the balancers that share it out"));
    }
    if let (None, Some(at)) = (&traffic, file.strategy.switching()) {
        return Err(wrong(at, "blue-green needs a [traffic] section: the balancers that switch from one set to the other"));
    }
    let analysis = file.analysis.map(AnalysisSection::read).transpose().map_err(|(at, what)| wrong(at, &what))?;
    let failover = file.environment.failover.map(lease).transpose().map_err(|(at, what)| wrong(at, &what))?;
    let given = |duration: Option<Span>, default: Millis| duration.map_or(default, |d| d.0);
    let default = Timeouts::default();
    let overrides = file
        .overrides
        .into_iter()
        .map(|over| Layer { hosts: over.hosts, values: Values { variables: over.env, secrets: over.secrets, files: over.files } })
        .collect();
    let spec = EnvironmentSpec {
        name: file.environment.name,
        app: file.environment.app,
        hosts: file.environment.hosts,
        gates,
        strategy,
        traffic,
        analysis,
        bake: given(file.strategy.bake(), Millis::from_secs(60)),
        keep: file.environment.keep,
        database: DatabasePolicy { backup: file.database.backup, contract_after: file.database.contract_after.map(|span| span.0) },
        drift: file.environment.drift,
        failover,
        timeouts: Timeouts {
            prepare: given(file.timeouts.prepare, default.prepare),
            migrate: given(file.timeouts.migrate, default.migrate),
            activate: given(file.timeouts.activate, default.activate),
            confirm: given(file.timeouts.confirm, default.confirm),
            away: given(file.timeouts.away, default.away),
            decide: given(file.timeouts.decide, default.decide),
            gates: given(file.timeouts.gates, default.gates),
        },
        variables: file.env,
        secrets: file.secrets,
        files: file.files,
        overrides,
    };
    Configuration::new(&spec, Vec::new()).map_err(|error| wrong(0, &error.to_string()))?;
    Ok(spec)
}

/// How long the host of what runs only once may be silent.
fn lease(span: Spanned<Span>) -> Result<LeaseSpan, (usize, String)> {
    let at = span.span().start;
    LeaseSpan::try_from(span.into_inner().0).map_err(|error| (at, format!("failover: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{CanaryStep, DomainOrder, OnFailure, Promotion, Share, Strategy, Traffic, Weight};

    #[test]
    fn a_short_file_has_sensible_defaults() {
        let spec = parse("[environment]\nname = \"staging\"\napp = \"erp\"\nhosts = \"role=web\"\n").unwrap();
        assert_eq!(spec.bake, Millis::from_secs(60));
        assert_eq!(spec.strategy, Strategy::default());
        assert_eq!(spec.hosts.to_string(), "role=web");
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
[environment]
name = "production"
app = "erp"
keep = 5
[strategy]
kind = "rolling"
batch = "25%"
max-unavailable = 2
failure-budget = 1
bake = "5m"
[timeouts]
migrate = "1h"
[env]
ALLOWED_HOSTS = "erp.example.org"
"#;
        let spec = parse(text).unwrap();
        assert_eq!(spec.strategy.batch, Share::Percent(25));
        assert_eq!(spec.timeouts.migrate, Millis::from_secs(3600));
        assert_eq!(spec.variables.len(), 1);
    }

    #[test]
    fn gates_are_told_as_people_tell_them() {
        let text = r#"
[environment]
name = "production"
app = "erp"
[gates]
time-zone = "Europe/Berlin"
windows = ["mon-thu 09:00-16:30"]
freezes = [{ from = "2026-12-20", until = "2027-01-03 08:00", reason = "Christmas" }]
approvals = [{ role = "dba" }, { role = "ops", count = 2 }]
after = { environment = "staging", healthy-for = "24h" }
"#;
        let gates = parse(text).unwrap().gates;
        assert_eq!(gates.approvals.iter().map(|rule| (rule.role.as_str(), rule.count)).collect::<Vec<_>>(), [("dba", 1), ("ops", 2)]);
        assert_eq!(gates.after.unwrap().healthy_for, Millis::from_secs(24 * 3600));
        assert_eq!((gates.windows.len(), gates.freezes[0].reason.as_str()), (1, "Christmas"));
    }

    #[test]
    fn a_canary_has_steps() {
        let text = r#"
[environment]
name = "production"
app = "erp"
[strategy]
kind = "canary"
steps = [{ hosts = 1, traffic = "5%", bake = "10m", promote = "manual" }, { hosts = "25%" }]
batch = "25%"
batch-bake = "1m"
domain = "zone"
domain-order = "one-by-one"
on-failure = "ask"
[traffic]
balancers = "role=balancer"
hosts = "role=web"
drain = "10s"
[timeouts]
decide = "1h"
"#;
        let spec = parse(text).unwrap();
        let five = Weight::percent(5).unwrap();
        let (balancers, hosts) = (Selector::parse("role=balancer").unwrap(), Selector::parse("role=web").unwrap());
        assert_eq!(spec.traffic, Some(Traffic { balancers, hosts, drain: Millis::from_secs(10) }));
        let first = CanaryStep { hosts: Share::Count(1), bake: Millis::from_secs(600), promote: Promotion::Manual, traffic: Some(five) };
        let second = CanaryStep { hosts: Share::Percent(25), bake: Millis(0), promote: Promotion::Automatic, traffic: None };
        assert_eq!(spec.strategy.steps, [first, second]);
        assert_eq!(spec.strategy.batch_bake, Millis::from_secs(60));
        let domain = spec.strategy.domain.unwrap();
        assert_eq!((domain.label.as_str(), domain.order), ("zone", DomainOrder::OneByOne));
        assert_eq!((spec.strategy.on_failure, spec.timeouts.decide), (OnFailure::Ask, Millis::from_secs(3600)));
    }

    #[test]
    fn a_release_is_judged_by_numbers_and_answers() {
        let text = r#"
[environment]
name = "production"
app = "erp"
[analysis]
prometheus = "http://prometheus.internal:9090"
every = "30s"
queries = [
  { name = "errors", query = 'sum(rate(errors_total{instance=~"$hosts:.*"}[1m]))', at-most = 0.01, failures = 2, inconclusive = 4 },
  { name = "latency", query = 'p95{instance=~"$hosts:.*"}', at-least = 0, at-most-baseline = 1.5 },
]
checks = [{ name = "front page", url = "http://$host/healthz", contains = "ok" }]
"#;
        let analysis = parse(text).unwrap().analysis.unwrap();
        let told: Vec<String> = analysis.queries.iter().map(|query| format!("{}: {query}", query.name)).collect();
        assert_eq!(told, ["errors: at most 0.01", "latency: at least 0 and at most 1.5 × the baseline"]);
        assert_eq!((analysis.queries[0].failures, analysis.queries[0].inconclusive), (2, 4));
        assert_eq!((analysis.queries[1].failures, analysis.queries[1].inconclusive), (1, 5));
        assert_eq!((analysis.every, analysis.checks[0].status), (Millis::from_secs(30), 200));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_what_was_meant() {
        let head = "[environment]\nname = \"staging\"\napp = \"erp\"\n";
        let told = |tail: &str| parse(&format!("{head}{tail}")).unwrap_err();
        insta::assert_snapshot!(
            [
                told("[strategy]\nbatches = 2\n"),
                told("[strategy]\nmax_unavailable = 2\n"),
                told("[strategy]\nkind = \"roling\"\n"),
                told("[strategy]\nbake = \"5 minutes\"\n"),
                told("[strategy]\nbatch = \"120%\"\n"),
                told("[strategy]\nbatch = 0\n"),
                told("[strategy]\nkind = \"all-at-once\"\nbatch = 1\n"),
                told("[strategy]\nkind = \"all-at-once\"\nbatch-bake = \"1m\"\n"),
                told("[strategy]\nkind = \"canary\"\n"),
                told("[strategy]\nsteps = [{ hosts = 1 }]\n"),
                told("[strategy]\nkind = \"canary\"\nsteps = [{ hosts = 2 }, { hosts = 2 }]\n"),
                told("[strategy]\nkind = \"canary\"\nsteps = [{ hosts = 2, promote = \"me\" }]\n"),
                told("[strategy]\nkind = \"canary\"\nsteps = [{ hosts = \"0%\" }]\n"),
                told("[strategy]\nkind = \"canary\"\nsteps = [{ hosts = 1, traffic = \"100%\" }]\n"),
                told("[strategy]\nkind = \"canary\"\nsteps = [{ hosts = 1, traffic = \"5%\" }]\n"),
                told("[strategy]\nkind = \"blue-green\"\n"),
                told("[strategy]\nsets = \"color\"\n"),
                told("[strategy]\nkind = \"blue-green\"\nsets = \"color\"\n"),
                told("[strategy]\nkind = \"blue-green\"\nsets = \"color\"\nbatch = 1\n"),
                told("[strategy]\ndomain-order = \"striped\"\n"),
                told("[strategy]\ndomain = \"the zone\"\n"),
                told("[strategy]\non-failure = \"pause\"\n"),
                told("[gates]\nwindows = [\"monday 9-17\"]\n"),
                told("[gates]\nwindows = [\"mon 09:00-17:00\"]\n"),
                told("[gates]\ntime-zone = \"UTC\"\nfreezes = [{ from = \"2026-12-24\", until = \"2026-12-20\" }]\n"),
                told("[gates]\ntime-zone = \"UTC\"\nfreezes = [{ from = \"Christmas\", until = \"2026-12-20\" }]\n"),
                told("[gates]\napprovals = [{ role = \"dba\", count = 0 }]\n"),
                told("[gates]\napprovals = [{ role = \"D B A\" }]\n"),
                told("[gates]\nafter = { environment = \"staging\" }\n"),
                told("[traffic]\n"),
                told("[traffic]\nbalancers = \"\"\n"),
                told("[traffic]\nbalancers = \"role=lb\"\ndrain = 30\n"),
                told("[analysis]\n"),
                told("[analysis]\nprometheus = \"http://p:9090\"\nquerys = []\n"),
                told("[analysis]\nprometheus = \"p:9090\"\nqueries = [{ name = \"errors\", query = \"up{i=~'$hosts'}\", at-most = 1 }]\n"),
                told("[analysis]\nprometheus = \"http://p:9090\"\nqueries = [{ name = \"errors\", query = \"up{i=~'$hosts'}\" }]\n"),
                told("[analysis]\nprometheus = \"http://p:9090\"\nqueries = [{ name = \"errors\", query = \"up{i=~'$hosts'}\", at-most = nan }]\n"),
                told("[analysis]\nevery = \"0s\"\nchecks = [{ name = \"front page\", url = \"http://$host/\" }]\n"),
                told("[analysis]\nchecks = [{ name = \"front page\", url = \"http://ada:secret@$host/\" }]\n"),
                told("[timeouts]\nprepare = 15\n"),
                told("[timeout]\nprepare = \"15m\"\n"),
                told("[env]\n\"LD PRELOAD\" = \"x\"\n"),
                told("[env]\nDEBUG = false\n"),
                told("[env\n"),
                parse("[environment]\nname = \"Staging\"\napp = \"erp\"\n").unwrap_err(),
                parse("[environment]\nname = \"staging\"\n").unwrap_err(),
                parse("").unwrap_err(),
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_page_names_every_key_and_its_examples_are_read() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap();
        let section = page.split_once("\n## Environment files\n").unwrap().1.split("\n## ").next().unwrap();
        let examples: Vec<&str> = section.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
        let all = parse(examples[0]).unwrap();
        assert_eq!(parse(examples[1]).unwrap().strategy.sets.unwrap().as_str(), "color");
        assert_eq!(parse(examples[2]).unwrap().keep, all.keep, "the page shows the default");
        assert_eq!(all.timeouts.prepare, Timeouts::default().prepare);
        for table in ["[environment]", "[gates]", "[strategy]", "[traffic]", "[analysis]", "[database]", "[timeouts]", "[[overrides]]"] {
            let head = if table == "[environment]" { "" } else { "[environment]\nname = \"x\"\napp = \"x\"\n" };
            let error = parse(&format!("{head}{table}\nzzzzzzzz = 1\n")).unwrap_err();
            for key in error.split_once("known are ").unwrap().1.split(", ") {
                assert!(section.contains(&format!("| `{key}` |")), "docs/configuration.md does not tell of {key} of {table}");
                let shown = examples.iter().any(|example| example.contains(&format!("\n{key} = ")));
                assert!(shown, "no example shows {key} of {table}");
            }
        }
    }
}
