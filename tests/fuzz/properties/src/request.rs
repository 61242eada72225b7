//! A certificate request of a host that nobody knows yet.

use roadstead_model::{HostId, Millis, Timestamp};
use roadstead_pki::{Authority, Identity};
use std::sync::LazyLock;

const NOW: Timestamp = Timestamp(1_750_000_000_000);
const LIFETIME: Millis = Millis::from_secs(3600);
const REQUEST_BYTES_MAX: usize = 2048;

/// Made when the run begins, and gone with it.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::create(NOW).unwrap());

/// Whatever a request asks for, the certificate says who it was issued for and until when, and nothing of the request but its key.
pub fn request(bytes: &[u8]) {
    let identity = Identity::Host(HostId::parse("abcdefghijklmnopqrstuvwxyz").unwrap());
    let Ok(issued) = AUTHORITY.issue(bytes, &identity, LIFETIME, NOW) else { return };
    assert!(bytes.len() <= REQUEST_BYTES_MAX);
    assert_eq!(issued.says.identity(), &identity);
    assert!(issued.says.not_before() <= NOW && NOW < issued.says.not_after());
    assert!(issued.says.not_after() <= NOW.plus(LIFETIME));
}
