//! The system user of an app: made once by the agent, or one that the host's operator names in `agent.toml`.

use roadstead_model::{AppName, Failure, FailureKind, StepName};
use roadstead_worker::files::{create_private_folder, read_bounded, write_atomically};
use std::time::Duration;

use super::StepContext;
use super::util::{io_failure, on_disk};
use crate::host::command::{self, Command};
use crate::host::user::{self, Account};
use crate::layout::Layout;

const RECORD_BYTES_MAX: u64 = 256;

/// The app's user, as preflight settled it.
pub(crate) fn of(layout: &Layout, app: &AppName) -> Result<Account, Failure> {
    let path = layout.user_record(app);
    let record = read_bounded(&path, RECORD_BYTES_MAX).map_err(|error| on_disk(&error))?;
    let name = String::from_utf8_lossy(&record).trim().to_owned();
    find(&name)?.ok_or_else(|| {
        let summary = format!("the user {name} of the app {app} is gone");
        Failure::new(FailureKind::Host, summary, format!("make it again, or remove {} and deploy: the agent then makes it", path.display()))
    })
}

/// Makes sure that the app has its user. One of the same name that the agent did not make is refused: it is someone else's.
pub(crate) async fn ensure(context: &StepContext) -> Result<Account, Failure> {
    let app = &context.order.app;
    let layout = &context.layout;
    if let Some(given) = context.settings.apps.get(app).and_then(|settings| settings.user.clone()) {
        let account = find(&given)?.ok_or_else(|| {
            let summary = format!("agent.toml names the user {given} for the app {app}, but the host has no such user");
            Failure::new(FailureKind::Unfit, summary, "make the user, or correct agent.toml and restart roadstead-agent")
        })?;
        record(layout, app, &given)?;
        return Ok(account);
    }
    let name = app.as_str();
    let recorded = read_bounded(&layout.user_record(app), RECORD_BYTES_MAX).is_ok_and(|record| record.trim_ascii() == name.as_bytes());
    match find(name)? {
        Some(account) if recorded => return Ok(account),
        Some(_) => {
            let summary = format!("the host has a user {name} that roadstead-agent did not make");
            let hint = format!(
                "if the app is to run as it, write user = \"{name}\" under [apps.{name}] in agent.toml and restart roadstead-agent"
            );
            return Err(Failure::new(FailureKind::Unfit, summary, hint));
        }
        None => {}
    }
    // Before the user is made: after a crash in between it is known as the agent's own.
    record(layout, app, name)?;
    make(context, name).await?;
    find(name)?.ok_or_else(|| {
        Failure::new(
            FailureKind::Host,
            format!("systemd-sysusers did not make the user {name}"),
            "make it by hand: useradd --system --no-create-home",
        )
    })
}

fn find(name: &str) -> Result<Option<Account>, Failure> {
    user::find(name).map_err(|error| {
        Failure::new(FailureKind::Host, format!("cannot look up the user {name}: {error}"), "see the host's NSS configuration")
    })
}

fn record(layout: &Layout, app: &AppName, name: &str) -> Result<(), Failure> {
    create_private_folder(&layout.app_state(app)).map_err(|error| on_disk(&error))?;
    write_atomically(&layout.user_record(app), format!("{name}\n").as_bytes(), 0o600).map_err(|error| on_disk(&error))
}

async fn make(context: &StepContext, name: &str) -> Result<(), Failure> {
    let description = context.layout.user_description(&context.order.app);
    let text = user::description(name, &context.layout.home(&context.order.app));
    std::fs::write(&description, text).map_err(|error| io_failure("write", &description, &error))?;
    let command = Command::bare(
        format!("roadstead-{name}-user-{}-{}.service", context.order.fence.rollout, context.order.fence.sequence),
        format!("Make the user {name}"),
        // The agent's own sandbox does not let it write /etc/passwd; this fixed command runs outside of it.
        vec!["/usr/bin/systemd-sysusers".into(), description.display().to_string()],
        Duration::from_secs(60),
    );
    let finished = command::run(&context.host, &command, &context.cancelled, |line| context.say(StepName::Preflight, line)).await;
    let finished = finished.map_err(|error| error.failure())?;
    if finished.is_success() {
        return Ok(());
    }
    let summary = format!("systemd-sysusers {}", finished.words());
    Err(Failure::new(FailureKind::Host, summary, "see its output").with_detail(&finished.tail))
}
