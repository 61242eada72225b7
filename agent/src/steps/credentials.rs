//! Credentials of their own for the steps that change or back up the database, while they do: `[migrations.APP]` of agent.toml.

use roadstead_model::{Failure, StepName};
use std::path::PathBuf;
use std::pin::pin;

use super::StepContext;
use super::release::Release;
use crate::credentials::Wanted;
use crate::settings::MigrationSettings;

fn settings(context: &StepContext, step: StepName) -> Option<&MigrationSettings> {
    context.settings.migrations.get(&context.order.app).filter(|settings| settings.backup || step != StepName::Backup)
}

/// What systemd reads last for a command of the step, so that it wins over the app's own; there while [`during`] lasts.
pub(super) fn files(context: &StepContext, step: StepName) -> Vec<PathBuf> {
    settings(context, step).map(|_| context.layout.credentials_file(&context.order.app)).into_iter().collect()
}

/// Does the work with the credentials in force. They end with it, also when it fails or is called off; not where it has lost sight of a
/// command that runs on.
pub(super) async fn during<T>(
    context: &StepContext,
    release: &Release,
    step: StepName,
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    let Some(settings) = settings(context, step) else { return work.await };
    let tree = release.tree(&context.layout);
    let wanted = Wanted { app: &context.order.app, order: context.order.key(), step, settings, tree: &tree };
    let mut turn = context.credentials.begin(wanted, &context.cancelled).await?;
    context.secrets.add(turn.hidden());
    context.say(step, &format!("roadstead: {}", turn.words()));
    let done = {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => done,
            never = turn.keep(|line| context.say(step, &format!("roadstead: {line}"))) => match never {},
        }
    };
    if done.is_err() && context.credentials.are_used(&context.order.app, context.order.key()).await {
        context.say(step, "roadstead: what was begun with the credentials for migrations still runs: they are over when it has ended");
        return done;
    }
    match turn.end().await {
        None => context.say(step, "roadstead: the credentials for migrations are over"),
        Some(why) => {
            context.say(step, &format!("roadstead: the credentials for migrations are not ended yet, which is tried again: {why}"))
        }
    }
    done
}
