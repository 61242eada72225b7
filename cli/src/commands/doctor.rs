//! `roadstead doctor`: looks at what usually is wrong, one thing after another.

use roadstead_model::{Finding, Verdict};
use std::path::PathBuf;

use crate::doctor::{self, Checkup};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Looks at what usually is wrong, one thing after another, and says what to do about it.
///
/// It looks at this user's configuration and credential, the way to the controller, the hosts, environments and rollouts, and,
/// in the folder of an app, at what building a release needs. Nothing is changed. The exit code is 1 when something failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead doctor\n  roadstead doctor --host web-1\n  roadstead doctor --output json\n\n\
    On a host itself, `roadstead-agent doctor` looks at what only the host can see.")]
pub(crate) struct Arguments {
    /// Only this host, by name or id, more closely.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The folder of an app, whose builder is looked at when it holds a roadstead.toml.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// Looks, and tells each thing as soon as it is known.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut checkup = Checkup::new(output);
    if let Some(known) = doctor::controller::look(&mut checkup) {
        doctor::fleet::look(&mut checkup, &known, arguments.host.as_deref())?;
    }
    if arguments.host.is_none() {
        doctor::project::look(&mut checkup, &arguments.folder);
    }
    let findings = checkup.into_findings();
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    output.result(&serde_json::json!({ "findings": findings, "failed": failed }), || format!("\n{}", Finding::summary(&findings)));
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::failed("not everything works").hint("begin with the first check that failed: others may follow from it"))
    }
}
