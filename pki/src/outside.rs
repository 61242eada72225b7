//! TLS to servers outside of the fleet, such as a metrics server: they are believed by the authorities that this machine's operator
//! believes, and are shown no credentials. Nobody of the fleet is ever believed this way.

use crate::TlsError;
use crate::tls::provider;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where Debian and its relatives keep the authorities that an operator believes, those of `update-ca-certificates` among them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A client of servers outside of the fleet.
#[derive(Debug, Clone)]
pub struct OutsideTls(Arc<ClientConfig>);

impl OutsideTls {
    /// Believes whom this machine believes now.
    ///
    /// # Errors
    /// [`TlsError`] where nobody is believed.
    pub fn of_this_machine() -> Result<Self, TlsError> {
        Self::of_file(Path::new(AUTHORITIES))
    }

    /// Believes the authorities in a PEM file.
    ///
    /// # Errors
    /// [`TlsError`] where it cannot be read, or holds none.
    pub fn of_file(path: &Path) -> Result<Self, TlsError> {
        let refused = |why: String| TlsError::Refused(format!("{}: {why}; is ca-certificates installed?", path.display()));
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
        // One that is malformed keeps nobody from believing the others.
        let (believed, _) = roots.add_parsable_certificates(certificates.flatten());
        if believed == 0 {
            return Err(refused("it holds no certificate".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let mut config = config.map_err(|error| refused(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Speaks TLS with a server of this name over a connection.
    ///
    /// # Errors
    /// Why it is not believed, or does not speak TLS 1.3.
    pub async fn connect<Stream: AsyncRead + AsyncWrite + Unpin>(&self, host: &str, stream: Stream) -> io::Result<TlsStream<Stream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use std::fs;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    /// A server with a certificate for `localhost` of its own making; also that certificate.
    async fn server() -> (std::net::SocketAddr, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        (address, made.cert.pem())
    }

    #[tokio::test]
    async fn only_who_is_believed_and_has_the_name_is_talked_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorities.crt");
        let (address, authority) = server().await;
        let talk = async |tls: &OutsideTls, name: &str| tls.connect(name, TcpStream::connect(address).await.unwrap()).await.map(|_| ());
        let (_, another) = server().await;
        fs::write(&path, another.clone()).unwrap();
        let told = talk(&OutsideTls::of_file(&path).unwrap(), "localhost").await.unwrap_err().to_string();
        assert!(told.contains("UnknownIssuer") || told.contains("invalid peer certificate"), "{told}");
        fs::write(&path, another + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + &authority).unwrap();
        let tls = OutsideTls::of_file(&path).unwrap();
        talk(&tls, "localhost").await.unwrap();
        assert!(talk(&tls, "prometheus").await.unwrap_err().to_string().contains("not valid for name"));
        assert!(talk(&tls, "no name").await.is_err());
    }

    #[test]
    fn nobody_is_believed_without_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| OutsideTls::of_file(path).unwrap_err().to_string();
        assert!(told(&folder.path().join("none")).contains("is ca-certificates installed?"));
        fs::write(folder.path().join("empty"), "").unwrap();
        assert!(told(&folder.path().join("empty")).contains("it holds no certificate"));
    }
}
