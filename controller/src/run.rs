//! `roadstead-controller run`: brings everything up in order, and down again.

use futures_util::StreamExt as _;
use roadstead_bundle::store::{Form, Store as Blobs};
use roadstead_model::Timestamp;
use roadstead_pki::{Authority, CONTROLLER_LIFETIME, Credentials, Identity, ServeLimits, ServerTls, jitter_seed, renew_at};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::announce::Announcements;
use crate::api::{self, Context, Peer, Transfers};
use crate::clock::{self, RealClock};
use crate::evidence::Evidence;
use crate::layout::Layout;
use crate::notify;
use crate::relay::Relays;
use crate::settings::Settings;
use crate::store::Store;
use roadstead_driver::Outputs;
use roadstead_driver::Sessions;
use roadstead_driver::{self as driver, Clock, Parts};

/// How long open calls may take to end when the controller stops.
const STOP_AT_MOST: Duration = Duration::from_secs(10);
/// The clock may jump: the controller's own certificate is looked at this often.
const LOOK_AT_MOST: Duration = Duration::from_secs(10);

/// Runs until a signal comes.
///
/// # Errors
/// What keeps it from serving.
pub(crate) async fn run(settings: Settings) -> Result<(), crate::Failure> {
    let stopping = CancellationToken::new();
    tokio::spawn(wait_for_signal(stopping.clone()));
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}; is another controller running?", settings.listen))?;
    serve(settings, listener, stopping).await
}

/// Serves on a socket until told to stop.
///
/// # Errors
/// What keeps it from serving.
pub(crate) async fn serve(settings: Settings, listener: TcpListener, stopping: CancellationToken) -> Result<(), crate::Failure> {
    let layout = Layout::new(&settings.state);
    if !layout.authority().exists() {
        return Err(format!("there is no authority in {}: run `roadstead-controller init` first", layout.pki().display()).into());
    }
    let authority = Arc::new(Authority::load(&layout.authority())?);
    let blobs = Blobs::open(&layout.blobs(), Form::Compressed)?;
    let store = Store::open(&layout.database()).await?;
    // The term is durable before anyone is served: an order of an earlier start is refused from here on.
    let term = store.begin_term(clock::now()).await?;
    let access = Access::load(&store).await?;
    let relays = Relays::load(&store).await?;
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let (sessions, outputs, announcements) = (Sessions::new(Arc::clone(&clock)), Outputs::default(), Announcements::default());
    let parts = Parts {
        ledger: Arc::new(store.clone()),
        sessions: sessions.clone(),
        outputs: outputs.clone(),
        announcer: Arc::new(announcements.clone()),
        measure: Arc::new(Evidence::new()),
        clock,
        term,
    };
    let (driver, driving) = driver::start(parts, stopping.clone()).await?;
    let credentials = authority.issue_credentials(&Identity::Controller, CONTROLLER_LIFETIME, clock::now())?;
    let tls = ServerTls::new(&credentials)?;
    tokio::spawn(renew(Arc::clone(&authority), credentials, tls.clone(), stopping.clone()));
    tokio::spawn(notify::feed_watchdog(stopping.clone()));
    let (heartbeat, host_lifetime) = (settings.heartbeat(), settings.host_lifetime());
    let context = Context {
        store: store.clone(),
        blobs,
        transfers: Transfers::default(),
        authority,
        access,
        relays,
        driver,
        sessions: sessions.clone(),
        outputs,
        announcements,
        roles: settings.roles.clone(),
        term,
        heartbeat,
        host_lifetime,
        stopping: stopping.clone(),
    };
    let limits = ServeLimits { connections: settings.connections, ..ServeLimits::default() };
    let address = listener.local_addr()?;
    let connections = ReceiverStream::new(roadstead_pki::listen(listener, tls, limits)).filter_map(|accepted| {
        let peer = match accepted {
            Ok(stream) => Some(Ok::<_, std::io::Error>(Peer::new(stream))),
            Err(refused) => {
                tracing::info!(%refused, "a connection was not served");
                None
            }
        };
        std::future::ready(peer)
    });
    tracing::info!(%address, term, "the controller serves");
    notify::ready(&format!("Serving on {address}"));
    let serving = api::serve(Arc::new(context), connections, stopping.clone());
    let served = end_in_time(serving, &stopping).await;
    notify::stopping();
    stopping.cancel();
    sessions.cut_all();
    drop(driving.await);
    store.close().await;
    served
}

/// Lets open calls end for a while after the controller was told to stop.
async fn end_in_time(
    serving: impl Future<Output = Result<(), crate::Failure>>,
    stopping: &CancellationToken,
) -> Result<(), crate::Failure> {
    let late = async {
        stopping.cancelled().await;
        tokio::time::sleep(STOP_AT_MOST).await;
    };
    tokio::select! {
        served = serving => served,
        () = late => {
            tracing::warn!("calls that did not end in time are cut");
            Ok(())
        }
    }
}

async fn wait_for_signal(stopping: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals are not heard: only SIGKILL ends the controller");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the controller stops");
    stopping.cancel();
}

/// Renews the controller's own certificate while it runs; connections that are open stay.
async fn renew(authority: Arc<Authority>, mut credentials: Credentials, tls: ServerTls, stopping: CancellationToken) {
    let seed = jitter_seed(&Identity::Controller);
    loop {
        let due = good_for(&credentials, seed, clock::now());
        tokio::select! {
            () = tokio::time::sleep(due.clamp(Duration::from_secs(1), LOOK_AT_MOST)) => {}
            () = stopping.cancelled() => return,
        }
        if !good_for(&credentials, seed, clock::now()).is_zero() {
            continue;
        }
        match authority.issue_credentials(&Identity::Controller, CONTROLLER_LIFETIME, clock::now()) {
            Ok(fresh) => match tls.publish(&fresh) {
                Ok(()) => credentials = fresh,
                Err(error) => tracing::error!(%error, "the controller's new certificate is not used"),
            },
            Err(error) => tracing::error!(%error, "the controller's certificate is not renewed"),
        }
    }
}

/// How long the controller's certificate is good. One that is of the future was made while the clock was wrong: it is good for nothing.
fn good_for(credentials: &Credentials, seed: u64, now: Timestamp) -> Duration {
    if now < credentials.not_before() {
        return Duration::ZERO;
    }
    renew_at(credentials.not_before(), credentials.not_after(), seed).since(now).to_duration()
}

/// Makes the numbers of a restored database jump beyond all that hosts may have heard since its backup; says what was done.
///
/// # Errors
/// When the controller runs, or the database cannot be written.
pub(crate) async fn restored(settings: &Settings) -> Result<String, crate::Failure> {
    let listen = settings.listen;
    // The daemon has the numbers in its memory: what is changed beside it would be lost.
    let _alone = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}; stop the controller first"))?;
    let layout = Layout::new(&settings.state);
    if !layout.database().exists() {
        return Err(format!("there is no database in {}: bring it back first", settings.state.display()).into());
    }
    let store = Store::open(&layout.database()).await?;
    let next = store.jump(clock::now()).await?;
    store.close().await;
    crate::init::hand_over(layout.state())?;
    Ok(format!(
        "hosts will obey this controller again; the next rollout is r-{next}\n\
         what environments run is not known any more, and no host is moved: see `roadstead status`, then deploy what should run\n"
    ))
}

/// Checks the whole history.
///
/// # Errors
/// When a line does not hold, or the database cannot be read.
pub(crate) async fn verify(settings: &Settings) -> Result<u64, crate::Failure> {
    let store = Store::open(&Layout::new(&settings.state).database()).await?;
    let lines = store.verify_history().await;
    store.close().await;
    Ok(lines?)
}
