//! Letting hosts and admins in, and cutting admins off.

use roadstead_model::{AdminName, EnvironmentName, Labels, Millis};
use roadstead_pki::{ADMIN_LIFETIME, Identity, JoinToken};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, not_now, stored, unknown};
use super::{Admin, releases::reason};
use crate::clock;
use crate::store::{CertificateRecord, NewToken, TokenPurpose};

/// The shortest and the longest time for which a token is good.
const TTL_MIN: Millis = Millis::from_secs(10);
const TTL_MAX: Millis = Millis::from_secs(7 * 24 * 3600);

pub(super) async fn renew(context: &Context, admin: &Admin, request: v1::RenewRequest) -> Result<v1::RenewResponse, Status> {
    let now = clock::now();
    let identity = Identity::Admin(admin.name.clone());
    let issued = context.authority.issue(&request.csr, &identity, ADMIN_LIFETIME, now).map_err(invalid)?;
    context.store.renew_admin(admin.name.clone(), CertificateRecord::from(&issued.says), now).await.map_err(stored)?;
    Ok(v1::RenewResponse { certificate: issued.der, authority: context.authority.certificate_der().to_vec() })
}

pub(super) async fn create_token(
    context: &Context,
    admin: &Admin,
    request: v1::CreateTokenRequest,
) -> Result<v1::CreateTokenResponse, Status> {
    let ttl = Millis(request.ttl_ms);
    if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(invalid(format!("a token is good for {TTL_MIN} to {TTL_MAX}, not {ttl}")));
    }
    let purpose = if request.admin.is_empty() {
        let environment = EnvironmentName::parse(&request.environment).map_err(invalid)?;
        let labels = Labels::parse(request.labels.iter().map(String::as_str)).map_err(invalid)?;
        TokenPurpose::Host(environment, labels)
    } else {
        let name = AdminName::parse(&request.admin).map_err(invalid)?;
        let revoked = context.store.admins().await.map_err(stored)?.contains(&(name.clone(), true));
        if revoked {
            return Err(not_now(format!("{name} was cut off for good"), "give them another name"));
        }
        TokenPurpose::Admin(name)
    };
    let token = JoinToken::generate(context.authority.pin()).map_err(internal)?;
    let now = clock::now();
    let expires_at = now.plus(ttl);
    let record = NewToken { hash: *token.hash().as_bytes(), purpose, expires_at, by: admin.actor() };
    context.store.add_token(record, now).await.map_err(stored)?;
    Ok(v1::CreateTokenResponse { token: token.reveal(), expires_at_ms: expires_at.0 })
}

pub(super) async fn revoke(context: &Context, admin: &Admin, request: v1::RevokeAdminRequest) -> Result<v1::RevokeAdminResponse, Status> {
    let name = AdminName::parse(&request.name).map_err(invalid)?;
    let reason = reason(&request.reason)?;
    let known = context.store.admins().await.map_err(stored)?.into_iter().any(|(known, _)| known == name);
    if !known {
        return Err(unknown(format!("there is no admin {name}"), "see the history"));
    }
    let done = context.store.revoke_admin(name.clone(), admin.actor(), reason, clock::now()).await.map_err(stored)?;
    if !done {
        return Err(not_now(format!("{name} is the last admin"), "let another one in first: `roadstead admin token NAME`"));
    }
    context.access.shut_admin_out(&name);
    Ok(v1::RevokeAdminResponse {})
}
