//! `[backup.APP.bucket]` and `[static.APP.bucket]`: the S3-compatible bucket that backups or static files of an app go to. Its keys are
//! references to secrets, never keys.

use roadstead_bucket::{Place, Style};
use roadstead_model::{AppName, HttpUrl, ProviderName, SecretRef};
use roadstead_secrets::ProviderSettings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use toml::Spanned;

use super::migrations::known;
use super::traffic::{Mistake, path, placed};

const REGION: &str = "us-east-1";
const PREFIX_BYTES_MAX: usize = 200;
/// What the names of AWS's keys begin with.
const KEYS_BEGIN: [&str; 2] = ["AKIA", "ASIA"];

/// A bucket for something of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BucketSettings {
    /// The bucket.
    pub(crate) place: Place,
    /// What the keys of its objects begin with, before a slash.
    pub(crate) prefix: String,
    /// Whom the server is believed by, where it is not this machine.
    pub(crate) authorities: Option<PathBuf>,
    /// Where the name of the key is.
    pub(crate) access_key: SecretRef,
    /// Where the key is.
    pub(crate) secret_key: SecretRef,
    /// Where a session's token is, for keys that hold for a while.
    pub(crate) session_token: Option<SecretRef>,
    /// Whether the file of a backup stays on the host, too.
    pub(crate) keep_here: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HowNamed {
    #[default]
    Path,
    Host,
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    endpoint: Spanned<String>,
    bucket: Spanned<String>,
    prefix: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    style: Option<Spanned<HowNamed>>,
    ca: Option<Spanned<PathBuf>>,
    access_key: Spanned<String>,
    secret_key: Spanned<String>,
    session_token: Option<Spanned<String>>,
    keep_here: Option<Spanned<bool>>,
}

impl Section {
    /// Where it says something that is of backups alone.
    pub(super) fn is_of_backups(&self) -> Option<usize> {
        self.keep_here.as_ref().map(|value| value.span().start)
    }

    /// The settings that it makes, for an app.
    pub(super) fn check(self, app: &AppName, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Result<BucketSettings, Mistake> {
        let key = |text: Spanned<String>| {
            placed(text, |text| {
                let reference = reference(&text)?;
                known(app, &reference.provider, providers)?;
                Ok(reference)
            })
        };
        let or = |text: Option<Spanned<String>>, default: &str, check: fn(&str) -> Result<(), String>| {
            text.map_or_else(|| Ok(default.to_owned()), |text| placed(text, |text| check(&text).map(|()| text)))
        };
        let endpoint = placed(self.endpoint, |text| endpoint(&text))?;
        let bucket = placed(self.bucket, |text| name(&text).map(|()| text))?;
        let style = match self.style {
            Some(given) if matches!(given.get_ref(), HowNamed::Host) => {
                placed(given, |_| in_the_servers_name(&endpoint, &bucket).map(|()| Style::Host))?
            }
            _ => Style::Path,
        };
        Ok(BucketSettings {
            place: Place { endpoint, bucket, region: or(self.region, REGION, region)?, style },
            prefix: or(self.prefix, app.as_str(), prefix)?,
            authorities: self.ca.map(|file| placed(file, |file| path(&file).map(|()| file))).transpose()?,
            access_key: key(self.access_key)?,
            secret_key: key(self.secret_key)?,
            session_token: self.session_token.map(key).transpose()?,
            keep_here: self.keep_here.is_some_and(Spanned::into_inner),
        })
    }
}

/// Where a key is. What is no reference may be the key, and is not shown.
fn reference(text: &str) -> Result<SecretRef, String> {
    SecretRef::parse(text).map_err(|error| {
        let in_clear = KEYS_BEGIN.iter().any(|begin| text.starts_with(begin)) || (text.len() >= 20 && !text.contains(':'));
        let again = if in_clear { "; if this was a key, make a new one: this one was written to a file of the host" } else { "" };
        format!("{error}{again}")
    })
}

fn endpoint(text: &str) -> Result<HttpUrl, String> {
    let url = HttpUrl::parse(text).map_err(|error| error.to_string())?;
    if url.path != "/" {
        return Err(format!("{} has a path: write the server alone, such as https://s3.example.org", url.authority()));
    }
    if url.tls || url.host == "localhost" || address(&url).is_some_and(|address| address.is_loopback()) {
        return Ok(url);
    }
    Err(format!("http://{} would be spoken to in clear: write https://, with `ca` for an authority of your own", url.authority()))
}

fn address(url: &HttpUrl) -> Option<IpAddr> {
    url.host.parse().ok()
}

/// A name that every server of S3 takes.
fn name(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fits = (3..=63).contains(&text.len()) && text.bytes().all(plain) && !text.contains("..");
    if fits && ends(text.bytes().next()) && ends(text.bytes().last()) {
        return Ok(());
    }
    Err("a bucket's name is 3 to 63 small letters, digits, '-' and '.', a letter or digit at its ends".to_owned())
}

fn in_the_servers_name(endpoint: &HttpUrl, bucket: &str) -> Result<(), String> {
    if address(endpoint).is_some() {
        return Err("an address has no names below it: write style = \"path\", or the name of the server as `endpoint`".to_owned());
    }
    if endpoint.tls && bucket.contains('.') {
        return Err("no certificate is for a name with the dots of this bucket: write style = \"path\"".to_owned());
    }
    Ok(())
}

fn region(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    if fits { Ok(()) } else { Err("a region is 1 to 64 letters, digits, '-' and '_', such as eu-central-1".to_owned()) }
}

fn prefix(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let part = |part: &str| part.bytes().all(plain) && part.bytes().any(|byte| byte != b'.');
    if text.len() <= PREFIX_BYTES_MAX && text.split('/').all(part) {
        return Ok(());
    }
    Err(format!(
        "a prefix is parts of letters, digits, '.', '_' and '-', joined by '/', at most {PREFIX_BYTES_MAX} bytes, such as production/erp"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const MORE: &str = "[secrets.keys]\nkind = \"credential\"\n[secrets.closed]\nkind = \"credential\"\napps = [\"shop\"]\n";

    fn text(backup: &str, bucket: &str) -> String {
        format!("{MORE}[backup.erp]\n{backup}\n[backup.erp.bucket]\n{bucket}")
    }

    fn read(backup: &str, bucket: &str) -> Result<BucketSettings, String> {
        let settings = parse(&text(backup, bucket))?;
        Ok(settings.backups[&AppName::parse("erp").unwrap()].bucket.clone().unwrap())
    }

    fn recipients() -> String {
        format!("recipients = [\"age1{}\"]", "q".repeat(58))
    }

    /// A section in which these keys are other than usual.
    fn section(other: &[(&str, &str)]) -> String {
        let usual = [
            ("endpoint", "https://s3.example.org"),
            ("bucket", "backups"),
            ("access-key", "keys:erp.bucket-access"),
            ("secret-key", "keys:erp.bucket-secret"),
        ];
        let keys: BTreeMap<_, _> = usual.iter().chain(other).copied().collect();
        keys.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect()
    }

    fn of(other: &[(&str, &str)]) -> Result<BucketSettings, String> {
        read(&recipients(), &section(other))
    }

    #[test]
    fn little_has_to_be_said_and_everything_can() {
        let little = of(&[]).unwrap();
        assert_eq!((little.prefix.as_str(), little.place.region.as_str(), little.place.style), ("erp", "us-east-1", Style::Path));
        assert!(!little.keep_here && little.session_token.is_none() && little.authorities.is_none());
        let much = of(&[
            ("prefix", "production/erp.v2"),
            ("region", "eu-central-1"),
            ("style", "host"),
            ("ca", "/etc/roadstead/s3-ca.pem"),
            ("session-token", "keys:erp.bucket-token"),
        ])
        .unwrap();
        assert_eq!((much.prefix.as_str(), much.place.style), ("production/erp.v2", Style::Host));
        assert!(much.session_token.is_some() && much.authorities.is_some());
        for loopback in ["http://127.0.0.1:9000", "http://[::1]:9000", "http://localhost:9000"] {
            assert!(of(&[("endpoint", loopback)]).is_ok(), "{loopback}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_key_is_shown() {
        for (key, value, says) in [
            ("endpoint", "http://s3.example.org", "in clear"),
            ("endpoint", "http://10.0.0.1:9000", "in clear"),
            ("endpoint", "https://s3.example.org/backups", "has a path"),
            ("endpoint", "s3.example.org", "no address"),
            ("bucket", "Backups", "3 to 63"),
            ("bucket", "a", "3 to 63"),
            ("bucket", "a..b", "3 to 63"),
            ("bucket", "-ab", "3 to 63"),
            ("prefix", "", "a prefix is"),
            ("prefix", "/erp", "a prefix is"),
            ("prefix", "erp/../shop", "a prefix is"),
            ("prefix", "erp?x", "a prefix is"),
            ("region", "eu central", "a region is"),
            ("style", "dns", "known are path, host"),
            ("ca", "ca.pem", "no absolute path"),
            ("access-key", "AKIACANARYCANARY", "make a new one"),
            ("secret-key", "canary/canary/canary/canary", "make a new one"),
            ("secret-key", "canary", "never write the secret itself"),
            ("secret-key", "vault:secret/erp#key", "no section [secrets.vault]"),
            ("session-token", "closed:erp.token", "does not name erp"),
            ("keep", "3", "unknown"),
        ] {
            let error = of(&[(key, value)]).unwrap_err();
            assert!(error.contains(says) && !error.to_lowercase().contains("canary"), "{key} = {value}: {error}");
            let line: usize = error.split(':').next().unwrap().parse().unwrap();
            assert!(text(&recipients(), &section(&[(key, value)])).lines().nth(line - 1).unwrap().starts_with(key), "{key}: {error}");
        }
        for (endpoint, bucket, says) in
            [("https://10.0.0.1", "backups", "an address has no names"), ("https://s3.example.org", "a.b", "no certificate is")]
        {
            let error = of(&[("endpoint", endpoint), ("bucket", bucket), ("style", "host")]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_leaves_the_host_is_encrypted() {
        let bucket = "endpoint = \"https://s3.example.org\"\nbucket = \"backups\"\naccess-key = \"keys:a\"\nsecret-key = \"keys:b\"\n";
        let error = read("keep = 3", bucket).unwrap_err();
        assert!(error.starts_with("8:1: ") && error.contains("`recipients`") && error.contains("leaves this host"), "{error}");
        let error = read(&format!("{}\ncommand = [\"/usr/local/sbin/snap\"]", recipients()), bucket).unwrap_err();
        assert!(error.contains("`command`"), "{error}");
        assert!(read(&recipients(), bucket).is_ok());
    }
}
