use super::{admin, credentials, host, now};
use crate::{
    AcceptError, Authority, ClientTls, ConnectError, Identity, KeyPin, PeerStream, Refusal, ServeLimits, ServerTls, connect, listen,
};
use roadstead_model::{Millis, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;

type Accepted = Receiver<Result<PeerStream, AcceptError>>;

async fn server(tls: ServerTls, limits: ServeLimits) -> (String, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, listen(listener, tls, limits))
}

async fn controller(authority: &Authority) -> (String, Accepted) {
    server(ServerTls::new(&credentials(authority, &Identity::Controller)).unwrap(), ServeLimits::default()).await
}

/// Both sides of one connection. In TLS 1.3 a client is done before the server looked at its certificate: it learns of a refusal with the
/// first read.
async fn meet(
    address: &str,
    tls: &ClientTls,
    accepted: &mut Accepted,
) -> (Result<crate::ClientStream, ConnectError>, Result<PeerStream, AcceptError>) {
    let (client, server) = tokio::join!(connect(address, tls), accepted.recv());
    (client, server.unwrap())
}

#[tokio::test]
async fn both_sides_know_who_the_other_is() {
    let authority = Authority::create(now()).unwrap();
    let (address, mut accepted) = controller(&authority).await;
    for who in [host(), admin()] {
        let tls = ClientTls::new(&credentials(&authority, &who)).unwrap();
        let (client, server) = meet(&address, &tls, &mut accepted).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.certificate().unwrap().identity(), &who);
        client.write_all(b"ping").await.unwrap();
        client.flush().await.unwrap();
        let mut read = [0; 4];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }
}

#[tokio::test]
async fn a_newcomer_finds_the_controller_by_the_pin_of_its_token_and_is_nobody_yet() {
    let authority = Authority::create(now()).unwrap();
    let (address, mut accepted) = controller(&authority).await;
    let (client, server) = meet(&address, &ClientTls::for_enrollment(authority.pin()).unwrap(), &mut accepted).await;
    assert!(client.is_ok() && server.unwrap().certificate().is_none());

    let wrong = ClientTls::for_enrollment(KeyPin::from_bytes([9; 32])).unwrap();
    let (client, _) = meet(&address, &wrong, &mut accepted).await;
    assert!(matches!(client, Err(ConnectError::Refused { refusal: Refusal::Stranger, .. })), "{client:?}");
}

#[tokio::test]
async fn certificates_of_another_authority_are_nothing_on_either_side() {
    let (ours, theirs) = (Authority::create(now()).unwrap(), Authority::create(now()).unwrap());
    let (address, mut accepted) = controller(&ours).await;
    let (client, _) = meet(&address, &ClientTls::new(&credentials(&theirs, &host())).unwrap(), &mut accepted).await;
    assert!(matches!(client, Err(ConnectError::Refused { refusal: Refusal::Stranger, .. })), "{client:?}");

    // A stranger who knows our authority's certificate, but has no certificate of it.
    let stranger = credentials(&theirs, &host()).reveal();
    let root = credentials(&ours, &host());
    let tls = with_root(&stranger, &root.reveal());
    let (_, server) = meet(&address, &tls, &mut accepted).await;
    assert!(matches!(server, Err(AcceptError::Refused { refusal: Refusal::Stranger, .. })), "{server:?}");
}

/// A client that shows the first credentials and believes the authority of the second.
fn with_root(shown: &str, believed: &str) -> ClientTls {
    let (shown, believed) = (crate::pem::read(shown.as_bytes()).unwrap(), crate::pem::read(believed.as_bytes()).unwrap());
    let roots = crate::verify::root_store(believed.certificates[1].clone().into()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(shown.key).into();
    let mut config = config.with_root_certificates(roots).with_client_auth_cert(vec![shown.certificates[0].clone().into()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    ClientTls::of_config(config)
}

#[tokio::test]
async fn nobody_but_the_controller_is_taken_for_it() {
    let authority = Authority::create(now()).unwrap();
    let impostor = ServerTls::new(&credentials(&authority, &host())).unwrap();
    let (address, mut accepted) = server(impostor, ServeLimits::default()).await;
    for tls in [ClientTls::new(&credentials(&authority, &admin())).unwrap(), ClientTls::for_enrollment(authority.pin()).unwrap()] {
        let (client, _) = meet(&address, &tls, &mut accepted).await;
        assert!(matches!(client, Err(ConnectError::Refused { refusal: Refusal::Impostor, .. })), "{client:?}");
    }
}

#[tokio::test]
async fn a_certificate_ends() {
    let authority = Authority::create(Timestamp(now().0 - 7_200_000)).unwrap();
    let (address, mut accepted) = controller(&authority).await;
    let over = authority.issue_credentials(&host(), Millis::from_secs(60), Timestamp(now().0 - 3_600_000)).unwrap();
    let (_, server) = meet(&address, &ClientTls::new(&over).unwrap(), &mut accepted).await;
    assert!(matches!(server, Err(AcceptError::Refused { refusal: Refusal::Expired, .. })), "{server:?}");
}

#[tokio::test]
async fn new_credentials_are_used_from_the_next_connection_on() {
    let authority = Authority::create(now()).unwrap();
    let (address, mut accepted) = controller(&authority).await;
    let (first, second) = (credentials(&authority, &host()), credentials(&authority, &host()));
    let tls = ClientTls::new(&first).unwrap();
    let serial = |server: Result<PeerStream, AcceptError>| server.unwrap().certificate().unwrap().serial();
    assert_eq!(serial(meet(&address, &tls, &mut accepted).await.1), first.serial());
    tls.clone().publish(&second).unwrap();
    assert_eq!(serial(meet(&address, &tls, &mut accepted).await.1), second.serial());
}

#[tokio::test]
async fn who_never_finishes_a_handshake_keeps_nobody_out() {
    let authority = Authority::create(now()).unwrap();
    let tls = ServerTls::new(&credentials(&authority, &Identity::Controller)).unwrap();
    let (address, mut accepted) = server(tls, ServeLimits { connections: 10, handshakes: 3 }).await;
    let _silent = [TcpStream::connect(&address).await.unwrap(), TcpStream::connect(&address).await.unwrap()];
    let client = ClientTls::new(&credentials(&authority, &host())).unwrap();
    let (connected, _) = meet(&address, &client, &mut accepted).await;
    connected.unwrap();
}

#[tokio::test]
async fn other_protocols_are_named() {
    let authority = Authority::create(now()).unwrap();
    let (address, mut accepted) = controller(&authority).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let refused = accepted.recv().await.unwrap();
    assert!(matches!(refused, Err(AcceptError::Refused { refusal: Refusal::Protocol, .. })), "{refused:?}");
    let nobody = connect("127.0.0.1:1", &ClientTls::new(&credentials(&authority, &host())).unwrap()).await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable { .. })));
}
