//! What is served: enrolment for everyone, the fleet's calls for hosts, the operator's calls for admins.
//!
//! A call is: identify, convert, do, convert back. Nothing is decided here but who may call.

mod blobs;
mod enrollment;
mod fleet;
mod operator;
mod peer;
mod session;
mod status;
#[cfg(test)]
mod tests;

use futures_util::Stream;
use roadstead_bundle::store::Store as Blobs;
use roadstead_model::{Millis, limits};
use roadstead_pki::Authority;
use roadstead_proto::v1::enrollment_server::EnrollmentServer;
use roadstead_proto::v1::fleet_server::FleetServer;
use roadstead_proto::v1::operator_server::OperatorServer;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::announce::Announcements;
use crate::relay::Relays;
use crate::settings::Roles;
use crate::store::Store;
use roadstead_driver::Driver;
use roadstead_driver::Outputs;
use roadstead_driver::Sessions;

pub(crate) use blobs::Transfers;
pub(crate) use peer::Peer;

/// Bytes on their way up in one call, and in one connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Calls of one connection at a time.
const CALLS: u32 = 64;
/// Headers of one call.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Calls that a connection may open and drop at once before it is ended.
const RESETS_MAX: usize = 64;
/// A connection on which nothing is heard for this long is asked, and for as long again.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// A manifest with its signatures is the largest message.
const MESSAGE_BYTES_MAX: usize = 2 * limits::MESSAGE_BYTES_MAX;

/// What calls work with.
#[derive(Debug)]
pub(crate) struct Context {
    /// What is remembered.
    pub(crate) store: Store,
    /// Files of releases.
    pub(crate) blobs: Blobs,
    /// What is on its way to hosts.
    pub(crate) transfers: Transfers,
    /// Who issues certificates.
    pub(crate) authority: Arc<Authority>,
    /// Who is welcome.
    pub(crate) access: Access,
    /// Whether each host is one machine.
    pub(crate) relays: Relays,
    /// What drives rollouts.
    pub(crate) driver: Driver,
    /// Open sessions of hosts.
    pub(crate) sessions: Sessions,
    /// Output of steps.
    pub(crate) outputs: Outputs,
    /// How rollouts stand.
    pub(crate) announcements: Announcements,
    /// Who has which role.
    pub(crate) roles: Roles,
    /// The term of this start.
    pub(crate) term: u64,
    /// How often hosts say that they are there.
    pub(crate) heartbeat: Millis,
    /// How long the certificate of a host lives.
    pub(crate) host_lifetime: Millis,
    /// Fires when the controller stops.
    pub(crate) stopping: CancellationToken,
}

/// Serves connections until told to stop.
///
/// # Errors
/// When the transport gives up.
pub(crate) async fn serve(
    context: Arc<Context>,
    connections: impl Stream<Item = Result<Peer, std::io::Error>>,
    stopping: CancellationToken,
) -> Result<(), crate::Failure> {
    let enrollment = EnrollmentServer::new(enrollment::EnrollmentCalls(Arc::clone(&context))).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let fleet = FleetServer::new(fleet::FleetCalls(Arc::clone(&context))).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let operator = OperatorServer::new(operator::OperatorCalls(context)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let served = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CALLS)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(RESETS_MAX))
        .http2_keepalive_interval(Some(ASK_AFTER))
        .http2_keepalive_timeout(Some(ASK_AFTER))
        .add_service(enrollment)
        .add_service(fleet)
        .add_service(operator)
        .serve_with_incoming_shutdown(connections, stopping.cancelled_owned())
        .await;
    Ok(served?)
}
