//! A command of the host's operator that prints a secret: the tools of AWS, Google Cloud, Azure and anything else.

use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

use crate::child::{self, Run};
use crate::fault::Fault;
use crate::format::Format;
use crate::provider::{Place, Provider};
use crate::secret::{Content, Document};

/// What stands for the parts of a reference in the words of a command.
pub const PLACEHOLDERS: [&str; 4] = ["{app}", "{path}", "{key}", "{version}"];

/// How the command is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// Its words; the first is an absolute path. `{path}`, `{key}`, `{version}` and `{app}` in the others stand for what a reference says.
    pub words: Vec<String>,
    /// Its whole environment, beside a plain `PATH`.
    pub environment: Vec<(String, String)>,
    /// As whom it runs; root otherwise.
    pub user: Option<String>,
    /// How long it may take.
    pub within: Duration,
    /// What it prints.
    pub format: Format,
    /// What `{version}` stands for in a reference that says none.
    pub newest: Option<String>,
}

/// The provider.
#[derive(Debug)]
pub(crate) struct CommandProvider(pub(crate) CommandSettings);

impl CommandProvider {
    fn has(&self, placeholder: &str) -> bool {
        self.0.words.iter().any(|word| word.contains(placeholder))
    }

    /// The words for a place. What is put in was parsed: it begins with no '-', and holds no space, quote or line break.
    fn words(&self, place: Place<'_>) -> Result<Vec<String>, Fault> {
        let version = place.version.map(|version| version.to_string());
        let version = match (self.has("{version}"), version.or_else(|| self.0.newest.clone())) {
            (false, _) if place.version.is_some() => return Err(Fault::NoVersions),
            (true, None) => return Err(Fault::Path("its command needs ?version=N")),
            (_, version) => version.unwrap_or_default(),
        };
        let key = match (self.has("{key}"), place.key) {
            (true, None) => return Err(Fault::Path("its command needs #KEY")),
            (_, key) => key.map_or("", |key| key.as_str()),
        };
        let filled = |word: &String| {
            fill(word, &[("{app}", place.asker.app.as_str()), ("{path}", place.path.as_str()), ("{key}", key), ("{version}", &version)])
        };
        let (program, arguments) = self.0.words.split_first().ok_or(Fault::Path("its command has no words"))?;
        Ok(std::iter::once(program.clone()).chain(arguments.iter().map(filled)).collect())
    }
}

/// Puts values in, once: what is put in is not looked at again.
fn fill(word: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::with_capacity(word.len()), word);
    loop {
        let next = values.iter().filter_map(|(name, value)| Some((rest.find(name)?, name, value))).min_by_key(|(at, ..)| *at);
        let Some((at, name, value)) = next else { return filled + rest };
        filled.push_str(&rest[..at]);
        filled.push_str(value);
        rest = &rest[at + name.len()..];
    }
}

#[async_trait]
impl Provider for CommandProvider {
    async fn read(&self, place: Place<'_>, until: Instant) -> Result<Document, Fault> {
        let words = self.words(place)?;
        let run = Run { words: &words, environment: &self.0.environment, user: self.0.user.as_deref(), input: None, within: self.0.within };
        let printed = child::run(run, until).await?;
        let program = words.first().map_or("", String::as_str);
        let content = self.0.format.read(printed, &format!("what {program} prints"))?;
        let content = match (content, place.key) {
            // The command itself chose the value.
            (Content::Whole(value), Some(key)) if self.has("{key}") => Content::Keys([(key.to_string(), value)].into()),
            (content, _) => content,
        };
        Ok(Document { content, version: place.version.map(u64::from), lease: None })
    }

    fn reads_by_key(&self) -> bool {
        self.has("{key}")
    }

    async fn look(&self, _until: Instant) -> Result<String, Fault> {
        let program = self.0.words.first().map_or("", String::as_str);
        let there = std::fs::metadata(Path::new(program)).is_ok_and(|metadata| metadata.is_file());
        if there {
            return Ok(format!("{program} is there; whether it gives secrets is seen when one is needed"));
        }
        Err(Fault::Program { program: program.to_owned(), how: "is not there".to_owned() })
    }
}
