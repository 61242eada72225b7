//! Accepting connections: bounded in number and time, each with the verified identity of its peer.

use crate::certificate::{CertificateFault, PeerCertificate};
use crate::limits::{CHAIN_LENGTH_MAX, HANDSHAKE_DEADLINE};
use crate::{Refusal, ServerTls, socket};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// After the system refused to accept (out of file descriptors), how long to let others end.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections that are open at a time.
    pub connections: usize,
    /// Handshakes that run at a time; others wait to be accepted.
    pub handshakes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { connections: 20_000, handshakes: 64 }
    }
}

/// A connection that is not served.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("{peer} is refused, or refuses: {refusal}")]
    Refused {
        /// From where.
        peer: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// The connection broke during the handshake.
    #[error("{peer} left during the handshake: {source}")]
    Broken {
        /// From where.
        peer: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The handshake took too long.
    #[error("{peer} did not finish its handshake within {} s", HANDSHAKE_DEADLINE.as_secs())]
    Deadline {
        /// From where.
        peer: SocketAddr,
    },
    /// A certificate of the authority that names nobody.
    #[error("{peer} shows a certificate that names nobody: {fault}")]
    Nameless {
        /// From where.
        peer: SocketAddr,
        /// What is wrong with it.
        fault: CertificateFault,
    },
}

/// An open connection and who is at its other end.
#[derive(Debug)]
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    certificate: Option<PeerCertificate>,
    _place: OwnedSemaphorePermit,
}

impl PeerStream {
    /// Who is at the other end; `None` for one without a certificate, who may only enroll.
    #[must_use]
    pub const fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }

    /// From where it came.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts connections until the receiver is dropped. What does not become a connection comes as an error, to be logged.
pub fn listen(listener: TcpListener, tls: ServerTls, limits: ServeLimits) -> mpsc::Receiver<Result<PeerStream, AcceptError>> {
    let (accepted, connections) = mpsc::channel(limits.handshakes.max(1));
    tokio::spawn(accept(listener, tls, limits, accepted));
    connections
}

async fn accept(listener: TcpListener, tls: ServerTls, limits: ServeLimits, accepted: mpsc::Sender<Result<PeerStream, AcceptError>>) {
    let places = Arc::new(Semaphore::new(limits.connections.max(1)));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes.max(1)));
    loop {
        // Neither semaphore is ever closed: both waits end with a permit.
        let (Ok(place), Ok(handshake)) = (Arc::clone(&places).acquire_owned().await, Arc::clone(&handshakes).acquire_owned().await) else {
            return;
        };
        let next = tokio::select! {
            next = listener.accept() => next,
            () = accepted.closed() => return,
        };
        let Ok((stream, peer)) = next else {
            sleep(PAUSE).await;
            continue;
        };
        let (acceptor, accepted) = (TlsAcceptor::from(tls.config()), accepted.clone());
        tokio::spawn(async move {
            let greeted = greet(acceptor, stream, peer, place).await;
            drop(handshake);
            // Nobody listens any more: the connection ends with this task.
            drop(accepted.send(greeted).await);
        });
    }
}

async fn greet(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) -> Result<PeerStream, AcceptError> {
    socket::prepare(&stream).map_err(|source| AcceptError::Broken { peer, source })?;
    let shaken = timeout(HANDSHAKE_DEADLINE, Box::pin(acceptor.accept(stream))).await.map_err(|_| AcceptError::Deadline { peer })?;
    let stream = shaken.map_err(|source| match Refusal::of(&source) {
        Some(refusal) => AcceptError::Refused { peer, refusal },
        None => AcceptError::Broken { peer, source },
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if chain.len() > CHAIN_LENGTH_MAX {
        return Err(AcceptError::Nameless { peer, fault: CertificateFault::Malformed });
    }
    let certificate = chain.first().map(|der| PeerCertificate::read(der)).transpose();
    let certificate = certificate.map_err(|fault| AcceptError::Nameless { peer, fault })?;
    Ok(PeerStream { stream, address: peer, certificate, _place: place })
}
