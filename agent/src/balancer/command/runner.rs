//! Where the operator's command runs: in a unit of its own, with a deadline.

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, FailureKind};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::host::command::{self, Command};
use crate::layout::Layout;
use crate::settings::CommandSettings;

/// What is kept of the output of one run.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Something that runs the command with further words.
#[async_trait]
pub(super) trait Runner: std::fmt::Debug + Send + Sync {
    /// The lines that it printed, when it ended well.
    async fn run(&self, more: &[String]) -> Result<Vec<String>, Failure>;
}

/// The host itself.
#[derive(Debug)]
pub(super) struct OnHost {
    app: AppName,
    settings: CommandSettings,
    host: Arc<Host>,
    hidden: Vec<PathBuf>,
}

impl OnHost {
    pub(super) fn new(app: &AppName, settings: CommandSettings, host: Arc<Host>, layout: &Layout) -> Self {
        Self { app: app.clone(), settings, host, hidden: vec![layout.agent_state(), layout.configuration()] }
    }

    fn command(&self, more: &[String]) -> Command {
        let words = self.settings.words.iter().chain(more).cloned();
        let unit = format!("roadstead-traffic-{}-command.service", self.app);
        let description = format!("traffic of {}: {}", self.app, more.join(" "));
        Command {
            user: self.settings.user.clone(),
            hidden: self.hidden.clone(),
            ..Command::bare(unit, description, words.collect(), self.settings.within)
        }
    }
}

#[async_trait]
impl Runner for OnHost {
    async fn run(&self, more: &[String]) -> Result<Vec<String>, Failure> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let take = |line: &str| {
            bytes += line.len() + 1;
            if bytes <= OUTPUT_BYTES_MAX {
                lines.push(line.to_owned());
            }
        };
        let finished =
            command::run_anew(&self.host, &self.command(more), &CancellationToken::new(), take).await.map_err(|error| error.failure())?;
        let shown: String = format!("{} {}", self.settings.words.join(" "), more.join(" ")).chars().take(200).collect();
        if !finished.is_success() {
            let hint = "see its last output, and run it by hand on the host";
            return Err(Failure::new(FailureKind::Command, format!("'{shown}' {}", finished.words()), hint).with_detail(&finished.tail));
        }
        if bytes > OUTPUT_BYTES_MAX {
            let summary = format!("'{shown}' printed more than {OUTPUT_BYTES_MAX} bytes");
            return Err(Failure::new(FailureKind::Command, summary, "let it print one line for each host").with_detail(&finished.tail));
        }
        Ok(lines)
    }
}
