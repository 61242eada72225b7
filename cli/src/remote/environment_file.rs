//! `env/*.toml`: the policy of an environment as people write it, with durations in words and errors with line and column.

use roadstead_model::{AppName, EnvironmentName, EnvironmentSpec, Millis, Rolling, Selector, Share, Timeouts, VariableName, limits};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::spans;

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
    #[error("{path} has {bytes} bytes; an environment file has at most {max}", max = limits::CONFIG_FILE_BYTES_MAX)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no valid TOML, or holds something that is not known or does not fit.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line, column and the line itself.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    environment: Environment,
    #[serde(default)]
    strategy: Strategy,
    #[serde(default)]
    timeouts: FileTimeouts,
    #[serde(default)]
    env: BTreeMap<VariableName, String>,
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
}

const fn default_keep() -> u32 {
    3
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Strategy {
    kind: Option<StrategyKind>,
    batch: Option<Share>,
    max_unavailable: Option<Share>,
    failure_budget: Option<Share>,
    bake: Option<Duration>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum StrategyKind {
    Rolling,
    AllAtOnce,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTimeouts {
    prepare: Option<Duration>,
    migrate: Option<Duration>,
    activate: Option<Duration>,
    confirm: Option<Duration>,
    away: Option<Duration>,
}

/// `90s`, `5m`, `1h`, `250ms`.
#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "String")]
struct Duration(Millis);

impl TryFrom<String> for Duration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        spans::parse(&text).map(Self)
    }
}

/// Reads an environment file.
///
/// # Errors
/// [`InvalidEnvironmentFile`], with line and column where it is the text that is wrong.
pub(crate) fn read(path: &Path) -> Result<EnvironmentSpec, InvalidEnvironmentFile> {
    let unreadable = |source| InvalidEnvironmentFile::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > limits::CONFIG_FILE_BYTES_MAX {
        return Err(InvalidEnvironmentFile::TooLarge { path: path.to_owned(), bytes });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|message| InvalidEnvironmentFile::Invalid { path: path.to_owned(), message })
}

fn parse(text: &str) -> Result<EnvironmentSpec, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let defaults = Rolling::default();
    let everything = Share::Percent(100);
    let (batch, max_unavailable) = match file.strategy.kind.unwrap_or(StrategyKind::Rolling) {
        StrategyKind::Rolling => (defaults.batch, defaults.max_unavailable),
        StrategyKind::AllAtOnce => (everything, everything),
    };
    if matches!(file.strategy.kind, Some(StrategyKind::AllAtOnce)) && file.strategy.batch.is_some() {
        return Err("strategy.batch makes no sense with kind = \"all-at-once\": remove one of the two".to_owned());
    }
    let strategy = Rolling {
        batch: file.strategy.batch.unwrap_or(batch),
        max_unavailable: file.strategy.max_unavailable.unwrap_or(max_unavailable),
        failure_budget: file.strategy.failure_budget.unwrap_or(defaults.failure_budget),
    };
    for (key, share) in [("batch", strategy.batch), ("max-unavailable", strategy.max_unavailable)] {
        if matches!(share, Share::Count(0) | Share::Percent(0)) {
            return Err(format!("strategy.{key} is 0: no host could ever move"));
        }
    }
    let given = |duration: Option<Duration>, default: Millis| duration.map_or(default, |d| d.0);
    let default = Timeouts::default();
    Ok(EnvironmentSpec {
        name: file.environment.name,
        app: file.environment.app,
        hosts: file.environment.hosts,
        strategy,
        bake: given(file.strategy.bake, Millis::from_secs(60)),
        keep: file.environment.keep,
        timeouts: Timeouts {
            prepare: given(file.timeouts.prepare, default.prepare),
            migrate: given(file.timeouts.migrate, default.migrate),
            activate: given(file.timeouts.activate, default.activate),
            confirm: given(file.timeouts.confirm, default.confirm),
            away: given(file.timeouts.away, default.away),
        },
        variables: file.env,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_has_sensible_defaults() {
        let spec = parse("[environment]\nname = \"staging\"\napp = \"erp\"\nhosts = \"role=web\"\n").unwrap();
        assert_eq!(spec.bake, Millis::from_secs(60));
        assert_eq!(spec.strategy, Rolling::default());
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
    fn mistakes_are_named_with_their_place() {
        let head = "[environment]\nname = \"staging\"\napp = \"erp\"\n";
        for (tail, expected) in [
            ("[strategy]\nbatches = 2\n", "unknown field `batches`"),
            ("[strategy]\nbake = \"5 minutes\"\n", "is no duration"),
            ("[strategy]\nbatch = \"120%\"\n", "neither a number of hosts nor a percentage"),
            ("[strategy]\nbatch = 0\n", "no host could ever move"),
            ("[strategy]\nkind = \"all-at-once\"\nbatch = 1\n", "makes no sense"),
            ("[env]\n\"LD PRELOAD\" = \"x\"\n", "is not a valid variable name"),
        ] {
            let error = parse(&format!("{head}{tail}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = parse("[environment]\nname = \"Staging\"\napp = \"erp\"\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }
}
