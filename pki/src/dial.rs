//! Connecting to the controller.

use crate::certificate::{CertificateFault, PeerCertificate};
use crate::limits::CONNECT_DEADLINE;
use crate::{CONTROLLER_SERVER_NAME, ClientTls, Identity, Refusal, socket};
use rustls::pki_types::ServerName;
use std::io;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An encrypted connection to the controller, whose identity was verified.
pub type ClientStream = TlsStream<TcpStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or nobody is there.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{address} did not answer within {} s", CONNECT_DEADLINE.as_secs())]
    Deadline {
        /// The address.
        address: String,
    },
    /// The other side is not believed, or does not believe us.
    #[error("{address} is refused, or refuses: {refusal}")]
    Refused {
        /// The address.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// It has a certificate of the fleet, but not the controller's.
    #[error("{address} is not the controller of the fleet: {fault}")]
    NotTheController {
        /// The address.
        address: String,
        /// What it is instead.
        fault: String,
    },
}

/// Connects to the controller at `host:port`, in at most [`CONNECT_DEADLINE`].
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(address: &str, tls: &ClientTls) -> Result<ClientStream, ConnectError> {
    let owned = || address.to_owned();
    match timeout(CONNECT_DEADLINE, attempt(address, tls)).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::Deadline { address: owned() }),
    }
}

async fn attempt(address: &str, tls: &ClientTls) -> Result<ClientStream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    socket::prepare(&stream).map_err(unreachable)?;
    let name = ServerName::try_from(CONTROLLER_SERVER_NAME).map_err(|error| unreachable(io::Error::other(error)))?;
    let stream = TlsConnector::from(tls.config()).connect(name, stream).await;
    let stream = stream.map_err(|source| match Refusal::of(&source) {
        Some(refusal) => ConnectError::Refused { address: address.to_owned(), refusal },
        None => unreachable(source),
    })?;
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let says = leaf.ok_or(CertificateFault::Malformed).and_then(|der| PeerCertificate::read(der));
    match says {
        Ok(says) if *says.identity() == Identity::Controller => Ok(stream),
        Ok(says) => Err(ConnectError::NotTheController { address: address.to_owned(), fault: format!("it is {}", says.identity()) }),
        Err(fault) => Err(ConnectError::NotTheController { address: address.to_owned(), fault: fault.to_string() }),
    }
}
