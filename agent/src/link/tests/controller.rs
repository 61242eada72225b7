//! A controller that says what a test tells it to say, and notes what it hears.

use async_trait::async_trait;
use roadstead_model::{Digest, limits};
use roadstead_proto::v1::{self, agent_message, controller_message, fleet_server};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Duration;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::link::dial::connect_over;
use crate::link::pulse::Pulse;
use crate::link::{Dial, DialError};

/// One session as the controller sees it.
pub(super) struct Opened {
    pub(super) hello: v1::Hello,
    pub(super) tell: mpsc::Sender<Result<v1::ControllerMessage, Status>>,
    pub(super) heard: mpsc::Receiver<agent_message::Kind>,
}

/// How the controller answers.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) protocol: u32,
    pub(super) heartbeat_every_ms: u64,
    pub(super) echoes: bool,
    pub(super) baton: Vec<u8>,
    pub(super) refuses: Option<Status>,
    /// What it has: blobs, and manifests with their signatures.
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(super) releases: BTreeMap<Digest, v1::FetchReleaseResponse>,
    /// Transfers break after so many parts, the first of these first.
    pub(super) breaks: Vec<usize>,
    /// Blobs that come altered, or altered only as patches.
    pub(super) alters: Option<(Digest, bool)>,
    /// Every want of every request.
    pub(super) asked: Vec<v1::BlobWant>,
    pub(super) requests: usize,
    /// Between two parts of a blob.
    pub(super) pause: Duration,
    /// Sessions that it refused.
    pub(super) refused: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            protocol: 1,
            heartbeat_every_ms: 100,
            echoes: true,
            baton: Vec::new(),
            refuses: None,
            blobs: BTreeMap::new(),
            releases: BTreeMap::new(),
            breaks: Vec::new(),
            alters: None,
            asked: Vec::new(),
            requests: 0,
            pause: Duration::ZERO,
            refused: 0,
        }
    }
}

#[derive(Clone)]
struct Fleet {
    manner: Arc<Mutex<Manner>>,
    opened: mpsc::Sender<Opened>,
}

pub(super) struct Controller {
    pub(super) address: SocketAddr,
    pub(super) manner: Arc<Mutex<Manner>>,
    pub(super) opened: mpsc::Receiver<Opened>,
    stop: watch::Sender<bool>,
}

pub(super) fn told(kind: controller_message::Kind) -> Result<v1::ControllerMessage, Status> {
    Ok(v1::ControllerMessage { kind: Some(kind) })
}

#[async_trait]
impl fleet_server::Fleet for Fleet {
    type SessionStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;
    type FetchBlobsStream = ReceiverStream<Result<v1::BlobPart, Status>>;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let manner = self.manner.lock().unwrap().clone();
        if let Some(status) = manner.refuses {
            self.manner.lock().unwrap().refused += 1;
            return Err(status);
        }
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.kind);
        let Some(agent_message::Kind::Hello(hello)) = first else { return Err(Status::invalid_argument("no hello")) };
        let (tell, answers) = mpsc::channel(16);
        let (note, heard) = mpsc::channel(1024);
        let welcome =
            v1::Welcome { protocol: manner.protocol, term: 1, heartbeat_every_ms: manner.heartbeat_every_ms, baton: manner.baton };
        tell.send(told(controller_message::Kind::Welcome(welcome))).await.unwrap();
        let echo = tell.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                match message.kind {
                    Some(agent_message::Kind::Heartbeat(beat)) if manner.echoes => {
                        drop(echo.send(told(controller_message::Kind::Heartbeat(beat))).await);
                    }
                    Some(kind) => drop(note.send(kind).await),
                    None => {}
                }
            }
        });
        drop(self.opened.send(Opened { hello, tell, heard }).await);
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn fetch_release(&self, request: Request<v1::FetchReleaseRequest>) -> Result<Response<v1::FetchReleaseResponse>, Status> {
        let digest = Digest::from_slice(&request.into_inner().manifest).unwrap();
        let found = self.manner.lock().unwrap().releases.get(&digest).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found("no such release"))
    }

    async fn fetch_blobs(&self, request: Request<v1::FetchBlobsRequest>) -> Result<Response<Self::FetchBlobsStream>, Status> {
        let wants = request.into_inner().wants;
        let (parts, end, pause) = {
            let mut manner = self.manner.lock().unwrap();
            manner.requests += 1;
            manner.asked.extend(wants.iter().cloned());
            let mut parts = Vec::new();
            for (index, want) in wants.iter().enumerate() {
                parts.extend(manner.parts_of(u32::try_from(index).unwrap(), want)?);
            }
            let end = if manner.breaks.is_empty() { None } else { Some(manner.breaks.remove(0)) };
            (parts, end, manner.pause)
        };
        let (tell, answers) = mpsc::channel(4);
        tokio::spawn(async move {
            for (number, part) in parts.into_iter().enumerate() {
                tokio::time::sleep(pause).await;
                let broken = end == Some(number);
                let item = if broken { Err(Status::unavailable("the network broke")) } else { Ok(part) };
                if tell.send(item).await.is_err() || broken {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn renew_host(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("no renewal"))
    }
}

impl Manner {
    fn parts_of(&self, index: u32, want: &v1::BlobWant) -> Result<Vec<v1::BlobPart>, Status> {
        let digest = Digest::from_slice(&want.digest).unwrap();
        let mut content = self.blobs.get(&digest).cloned().ok_or_else(|| Status::not_found("no such blob"))?;
        let base = Digest::from_slice(&want.base).ok().and_then(|base| self.blobs.get(&base));
        if self.alters.is_some_and(|(altered, only_patches)| altered == digest && (base.is_some() || !only_patches)) {
            content[0] ^= 1;
        }
        let (encoding, encoded) = match base {
            Some(base) => {
                let mut compressor = zstd::bulk::Compressor::with_dictionary(3, base).unwrap();
                (v1::BlobEncoding::ZstdPatch, compressor.compress(&content).unwrap())
            }
            None => (v1::BlobEncoding::Zstd, zstd::bulk::compress(&content, 3).unwrap()),
        };
        let rest = &encoded[usize::try_from(want.offset).unwrap()..];
        let mut chunks: Vec<&[u8]> = rest.chunks(limits::BLOB_PART_BYTES).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let last = chunks.len() - 1;
        let part =
            |(number, data): (usize, &[u8])| v1::BlobPart { index, encoding: encoding.into(), data: data.to_vec(), last: number == last };
        Ok(chunks.into_iter().enumerate().map(part).collect())
    }
}

impl Controller {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, sessions) = mpsc::channel(16);
        let manner = Arc::new(Mutex::new(manner));
        let (stop, mut stopped) = watch::channel(false);
        let fleet = fleet_server::FleetServer::new(Fleet { manner: Arc::clone(&manner), opened });
        tokio::spawn(async move {
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            let serving = Server::builder().add_service(fleet).serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! { result = serving => result.unwrap(), () = until => {} }
        });
        Self { address, manner, opened: sessions, stop }
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A dialer without TLS: what is tested here is what happens on a connection.
#[derive(Debug)]
pub(super) struct PlainDial(pub(super) SocketAddr);

#[async_trait]
impl Dial for PlainDial {
    async fn dial(&self, pulse: Arc<Pulse>) -> Result<Channel, DialError> {
        let address = self.0;
        connect_over(&address.to_string(), move || TcpStream::connect(address), pulse).await
    }
}
