//! Migrate: the database's schema moves to the release, with the hooks around it. One host of the environment is told to, and the
//! database's own lock keeps everyone else out.

mod told;

use roadstead_bundle::spec::Django;
use roadstead_model::{Failure, FailureKind, OrderKind, StepName};

use super::StepContext;
use super::commands::{self, Task, expect_success};
use super::compatible;
use super::credentials;
use super::job;
use super::release::{Release, below};
use told::{Shown, Told};

/// Runs manage.py so that one runner at a time changes the database, and its end is known. Each file is one idea; together they are one
/// program, the last of them begins it.
const RUNNER: &str = concat!(
    include_str!("migrate/told.py"),
    include_str!("migrate/session.py"),
    include_str!("migrate/watch.py"),
    include_str!("migrate/marks.py"),
    include_str!("migrate/attempt.py"),
    include_str!("migrate/runner.py"),
    include_str!("migrate/main.py"),
);
// Linux takes no longer word of a command line than 128 KiB.
const _: () = assert!(RUNNER.len() < 100 * 1024, "it is one word of a command line");

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Migrate { release, backup, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    if backup.is_none() && context.settings.backup(&context.order.app).at_least.wants_one() {
        let hint = "upgrade the controller: one that knows of backups says with each order which one it demands";
        return Err(Failure::new(FailureKind::Unfit, "this host insists on a backup, and the order knows of none", hint));
    }
    job::end_others(context, None).await?;
    compatible::look_before(context).await?;
    let release = context.release(release)?;
    credentials::during(context, &release, StepName::Migrate, with_hooks(context, &release)).await
}

async fn with_hooks(context: &StepContext, release: &Release) -> Result<String, Failure> {
    let spec = &release.manifest.spec;
    hooks(context, release, "before-migrate", &spec.hooks.before_migrate).await?;
    let note = migrate(context, release).await?;
    hooks(context, release, "after-migrate", &spec.hooks.after_migrate).await?;
    Ok(match spec.hooks.before_migrate.len() + spec.hooks.after_migrate.len() {
        0 => note,
        hooks => format!("{note}, {hooks} hooks ran"),
    })
}

async fn hooks(context: &StepContext, release: &Release, name: &str, hooks: &[Vec<String>]) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        commands::hook(context, release, hook, &task(context, release, format!("{name}{index}"))).await?;
    }
    Ok(())
}

fn task(context: &StepContext, release: &Release, name: String) -> Task {
    Task {
        step: StepName::Migrate,
        name,
        within: release.manifest.spec.steps.migrate_timeout,
        writable: Vec::new(),
        binds: Vec::new(),
        environment_files: credentials::files(context, StepName::Migrate),
        anew: false,
    }
}

async fn migrate(context: &StepContext, release: &Release) -> Result<String, Failure> {
    let Some(django) = release.manifest.spec.django.as_ref().filter(|django| django.migrate) else {
        return Ok("no migrations to run".to_owned());
    };
    let words = words(context, release, django);
    let mut told = Told::default();
    let task = task(context, release, "migrate".to_owned());
    let finished = commands::run(context, release, &words, &task, |line| match told.read(line) {
        Shown::Waits(what) => context.progress.say(&context.secrets.hide(what)),
        Shown::Applied(count) => context.progress.report(count, 0),
        Shown::Nothing => {}
    });
    let finished = finished.await?;
    expect_success(&finished, "migrate").map_err(|mut failure| {
        told.explain(&mut failure);
        failure
    })?;
    Ok(match told.applied() {
        0 => "nothing to migrate".to_owned(),
        1 => "1 migration applied".to_owned(),
        count => format!("{count} migrations applied"),
    })
}

/// The command. What the runner is told are words and no variables: files of variables are the app's, and win over the unit's own.
fn words(context: &StepContext, release: &Release, django: &Django) -> Vec<String> {
    let fence = context.order.fence;
    let manage = below(&release.root(&context.layout), &django.manage).display().to_string();
    let runner = ["python", "-c", RUNNER].map(str::to_owned);
    let orders = [
        context.order.app.to_string(),
        format!("{}.{}.{}", fence.term, fence.rollout.0, fence.sequence),
        django.lock_timeout.unwrap_or(Django::LOCK_TIMEOUT).0.to_string(),
        django.statement_timeout.map_or(0, |timeout| timeout.0).to_string(),
    ];
    let migrate = [manage, "migrate".to_owned(), "--noinput".to_owned()];
    runner.into_iter().chain(orders).chain(migrate).collect()
}
