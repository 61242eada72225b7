//! The daemon on a host: session, steps, systemd, sandbox, probes; what decides about orders is `roadstead-worker`.

mod args;
mod backup;
mod balancer;
mod credentials;
mod doctor;
mod drift;
mod enroll;
mod facts;
mod fetch;
mod hands;
mod host;
mod identity;
mod layout;
mod link;
mod logging;
mod logins;
mod memory;
mod notify;
mod own_variables;
mod publish;
mod remembered;
mod run;
mod secrets;
mod settings;
mod status;
mod steps;

use clap::{CommandFactory as _, Parser as _};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use args::{Args, Command, Format};
use layout::Layout;
use roadstead_model::{Finding, Verdict};
use roadstead_worker::failure::chain;

/// Threads for work that waits for the disk; they end soon after it.
const BLOCKING_THREADS_MAX: usize = 4;
const BLOCKING_THREAD_KEPT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse();
    match perform(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn perform(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let layout = Layout::new(Path::new("/"));
    match args.command.unwrap_or(Command::Run) {
        Command::Run => {
            logging::set_up();
            runtime()?.block_on(run::run(layout, &args.config))?;
        }
        Command::Enroll(enroll) => {
            let token = enroll::read_token(&enroll.token_file)?;
            let enrolled = runtime()?.block_on(enroll::enroll(&layout, &enroll, &token))?;
            say(&format!("{enrolled}\nStart the agent with: systemctl restart roadstead-agent\n"))?;
        }
        Command::Status(status) => {
            let report = status::Report::read(&layout);
            match status.output {
                Format::Text => say(&report.text())?,
                Format::Json => say(&format!("{:#}\n", report.json()))?,
            }
        }
        Command::Doctor(how) => return examine(&layout, &args.config, how.output),
        Command::Man { folder } => clap_mangen::generate_to(Args::command(), folder)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "roadstead-agent", &mut std::io::stdout());
        }
    }
    Ok(())
}

/// Looks at everything; what failed decides how the program ends.
fn examine(layout: &Layout, config: &Path, form: Format) -> Result<(), Box<dyn std::error::Error>> {
    let mut findings = Vec::new();
    let tell = &mut |finding: Finding| {
        if form == Format::Text {
            // A reader that has gone away is not this host's fault.
            drop(say(&format!("{finding}\n")));
        }
        findings.push(finding);
    };
    runtime()?.block_on(doctor::look_at_all(layout, config, tell));
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count();
    match form {
        Format::Text => say(&format!("\n{}\n", Finding::summary(&findings)))?,
        Format::Json => say(&format!("{:#}\n", serde_json::json!({ "findings": findings, "failed": failed })))?,
    }
    if failed == 0 { Ok(()) } else { Err("not everything works: begin with the first check that failed, others may follow from it".into()) }
}

/// One thread does it all; few others help where the disk is waited for.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_KEPT)
        .build()
}

fn say(text: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())
}

fn complain(text: &str) {
    // Nowhere is left to say that this failed.
    drop(writeln!(std::io::stderr().lock(), "Error: {text}"));
}
