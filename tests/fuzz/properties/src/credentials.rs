//! A file of credentials that somebody altered.

use roadstead_model::{HostId, Millis, Timestamp};
use roadstead_pki::{Authority, Credentials, Identity};
use std::sync::LazyLock;

const NOW: Timestamp = Timestamp(1_750_000_000_000);

/// Made when the run begins, and gone with it.
static WHOLE: LazyLock<Credentials> = LazyLock::new(|| {
    let identity = Identity::Host(HostId::parse("abcdefghijklmnopqrstuvwxyz").unwrap());
    Authority::create(NOW).unwrap().issue_credentials(&identity, Millis::from_secs(3600), NOW).unwrap()
});

/// No alteration makes other credentials of a file: they are refused, or say who they said, by the same authority.
///
/// An input is alterations: two bytes of place, one of bytes that go, one of bytes that come, and these.
pub fn credentials(bytes: &[u8]) {
    drop(Credentials::parse(bytes));
    let mut text = WHOLE.reveal().into_bytes();
    let mut rest = bytes;
    while let [low, high, gone, come, after @ ..] = rest {
        let place = usize::from(u16::from_le_bytes([*low, *high])) % (text.len() + 1);
        let end = (place + usize::from(*gone)).min(text.len());
        let (new, behind) = after.split_at(usize::from(*come).min(after.len()));
        text.splice(place..end, new.iter().copied());
        rest = behind;
    }
    let Ok(read) = Credentials::parse(&text) else { return };
    // Keys differ from run to run: the text that was read is part of what is told.
    let told = || String::from_utf8_lossy(&text);
    assert_eq!((read.identity(), read.serial()), (WHOLE.identity(), WHOLE.serial()), "{}", told());
    assert_eq!(read.authority(), WHOLE.authority(), "{}", told());
    assert_eq!((read.not_before(), read.not_after()), (WHOLE.not_before(), WHOLE.not_after()), "{}", told());
    let again = Credentials::parse(read.reveal().as_bytes()).unwrap();
    assert_eq!(again.serial(), read.serial());
}
