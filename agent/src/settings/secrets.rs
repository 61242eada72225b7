//! `[secrets.NAME]`: where this host has secrets from, how it shows there who it is, and what apps may have of it. References to secrets
//! come from elsewhere; addresses, files, programs and logins are said here and nowhere else.

use roadstead_model::{AppName, HttpUrl, SecretPath};
use roadstead_secrets::{
    AgeSettings, ClientFiles, CommandSettings, CredentialSettings, Engine, Format, HostFile, KindSettings, Login, PLACEHOLDERS, Pattern,
    ProviderSettings, VaultSettings,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

use super::traffic::{Mistake, list, path, placed, user, within, word};

const ADDRESSES_MAX: usize = 16;
const PATTERNS_MAX: usize = 100;
const IDENTITIES_MAX: usize = 16;
const WORDS_MAX: usize = 64;
const WITHIN_DEFAULT: Duration = Duration::from_secs(30);
const AGE: &str = "/usr/bin/age";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Vault,
    Credential,
    Age,
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LoginKind {
    Token,
    AppRole,
    Certificate,
}

impl Kind {
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Vault => &[
                "addresses",
                "authorities",
                "namespace",
                "mounts",
                "login",
                "login-mount",
                "role",
                "certificate",
                "key",
                "own-identity",
                "token-file",
                "role-id-file",
                "secret-id-file",
                "insecure",
            ],
            Self::Credential => &["format"],
            Self::Age => &["identities", "program", "format"],
            Self::Command => &["command", "environment", "user", "within", "format", "newest"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Credential => "credential",
            Self::Age => "age",
            Self::Command => "command",
        })
    }
}

impl LoginKind {
    /// The keys of this login, and where it is mounted where nothing else is said.
    const fn keys(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Token => (&["token-file"], "token"),
            Self::AppRole => (&["login-mount", "role-id-file", "secret-id-file"], "approle"),
            Self::Certificate => (&["login-mount", "role", "certificate", "key", "own-identity"], "cert"),
        }
    }
}

/// A section as it is written: the keys of all kinds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    kind: Kind,
    apps: Option<Vec<AppName>>,
    allow: Option<Spanned<Vec<Spanned<String>>>>,
    addresses: Option<Spanned<Vec<Spanned<String>>>>,
    authorities: Option<Spanned<PathBuf>>,
    namespace: Option<Spanned<String>>,
    mounts: Option<Spanned<BTreeMap<Spanned<String>, Engine>>>,
    login: Option<Spanned<LoginKind>>,
    login_mount: Option<Spanned<String>>,
    role: Option<Spanned<String>>,
    certificate: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
    own_identity: Option<Spanned<bool>>,
    token_file: Option<Spanned<String>>,
    role_id_file: Option<Spanned<String>>,
    secret_id_file: Option<Spanned<String>>,
    insecure: Option<Spanned<bool>>,
    identities: Option<Spanned<Vec<Spanned<String>>>>,
    program: Option<Spanned<PathBuf>>,
    command: Option<Spanned<Vec<Spanned<String>>>>,
    environment: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    user: Option<Spanned<String>>,
    within: Option<Spanned<String>>,
    format: Option<Spanned<Format>>,
    newest: Option<Spanned<String>>,
}

impl Section {
    /// The settings that it makes. `at` is where it stands.
    pub(super) fn check(mut self, at: usize) -> Result<ProviderSettings, Mistake> {
        let kind = self.kind;
        self.only(kind.keys(), &format!("kind \"{kind}\""))?;
        let apps = self.apps.take().unwrap_or_default().into_iter().collect();
        let allow = self.allow.take();
        let (kind, usual) = match kind {
            Kind::Vault => {
                let vault = self.vault(at)?;
                let usual = vault.mounts.keys().flat_map(|mount| [format!("{mount}/{{app}}"), format!("{mount}/{{app}}/*")]).collect();
                (KindSettings::Vault(Box::new(vault)), usual)
            }
            Kind::Credential => {
                let credential = CredentialSettings { format: self.format(Format::Text), ..CredentialSettings::default() };
                (KindSettings::Credential(credential), vec!["{app}".to_owned(), "{app}.*".to_owned()])
            }
            // Whatever is in the tree is of the app's own release.
            Kind::Age => (KindSettings::Age(self.age(at)?), vec!["*".to_owned()]),
            Kind::Command => (KindSettings::Command(self.command(at)?), vec!["{app}".to_owned(), "{app}/*".to_owned()]),
        };
        Ok(ProviderSettings { kind, apps, allow: patterns(allow, usual)? })
    }

    fn vault(mut self, at: usize) -> Result<VaultSettings, Mistake> {
        let insecure = self.insecure.take().is_some_and(Spanned::into_inner);
        let needs = |what: &str| (at, format!("kind \"vault\" needs {what}"));
        let addresses = self.addresses.take().ok_or_else(|| needs("`addresses`: such as [\"https://vault.example.org:8200\"]"))?;
        let start = addresses.span().start;
        let addresses: Vec<HttpUrl> = list(Some(addresses), ADDRESSES_MAX, |text| address(text).map(drop))?
            .iter()
            .map(|text| address(text).and_then(|url| spoken_to(url, insecure)).map_err(|message| (start, message)))
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err((start, "`addresses` names no server".to_owned()));
        }
        let Some(login) = self.login.take() else { return Err(needs("`login`: \"certificate\", \"approle\" or \"token\"")) };
        let (login, login_mount) = self.login(login)?;
        let authorities = self.authorities.map(checked_path).transpose()?;
        let namespace = self.namespace.map(|text| placed(text, |text| below(&text))).transpose()?;
        Ok(VaultSettings { addresses, authorities, namespace, mounts: mounts(self.mounts)?, login, login_mount })
    }

    fn login(&mut self, kind: Spanned<LoginKind>) -> Result<(Login, SecretPath), Mistake> {
        let (at, kind) = (kind.span().start, kind.into_inner());
        let (keys, mount) = kind.keys();
        let name = format!("{kind:?}").to_lowercase();
        let all = ["login-mount", "role", "certificate", "key", "own-identity", "token-file", "role-id-file", "secret-id-file"];
        if let Some((key, span)) = self.given().into_iter().find(|(key, _)| all.contains(key) && !keys.contains(key)) {
            return Err((span.start, format!("`{key}` is no key of login \"{name}\", which has {}", keys.join(", "))));
        }
        let mut file = |of: fn(&mut Self) -> &mut Option<Spanned<String>>| of(self).take().map(|text| placed(text, host_file)).transpose();
        let needs =
            |key: &str| (at, format!("login \"{name}\" needs `{key}`: the path of a file that root alone can read, or credential:NAME"));
        let login = match kind {
            LoginKind::Token => Login::Token(file(|own| &mut own.token_file)?.ok_or_else(|| needs("token-file"))?),
            LoginKind::AppRole => Login::AppRole {
                role_id: file(|own| &mut own.role_id_file)?.ok_or_else(|| needs("role-id-file"))?,
                secret_id: file(|own| &mut own.secret_id_file)?,
            },
            LoginKind::Certificate => {
                let own = self.own_identity.take().is_some_and(Spanned::into_inner);
                let files = match (self.certificate.take(), self.key.take()) {
                    (None, None) if own => None,
                    (Some(certificate), Some(key)) if !own => {
                        Some(ClientFiles { certificate: checked_path(certificate)?, key: checked_path(key)? })
                    }
                    // The fleet's authority lies on the controller: whoever takes that over could be any host. Nobody gets that unasked.
                    _ => return Err((at, "login \"certificate\" needs `certificate` and `key`, or `own-identity = true`".to_owned())),
                };
                Login::Certificate {
                    files,
                    role: self.role.take().map(|text| placed(text, |text| plain_name(&text).map(|()| text))).transpose()?,
                }
            }
        };
        let mount =
            self.login_mount.take().map_or_else(|| below(mount).map_err(|message| (at, message)), |text| placed(text, |text| below(&text)));
        Ok((login, mount?))
    }

    fn age(self, at: usize) -> Result<AgeSettings, Mistake> {
        let format = self.format(Format::Env);
        let identities = list(self.identities, IDENTITIES_MAX, |text| secret_path(text).map(drop))?;
        if identities.is_empty() {
            return Err((at, "kind \"age\" needs `identities`: paths of files of age's secret keys that root alone can read".to_owned()));
        }
        let program = self.program.map_or_else(|| Ok(PathBuf::from(AGE)), checked_path)?;
        Ok(AgeSettings { program, identities: identities.into_iter().map(PathBuf::from).collect(), format })
    }

    fn command(self, at: usize) -> Result<CommandSettings, Mistake> {
        let format = self.format(Format::Text);
        let Some(command) = self.command else {
            let message = format!(
                "kind \"command\" needs `command`: its words, in which {} stand for what a reference says",
                PLACEHOLDERS.join(", ")
            );
            return Err((at, message));
        };
        let start = command.span().start;
        let words = list(Some(command), WORDS_MAX, of_command)?;
        if words.first().is_none_or(|program| path(Path::new(program)).is_err() || program.contains('{')) {
            return Err((start, "the first word of `command` is the absolute path of a program".to_owned()));
        }
        if !words.iter().any(|word| word.contains("{path}")) {
            return Err((start, "no word of `command` has {path}: every reference would get the same".to_owned()));
        }
        let environment = self.environment.map(Spanned::into_inner).unwrap_or_default().into_iter();
        let environment = environment.map(|(name, value)| placed(value, |value| variable(&name, &value).map(|()| (name, value))));
        Ok(CommandSettings {
            words,
            environment: environment.collect::<Result<_, _>>()?,
            user: self.user.map(|text| placed(text, |text| user(&text).map(|()| text))).transpose()?,
            within: self.within.map(|text| placed(text, |text| within(&text))).transpose()?.unwrap_or(WITHIN_DEFAULT),
            format,
            newest: self.newest.map(|text| placed(text, |text| plain_name(&text).map(|()| text))).transpose()?,
        })
    }

    fn format(&self, usual: Format) -> Format {
        self.format.as_ref().map_or(usual, |format| *format.get_ref())
    }

    /// The keys of kinds that are there, and where.
    fn given(&self) -> Vec<(&'static str, Range<usize>)> {
        fn span<T>(value: Option<&Spanned<T>>) -> Option<Range<usize>> {
            value.map(Spanned::span)
        }
        let spans = [
            ("addresses", span(self.addresses.as_ref())),
            ("authorities", span(self.authorities.as_ref())),
            ("namespace", span(self.namespace.as_ref())),
            ("mounts", span(self.mounts.as_ref())),
            ("login", span(self.login.as_ref())),
            ("login-mount", span(self.login_mount.as_ref())),
            ("role", span(self.role.as_ref())),
            ("certificate", span(self.certificate.as_ref())),
            ("key", span(self.key.as_ref())),
            ("own-identity", span(self.own_identity.as_ref())),
            ("token-file", span(self.token_file.as_ref())),
            ("role-id-file", span(self.role_id_file.as_ref())),
            ("secret-id-file", span(self.secret_id_file.as_ref())),
            ("insecure", span(self.insecure.as_ref())),
            ("identities", span(self.identities.as_ref())),
            ("program", span(self.program.as_ref())),
            ("command", span(self.command.as_ref())),
            ("environment", span(self.environment.as_ref())),
            ("user", span(self.user.as_ref())),
            ("within", span(self.within.as_ref())),
            ("format", span(self.format.as_ref())),
            ("newest", span(self.newest.as_ref())),
        ];
        spans.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
    }

    fn only(&self, keys: &[&str], of: &str) -> Result<(), Mistake> {
        match self.given().into_iter().find(|(key, _)| !keys.contains(key)) {
            None => Ok(()),
            Some((key, span)) => Err((span.start, format!("`{key}` is no key of {of}, which has {}", keys.join(", ")))),
        }
    }
}

fn patterns(allow: Option<Spanned<Vec<Spanned<String>>>>, usual: Vec<String>) -> Result<Vec<Pattern>, Mistake> {
    let at = allow.as_ref().map_or(0, |allow| allow.span().start);
    let texts = match allow {
        None => usual,
        allow => list(allow, PATTERNS_MAX, |text| Pattern::parse(text).map(drop))?,
    };
    texts.iter().map(|text| Pattern::parse(text).map_err(|message| (at, message))).collect()
}

fn mounts(given: Option<Spanned<BTreeMap<Spanned<String>, Engine>>>) -> Result<BTreeMap<SecretPath, Engine>, Mistake> {
    let Some(given) = given else { return Ok([(below("secret").map_err(|message| (0, message))?, Engine::Kv)].into()) };
    given.into_inner().into_iter().map(|(mount, engine)| Ok((placed(mount, |mount| below(&mount))?, engine))).collect()
}

fn address(text: &str) -> Result<HttpUrl, String> {
    let url = HttpUrl::parse(text).map_err(|error| error.to_string())?;
    if url.path == "/" {
        Ok(url)
    } else {
        Err(format!("{} has a path: write the server alone, such as https://vault.example.org:8200", url.authority()))
    }
}

/// Without TLS, whoever is on the way reads tokens and secrets.
fn spoken_to(url: HttpUrl, insecure: bool) -> Result<HttpUrl, String> {
    let loopback = url.host == "localhost" || url.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.tls || loopback || insecure {
        return Ok(url);
    }
    Err(format!("http://{} would be asked in clear: write https://, or `insecure = true` if nobody is on the way to it", url.authority()))
}

/// A namespace or a mount.
fn below(text: &str) -> Result<SecretPath, String> {
    SecretPath::parse(text).map_err(|_| {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        format!("{shown:?} is no path of Vault's: write it without a '/' at its ends, such as team/erp")
    })
}

fn plain_name(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 128 && text.bytes().all(plain) {
        return Ok(());
    }
    Err("this is no name for it: 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first".to_owned())
}

fn checked_path(given: Spanned<PathBuf>) -> Result<PathBuf, Mistake> {
    placed(given, |given| path(&given).map(|()| given))
}

/// The path of a file that holds a secret. What is none may be the secret, and is not shown.
fn secret_path(text: &str) -> Result<PathBuf, String> {
    let given = PathBuf::from(text);
    let wrong = "this is no absolute path of a file: write where the secret is, never the secret itself";
    if text.starts_with('/') && path(&given).is_ok() { Ok(given) } else { Err(wrong.to_owned()) }
}

fn host_file(text: String) -> Result<HostFile, String> {
    match text.strip_prefix("credential:") {
        Some(name) => plain_name(name).map(|()| HostFile::Credential(name.to_owned())),
        None => secret_path(&text).map(HostFile::Path).map_err(|wrong| wrong + " (credential:NAME for a credential of systemd)"),
    }
}

/// A word of a command, in which nothing else in braces stands than what is known.
fn of_command(text: &str) -> Result<(), String> {
    word(text)?;
    let unknown = PLACEHOLDERS.iter().fold(text.to_owned(), |text, known| text.replace(known, ""));
    let named = |c: char| c.is_ascii_lowercase();
    let is_one = |rest: &str| rest.find('}').is_some_and(|end| end > 0 && rest[..end].chars().all(named));
    match unknown.split('{').skip(1).find(|rest| is_one(rest)) {
        None => Ok(()),
        Some(rest) => {
            Err(format!("{{{}}} stands for nothing: known are {}", rest.split('}').next().unwrap_or_default(), PLACEHOLDERS.join(", ")))
        }
    }
}

fn variable(name: &str, value: &str) -> Result<(), String> {
    let fits = roadstead_model::VariableName::parse(name).is_ok() && !value.chars().any(char::is_control) && value.len() <= 4096;
    if fits { Ok(()) } else { Err("this is no variable for a command: its name, its length or a control character in it".to_owned()) }
}

#[cfg(test)]
mod tests;
