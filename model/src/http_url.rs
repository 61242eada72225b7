//! The address of something that is asked over HTTP, in its parts.

use std::fmt;

use crate::limits;

/// An `http` or `https` address without user, password or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The name or address of the server, an IPv6 address without its brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, from the first slash on.
    pub path: String,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme, or none.
    #[error("{0:?} is no address to ask: write http://HOST/PATH or https://HOST/PATH")]
    Scheme(String),
    /// A user or a password.
    #[error("an address must not carry a user or a password: it is stored, and shown to everybody who may read environments")]
    Secret,
    /// No server, or one that cannot be.
    #[error("{0:?} names no server that can be asked")]
    Host(String),
    /// No port.
    #[error("{0:?} is no port")]
    Port(String),
    /// Characters that no request line holds.
    #[error("{0:?} has spaces, a fragment or other characters that no address holds")]
    Characters(String),
    /// Longer than any.
    #[error("an address has at most {max} bytes", max = limits::URL_BYTES_MAX)]
    TooLong,
}

impl HttpUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`InvalidUrl`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > limits::URL_BYTES_MAX {
            return Err(InvalidUrl::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte)) {
            return Err(InvalidUrl::Characters(shown()));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(InvalidUrl::Scheme(shown())),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidUrl::Secret);
        }
        let (host, port) = server(authority)?;
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => number(port).ok_or_else(|| InvalidUrl::Port(port.to_owned()))?,
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host, port, path })
    }
}

fn number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| digits && *number > 0)
}

/// The name of a server and its port, where one is given.
fn server(authority: &str) -> Result<(String, Option<&str>), InvalidUrl> {
    let wrong = || InvalidUrl::Host(authority.to_owned());
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<core::net::Ipv6Addr>().map_err(|_| wrong())?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
                return Err(wrong());
            }
            (host, port)
        }
    };
    Ok((host.to_owned(), port))
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

impl HttpUrl {
    /// Server and port as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_apart_and_together() {
        for (text, host, port, path) in [
            ("http://web-1/healthz", "web-1", 80, "/healthz"),
            ("https://web-1.example.org:8443/a?b=c", "web-1.example.org", 8443, "/a?b=c"),
            ("http://[::1]:9090/", "::1", 9090, "/"),
            ("https://10.0.0.1/", "10.0.0.1", 443, "/"),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.path.as_str(), url.to_string().as_str()), (host, port, path, text));
        }
        assert_eq!(HttpUrl::parse("http://a").unwrap().path, "/");
        assert_eq!(HttpUrl::parse("http://a?b").unwrap().path, "/?b");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let told = |text: &str| HttpUrl::parse(text).unwrap_err();
        for bad in ["", "web-1", "ftp://a/", "//a/", "HTTP://a/", "http:/a"] {
            assert!(matches!(told(bad), InvalidUrl::Scheme(_)), "{bad}");
        }
        for bad in ["http://ada:secret@a/", "http://ada@a"] {
            let error = told(bad);
            assert_eq!(error, InvalidUrl::Secret);
            assert!(!error.to_string().contains("ada"), "what must not be shown is not shown");
        }
        for bad in ["http:///x", "http://:80/", "http://[::1/", "http://[a]/", "http://[::1]80/", "http://a%41/"] {
            assert!(matches!(told(bad), InvalidUrl::Host(_)), "{bad}");
        }
        for bad in ["http://a:/", "http://a:0/", "http://a:65536/", "http://a:+80/x", "http://a:1:2/"] {
            assert!(matches!(told(bad), InvalidUrl::Port(_)), "{bad}");
        }
        for bad in ["http://a/ b", "http://a/\r\nX: y", "http://a/#b", "http://ä/"] {
            assert!(matches!(told(bad), InvalidUrl::Characters(_)), "{bad}");
        }
        assert_eq!(told(&format!("http://a/{}", "b".repeat(limits::URL_BYTES_MAX))), InvalidUrl::TooLong);
    }
}
