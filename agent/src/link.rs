//! The link to the controller: dials out, keeps one session, comes back after a while that grows and varies.
//!
//! Only here (and in `enroll`) does the agent speak gRPC; what comes in is converted at once and travels no further as a message.

mod dial;
mod pulse;
mod renewal;
mod session;
mod source;

use roadstead_worker::contact::Contact;
use roadstead_worker::failure::chain;
use roadstead_worker::output::Outbox;
use roadstead_worker::redial::Redial;
use roadstead_worker::tasks::Tasks;
use roadstead_worker::worker::Event;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, timeout};
use tonic::transport::Channel;

use crate::balancer::Desk;
pub(crate) use dial::{Dial, DialError, TlsDial, connect};
use pulse::Pulse;
pub(crate) use renewal::Renewal;
pub(crate) use session::spoken;
use session::{Session, SessionError};
pub(crate) use source::ControllerSource;

/// How long dialling may take, all in all.
const DIAL_AT_MOST: Duration = Duration::from_secs(20);

/// The link.
#[derive(Debug)]
pub(crate) struct Link {
    dialer: Arc<dyn Dial>,
    outbox: Arc<Outbox>,
    contact: Arc<Contact>,
    desk: Arc<Desk>,
    channel: watch::Sender<Option<Channel>>,
    tasks: Tasks,
}

/// The channel of the session that is open, if one is: for other calls than the session itself.
pub(crate) type OpenChannel = watch::Receiver<Option<Channel>>;

impl Link {
    /// A link, not yet dialled, and its channel.
    pub(crate) fn new(
        dialer: Arc<dyn Dial>,
        outbox: Arc<Outbox>,
        contact: Arc<Contact>,
        desk: Arc<Desk>,
        tasks: Tasks,
    ) -> (Self, OpenChannel) {
        let (channel, open) = watch::channel(None);
        (Self { dialer, outbox, contact, desk, channel, tasks }, open)
    }

    /// Keeps a session, until the agent stops.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>) {
        let stopping = self.tasks.stopping().clone();
        let mut redial = Redial::default();
        // Kept nowhere else: a copy of the disk has none, and an agent that starts anew is given one.
        let mut baton = Vec::new();
        while !stopping.is_cancelled() {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.one_session(&events, &mut baton) => ended,
                () = stopping.cancelled() => return,
            };
            self.channel.send_replace(None);
            crate::notify::status("Waiting for the controller");
            let wait = redial.after(began.elapsed(), chance());
            if let Err(error @ SessionError::Revoked(_)) = &ended {
                crate::notify::status(&error.to_string());
                // A worker that is gone has stopped with the agent.
                drop(events.send(Event::Revoked).await);
            }
            if let Err(error) = ended {
                // An operator need not see each of many attempts.
                let text = chain(&error);
                if redial.failures() <= 3 || redial.failures().is_multiple_of(20) {
                    tracing::warn!(error = text, again_in = ?wait, "no session with the controller");
                } else {
                    tracing::debug!(error = text, again_in = ?wait, "no session with the controller");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn one_session(&self, events: &mpsc::Sender<Event>, baton: &mut Vec<u8>) -> Result<(), SessionError> {
        let pulse = Arc::<Pulse>::default();
        let dialled = timeout(DIAL_AT_MOST, self.dialer.dial(Arc::clone(&pulse))).await;
        let channel = dialled.map_err(|_| SessionError::Slow("dialling"))??;
        let stopping = self.tasks.stopping().clone();
        let (outbox, contact, desk) = (Arc::clone(&self.outbox), Arc::clone(&self.contact), Arc::clone(&self.desk));
        let session = Session::open(channel.clone(), pulse, outbox, contact, desk, events.clone(), baton).await?;
        // Only now: a transfer that is taken up again would fill a slow line before the hello is through.
        self.channel.send_replace(Some(channel));
        session.run(stopping).await
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
