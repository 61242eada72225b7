//! Renews the host's certificate long before it ends, without touching the session.

use roadstead_pki::{PendingCredentials, jitter_seed, retry_after};
use roadstead_proto::v1::{self, fleet_client::FleetClient};
use roadstead_worker::clock;
use roadstead_worker::failure::chain;
use std::sync::Arc;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::OpenChannel;
use super::session::spoken;
use crate::identity::Identity;

/// The time of day may jump: it is looked at this often.
const LOOK_AT_MOST: Duration = Duration::from_secs(3600);
/// How long the controller may take.
const ANSWER_AT_MOST: Duration = Duration::from_secs(60);

/// The renewal of the host's certificate.
#[derive(Debug)]
pub(crate) struct Renewal {
    identity: Arc<Identity>,
    channel: OpenChannel,
    stopping: CancellationToken,
}

impl Renewal {
    /// The renewal of an identity, over the channel of the session.
    pub(crate) const fn new(identity: Arc<Identity>, channel: OpenChannel, stopping: CancellationToken) -> Self {
        Self { identity, channel, stopping }
    }

    /// Renews, again and again, until the agent stops.
    pub(crate) async fn run(mut self) {
        let stopping = self.stopping.clone();
        tokio::select! {
            () = self.renew_for_ever() => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn renew_for_ever(&mut self) {
        let mut failures = 0;
        loop {
            let due = self.identity.renew_at().since(clock::now()).to_duration();
            if !due.is_zero() {
                sleep(due.min(LOOK_AT_MOST)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    tracing::info!(valid_until_ms = self.identity.valid_until().0, "the certificate is renewed");
                }
                Err(why) => {
                    failures += 1;
                    tracing::warn!(why, failures, "the certificate is not renewed yet");
                }
            }
            // Also after a success: an answer that is due at once again must not make a busy loop.
            sleep(retry_after(failures.max(1), jitter_seed(&self.identity.name()))).await;
        }
    }

    async fn renew(&mut self) -> Result<(), String> {
        let channel = self.channel.wait_for(Option::is_some).await.map_err(|_| "the agent stops")?.clone();
        let channel = channel.ok_or("there is no session")?;
        let pending = PendingCredentials::generate().map_err(|error| chain(&error))?;
        let request = v1::RenewRequest { csr: pending.request().to_vec() };
        let answer = timeout(ANSWER_AT_MOST, FleetClient::new(channel).renew_host(request)).await;
        let answer = answer.map_err(|_| "the controller did not answer")?.map_err(|status| spoken(&status))?.into_inner();
        self.identity.renew(pending, &answer.certificate, &answer.authority).map_err(|error| chain(&error))
    }
}
