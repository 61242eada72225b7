//! `[traffic.APP]`: how this host, a balancer, is spoken to about the servers of an app. Everything that ends up in a command of HAProxy
//! or in a file of nginx is checked here, once.

use roadstead_model::{AppName, HostName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

use super::is_address;

/// Bytes of a unix socket's address, less the one that ends it.
const SOCKET_PATH_MAX: usize = 107;
const NAME_MAX: usize = 128;
const OPTIONS_MAX: usize = 32;
const WORDS_MAX: usize = 64;
const WITHIN_DEFAULT: Duration = Duration::from_secs(60);
const WITHIN_MAX: Duration = Duration::from_secs(600);

/// How the balancer of an app is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrafficSettings {
    /// HAProxy, through its runtime socket.
    HaProxy(HaProxySettings),
    /// nginx, through a file that it includes.
    Nginx(NginxSettings),
    /// Anything else, through a command of the operator's.
    Command(CommandSettings),
}

/// Where HAProxy is, and what it calls things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HaProxySettings {
    /// Its runtime socket.
    pub(crate) socket: PathBuf,
    /// The backend of the app.
    pub(crate) backend: String,
    /// Servers that are not called as their hosts are.
    pub(crate) servers: BTreeMap<HostName, String>,
}

impl HaProxySettings {
    /// What a host's server is called.
    pub(crate) fn server<'a>(&'a self, host: &'a HostName) -> &'a str {
        self.servers.get(host).map_or(host.as_str(), String::as_str)
    }
}

/// What nginx is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NginxSettings {
    /// The upstream's name.
    pub(crate) upstream: String,
    /// The file that holds it.
    pub(crate) file: PathBuf,
    /// Where the server of each host is.
    pub(crate) servers: BTreeMap<HostName, String>,
    /// Lines of the upstream.
    pub(crate) options: Vec<String>,
}

/// A command of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandSettings {
    /// Its words; the first is an absolute path.
    pub(crate) words: Vec<String>,
    /// How long each run may take.
    pub(crate) within: Duration,
    /// As whom it runs; root otherwise.
    pub(crate) user: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    HaProxy,
    Nginx,
    Command,
}

impl Provider {
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::HaProxy => &["socket", "backend", "servers"],
            Self::Nginx => &["upstream", "file", "servers", "options"],
            Self::Command => &["command", "within", "user"],
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Command => "command",
        })
    }
}

/// A section as it is written: the keys of all providers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    provider: Provider,
    socket: Option<Spanned<PathBuf>>,
    backend: Option<Spanned<String>>,
    upstream: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
    servers: Option<Spanned<BTreeMap<HostName, Spanned<String>>>>,
    options: Option<Spanned<Vec<Spanned<String>>>>,
    command: Option<Spanned<Vec<Spanned<String>>>>,
    within: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
}

/// Where a mistake is, in bytes, and what it is.
pub(super) type Mistake = (usize, String);

impl Section {
    /// The settings that it makes, for the app that it is about. `at` is where it stands.
    pub(super) fn check(self, app: &AppName, at: usize) -> Result<TrafficSettings, Mistake> {
        self.keys_fit()?;
        match self.provider {
            Provider::HaProxy => Ok(TrafficSettings::HaProxy(HaProxySettings {
                socket: checked(self.socket, "/run/haproxy/admin.sock", socket)?,
                backend: checked(self.backend, app.as_str(), name)?,
                servers: servers(self.servers, name)?,
            })),
            Provider::Nginx => Ok(TrafficSettings::Nginx(NginxSettings {
                upstream: checked(self.upstream, app.as_str(), name)?,
                file: checked(self.file, format!("/etc/nginx/conf.d/roadstead-{app}.conf"), path)?,
                // Nobody but this file says where requests go.
                servers: match self.servers {
                    Some(given) => servers(Some(given), address)?,
                    None => return Err((at, "provider \"nginx\" needs `servers`: HOST = \"address:port\" of each host".to_owned())),
                },
                options: list(self.options, OPTIONS_MAX, option)?,
            })),
            Provider::Command => {
                let Some(command) = self.command else {
                    return Err((at, "provider \"command\" needs `command`: the words of the command to run".to_owned()));
                };
                let start = command.span().start;
                let words = list(Some(command), WORDS_MAX, word)?;
                if words.first().is_none_or(|program| path(Path::new(program)).is_err()) {
                    return Err((start, "the first word of `command` is the absolute path of a program".to_owned()));
                }
                let within = self.within.map(|text| placed(text, |text| within(&text))).transpose()?.unwrap_or(WITHIN_DEFAULT);
                let user = self.user.map(|text| placed(text, |text| user(&text).map(|()| text))).transpose()?;
                Ok(TrafficSettings::Command(CommandSettings { words, within, user }))
            }
        }
    }

    fn keys_fit(&self) -> Result<(), Mistake> {
        let given = [
            ("socket", self.socket.as_ref().map(Spanned::span)),
            ("backend", self.backend.as_ref().map(Spanned::span)),
            ("upstream", self.upstream.as_ref().map(Spanned::span)),
            ("file", self.file.as_ref().map(Spanned::span)),
            ("servers", self.servers.as_ref().map(Spanned::span)),
            ("options", self.options.as_ref().map(Spanned::span)),
            ("command", self.command.as_ref().map(Spanned::span)),
            ("within", self.within.as_ref().map(Spanned::span)),
            ("user", self.user.as_ref().map(Spanned::span)),
        ];
        let keys = self.provider.keys();
        let foreign = |(key, span): (&'static str, Option<Range<usize>>)| span.filter(|_| !keys.contains(&key)).map(|span| (key, span));
        match given.into_iter().find_map(foreign) {
            None => Ok(()),
            Some((key, span)) => {
                let message = format!("`{key}` is no key of provider \"{}\", which has {}", self.provider, keys.join(", "));
                Err((span.start, message))
            }
        }
    }
}

/// A value that passes, or the default of its key.
fn checked<T, D: ?Sized + ToOwned>(
    value: Option<Spanned<T>>,
    default: impl Into<T>,
    check: fn(&D) -> Result<(), String>,
) -> Result<T, Mistake>
where
    T: std::borrow::Borrow<D>,
{
    let Some(value) = value else { return Ok(default.into()) };
    placed(value, |value| check(value.borrow()).map(|()| value))
}

pub(super) fn placed<T, U>(value: Spanned<T>, check: impl FnOnce(T) -> Result<U, String>) -> Result<U, Mistake> {
    let start = value.span().start;
    check(value.into_inner()).map_err(|message| (start, message))
}

pub(super) fn list(
    values: Option<Spanned<Vec<Spanned<String>>>>,
    max: usize,
    check: fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, Mistake> {
    let Some(values) = values else { return Ok(Vec::new()) };
    if values.get_ref().len() > max {
        return Err((values.span().start, format!("more than {max} are too many")));
    }
    values.into_inner().into_iter().map(|value| placed(value, |text| check(&text).map(|()| text))).collect()
}

fn servers(
    values: Option<Spanned<BTreeMap<HostName, Spanned<String>>>>,
    check: fn(&str) -> Result<(), String>,
) -> Result<BTreeMap<HostName, String>, Mistake> {
    let mut servers: BTreeMap<HostName, String> = BTreeMap::new();
    for (host, value) in values.map(Spanned::into_inner).unwrap_or_default() {
        let start = value.span().start;
        let server = placed(value, |text| check(&text).map(|()| text))?;
        if let Some((other, _)) = servers.iter().find(|(_, known)| **known == server) {
            return Err((start, format!("{other} and {host} cannot both be {server:?}")));
        }
        servers.insert(host, server);
    }
    Ok(servers)
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// A name that is one word in a command of HAProxy and in a file of nginx.
fn name(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("{} is no name for it: 1 to {NAME_MAX} letters, digits, '.', '_' and '-'", shown(text)))
}

pub(super) fn path(path: &Path) -> Result<(), String> {
    let plain = path.to_str().is_some_and(|text| !text.chars().any(char::is_control) && text.len() <= 1024);
    let up = path.components().any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && plain && !up && path.file_name().is_some() {
        return Ok(());
    }
    Err(format!("{} is no absolute path without ..", shown(&path.to_string_lossy())))
}

fn socket(socket: &Path) -> Result<(), String> {
    path(socket)?;
    if socket.as_os_str().len() > SOCKET_PATH_MAX { Err(format!("a socket's path has at most {SOCKET_PATH_MAX} bytes")) } else { Ok(()) }
}

fn address(text: &str) -> Result<(), String> {
    if text.starts_with("unix:") {
        return Err(format!(
            "{} is a unix socket, whose connections cannot be counted: a drained server would never be known to be idle; write host:port",
            shown(text)
        ));
    }
    if is_address(text) { Ok(()) } else { Err(format!("{} is no address: write host:port, such as 10.0.0.11:8080", shown(text))) }
}

/// A line of an upstream, which stays one line.
fn option(text: &str) -> Result<(), String> {
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    if first.is_empty() || text.len() > 200 || text.chars().any(|c| c.is_control() || ";{}#".contains(c)) {
        return Err(format!(
            "{} is no line of an upstream: write it without ; {{ }} # and line breaks, such as \"keepalive 32\"",
            shown(text)
        ));
    }
    if first == "server" {
        return Err("the servers of the upstream are written by the agent: say where they are in `servers`".to_owned());
    }
    Ok(())
}

pub(super) fn word(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 4096 || text.chars().any(char::is_control) {
        return Err(format!("{} is no word of a command: it is empty, too long or has a control character", shown(text)));
    }
    Ok(())
}

pub(super) fn within(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is no time for a command: write 1s to {}s", shown(text), WITHIN_MAX.as_secs());
    let (digits, factor) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 60),
        (None, None) => return Err(wrong()),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().filter(|_| plain).and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
    let within = Duration::from_secs(seconds);
    if (Duration::from_secs(1)..=WITHIN_MAX).contains(&within) { Ok(within) } else { Err(wrong()) }
}

pub(super) fn user(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && text.len() <= 32 && text.bytes().all(plain) { Ok(()) } else { Err(format!("{} is no name of a user", shown(text))) }
}

#[cfg(test)]
mod tests;
