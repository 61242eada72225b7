//! Signatures on a release, by whoever sent them.

use roadstead_bundle::sign::Signature;
use roadstead_bundle::trust::{TrustedKey, TrustedKeys};
use roadstead_model::limits;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::keys::key;

const TRUSTED: u8 = 4;
const MANIFEST: &[u8] = b"{}";

/// A trusted key's good signature, and a good one of a stranger, by number.
static SIGNATURES: LazyLock<Vec<Signature>> = LazyLock::new(|| (0..=TRUSTED).map(|number| key(number).sign(MANIFEST)).collect());

/// A release is trusted when as many different trusted keys signed as must, however often, in whatever order and company.
///
/// The first byte says how many must; two more are one signature: whose, and which of its bytes is altered (none of them from 80 on).
pub fn signatures(bytes: &[u8]) {
    let Some((threshold, rest)) = bytes.split_first() else { return };
    let threshold = usize::from(threshold % TRUSTED) + 1;
    let name = |number: u8| format!("key-{number}");
    let keys = (0..TRUSTED).map(|number| TrustedKey { name: name(number), public: key(number).public() }).collect();
    let keys = TrustedKeys::new(threshold, keys).unwrap();
    let (mut signatures, mut good) = (Vec::new(), BTreeSet::new());
    for item in rest.chunks_exact(2) {
        let (number, place) = (item[0] % (TRUSTED + 1), usize::from(item[1]));
        let mut parts = [&SIGNATURES[usize::from(number)].key.as_bytes()[..], &SIGNATURES[usize::from(number)].bytes].concat();
        if let Some(byte) = parts.get_mut(place) {
            *byte ^= 1;
        } else if number < TRUSTED && signatures.len() < limits::SIGNATURES_MAX {
            good.insert(name(number));
        }
        let (id, own) = parts.split_at(16);
        signatures.push(Signature::from_parts(id, own).unwrap());
    }
    match keys.check(MANIFEST, &signatures) {
        Ok(names) => assert_eq!((names.len() >= threshold, names.into_iter().collect()), (true, good)),
        Err(refused) => assert_eq!((refused.found.len() < threshold, refused.found.into_iter().collect()), (true, good)),
    }
    assert!(keys.check(b"{} ", &signatures).is_err(), "a signature holds for another manifest");
}
