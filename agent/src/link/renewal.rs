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
use crate::identity::{CLOCKS, Identity};

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
        let mut attempts = 0;
        loop {
            let due = self.due();
            if !due.is_zero() {
                attempts = 0;
                sleep(due.min(LOOK_AT_MOST)).await;
                continue;
            }
            attempts += 1;
            match self.renew().await {
                // The two clocks disagree: each further attempt would end like this one.
                Ok(()) if self.due().is_zero() => tracing::warn!(attempts, "the renewed certificate is due again at once: {CLOCKS}"),
                Ok(()) => tracing::info!(valid_until_ms = self.identity.valid_until().0, "the certificate is renewed"),
                Err(why) => tracing::warn!(why, attempts, "the certificate is not renewed yet"),
            }
            sleep(retry_after(attempts, jitter_seed(&self.identity.name()))).await;
        }
    }

    /// How long it is until the certificate wants to be renewed, by this host's clock.
    fn due(&self) -> Duration {
        self.identity.renew_at().since(clock::now()).to_duration()
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
