//! Job: a command that the release declares runs to its end, as the app's user and in the release's own environment, while the release serves.
//! Whoever takes over from an agent that died follows what it began; a host that was off begins the command again, which goes on where it
//! stopped: that is the command's to know.

use roadstead_model::{Failure, FailureKind, OrderKind, StepName};

use super::StepContext;
use super::backup::Progress;
use super::commands::{self, Task, expect_success};
use crate::host::command;

/// What stands before a job's name in the names of units. No app's name holds a dot: so no unit of another app is taken for one.
const UNIT: &str = ".job.";

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Job { release, job } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let Some(declared) = release.manifest.spec.jobs.get(job) else {
        let summary = format!("{} declares no job {job}", release.id);
        return Err(Failure::new(FailureKind::Unfit, summary, "see `roadstead job list`"));
    };
    let task = Task {
        step: StepName::Job,
        name: format!("{UNIT}{job}"),
        within: declared.timeout,
        writable: Vec::new(),
        binds: Vec::new(),
        environment_files: Vec::new(),
        anew: false,
    };
    end_others(context, Some(&commands::unit(context, &task.name))).await?;
    let mut progress = Progress::new(context);
    let finished = commands::run(context, &release, &declared.command, &task, |line| progress.read(line)).await?;
    expect_success(&finished, &declared.command.join(" ")).map_err(|failure| match failure.kind {
        FailureKind::Deadline => {
            Failure { hint: format!("ask for it again: it goes on where it stopped; or raise timeout under [jobs.{job}]"), ..failure }
        }
        _ => failure,
    })?;
    Ok(format!("{job} has ended well"))
}

/// Ends jobs of the app that an agent before this one began, and that nobody waits for any more: nothing else works on its database meanwhile.
pub(super) async fn end_others(context: &StepContext, but: Option<&str>) -> Result<(), Failure> {
    let pattern = format!("roadstead-{}{UNIT}*.service", context.order.app);
    let units = context.host.systemd.units(&pattern).await.map_err(|error| error.failure())?;
    for unit in units.iter().filter(|unit| Some(unit.as_str()) != but) {
        command::clear(&context.host, unit).await.map_err(|error| error.failure())?;
    }
    Ok(())
}
