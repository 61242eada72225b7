//! `/etc/roadstead/controller.toml`: everything has a default, what is not known is refused.

use roadstead_model::{AdminName, Millis, RoleName, limits, mistake};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A certificate that lives longer than this is a stolen one for longer than this.
const HOST_CERTIFICATE_MINUTES_MAX: u32 = 30 * 24 * 60;

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Where agents and admins connect.
    pub(crate) listen: SocketAddr,
    /// Where everything is kept.
    pub(crate) state: PathBuf,
    /// How agents and admins reach this machine, `HOST:PORT`; goes into credentials. By default the host name and the port above.
    pub(crate) address: Option<String>,
    /// How often agents say that they are there, in seconds.
    pub(crate) heartbeat_seconds: u32,
    /// How long the certificate of a host lives, in minutes. A host renews it after half to three quarters of that; one that hears
    /// nothing of the controller until its end has to enroll again.
    pub(crate) host_certificate_minutes: u32,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// What admins are trusted with beyond the common, such as to approve rollouts.
    pub(crate) roles: Roles,
}

/// Who has which role.
pub(crate) type Roles = BTreeMap<RoleName, BTreeSet<AdminName>>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            state: PathBuf::from("/var/lib/roadstead-controller"),
            address: None,
            heartbeat_seconds: 10,
            host_certificate_minutes: 24 * 60,
            connections: 20_000,
            roles: Roles::new(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any such file.
    #[error("{path} has {bytes} bytes; it may have {max}", path = path.display(), max = limits::CONFIG_FILE_BYTES_MAX)]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file holds something that is not known or does not fit.
    #[error("{path}:{message}", path = path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Line, column, what is wrong and what was probably meant.
        message: String,
    },
}

impl Settings {
    /// Reads the file; without one everything is as by default.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.to_path_buf(), source };
        let bytes = match std::fs::metadata(path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if bytes > limits::CONFIG_FILE_BYTES_MAX {
            return Err(SettingsError::TooLarge { path: path.to_path_buf(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|message| SettingsError::Invalid { path: path.to_path_buf(), message })
    }

    /// Reads the text of the file; a mistake is told as `LINE:COLUMN: what`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |at: usize, what: &str| mistake::located(text, at, what);
        let settings: Self = toml::from_str(text).map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
        let place = |key: &str| text.find(key).unwrap_or(0);
        if !(1..=300).contains(&settings.heartbeat_seconds) {
            return Err(wrong(place("heartbeat-seconds"), &format!("heartbeat-seconds = {}: it is 1 to 300", settings.heartbeat_seconds)));
        }
        if !(1..=HOST_CERTIFICATE_MINUTES_MAX).contains(&settings.host_certificate_minutes) {
            let minutes = settings.host_certificate_minutes;
            let what = format!("host-certificate-minutes = {minutes}: it is 1 to {HOST_CERTIFICATE_MINUTES_MAX} (30 days)");
            return Err(wrong(place("host-certificate-minutes"), &what));
        }
        if settings.connections == 0 {
            return Err(wrong(place("connections"), "connections = 0: then nobody could connect"));
        }
        Ok(settings)
    }

    /// How often agents say that they are there.
    pub(crate) const fn heartbeat(&self) -> Millis {
        // As `u64::from`, which a const function cannot call.
        Millis::from_secs(self.heartbeat_seconds as u64)
    }

    /// How long the certificate of a host lives.
    pub(crate) const fn host_lifetime(&self) -> Millis {
        Millis::from_secs(self.host_certificate_minutes as u64 * 60)
    }

    /// How agents and admins reach this machine.
    pub(crate) fn reachable_at(&self) -> String {
        self.address.clone().unwrap_or_else(|| {
            let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
            format!("{}:{}", name.unwrap_or_else(|| "localhost".to_owned()), self.listen.port())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default_and_unknown_keys_are_refused() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        assert_eq!(Settings::parse("heartbeat-seconds = 3").unwrap().heartbeat(), Millis(3000));
        let error = Settings::parse("listen = \"0.0.0.0:1\"\nlissten = 1").unwrap_err();
        assert_eq!(error, "2:1: unknown key `lissten`: did you mean `listen`?");
        assert_eq!(Settings::parse("\nheartbeat-seconds = 0").unwrap_err(), "2:1: heartbeat-seconds = 0: it is 1 to 300");
        assert!(Settings::parse("connections = 0").is_err());
        assert_eq!(Settings::parse("host-certificate-minutes = 1").unwrap().host_lifetime(), Millis(60_000));
        assert_eq!(Settings::default().host_lifetime(), roadstead_pki::HOST_LIFETIME);
        for minutes in [0, 30 * 24 * 60 + 1] {
            let error = Settings::parse(&format!("host-certificate-minutes = {minutes}")).unwrap_err();
            assert!(error.starts_with("1:1: ") && error.contains("1 to 43200"), "{error}");
        }
    }

    #[test]
    fn the_page_names_every_key_and_its_example_is_read() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap();
        let section = page.split_once("\n## controller.toml\n").unwrap().1.split("\n## ").next().unwrap();
        let example = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let read = Settings::parse(example).unwrap();
        assert_eq!(Settings { address: None, ..read }, Settings::default(), "the example shows the defaults");
        let known = Settings::parse("zzzzzz = 1").unwrap_err();
        for key in known.split_once("known are ").unwrap().1.split(", ") {
            assert!(section.contains(&format!("| `{key}` |")), "docs/configuration.md does not tell of {key}");
            assert!(example.contains(&format!("{key} = ")), "the example does not show {key}");
        }
    }
}
