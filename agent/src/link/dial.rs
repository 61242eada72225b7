//! Reaching the controller.

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use roadstead_pki::ClientTls;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::pulse::{Felt, Pulse};
use crate::identity::Identity;

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
    /// Connects: the channel is one connection, which is not made again when it breaks, and whose pulse is told.
    async fn dial(&self, pulse: Arc<Pulse>) -> Result<Channel, DialError>;
}

/// The way to the controller with the identity of this host: each connection shows the newest certificate.
#[derive(Debug)]
pub(crate) struct TlsDial {
    address: String,
    identity: Arc<Identity>,
}

impl TlsDial {
    /// The way to the controller at this address.
    pub(crate) const fn new(address: String, identity: Arc<Identity>) -> Self {
        Self { address, identity }
    }
}

#[async_trait]
impl Dial for TlsDial {
    async fn dial(&self, pulse: Arc<Pulse>) -> Result<Channel, DialError> {
        connect(&self.address, self.identity.tls().clone(), pulse).await
    }
}

/// Connects to a controller, which must show a certificate of the authority that is expected.
pub(crate) async fn connect(address: &str, tls: ClientTls, pulse: Arc<Pulse>) -> Result<Channel, DialError> {
    let to = address.to_owned();
    let stream = move || {
        let (to, tls) = (to.clone(), tls.clone());
        async move { roadstead_pki::connect(&to, &tls).await }
    };
    connect_over(address, stream, pulse).await
}

/// Connects over a stream that is made when it is wanted.
pub(super) async fn connect_over<S, E, F>(
    address: &str,
    stream: impl Fn() -> F + Send + 'static,
    pulse: Arc<Pulse>,
) -> Result<Channel, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<S, E>> + Send + 'static,
{
    let connector = service_fn(move |_| {
        let (stream, pulse) = (stream(), Arc::clone(&pulse));
        async move { stream.await.map(|stream| TokioIo::new(Felt::new(stream, pulse))) }
    });
    let connected = endpoint(address)?.connect_with_connector(connector).await;
    connected.map_err(|source| DialError::Unreached { address: address.to_owned(), source: source.into() })
}

/// How every connection of the agent is set up.
fn endpoint(address: &str) -> Result<Endpoint, DialError> {
    // The scheme only tells tonic not to do TLS by itself: the connector does.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| DialError::Address { address: address.to_owned() })?;
    Ok(endpoint
        .connect_timeout(CONNECT_AT_MOST)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}
