//! Signatures of requests, AWS Signature Version 4 in headers. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use zeroize::Zeroizing;

/// The SHA-256 of nothing.
pub(crate) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What shows a bucket's server who asks.
#[derive(Clone)]
pub struct Keys {
    /// The name of the key; no secret, and hidden all the same.
    pub access: Zeroizing<String>,
    /// The key, which never leaves this host.
    pub secret: Zeroizing<String>,
    /// What comes with keys that hold for a while.
    pub token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// A moment as signatures have it: `20130524T000000Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment(String);

impl Moment {
    /// The moment so many seconds after 1970 began.
    pub(crate) fn of(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        Self(format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn day(&self) -> &str {
        self.0.split('T').next().unwrap_or_default()
    }
}

/// The date so many days after 1970 began. <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
pub(crate) const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (era * 400 + year, month + 3, day) } else { (era * 400 + year + 1, month - 9, day) }
}

/// A request, as it is signed.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// Encoded, as it is sent.
    pub(crate) path: &'a str,
    /// Encoded, as it is sent, and sorted.
    pub(crate) query: &'a str,
    /// Names in lower case, sorted; host, date and the sum of the body among them.
    pub(crate) headers: &'a [(String, String)],
    /// The SHA-256 of the body, in hex.
    pub(crate) body: &'a str,
}

/// The header `Authorization` of a request.
pub(crate) fn authorization(request: &Signed<'_>, keys: &Keys, region: &str, at: &Moment) -> String {
    let names = request.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in request.headers {
        let _infallible = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _infallible = write!(canonical, "\n{names}\n{}", request.body);
    let scope = format!("{}/{region}/s3/aws4_request", at.day());
    let told = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", at.as_str(), hex(&Sha256::digest(canonical.as_bytes())));
    let first = Zeroizing::new(format!("AWS4{}", keys.secret.as_str()));
    let mut key = keyed(first.as_bytes(), at.day());
    for part in [region, "s3", "aws4_request"] {
        key = keyed(&key, part);
    }
    let signature = hex(&keyed(&key, &told));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.access.as_str())
}

fn keyed(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Zeroizing::default() };
    mac.update(text.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// As a path or a query has it: everything but letters, digits and `-._~` is encoded, `/` where it is to be.
pub(crate) fn encoded(text: &str, slashes_too: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if !slashes_too => out.push('/'),
            _ => {
                let _infallible = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

/// A query of names and values, encoded and sorted.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name, true), encoded(value, true))).collect();
    pairs.sort();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        Keys { access: text("AKIAIOSFODNN7EXAMPLE"), secret: text("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), token: None }
    }

    fn signature(method: &str, path: &str, query: &str, more: &[(&str, &str)], body: &str) -> String {
        let at = Moment::of(1_369_353_600);
        let own = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", body), ("x-amz-date", at.as_str())];
        let mut headers: Vec<_> = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.sort();
        let told = authorization(&Signed { method, path, query, headers: &headers, body }, &keys(), "us-east-1", &at);
        let (head, signature) = told.rsplit_once('=').unwrap();
        assert!(head.starts_with("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders="));
        signature.to_owned()
    }

    /// The four examples that AWS publishes.
    #[test]
    fn what_is_signed_is_signed_as_the_examples_are() {
        assert_eq!(
            signature("GET", "/test.txt", "", &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let body = hex(&Sha256::digest(b"Welcome to Amazon S3."));
        let more = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            signature("PUT", &encoded("/test$file.text", false), "", &more, &body),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &query(&[("lifecycle", "")]), &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("GET", "/", &query(&[("prefix", "J"), ("max-keys", "2")]), &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_735_689_600, "20250101T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Moment::of(seconds).as_str(), text);
        }
    }

    #[test]
    fn keys_show_nothing_of_themselves() {
        assert_eq!(format!("{:?}", keys()), "[hidden]");
    }
}
