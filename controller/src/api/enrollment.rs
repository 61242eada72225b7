//! Redeeming join tokens: the only calls for those who have no certificate yet.

use roadstead_model::{HostFacts, HostId};
use roadstead_pki::{ADMIN_LIFETIME, Identity, TokenHash};
use roadstead_proto::v1::enrollment_server::Enrollment;
use roadstead_proto::v1::{EnrollAdminRequest, EnrollAdminResponse, EnrollHostRequest, EnrollHostResponse};
use std::sync::Arc;
use tonic::{Request, Response, Status};

use super::Context;
use super::peer::Caller;
use super::status::{internal, invalid, malformed, stored, token_refused};
use crate::clock;
use crate::store::{CertificateRecord, HostRecord, TokenPurpose, TokenRefused};

/// The calls.
#[derive(Debug)]
pub(super) struct EnrollmentCalls(pub(super) Arc<Context>);

#[tonic::async_trait]
impl Enrollment for EnrollmentCalls {
    async fn enroll_host(&self, request: Request<EnrollHostRequest>) -> Result<Response<EnrollHostResponse>, Status> {
        let (context, from) = (&self.0, Caller::place(&request));
        let request = request.into_inner();
        let hash = TokenHash::of_secret(&request.token_secret).map_err(invalid)?;
        let facts: HostFacts = request.facts.ok_or_else(|| invalid("the facts of the host are missing"))?.try_into().map_err(malformed)?;
        let now = clock::now();
        let purpose = context.store.token(&hash, now).await.map_err(stored)?.and_then(|purpose| match purpose {
            TokenPurpose::Host(environment, labels) => Ok((environment, labels)),
            TokenPurpose::Admin(_) => Err(TokenRefused::Admins),
        });
        let (environment, labels) = match purpose {
            Ok(purpose) => purpose,
            Err(why) => return Err(refuse(context, hash, why, from).await),
        };
        let id = new_host_id().map_err(internal)?;
        let issued = context.authority.issue(&request.csr, &Identity::Host(id.clone()), context.host_lifetime, now).map_err(invalid)?;
        let host = HostRecord {
            id: id.clone(),
            name: facts.host_name.clone(),
            environment,
            labels,
            facts,
            enrolled_at: now,
            last_seen: now,
            revoked_at: None,
            locked: false,
            certificate_not_after: issued.says.not_after(),
        };
        let enrolled = context.store.enroll_host(hash, host.clone(), CertificateRecord::from(&issued.says), now).await.map_err(stored)?;
        if let Err(why) = enrolled {
            return Err(refuse(context, hash, why, from).await);
        }
        context.access.let_host_in(&host);
        tracing::info!(host = %id, name = %host.name, environment = %host.environment, "a host joined");
        let authority = context.authority.certificate_der().to_vec();
        Ok(Response::new(EnrollHostResponse { host_id: id.to_string(), certificate: issued.der, authority }))
    }

    async fn enroll_admin(&self, request: Request<EnrollAdminRequest>) -> Result<Response<EnrollAdminResponse>, Status> {
        let (context, from) = (&self.0, Caller::place(&request));
        let request = request.into_inner();
        let hash = TokenHash::of_secret(&request.token_secret).map_err(invalid)?;
        let now = clock::now();
        let purpose = context.store.token(&hash, now).await.map_err(stored)?.and_then(|purpose| match purpose {
            TokenPurpose::Admin(name) => Ok(name),
            TokenPurpose::Host(..) => Err(TokenRefused::Hosts),
        });
        let name = match purpose {
            Ok(name) => name,
            Err(why) => return Err(refuse(context, hash, why, from).await),
        };
        let issued = context.authority.issue(&request.csr, &Identity::Admin(name.clone()), ADMIN_LIFETIME, now).map_err(invalid)?;
        let enrolled = context.store.enroll_admin(hash, name.clone(), CertificateRecord::from(&issued.says), now).await.map_err(stored)?;
        if let Err(why) = enrolled {
            return Err(refuse(context, hash, why, from).await);
        }
        context.access.let_admin_in(name.clone());
        let authority = context.authority.certificate_der().to_vec();
        Ok(Response::new(EnrollAdminResponse { name: name.to_string(), certificate: issued.der, authority }))
    }
}

/// Says no, and leaves a line in the history: a token that lets nobody in any more may have been stolen.
async fn refuse(context: &Context, hash: TokenHash, why: TokenRefused, from: String) -> Status {
    tracing::warn!(%why, from, "someone tried to join");
    if let Err(error) = context.store.token_refused(hash, why, from, clock::now()).await {
        tracing::error!(%error, "the refusal is not in the history");
    }
    token_refused(why)
}

/// A fresh identity: 26 characters, 128 bits and a little.
fn new_host_id() -> Result<HostId, Box<dyn std::error::Error>> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 26];
    getrandom::fill(&mut bytes).map_err(|e| e.to_string())?;
    let text: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(HostId::parse(&text)?)
}
