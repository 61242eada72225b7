//! Reaching the controller.

use async_trait::async_trait;
use tokio::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Bytes that may be on their way to the agent in one call, and in all together: what keeps a fetch from filling the memory.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// How long connecting may take.
const CONNECT_AT_MOST: Duration = Duration::from_secs(15);

/// Why the controller was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The address is none.
    #[error("{address:?} is not the address of a controller")]
    Address {
        /// The address.
        address: String,
    },
    /// Nobody there, or not the right one.
    #[error("the controller at {address} is not reached")]
    Unreached {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A way to the controller.
#[async_trait]
pub(crate) trait Dial: Send + Sync + std::fmt::Debug {
    /// Connects: the channel is one connection, which is not made again when it breaks.
    async fn dial(&self) -> Result<Channel, DialError>;
}

/// How every connection of the agent is set up.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, DialError> {
    // The scheme only tells tonic not to do TLS by itself: the connector does.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| DialError::Address { address: address.to_owned() })?;
    Ok(endpoint
        .connect_timeout(CONNECT_AT_MOST)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}
