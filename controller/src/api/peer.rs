//! A connection as the transport takes it, with the verified certificate of its other end at hand in every call.

use roadstead_pki::{PeerCertificate, PeerStream};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Request;
use tonic::transport::server::Connected;

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer(PeerStream);

/// Who is at the other end of the connection of a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    certificate: Option<PeerCertificate>,
    address: SocketAddr,
}

impl Caller {
    /// The verified certificate of whoever makes a call; nobody's could enroll only.
    pub(crate) fn certificate<T>(request: &Request<T>) -> Option<&PeerCertificate> {
        request.extensions().get::<Self>().and_then(|caller| caller.certificate.as_ref())
    }

    /// From where a call comes, for the history.
    pub(crate) fn place<T>(request: &Request<T>) -> String {
        request.extensions().get::<Self>().map_or_else(|| "an unknown place".to_owned(), |caller| caller.address.ip().to_string())
    }
}

impl Peer {
    pub(crate) const fn new(stream: PeerStream) -> Self {
        Self(stream)
    }
}

impl Connected for Peer {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { certificate: self.0.certificate().cloned(), address: self.0.address() }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
