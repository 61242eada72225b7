//! `roadstead logs`: what the steps of a rollout said.

use roadstead_proto::v1::StepOutputRequest;

use crate::failure::Result;
use crate::output::Output;
use crate::remote::Controller;

/// Prints the output of a rollout's steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead logs r-17\n  roadstead logs r-17 --host web-1 --step migrate --follow")]
pub(crate) struct Arguments {
    /// Such as r-17.
    rollout: roadstead_model::RolloutId,
    /// Only this host's, by name or id.
    #[arg(long, default_value = "")]
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
    controller.call(async |mut client| {
        let mut parts = client.step_output(request).await?.into_inner();
        while let Some(part) = parts.message().await? {
            if part.dropped > 0 {
                output.stdout(&format!("[{} bytes were not kept]", part.dropped));
            }
            for line in part.text.lines() {
                // What a program of the app printed must not steer the reader's terminal.
                let plain: String = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
                output.stdout(&format!("{:13} {plain}", part.step));
            }
        }
        Ok(())
    })
}
