//! `roadstead logs`: what the steps of a rollout said.

use roadstead_proto::v1::{OutputPart, StepOutputRequest};

use crate::failure::Result;
use crate::output::{Output, size};
use crate::remote::Controller;

/// Prints the output of a rollout's steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead logs r-17\n  roadstead logs r-17 --host web-1 --step migrate --follow")]
pub(crate) struct Arguments {
    /// Such as r-17.
    rollout: roadstead_model::RolloutId,
    /// Only this host's, by name or id.
    #[arg(long, default_value = "", hide_default_value = true)]
    host: String,
    /// Only this step's.
    #[arg(long)]
    step: Option<roadstead_model::StepName>,
    /// Go on until the rollout has ended.
    #[arg(short, long)]
    follow: bool,
}

/// Prints what comes.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    let request = StepOutputRequest {
        rollout: arguments.rollout.0,
        host: arguments.host.clone(),
        step: arguments.step.map(|step| step.to_string()).unwrap_or_default(),
        follow: arguments.follow,
    };
    let mut said = false;
    controller.call(async |mut client| {
        let mut parts = client.step_output(request).await?.into_inner();
        while let Some(part) = parts.message().await? {
            said = true;
            show(&part, output);
        }
        Ok(())
    })?;
    if !said {
        output.note(&format!("no step of {} said anything that was asked for", arguments.rollout));
    }
    Ok(())
}

fn show(part: &OutputPart, output: &Output) {
    let OutputPart { host, step, text, dropped } = part;
    if *dropped > 0 {
        let json = serde_json::json!({ "host": host, "step": step, "dropped_bytes": dropped });
        output.line(&json, || format!("{host}  {step:13} [{} were not kept]", size(*dropped)));
    }
    for line in text.lines() {
        // What a program of the app printed must not steer the reader's terminal.
        let plain: String = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        output.line(&serde_json::json!({ "host": host, "step": step, "line": line }), || format!("{host}  {step:13} {plain}"));
    }
}
