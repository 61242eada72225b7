//! What Vault answers, read. Pure. What cannot be read makes a text of ours: what the reader of JSON says of it may show a value.

use serde::Deserialize;
use std::collections::BTreeMap;

// By where they are from here: the fuzzer's properties compile these files, too.
use super::super::fault::Fault;
use super::super::value::{Value, Values};

/// A value of KV, version 2.
#[derive(Debug)]
pub(super) struct Kv {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) version: u64,
}

/// What is issued for a time, and what is said of it when it is renewed.
#[derive(Debug, Deserialize)]
pub(super) struct Issued {
    #[serde(default)]
    pub(super) lease_id: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    pub(super) data: Option<Values>,
}

/// What a login gives, and what is said of a token when it is renewed.
#[derive(Debug, Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Value,
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What is said of a token.
#[derive(Debug, Deserialize)]
pub(super) struct OwnToken {
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

#[derive(Deserialize)]
struct KvData {
    data: Option<Values>,
    metadata: Option<KvMetadata>,
}

#[derive(Deserialize)]
struct KvMetadata {
    version: u64,
    #[serde(default)]
    destroyed: bool,
}

/// Reads a value of KV, version 2.
pub(super) fn kv(body: &[u8]) -> Result<Kv, &'static str> {
    let what = "it is no answer of a KV secrets engine of version 2";
    let read: Wrapped<KvData> = serde_json::from_slice(body).map_err(|_| what)?;
    let (Some(values), Some(metadata)) = (read.data.data, read.data.metadata) else { return Err(what) };
    Ok(Kv { values: values.0, version: metadata.version })
}

/// Reads the number of the newest version.
pub(super) fn newest(body: &[u8]) -> Result<u64, &'static str> {
    #[derive(Deserialize)]
    struct Metadata {
        current_version: u64,
    }
    let read: Wrapped<Metadata> = serde_json::from_slice(body).map_err(|_| "it is no metadata of a KV secrets engine of version 2")?;
    Ok(read.data.current_version)
}

/// Reads what was issued, or renewed.
pub(super) fn issued(body: &[u8]) -> Result<Issued, &'static str> {
    serde_json::from_slice(body).map_err(|_| "it is no answer about a lease")
}

/// Reads what a login or the renewal of a token gives.
pub(super) fn auth(body: &[u8]) -> Result<Auth, &'static str> {
    #[derive(Deserialize)]
    struct Login {
        auth: Auth,
    }
    let read: Login = serde_json::from_slice(body).map_err(|_| "it is no answer to a login")?;
    Ok(read.auth)
}

/// Reads what is said of the token that asks.
pub(super) fn own_token(body: &[u8]) -> Result<OwnToken, &'static str> {
    let read: Wrapped<OwnToken> = serde_json::from_slice(body).map_err(|_| "it is no answer about a token")?;
    Ok(read.data)
}

/// How a server does, by its word.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    pub(super) initialized: bool,
    pub(super) sealed: bool,
    #[serde(default)]
    pub(super) version: String,
}

/// Reads how a server does.
pub(super) fn health(body: &[u8]) -> Result<Health, &'static str> {
    serde_json::from_slice(body).map_err(|_| "it is no answer about a server's health")
}

/// What an answer that is no success means. `path` is what was asked for.
pub(super) fn refusal(status: u16, body: &[u8], address: &str, path: &str) -> Fault {
    let address = address.to_owned();
    let says = Said::read(body);
    match status {
        403 => Fault::Denied { address },
        404 => match kv_version(body) {
            Some(KvMetadata { version, destroyed }) => Fault::Deleted { version, destroyed },
            None if says.contains("no handler for route") || says.contains("unsupported path") => {
                Fault::NoMount(path.split(['/', '?']).next().unwrap_or_default().to_owned())
            }
            None => Fault::Missing { place: format!("{address}/v1/{path}") },
        },
        503 if says.contains("sealed") => Fault::Sealed { address },
        // Of `sys/health` 472 and 473 are servers that stand by, 412 is one that has not caught up.
        412 | 429 | 472 | 473 | 500..=599 => Fault::Busy { address, status },
        _ => Fault::Refused { address, status },
    }
}

/// Whether a server refuses a lease because it does not know it.
pub(super) fn is_unknown_lease(body: &[u8]) -> bool {
    let says = Said::read(body);
    says.contains("lease not found") || says.contains("invalid lease")
}

fn kv_version(body: &[u8]) -> Option<KvMetadata> {
    serde_json::from_slice::<Wrapped<KvData>>(body).ok()?.data.metadata
}

/// What a server says is wrong: only looked into for words that are known, and not shown.
struct Said(Vec<String>);

impl Said {
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        Self(serde_json::from_slice::<Errors>(body).map(|read| read.errors).unwrap_or_default())
    }

    fn contains(&self, words: &str) -> bool {
        self.0.iter().any(|said| said.contains(words))
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As https://developer.hashicorp.com/vault/api-docs shows them.
    const KV: &str = r#"{"data":{"data":{"foo":"bar","port":5432},"metadata":{"created_time":"2018-03-22T02:24:06.945319214Z",
        "custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}}"#;
    const DELETED: &str =
        r#"{"request_id":"x","data":{"data":null,"metadata":{"deletion_time":"2018-03-22T02:36:43Z","destroyed":false,"version":1}}}"#;
    const DESTROYED: &str = r#"{"data":{"data":null,"metadata":{"deletion_time":"","destroyed":true,"version":7}}}"#;
    const CREDS: &str = r#"{"lease_id":"database/creds/readonly/abcd","lease_duration":3600,"renewable":true,"data":{"username":"v-root","password":"canary"}}"#;

    #[test]
    fn answers_are_read_as_they_are_documented() {
        let read = kv(KV.as_bytes()).unwrap();
        assert_eq!((read.version, read.values["foo"].reveal(), read.values["port"].reveal()), (2, &b"bar"[..], &b"5432"[..]));
        let issued = issued(CREDS.as_bytes()).unwrap();
        assert_eq!((issued.lease_id.as_str(), issued.lease_duration, issued.renewable), ("database/creds/readonly/abcd", 3600, true));
        assert!(!format!("{issued:?}").contains("canary"));
        let login = r#"{"auth":{"client_token":"s.canary","accessor":"a","policies":["p"],"lease_duration":1200,"renewable":true}}"#;
        let login = auth(login.as_bytes()).unwrap();
        assert_eq!((login.client_token.reveal(), login.lease_duration, login.renewable), (&b"s.canary"[..], 1200, true));
        assert!(!format!("{login:?}").contains("canary"));
        assert_eq!(newest(br#"{"data":{"current_version":3,"versions":{}}}"#).unwrap(), 3);
        assert_eq!(own_token(br#"{"data":{"ttl":0,"id":"canary"}}"#).unwrap().ttl, 0);
        let health = health(br#"{"initialized":true,"sealed":false,"standby":true,"version":"1.2"}"#).unwrap();
        assert!(health.initialized && !health.sealed);
    }

    #[test]
    fn refusals_are_told_apart() {
        let told = |status, body: &str| refusal(status, body.as_bytes(), "vault:8200", "secret/data/erp");
        assert!(matches!(told(403, r#"{"errors":["permission denied"]}"#), Fault::Denied { .. }));
        assert!(matches!(told(404, r#"{"errors":[]}"#), Fault::Missing { .. }));
        assert!(matches!(told(404, DELETED), Fault::Deleted { version: 1, destroyed: false }));
        assert!(matches!(told(404, DESTROYED), Fault::Deleted { version: 7, destroyed: true }));
        let unmounted = told(404, r#"{"errors":["no handler for route 'secret/data/erp'"]}"#);
        assert!(matches!(&unmounted, Fault::NoMount(mount) if mount == "secret"), "{unmounted}");
        assert!(matches!(told(503, r#"{"errors":["Vault is sealed"]}"#), Fault::Sealed { .. }));
        for status in [412, 429, 472, 473, 500, 502, 503, 599] {
            let busy = told(status, "<html>canary</html>");
            assert!(matches!(busy, Fault::Busy { .. }) && busy.is_transient() && !busy.to_string().contains("canary"));
        }
        for status in [200, 400, 405, 418] {
            assert!(matches!(told(status, r#"{"errors":["canary"]}"#), Fault::Refused { .. }));
        }
        assert!(is_unknown_lease(br#"{"errors":["lease not found"]}"#) && !is_unknown_lease(b"lease not found"));
    }

    fn all(body: &[u8]) -> Vec<String> {
        let mut shown =
            vec![format!("{:?}", kv(body)), format!("{:?}", newest(body)), format!("{:?}", own_token(body)), format!("{:?}", auth(body))];
        shown.push(format!("{:?}", issued(body).map(|issued| (issued.data, issued.lease_duration))));
        shown.extend([404, 403, 503, 400].map(|status| refusal(status, body, "a", "p").to_string()));
        shown
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_of_a_value_is_shown(
            base in prop::sample::select(vec![KV, DELETED, DESTROYED, CREDS, r#"{"auth":{"client_token":"canary","lease_duration":1}}"#, r#"{"errors":["canary"]}"#]),
            cut in 0_usize..400, put in "[{}\\[\\]\":,a-z0-9]{0,6}"
        ) {
            let mut body = base.replace("bar", "canary");
            let at = (0..=cut.min(body.len())).rev().find(|at| body.is_char_boundary(*at)).unwrap();
            body.insert_str(at, &put);
            for shown in all(body.as_bytes()).into_iter().chain(all(&body.as_bytes()[..at])) {
                prop_assert!(!shown.contains("canary"), "{}", shown);
            }
        }
    }
}
