//! Keeps the host's logins at its providers of secrets alive, so that a rollout at night meets one that works.

use roadstead_secrets::Providers;
use roadstead_worker::tasks::Tasks;
use std::sync::Arc;
use tokio::time::{Duration, sleep};

/// How long each provider may take.
const WITHIN: Duration = Duration::from_secs(20);
/// The longest pause: a login that was only just made is tended from then on.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The shortest, whatever a server says of its logins.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Looks after them until the agent stops.
pub(crate) async fn run(providers: Arc<Providers>, tasks: Tasks) {
    loop {
        let pause = async {
            let again = providers.tend(WITHIN).await.unwrap_or(PAUSE_MAX);
            sleep(again.clamp(PAUSE_MIN, PAUSE_MAX)).await;
        };
        tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            () = pause => {}
        }
    }
}
