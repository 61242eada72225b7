//! TLS as every listener and client of the fleet speaks it, with credentials that may change while connections are open.

use crate::verify::{PinnedAuthority, root_store};
use crate::{Credentials, KeyPin};
use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

const HTTP2: &[u8] = b"h2";
/// Buffers grow with it, for every connection.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Credentials that make no connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// TLS does not take them.
    #[error("the credentials make no connection: {0}")]
    Refused(String),
}

fn refused(error: impl std::fmt::Display) -> TlsError {
    TlsError::Refused(error.to_string())
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The server's side. Clones share what [`ServerTls::publish`] changes.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<ArcSwap<ServerConfig>>);

impl ServerTls {
    /// A server with these credentials, which believes clients of the same authority. A client may come without a certificate: it
    /// may then do nothing but enroll.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from(server_config(credentials)?))))
    }

    /// Uses these credentials from the next connection on.
    ///
    /// # Errors
    /// [`TlsError`]; the older ones stay in use.
    pub fn publish(&self, credentials: &Credentials) -> Result<(), TlsError> {
        self.0.store(server_config(credentials)?);
        Ok(())
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// The client's side. Clones share what [`ClientTls::publish`] changes.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<ArcSwap<ClientConfig>>);

impl ClientTls {
    /// A client that shows these credentials and believes the controller of the same authority.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from(client_config(credentials)?))))
    }

    /// A client without credentials that believes the controller whose authority has this key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn for_enrollment(authority: KeyPin) -> Result<Self, TlsError> {
        let provider = provider();
        let verifier = PinnedAuthority { pin: authority, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(refused)?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        Ok(Self(Arc::new(ArcSwap::from(finished(config)))))
    }

    /// Uses these credentials from the next connection on.
    ///
    /// # Errors
    /// [`TlsError`]; the older ones stay in use.
    pub fn publish(&self, credentials: &Credentials) -> Result<(), TlsError> {
        self.0.store(client_config(credentials)?);
        Ok(())
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.0.load_full()
    }
}

fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let roots = Arc::new(root_store(credentials.root()).map_err(refused)?);
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).allow_unauthenticated().build().map_err(refused)?;
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(refused)?;
    let config = config.with_client_cert_verifier(clients).with_single_cert(credentials.chain(), credentials.private_key());
    let mut config = config.map_err(refused)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed session would not verify its certificate again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_fragment_size = Some(RECORD_BYTES_MAX);
    Ok(Arc::new(config))
}

fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = root_store(credentials.root()).map_err(refused)?;
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).map_err(refused)?;
    let config = config.with_root_certificates(roots).with_client_auth_cert(credentials.chain(), credentials.private_key());
    Ok(finished(config.map_err(refused)?))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    config.max_fragment_size = Some(RECORD_BYTES_MAX);
    Arc::new(config)
}

#[cfg(test)]
impl ClientTls {
    /// A client set up by hand, as an attacker would.
    pub(crate) fn of_config(config: ClientConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }
}
