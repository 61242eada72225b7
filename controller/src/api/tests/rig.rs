//! A controller on a free port, with an admin's credential, and fake agents.

use futures_util::stream;
use hyper_util::rt::TokioIo;
use roadstead_model::{Digest, Order, OrderKind, OrderOutcome, Report};
use roadstead_pki::{ClientTls, Credentials, JoinToken, PendingCredentials};
use roadstead_proto::v1;
use roadstead_proto::v1::enrollment_client::EnrollmentClient;
use roadstead_proto::v1::fleet_client::FleetClient;
use roadstead_proto::v1::operator_client::OperatorClient;
use roadstead_proto::v1::{agent_message, controller_message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::settings::Settings;
use roadstead_driver::samples;

/// Bytes on their way to a client.
const WINDOW: u32 = 64 * 1024;

pub(super) struct Rig {
    folder: tempfile::TempDir,
    address: String,
    stopping: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { state: folder.path().join("state"), ..Settings::default() };
        let arguments = crate::args::Init {
            admin: roadstead_model::AdminName::parse("ada").unwrap(),
            out: folder.path().join("ada.pem"),
            address: Some("controller.example:7443".to_owned()),
        };
        crate::init::init(&settings, &arguments).await.unwrap();
        let again = crate::init::init(&settings, &arguments).await.unwrap_err();
        assert!(again.to_string().contains("not replaced"), "{again}");
        Self::start_in(folder).await
    }

    /// Stops, and starts anew with what there is on the disk.
    pub(super) async fn restart(self) -> Self {
        self.stopping.cancel();
        self.serving.await.unwrap();
        Self::start_in(self.folder).await
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        let settings = Settings { state: folder.path().join("state"), ..Settings::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let serving = tokio::spawn(async move { crate::run::serve(settings, listener, stop).await.unwrap() });
        Self { folder, address, stopping, serving }
    }

    /// Where a blob lies.
    pub(super) fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        let folder = crate::layout::Layout::new(&self.folder.path().join("state")).blobs();
        roadstead_bundle::store::Store::open(&folder, roadstead_bundle::store::Form::Compressed).unwrap().path_of(digest)
    }

    pub(super) async fn stop(self) {
        self.stopping.cancel();
        self.serving.await.unwrap();
    }

    pub(super) async fn admin(&self) -> OperatorClient<Channel> {
        let credentials = Credentials::load(&self.folder.path().join("ada.pem")).unwrap();
        self.connect(&credentials).await.operator()
    }

    pub(super) async fn admin_connection(&self) -> Connection {
        self.connect(&Credentials::load(&self.folder.path().join("ada.pem")).unwrap()).await
    }

    pub(super) async fn host_token(&self, admin: &mut OperatorClient<Channel>) -> JoinToken {
        self.host_token_for(admin, "staging").await
    }

    pub(super) async fn host_token_for(&self, admin: &mut OperatorClient<Channel>, environment: &str) -> JoinToken {
        let labels = vec!["role=web".to_owned()];
        let request = v1::CreateTokenRequest { environment: environment.to_owned(), labels, ttl_ms: 60_000, admin: String::new() };
        JoinToken::parse(&admin.create_token(request).await.unwrap().into_inner().token).unwrap()
    }

    pub(super) async fn connect(&self, credentials: &Credentials) -> Connection {
        self.dial(ClientTls::new(credentials).unwrap()).await
    }

    pub(super) async fn nobody(&self, token: &JoinToken) -> Connection {
        self.dial(ClientTls::for_enrollment(token.authority()).unwrap()).await
    }

    async fn dial(&self, tls: ClientTls) -> Connection {
        let address = self.address.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let (address, tls) = (address.clone(), tls.clone());
            async move { roadstead_pki::connect(&address, &tls).await.map(TokioIo::new) }
        });
        // As small as a host's own may be: what nobody reads does not hide in the client's buffers.
        let endpoint = Endpoint::from_static("http://controller.roadstead").initial_stream_window_size(WINDOW);
        Connection(endpoint.initial_connection_window_size(WINDOW).connect_with_connector(connector).await.unwrap())
    }

    pub(super) async fn enroll_admin(&self, admin: &mut OperatorClient<Channel>, name: &str) -> Credentials {
        let request = v1::CreateTokenRequest { ttl_ms: 60_000, admin: name.to_owned(), ..Default::default() };
        let token = JoinToken::parse(&admin.create_token(request).await.unwrap().into_inner().token).unwrap();
        let pending = PendingCredentials::generate().unwrap();
        let request = v1::EnrollAdminRequest { token_secret: token.secret().to_vec(), csr: pending.request().to_vec() };
        let channel = self.nobody(&token).await.0;
        let answer = EnrollmentClient::new(channel).enroll_admin(request).await.unwrap().into_inner();
        pending.complete(&answer.certificate, &answer.authority).unwrap()
    }

    pub(super) async fn enroll(&self, token: &JoinToken, number: usize) -> Result<Credentials, Status> {
        let pending = PendingCredentials::generate().unwrap();
        let facts = Some(samples::facts(number).into());
        let request = v1::EnrollHostRequest { token_secret: token.secret().to_vec(), csr: pending.request().to_vec(), facts };
        let channel = self.nobody(token).await.0;
        let answer = EnrollmentClient::new(channel).enroll_host(request).await?.into_inner();
        let credentials = pending.complete(&answer.certificate, &answer.authority).unwrap();
        assert_eq!(credentials.identity().to_string(), format!("host:{}", answer.host_id));
        Ok(credentials)
    }
}

#[derive(Clone)]
pub(super) struct Connection(Channel);

type Up = mpsc::Sender<v1::AgentMessage>;

impl Connection {
    pub(super) fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.0.clone())
    }

    pub(super) fn fleet(&self) -> FleetClient<Channel> {
        FleetClient::new(self.0.clone())
    }

    pub(super) async fn session(&self, number: usize) -> (Up, Streaming<v1::ControllerMessage>) {
        self.session_with(number, vec![]).await
    }

    /// A session to which the host brings what it was handed in an earlier one.
    pub(super) async fn session_with(&self, number: usize, baton: Vec<u8>) -> (Up, Streaming<v1::ControllerMessage>) {
        let (up, messages) = mpsc::channel(16);
        let hello = v1::Hello { protocol: 1, facts: Some(samples::facts(number).into()), outcomes: vec![], baton };
        up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await.unwrap();
        let down = self.fleet().session(ReceiverStream::new(messages)).await.unwrap().into_inner();
        (up, down)
    }

    /// Does at once whatever is ordered.
    pub(super) async fn obey(self, number: usize) {
        let (up, mut down) = self.session(number).await;
        let mut current = None;
        let mut sequence = 0;
        while let Ok(Some(message)) = down.message().await {
            let Some(controller_message::Kind::Order(order)) = message.kind else { continue };
            let order = Order::try_from(order).unwrap();
            match &order.kind {
                OrderKind::Activate { release, .. } => current = Some(release.id.clone()),
                OrderKind::Revert { to, .. } => current = to.as_ref().map(|to| to.id.clone()),
                _ => {}
            }
            let key = Some(order.key().into());
            let text = format!("did {}\n", order.kind.verb());
            let output = v1::Output { key, step: "preflight".into(), sequence: 0, text, dropped: 0 };
            up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Output(output)) }).await.unwrap();
            sequence += 1;
            let report = Report::Order { key: order.key(), outcome: OrderOutcome::Done { current: current.clone() } };
            let report = v1::Report { sequence, ..report.into() };
            up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Report(report)) }).await.unwrap();
        }
    }
}

fn parts(digest: Digest, bytes: &[u8], size: u64) -> Vec<v1::UploadPart> {
    let encoded = zstd::encode_all(bytes, 3).unwrap();
    let count = encoded.len().div_ceil(64 * 1024);
    let part = |(index, data): (usize, &[u8])| v1::UploadPart {
        digest: digest.as_bytes().to_vec(),
        data: data.to_vec(),
        size: if index == 0 { size } else { 0 },
        last: index + 1 == count,
    };
    encoded.chunks(64 * 1024).enumerate().map(part).collect()
}

pub(super) async fn upload(admin: &mut OperatorClient<Channel>, blobs: Vec<(Digest, Vec<u8>)>) -> Result<u64, Status> {
    let all: Vec<_> = blobs.iter().flat_map(|(digest, bytes)| parts(*digest, bytes, bytes.len() as u64)).collect();
    Ok(admin.upload_blobs(stream::iter(all)).await?.into_inner().stored)
}

pub(super) async fn upload_as(admin: &mut OperatorClient<Channel>, digest: Digest, bytes: &[u8], size: u64) -> Result<u64, Status> {
    Ok(admin.upload_blobs(stream::iter(parts(digest, bytes, size))).await?.into_inner().stored)
}

pub(super) async fn fetch(
    fleet: &mut FleetClient<Channel>,
    digest: Digest,
    base: Option<Digest>,
    offset: u64,
) -> Result<(v1::BlobEncoding, Vec<u8>), Status> {
    let base = base.map(|base| base.as_bytes().to_vec()).unwrap_or_default();
    let wants = vec![v1::BlobWant { digest: digest.as_bytes().to_vec(), base, offset }];
    let mut parts = fleet.fetch_blobs(v1::FetchBlobsRequest { wants }).await?.into_inner();
    let (mut encoding, mut bytes, mut last) = (v1::BlobEncoding::Unspecified, Vec::new(), false);
    while let Some(part) = parts.message().await? {
        assert!(!last && part.data.len() <= 64 * 1024);
        encoding = part.encoding();
        last = part.last;
        bytes.extend(part.data);
    }
    assert!(last);
    Ok((encoding, bytes))
}
