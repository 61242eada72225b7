//! `roadstead-agent run`: puts the parts together, and takes them apart again.

use roadstead_model::AppName;
use roadstead_secrets::Providers as SecretProviders;
use roadstead_worker::clock::Monotonic;
use roadstead_worker::contact::Contact;
use roadstead_worker::files::{FileError, create_private_folder};
use roadstead_worker::hands::Hands;
use roadstead_worker::leases::Leases;
use roadstead_worker::output::Outbox;
use roadstead_worker::tasks::{Tasks, blocking};
use roadstead_worker::worker::{Means, Worker};
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use tokio::time::Duration;

use crate::backup::shelf::Shelf;
use crate::balancer::{self, Desk, Providers};
use crate::credentials::{self, Credentials};
use crate::drift::{self, Eyes, Watch, Watcher};
use crate::facts;
use crate::hands::RealHands;
use crate::host::Host;
use crate::identity::{self, Identity, IdentityError};
use crate::layout::Layout;
use crate::link::{ControllerSource, Link, Renewal, TlsDial};
use crate::logins;
use crate::notify::{self, SystemdWatchdog};
use crate::own_variables;
use crate::remembered;
use crate::settings::{Settings, SettingsError};

/// How long the parts may take to end: below what systemd grants.
const STOP_AT_MOST: Duration = Duration::from_secs(20);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The host has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The agent's own files.
    #[error(transparent)]
    File(#[from] FileError),
    /// Signals cannot be received.
    #[error("the agent cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// A part ended by a bug, or did not end in time.
    #[error("the agent did not stop cleanly; its journals tell where it stood")]
    Unclean,
}

/// Runs the agent until it is told to stop.
pub(crate) async fn run(layout: Layout, config: &Path) -> Result<(), RunError> {
    let settings = Arc::new(Settings::read(config)?);
    create_private_folder(&layout.agent_state())?;
    let identity = Arc::new(Identity::load(&layout)?);
    let address = settings.controller.clone().unwrap_or_else(|| identity.controller().to_owned());
    tracing::info!(host = %identity.host(), controller = address, version = env!("CARGO_PKG_VERSION"), "agent starts");

    let tasks = Tasks::default();
    let (outbox, contact) = (Arc::<Outbox>::default(), Arc::new(Contact::new(Monotonic::start())));
    let states = Arc::new(remembered::states(&layout));
    let leases = Arc::new(Leases::new(contact.clock()));
    let dialer = Arc::new(TlsDial::new(address, Arc::clone(&identity)));
    let desk = Arc::<Desk>::default();
    let (link, channel) = Link::new(dialer, Arc::clone(&outbox), Arc::clone(&contact), Arc::clone(&desk), tasks.clone());
    let host = Arc::new(Host::new());
    let providers = Providers::new(Arc::clone(&settings), Arc::clone(&host), layout.clone());
    let (watch, every) = (Arc::<Watch>::default(), settings.drift_every.unwrap_or(Some(drift::EVERY)));
    let eyes = Eyes {
        host: Arc::clone(&host),
        layout: layout.clone(),
        states: Arc::clone(&states),
        leases: Arc::clone(&leases),
        journals: remembered::journals(&layout),
        stopping: tasks.stopping().clone(),
    };
    let secrets = Arc::new(SecretProviders::from_settings(&settings.secrets, &identity::files(&layout), Some(&layout.logins())));
    let credentials = Arc::new(Credentials::new(layout.clone(), Arc::clone(&secrets), Arc::<Host>::clone(&host)));
    let backups = settings.clone();
    let hands: Arc<dyn Hands> = Arc::new(RealHands {
        layout: layout.clone(),
        host,
        releases: Arc::new(ControllerSource::new(channel.clone())),
        settings,
        providers: Arc::clone(&secrets),
        credentials: Arc::clone(&credentials),
        states: Arc::clone(&states),
        leases: Arc::clone(&leases),
        blob_store: Arc::default(),
        drift: Arc::clone(&watch),
        systemd: OnceCell::new(),
    });
    tasks.spawn("traffic", balancer::run(desk, providers, Arc::clone(&outbox), tasks.clone()));
    let means = Means { hands, journals: remembered::journals(&layout), states, leases, outbox, contact, tasks: tasks.clone() };
    let (mut worker, events) = Worker::new(means);
    let own = layout.clone();
    let on_disk = blocking(move || {
        let apps = facts::apps_on_disk(&layout);
        clear_unfinished(&backups, &apps);
        apps
    });
    let on_disk = on_disk.await;
    worker.start(on_disk).await;
    if let Some(every) = every {
        tasks.spawn("drift", Watcher::new(watch, eyes, every, events.clone()).run());
    }
    tasks.spawn("own variables", own_variables::run(own, events.clone(), tasks.clone()));
    tasks.spawn("credentials", credentials::sweep::run(credentials, tasks.clone()));
    if !secrets.is_empty() {
        tasks.spawn("logins", logins::run(secrets, tasks.clone()));
    }
    tasks.spawn("worker", worker.run(SystemdWatchdog::new()));
    tasks.spawn("link", link.run(events));
    tasks.spawn("renewal", Renewal::new(identity, channel, tasks.stopping().clone()).run());
    notify::ready();
    notify::status("Waiting for the controller");

    wait_for_the_end(&tasks).await?;
    tracing::info!("agent stops");
    notify::stopping();
    tasks.stop();
    if tasks.finish(STOP_AT_MOST).await { Ok(()) } else { Err(RunError::Unclean) }
}

/// What a backup or a restore was working on when this host went down lies there in clear, and whoever carries on begins it anew.
fn clear_unfinished(settings: &Settings, apps: &[AppName]) {
    for app in apps {
        if let Err(failure) = Shelf::of(&settings.backup(app).folder, app).clear() {
            tracing::warn!(%app, %failure, "what a backup left unfinished is not cleared away");
        }
    }
}

async fn wait_for_the_end(tasks: &Tasks) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tasks.stopping().cancelled() => {}
    }
    Ok(())
}
