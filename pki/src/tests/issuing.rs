use super::{admin, credentials, host, hour, now};
use crate::{Authority, AuthorityError, Credentials, CredentialsError, Identity, IssueError, PendingCredentials, RequestFault};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use std::fs;

#[test]
fn an_authority_is_kept_in_one_file_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authority.pem");
    let authority = Authority::create(now()).unwrap();
    authority.save_new(&path).unwrap();
    assert_eq!(Authority::load(&path).unwrap().pin(), authority.pin());
    assert!(matches!(Authority::create(now()).unwrap().save_new(&path), Err(AuthorityError::File(_))));
    assert_eq!(Authority::load(&path).unwrap().pin(), authority.pin());
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.len() - 100;
    fs::write(&path, &text[..cut]).unwrap();
    assert!(Authority::load(&path).is_err());
}

#[test]
fn a_request_gets_the_identity_that_the_authority_gives_not_the_one_it_asks_for() {
    let authority = Authority::create(now()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut asked = CertificateParams::new(vec!["controller.roadstead".to_owned()]).unwrap();
    asked.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let request = asked.serialize_request(&key).unwrap();
    let issued = authority.issue(request.der(), &host(), hour(), now()).unwrap();
    assert_eq!(issued.says.identity(), &host());
    let text = String::from_utf8_lossy(&issued.der).into_owned();
    assert!(text.contains("roadstead:host:") && !text.contains("controller.roadstead"));
}

#[test]
fn requests_are_bounded_signed_and_of_our_kind() {
    let authority = Authority::create(now()).unwrap();
    let fault = |request: &[u8]| match authority.issue(request, &host(), hour(), now()).unwrap_err() {
        IssueError::Request(fault) => fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault(&[0; 5000]), RequestFault::TooLarge(5000));
    assert_eq!(fault(b"request"), RequestFault::Malformed);
    let mut request = PendingCredentials::generate().unwrap().request().to_vec();
    *request.last_mut().unwrap() ^= 1;
    assert_eq!(fault(&request), RequestFault::Malformed);
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let request = CertificateParams::default().serialize_request(&other).unwrap();
    assert_eq!(fault(request.der()), RequestFault::Key);
}

#[test]
fn credentials_read_back_and_refuse_what_does_not_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.pem");
    let (authority, other) = (Authority::create(now()).unwrap(), Authority::create(now()).unwrap());
    let ours = credentials(&authority, &admin());
    ours.save(&path).unwrap();
    let read = Credentials::load(&path).unwrap();
    assert_eq!((read.identity(), read.serial(), read.authority()), (&admin(), ours.serial(), authority.pin()));
    assert!(!format!("{ours:?}").contains("BEGIN"));

    let pending = PendingCredentials::generate().unwrap();
    let issued = authority.issue(pending.request(), &host(), hour(), now()).unwrap();
    assert!(matches!(pending.complete(&issued.der, other.certificate_der()), Err(CredentialsError::NotSigned)));
    let pending = PendingCredentials::generate().unwrap();
    assert!(matches!(pending.complete(&issued.der, authority.certificate_der()), Err(CredentialsError::AnotherKey)));
    let pending = PendingCredentials::generate().unwrap();
    assert!(matches!(pending.complete(b"junk", authority.certificate_der()), Err(CredentialsError::Certificate(_))));
}

/// The digest of its key went with what is around the key: an altered one passed for another authority.
#[test]
fn an_authority_that_was_altered_is_refused() {
    let authority = Authority::create(now()).unwrap();
    let sections = crate::pem::read(credentials(&authority, &host()).reveal().as_bytes()).unwrap();
    for place in 0..authority.certificate_der().len() {
        let mut altered = authority.certificate_der().to_vec();
        altered[place] ^= 1;
        if let Ok(read) = Credentials::assemble(sections.key.clone(), sections.certificates[0].clone(), altered) {
            // Around the signature there are bits that say nothing.
            assert_eq!(read.authority(), authority.pin(), "byte {place}");
        }
    }
}

#[test]
fn serials_and_times_are_what_is_recorded() {
    let authority = Authority::create(now()).unwrap();
    let at = now();
    let one = authority.issue_credentials(&Identity::Controller, hour(), at).unwrap();
    assert!(one.not_before() < at && one.not_after().since(at).0.abs_diff(hour().0) <= 1000);
    assert_ne!(one.serial(), credentials(&authority, &Identity::Controller).serial());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_credentials_are_refused_without_a_panic(place in 0_usize..2000, byte: u8) {
        let authority = Authority::create(now()).unwrap();
        let mut text = credentials(&authority, &host()).reveal().into_bytes();
        let place = place % text.len();
        let before = text[place];
        text[place] = byte;
        if let Ok(read) = Credentials::parse(&text) {
            // What still reads is the same: white space, or the other case of nothing.
            prop_assert!(byte == before || read.identity() == &host());
        }
    }
}
