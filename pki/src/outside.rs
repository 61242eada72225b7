//! TLS to servers outside of the fleet, such as a metrics server: they are believed by the authorities that this machine's operator
//! believes, and are shown no credentials but those that the operator names. Nobody of the fleet is ever believed this way.

use crate::TlsError;
use crate::files::read_private;
use crate::limits::PEM_FILE_BYTES_MAX;
use crate::tls::provider;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where Debian and its relatives keep the authorities that an operator believes, those of `update-ca-certificates` among them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a server outside of the fleet is shown, where it asks who we are: PEM files, which may be one and the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key, which its owner alone may read.
    pub key: PathBuf,
}

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
        Self::new(Some(path), None)
    }

    /// Believes the authorities in a PEM file, or those of this machine, and shows who we are. The files are read now: what takes
    /// their place later is shown by a client that is made later.
    ///
    /// # Errors
    /// [`TlsError`] where a file cannot be read or holds something else, and where others may read the key.
    pub fn new(authorities: Option<&Path>, client: Option<&ClientFiles>) -> Result<Self, TlsError> {
        let path = authorities.unwrap_or(Path::new(AUTHORITIES));
        let refused = |why: String| TlsError::Refused(format!("{}: {why}; is ca-certificates installed?", path.display()));
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
        // One that is malformed keeps nobody from believing the others.
        let (believed, _) = roots.add_parsable_certificates(certificates.flatten());
        if believed == 0 {
            return Err(refused("it holds no certificate".to_owned()));
        }
        let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|error| refused(error.to_string()))?.with_root_certificates(roots);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let (chain, key) = client.read()?;
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|error| TlsError::Refused(format!("{}: {error}", client.certificate.display())))?
            }
        };
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

impl ClientFiles {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let mut pem = Vec::new();
        let read = File::open(&self.certificate).and_then(|file| file.take(PEM_FILE_BYTES_MAX).read_to_end(&mut pem));
        read.map_err(|error| TlsError::Refused(format!("cannot read the certificate {certificate}: {error}")))?;
        // What a reader of PEM says may hold a part of what it read.
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::Refused(format!("{certificate} holds no certificate in PEM")))?;
        let private = read_private(&self.key).map_err(|error| TlsError::Refused(error.to_string()))?;
        let found = PrivateKeyDer::from_pem_slice(&private);
        Ok((chain, found.map_err(|_| TlsError::Refused(format!("{key} holds no private key in PEM")))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::server::WebPkiClientVerifier;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
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

    #[tokio::test]
    async fn a_server_that_asks_is_shown_the_certificate_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let client = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(client.cert.der().clone()).unwrap();
        let asks = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
        let key = PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
        let config = config.with_client_cert_verifier(asks).with_single_cert(vec![server.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let authorities = write("authorities.pem", &server.cert.pem(), 0o644);
        let both = write("both.pem", &(client.signing_key.serialize_pem() + &client.cert.pem()), 0o600);
        let shown = async |tls: OutsideTls| {
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            let (_ours, accepted) = tokio::join!(tls.connect("localhost", ours), acceptor.accept(theirs));
            accepted.ok().map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone())
        };
        let files = |certificate: &Path, key: &Path| ClientFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        let made = |files: &ClientFiles| OutsideTls::new(Some(&authorities), Some(files));
        assert_eq!(shown(made(&files(&both, &both)).unwrap()).await.as_ref(), Some(client.cert.der()));
        assert_eq!(shown(OutsideTls::new(Some(&authorities), None).unwrap()).await, None);
        let refused = |certificate: &Path, key: &Path| made(&files(certificate, key)).unwrap_err().to_string();
        assert!(refused(&authorities, &authorities).contains("may be read by others"));
        let garbled = write("garbled.pem", "-----BEGIN PRIVATE KEY-----\ncanary\n", 0o600);
        let told = refused(&both, &garbled);
        assert!(told.contains("no private key") && !told.contains("canary"), "{told}");
        assert!(refused(&garbled, &both).contains("no certificate"));
        assert!(refused(&authorities, &both).contains("authorities.pem"), "the key is another's");
        assert!(refused(&folder.path().join("none"), &both).contains("cannot read"));
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
