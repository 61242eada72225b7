//! Commands of a release: as the app's user, in the release's folder, with its environment, in a transient unit.

use roadstead_model::{Failure, FailureKind, Millis, StepName};
use std::path::PathBuf;

use super::StepContext;
use super::account;
use super::release::{Release, below};
use crate::host::argv::program;
use crate::host::command::{self, Bind, Command, Finished};

/// How lines begin by which a script of the agent's own tells how far it is: they are no output.
pub(super) const PROGRESS: &str = "roadstead-progress ";

/// What is particular to one command.
#[derive(Debug)]
pub(crate) struct Task {
    /// The step that it belongs to.
    pub(crate) step: StepName,
    /// A word for it within the step; with the order's number it names the unit. One that begins with a dot is set apart from all that could be
    /// another app's.
    pub(crate) name: String,
    /// How long it may take.
    pub(crate) within: Millis,
    /// Folders that it may write beside those of every process.
    pub(crate) writable: Vec<PathBuf>,
    /// What it sees elsewhere than where it lies.
    pub(crate) binds: Vec<Bind>,
    /// Read last, so that they win over the release's own.
    pub(crate) environment_files: Vec<PathBuf>,
    /// It is begun anew; otherwise one that an earlier agent began is followed to its end.
    pub(crate) anew: bool,
}

/// Runs a program of the virtual environment to its end, whatever that is. Its output goes to the step's, each line also to `line`.
pub(crate) async fn run(
    context: &StepContext,
    release: &Release,
    words: &[String],
    task: &Task,
    mut line: impl FnMut(&str),
) -> Result<Finished, Failure> {
    let layout = &context.layout;
    let account = account::of(layout, &context.order.app)?;
    let unfit =
        |error: crate::host::argv::ArgvError| Failure::new(FailureKind::Unfit, error.to_string(), "correct roadstead.toml and build again");
    let argv = program(&release.bin(layout), words).map_err(unfit)?;
    let mut writable = release.writable(layout);
    writable.extend(task.writable.iter().cloned());
    let command = Command {
        unit: unit(context, &task.name),
        description: format!("{} {} of {}", context.order.app, task.name.trim_start_matches('.'), release.id),
        argv,
        user: Some(account.name),
        working_directory: below(&release.root(layout), &release.manifest.spec.steps.working_directory),
        environment: vec![format!("ROADSTEAD_STEP={}", task.step)],
        environment_files: [release.environment_files(layout), task.environment_files.clone()].concat(),
        writable,
        hidden: vec![layout.agent_state(), layout.configuration()],
        within: task.within.to_duration(),
        memory_max: release.manifest.spec.steps.memory_max,
        offline: false,
        binds: task.binds.clone(),
    };
    let take = |text: &str| {
        context.say(task.step, text);
        line(text);
    };
    let finished = match task.anew {
        true => command::run_anew(&context.host, &command, &context.cancelled, take).await,
        false => command::run(&context.host, &command, &context.cancelled, take).await,
    };
    finished.map_err(|error| error.failure())
}

/// The unit of a command of the order.
pub(super) fn unit(context: &StepContext, name: &str) -> String {
    let fence = context.order.fence;
    let between = if name.starts_with('.') { "" } else { "-" };
    format!("roadstead-{}{between}{name}-{}-{}.service", context.order.app, fence.rollout, fence.sequence)
}

/// Runs a command of `roadstead.toml`; it has to end well.
pub(crate) async fn hook(context: &StepContext, release: &Release, words: &[String], task: &Task) -> Result<(), Failure> {
    let finished = run(context, release, words, task, |_| {}).await?;
    expect_success(&finished, &words.join(" "))
}

/// The failure of a command that did not end well.
pub(crate) fn expect_success(finished: &Finished, what: &str) -> Result<(), Failure> {
    use crate::host::command::Stopped;
    if finished.is_success() {
        return Ok(());
    }
    let (kind, hint) = match (finished.stopped, finished.state.result.as_str()) {
        (Some(Stopped::Cancelled), _) => (FailureKind::Cancelled, "a newer order follows, or the order's deadline passed"),
        (Some(Stopped::Deadline), _) | (None, "timeout") => {
            (FailureKind::Deadline, "find out what it waits for, or raise its timeout under [steps] in roadstead.toml")
        }
        (None, "oom-kill") => (FailureKind::Command, "raise `memory-max` under [steps] in roadstead.toml, or let it use less"),
        _ => (FailureKind::Command, "see its last output"),
    };
    let shown: String = what.chars().take(200).collect();
    Err(Failure::new(kind, format!("'{shown}' {}", finished.words()), hint).with_detail(&finished.tail))
}
