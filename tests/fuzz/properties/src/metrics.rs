//! Answers of a metrics server, and the queries that it is sent.

#![allow(dead_code, reason = "a program exports nothing, so its file is compiled here once more")]

#[path = "../../../../controller/src/evidence/prometheus.rs"]
mod prometheus;

/// An answer is one number, or a short reason why it is none. A query is sent as it is, in letters that a form holds.
pub fn metrics(bytes: &[u8]) {
    for status in [200, 400, 503] {
        if let Err(why) = prometheus::number(status, bytes) {
            assert!((1..=300).contains(&why.chars().count()), "{why}");
        }
    }
    let Some(query) = crate::text::text(bytes) else { return };
    let form = prometheus::form(query);
    assert!(form.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~=".contains(&byte)), "{form}");
    assert_eq!(sent(form.strip_prefix("query=").unwrap()), query.as_bytes());
}

/// What a server reads of a form's value.
fn sent(value: &str) -> Vec<u8> {
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(byte, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
