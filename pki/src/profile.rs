//! What a certificate may be used for and for how long: a function of the identity in it, and of nothing else.

use crate::Identity;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use roadstead_model::{Millis, Timestamp};

/// The DNS name in the controller's certificate. Clients ask for it whatever address they dial, so that a controller may move.
pub const CONTROLLER_SERVER_NAME: &str = "controller.roadstead";

const HOUR: u64 = 3600;
/// Life of a host's certificate.
pub const HOST_LIFETIME: Millis = Millis::from_secs(24 * HOUR);
/// Life of an admin's certificate.
pub const ADMIN_LIFETIME: Millis = Millis::from_secs(30 * 24 * HOUR);
/// Life of the controller's own certificate.
pub const CONTROLLER_LIFETIME: Millis = Millis::from_secs(30 * 24 * HOUR);
/// Life of the authority: ten years.
pub(crate) const AUTHORITY_LIFETIME: Millis = Millis::from_secs(3650 * 24 * HOUR);
/// Clocks may differ by this much: certificates are valid from a little before their making. Of a short life it is a twelfth, so that
/// a fresh certificate is never one that wants to be renewed.
const CLOCK_SKEW: Millis = Millis::from_secs(5 * 60);
const SKEW_PARTS: u64 = 12;

/// How long a certificate for this identity lives unless something else is asked for.
#[must_use]
pub const fn default_lifetime(identity: &Identity) -> Millis {
    match identity {
        Identity::Controller => CONTROLLER_LIFETIME,
        Identity::Host(_) => HOST_LIFETIME,
        Identity::Admin(_) => ADMIN_LIFETIME,
    }
}

/// The certificate of an identity, before its serial number.
pub(crate) fn leaf(identity: &Identity, now: Timestamp, lifetime: Millis) -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(now, lifetime);
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name = named(&identity.to_string());
    params.subject_alt_names = vec![SanType::URI(identity.uri().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![match identity {
        Identity::Controller => {
            params.subject_alt_names.push(SanType::DnsName(CONTROLLER_SERVER_NAME.try_into()?));
            ExtendedKeyUsagePurpose::ServerAuth
        }
        Identity::Host(_) | Identity::Admin(_) => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    Ok(params)
}

/// The authority's own certificate, before its serial number.
pub(crate) fn authority(now: Timestamp) -> CertificateParams {
    let mut params = dated(now, AUTHORITY_LIFETIME);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.distinguished_name = named("Roadstead fleet authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// From when and until when something issued now is valid, in milliseconds since 1970.
pub(crate) const fn validity(now: Timestamp, lifetime: Millis) -> (Timestamp, Timestamp) {
    let part = lifetime.0 / SKEW_PARTS;
    let skew = if part < CLOCK_SKEW.0 { part } else { CLOCK_SKEW.0 };
    // Whole seconds: certificates hold no smaller ones.
    (Timestamp(now.0.saturating_sub(skew) / 1000 * 1000), Timestamp(now.0.saturating_add(lifetime.0) / 1000 * 1000))
}

fn dated(now: Timestamp, lifetime: Millis) -> CertificateParams {
    let mut params = CertificateParams::default();
    let (from, until) = validity(now, lifetime);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from.since(Timestamp(0)).to_duration();
    params.not_after = epoch + until.since(Timestamp(0)).to_duration();
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
