//! An admin's certificate renews itself: a command that is run late in its life brings home a new one.

use roadstead_model::Timestamp;
use roadstead_pki::{Credentials, PendingCredentials, jitter_seed, renew_at};
use roadstead_proto::v1::RenewRequest;
use roadstead_proto::v1::operator_client::OperatorClient;
use std::path::Path;
use tonic::transport::Channel;

/// Whether it is time.
pub(super) fn is_due(credentials: &Credentials, now: Timestamp) -> bool {
    let end = credentials.not_after();
    now >= renew_at(credentials.not_before(), end, jitter_seed(credentials.identity())) && now < end
}

/// Renews the credentials in the user's file. That it does not work is no reason to trouble anyone: the next command tries again.
pub(super) async fn renew(mut client: OperatorClient<Channel>, identity: &Path) -> Option<()> {
    let pending = PendingCredentials::generate().ok()?;
    let answer = client.renew_admin(RenewRequest { csr: pending.request().to_vec() }).await.ok()?.into_inner();
    pending.complete(&answer.certificate, &answer.authority).ok()?.save(identity).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{AdminName, Millis};
    use roadstead_pki::{ADMIN_LIFETIME, Authority, Identity};

    #[test]
    fn it_is_time_late_in_the_life_of_a_certificate_and_not_after_it() {
        let made = Timestamp(1_800_000_000_000);
        let authority = Authority::create(made).unwrap();
        let identity = Identity::Admin(AdminName::parse("ada").unwrap());
        let credentials = authority.issue_credentials(&identity, ADMIN_LIFETIME, made).unwrap();
        let after = |parts: u64| made.plus(Millis(ADMIN_LIFETIME.0 / 100 * parts));
        assert_eq!([0, 50, 80, 99, 101].map(|parts| is_due(&credentials, after(parts))), [false, false, true, true, false]);
    }
}
