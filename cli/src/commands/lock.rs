//! `roadstead lock` and `roadstead unlock`: keep the rollouts of others out of an environment.

use roadstead_model::Millis;
use roadstead_proto::v1::{LockEnvironmentRequest, UnlockEnvironmentRequest};

use crate::failure::Result;
use crate::output::Output;
use crate::remote::{Controller, moment, spans};

/// Locks an environment: rollouts of others wait at its gates until it is unlocked, or the lock expires.
///
/// Your own rollouts begin, rollbacks begin, and hosts that return come level. Locking again changes reason and end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead lock production --reason 'incident 311'\n  roadstead lock production --for 30m --reason 'load test'"
)]
pub(crate) struct Lock {
    #[command(flatten)]
    place: Place,
    /// When it expires; a week at most.
    #[arg(long = "for", value_name = "TIME", value_parser = spans::parse, default_value = "4h")]
    within: Millis,
}

/// Unlocks an environment: what waits for that begins.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  roadstead unlock production --reason 'incident 311 is over'\n  \
    roadstead unlock production --break --reason 'ada is on holiday'")]
pub(crate) struct Unlock {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The environment.
    environment: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// Why, for the history and for whoever waits.
    #[arg(long)]
    reason: String,
    /// Also when somebody else holds the lock.
    #[arg(long = "break")]
    breaks: bool,
}

/// Locks it.
pub(crate) fn lock(arguments: &Lock, output: &Output) -> Result<()> {
    let Lock { place, within } = arguments;
    let request = LockEnvironmentRequest {
        environment: place.environment.clone(),
        app: place.app.clone(),
        reason: place.reason.clone(),
        for_ms: within.0,
        r#break: place.breaks,
    };
    let locked = Controller::of_user()?.call(async |mut client| Ok(client.lock_environment(request).await?.into_inner()))?;
    output.result(&serde_json::json!({ "environment": place.environment, "locked_until_ms": locked.until_ms }), || {
        format!("{} is locked until {}", place.environment, moment(locked.until_ms))
    });
    Ok(())
}

/// Unlocks it.
pub(crate) fn unlock(arguments: &Unlock, output: &Output) -> Result<()> {
    let place = &arguments.place;
    let request = UnlockEnvironmentRequest {
        environment: place.environment.clone(),
        app: place.app.clone(),
        reason: place.reason.clone(),
        r#break: place.breaks,
    };
    let unlocked = Controller::of_user()?.call(async |mut client| Ok(client.unlock_environment(request).await?.into_inner()))?;
    output.result(&serde_json::json!({ "environment": place.environment, "owner": unlocked.owner }), || match unlocked.owner.as_str() {
        "" => format!("{} was not locked", place.environment),
        owner => format!("{} is unlocked; {owner} had it locked", place.environment),
    });
    Ok(())
}
