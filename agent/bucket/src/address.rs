//! Where a bucket is.

use roadstead_model::HttpUrl;

use crate::sign::encoded;

/// How a bucket is named in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// In the path: `https://s3.example.org/BUCKET/KEY`.
    #[default]
    Path,
    /// In the server's name: `https://BUCKET.s3.example.org/KEY`.
    Host,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server.
    pub endpoint: HttpUrl,
    /// What it is called.
    pub bucket: String,
    /// Where it is, as its server calls that.
    pub region: String,
    /// How it is named.
    pub style: Style,
}

impl Place {
    /// The server that is asked.
    pub(crate) fn server(&self) -> HttpUrl {
        match self.style {
            Style::Path => self.endpoint.clone(),
            Style::Host => HttpUrl { host: format!("{}.{}", self.bucket, self.endpoint.host), ..self.endpoint.clone() },
        }
    }

    /// The path of an object, encoded; that of the bucket itself without one.
    pub(crate) fn path(&self, key: &str) -> String {
        let key = encoded(key, false);
        match self.style {
            Style::Host => format!("/{key}"),
            Style::Path if key.is_empty() => format!("/{}", self.bucket),
            Style::Path => format!("/{}/{key}", self.bucket),
        }
    }

    /// For people.
    pub(crate) fn name(&self, key: &str) -> String {
        let slash = if key.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{key} at {}", self.bucket, self.endpoint.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_in_the_path_or_in_the_servers_name() {
        let endpoint = HttpUrl::parse("https://s3.example.org:9000").unwrap();
        let path = Place { endpoint, bucket: "backups".into(), region: "eu".into(), style: Style::Path };
        let host = Place { style: Style::Host, ..path.clone() };
        assert_eq!((path.server().authority().as_str(), path.path("erp/a b").as_str()), ("s3.example.org:9000", "/backups/erp/a%20b"));
        assert_eq!((host.server().authority().as_str(), host.path("erp/a").as_str()), ("backups.s3.example.org:9000", "/erp/a"));
        assert_eq!((path.path("").as_str(), host.path("").as_str()), ("/backups", "/"));
        assert_eq!(host.name("erp/a"), "s3://backups/erp/a at s3.example.org:9000");
    }
}
