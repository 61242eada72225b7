//! What an enrolled host may call.

use roadstead_model::{AppName, Digest, HostId, limits};
use roadstead_pki::Identity;
use roadstead_proto::v1;
use roadstead_proto::v1::fleet_server::Fleet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::peer::Caller;
use super::status::{denied, invalid, status, stored, unknown};
use super::{Context, blobs, session};
use crate::access::Denied;
use crate::clock;
use crate::store::CertificateRecord;

/// The calls.
#[derive(Debug)]
pub(super) struct FleetCalls(pub(super) Arc<Context>);

impl FleetCalls {
    /// The host that calls, by its certificate alone, and what fires when it is cut off.
    fn host<T>(&self, request: &Request<T>) -> Result<(HostId, CancellationToken), Status> {
        self.0.access.host(Caller::certificate(request)).map_err(denied)
    }

    /// A host fetches the releases of its own environment's apps, whatever else it asks for by a digest that it came to know.
    /// Their blobs need no such question: a digest that nobody told cannot be guessed.
    async fn may_fetch(&self, host: &HostId, app: &AppName) -> Result<(), Status> {
        let store = &self.0.store;
        let host = store.host(host).await.map_err(stored)?.ok_or_else(|| denied(Denied::Revoked))?;
        if store.environment(&host.environment, app).await.map_err(stored)?.is_some() {
            return Ok(());
        }
        tracing::warn!(host = %host.id, name = %host.name, environment = %host.environment, %app, "a host asks for another environment's release");
        let why = format!("{} is a host of {}, which does not run {app}", host.name, host.environment);
        Err(status(Code::PermissionDenied, why, "see `roadstead env list`"))
    }
}

#[tonic::async_trait]
impl Fleet for FleetCalls {
    type SessionStream = session::Messages;
    type FetchBlobsStream = blobs::Taken;

    async fn session(&self, request: Request<Streaming<v1::AgentMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let (host, cut) = self.host(&request)?;
        Ok(Response::new(session::open(Arc::clone(&self.0), host, cut, request.into_inner())))
    }

    async fn fetch_release(&self, request: Request<v1::FetchReleaseRequest>) -> Result<Response<v1::FetchReleaseResponse>, Status> {
        let (host, _) = self.host(&request)?;
        let digest = Digest::from_slice(&request.into_inner().manifest).map_err(invalid)?;
        let release = self.0.store.release(&digest).await.map_err(stored)?;
        let release = release.ok_or_else(|| unknown(format!("there is no release {}", digest.short()), "push it again"))?;
        self.may_fetch(&host, &release.manifest.app).await?;
        let signatures = release.signatures.into_iter().map(|s| v1::Signature { key_id: s.key_id, signature: s.signature }).collect();
        Ok(Response::new(v1::FetchReleaseResponse { manifest: release.bytes, signatures }))
    }

    async fn fetch_blobs(&self, request: Request<v1::FetchBlobsRequest>) -> Result<Response<Self::FetchBlobsStream>, Status> {
        let (host, cut) = self.host(&request)?;
        let wants = request.into_inner().wants;
        if wants.len() > limits::BLOBS_PER_REQUEST_MAX {
            return Err(invalid(format!("{} blobs are more than one request may ask for", wants.len())));
        }
        let wants = wants.iter().map(blobs::Want::read).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        Ok(Response::new(self.0.transfers.send(&host, self.0.blobs.clone(), wants, cut)))
    }

    async fn renew_host(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (host, _) = self.host(&request)?;
        let (context, now) = (&self.0, clock::now());
        let csr = request.into_inner().csr;
        let issued = context.authority.issue(&csr, &Identity::Host(host.clone()), context.host_lifetime, now).map_err(invalid)?;
        context.store.renew_host(host.clone(), CertificateRecord::from(&issued.says), now).await.map_err(stored)?;
        context.access.renewed(&host, issued.says.not_after());
        Ok(Response::new(v1::RenewResponse { certificate: issued.der, authority: context.authority.certificate_der().to_vec() }))
    }
}
