//! What an enrolled host may call.

use roadstead_model::{Digest, HostId, limits};
use roadstead_pki::{HOST_LIFETIME, Identity};
use roadstead_proto::v1;
use roadstead_proto::v1::fleet_server::Fleet;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::peer::Caller;
use super::status::{denied, invalid, stored, unknown};
use super::{Context, blobs, session};
use crate::clock;
use crate::store::CertificateRecord;

/// The calls.
#[derive(Debug)]
pub(super) struct FleetCalls(pub(super) Arc<Context>);

impl FleetCalls {
    fn host<T>(&self, request: &Request<T>) -> Result<HostId, Status> {
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.as_ref());
        self.0.access.host(caller).map_err(denied)
    }
}

#[tonic::async_trait]
impl Fleet for FleetCalls {
    type SessionStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;
    type FetchBlobsStream = ReceiverStream<Result<v1::BlobPart, Status>>;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let host = self.host(&request)?;
        Ok(Response::new(session::open(Arc::clone(&self.0), host, request.into_inner())))
    }

    async fn fetch_release(&self, request: Request<v1::FetchReleaseRequest>) -> Result<Response<v1::FetchReleaseResponse>, Status> {
        self.host(&request)?;
        let digest = Digest::from_slice(&request.into_inner().manifest).map_err(invalid)?;
        let release = self.0.store.release(&digest).await.map_err(stored)?;
        let release = release.ok_or_else(|| unknown(format!("there is no release {}", digest.short()), "push it again"))?;
        let signatures = release.signatures.into_iter().map(|s| v1::Signature { key_id: s.key_id, signature: s.signature }).collect();
        Ok(Response::new(v1::FetchReleaseResponse { manifest: release.bytes, signatures }))
    }

    async fn fetch_blobs(&self, request: Request<v1::FetchBlobsRequest>) -> Result<Response<Self::FetchBlobsStream>, Status> {
        self.host(&request)?;
        let wants = request.into_inner().wants;
        if wants.len() > limits::BLOBS_PER_REQUEST_MAX {
            return Err(invalid(format!("{} blobs are more than one request may ask for", wants.len())));
        }
        let wants = wants.iter().map(blobs::Want::read).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        Ok(Response::new(blobs::send(self.0.blobs.clone(), wants)))
    }

    async fn renew_host(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let host = self.host(&request)?;
        let (context, now) = (&self.0, clock::now());
        let csr = request.into_inner().csr;
        let issued = context.authority.issue(&csr, &Identity::Host(host.clone()), HOST_LIFETIME, now).map_err(invalid)?;
        context.store.renew_host(host.clone(), CertificateRecord::from(&issued.says), now).await.map_err(stored)?;
        // A host that was cut off meanwhile stays out.
        if context.access.host_is_in(&host) {
            context.access.renewed(&host, issued.says.not_after());
        }
        Ok(Response::new(v1::RenewResponse { certificate: issued.der, authority: context.authority.certificate_der().to_vec() }))
    }
}
