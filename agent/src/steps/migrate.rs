//! Migrate: the database's schema moves to the release, with the hooks around it. One host of the environment is told to, and the
//! database's own lock keeps everyone else out.

use roadstead_model::{Failure, OrderKind, StepName};

use super::StepContext;
use super::commands::{self, Task, expect_success};
use super::release::{Release, below};

const LAUNCHER: &str = include_str!("migrate_launcher.py");

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Migrate { release } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let spec = &release.manifest.spec;
    hooks(context, &release, "before-migrate", &spec.hooks.before_migrate).await?;
    let note = migrate(context, &release).await?;
    hooks(context, &release, "after-migrate", &spec.hooks.after_migrate).await?;
    Ok(match spec.hooks.before_migrate.len() + spec.hooks.after_migrate.len() {
        0 => note,
        hooks => format!("{note}, {hooks} hooks ran"),
    })
}

async fn hooks(context: &StepContext, release: &Release, name: &str, hooks: &[Vec<String>]) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        commands::hook(context, release, hook, &task(release, format!("{name}{index}"))).await?;
    }
    Ok(())
}

fn task(release: &Release, name: String) -> Task {
    Task { step: StepName::Migrate, name, within: release.manifest.spec.steps.migrate_timeout, writable: Vec::new() }
}

async fn migrate(context: &StepContext, release: &Release) -> Result<String, Failure> {
    let Some(django) = release.manifest.spec.django.as_ref().filter(|django| django.migrate) else {
        return Ok("no migrations to run".to_owned());
    };
    let manage = below(&release.root(&context.layout), &django.manage).display().to_string();
    let words: Vec<String> = ["python", "-c", LAUNCHER, &manage, "migrate", "--noinput"].iter().map(|word| (*word).to_owned()).collect();
    let mut applied = Applied::default();
    let task = task(release, "migrate".to_owned());
    let finished = commands::run(context, release, &words, &task, |line| {
        applied.read(line);
        context.progress.report(applied.count, 0);
    });
    let finished = finished.await?;
    expect_success(&finished, "migrate").map_err(|mut failure| {
        failure.summary.push_str(&applied.where_it_stopped());
        failure
    })?;
    Ok(match applied.count {
        0 => "nothing to migrate".to_owned(),
        1 => "1 migration applied".to_owned(),
        count => format!("{count} migrations applied"),
    })
}

/// How far `migrate` has come, by its own lines: `  Applying app.0001_name... OK`.
#[derive(Debug, Default)]
struct Applied {
    count: u64,
    last: Option<String>,
}

impl Applied {
    fn read(&mut self, line: &str) {
        let Some((name, end)) = line.trim().strip_prefix("Applying ").and_then(|rest| rest.split_once("...")) else { return };
        if end.trim_start().starts_with("OK") {
            self.count += 1;
            self.last = None;
        } else {
            self.last = Some(name.to_owned());
        }
    }

    fn where_it_stopped(&self) -> String {
        match &self.last {
            Some(name) => format!(" while applying {name}, after {} migrations", self.count),
            None if self.count > 0 => format!(" after {} migrations", self.count),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_failed_is_named() {
        let mut applied = Applied::default();
        for line in [
            "Operations to perform:",
            "  Applying sales.0001_initial... OK",
            "  Applying sales.0002_more... OK (0.1s)",
            "  Applying sales.0003_bad...",
        ] {
            applied.read(line);
        }
        assert_eq!(applied.where_it_stopped(), " while applying sales.0003_bad, after 2 migrations");
    }
}
