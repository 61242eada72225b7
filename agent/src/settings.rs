//! The operator's settings of a host: `/etc/roadstead/agent.toml`. Absent means all defaults.

mod backup;
mod bucket;
mod migrations;
mod secrets;
mod statics;
mod traffic;

use roadstead_model::{AppName, ProviderName, limits, mistake};
use roadstead_secrets::ProviderSettings;
use roadstead_worker::files::{FileError, read_bounded};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

pub(crate) use backup::BackupSettings;
pub(crate) use bucket::BucketSettings;
pub(crate) use migrations::MigrationSettings;
pub(crate) use statics::StaticSettings;
pub(crate) use traffic::{CommandSettings, HaProxySettings, NginxSettings, TrafficSettings};

/// What is done more often than this would be noticed by users of the host; what is done less often, by nobody.
const RHYTHM_LEAST: Duration = Duration::from_secs(10);
const RHYTHM_MOST: Duration = Duration::from_secs(24 * 3600);

/// The settings, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the controller is (`host:port`), when it is not where the agent enrolled.
    pub(crate) controller: Option<String>,
    /// How often apps are looked at beside what was deployed, when that is said; `Some(None)`: never.
    pub(crate) drift_every: Option<Option<Duration>>,
    /// What the host's operator allows apps, by name.
    pub(crate) apps: BTreeMap<AppName, AppSettings>,
    /// How the traffic of apps is shared out, where this host does that.
    pub(crate) traffic: BTreeMap<AppName, TrafficSettings>,
    /// How backups of the databases of apps are made and kept here.
    pub(crate) backups: BTreeMap<AppName, BackupSettings>,
    /// Where static files of apps are published.
    pub(crate) statics: BTreeMap<AppName, StaticSettings>,
    /// Credentials of their own for the migrations of apps.
    pub(crate) migrations: BTreeMap<AppName, MigrationSettings>,
    /// Where this host has secrets from.
    pub(crate) secrets: BTreeMap<ProviderName, ProviderSettings>,
}

/// What the host's operator allows one app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AppSettings {
    /// An existing system user that the app may run as.
    pub(crate) user: Option<String>,
    /// Units of the team's own that the app's release may restart or reload.
    pub(crate) units: Vec<String>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Someone else could have written it.
    #[error("{} can be written by others than its owner: run chmod go-w on it", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// It is no TOML, or says something that is not known.
    #[error("{}:{mistake}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Line, column, what is wrong and what was probably meant.
        mistake: String,
    },
    /// An address is not `host:port`.
    #[error("{where_from}: {text:?} is not the address of a controller; write host:port, such as deploy.example.org:7443")]
    Address {
        /// Where it stands.
        where_from: String,
        /// The text.
        text: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fragment {
    controller: Option<String>,
    #[serde(rename = "drift-every")]
    drift_every: Option<Spanned<String>>,
    apps: BTreeMap<AppName, AppSettings>,
    traffic: BTreeMap<AppName, Spanned<traffic::Section>>,
    backup: BTreeMap<AppName, backup::Section>,
    #[serde(rename = "static")]
    statics: BTreeMap<AppName, Spanned<statics::Section>>,
    migrations: BTreeMap<AppName, migrations::Section>,
    secrets: BTreeMap<ProviderName, Spanned<secrets::Section>>,
}

impl Settings {
    /// How backups of an app's database are made and kept here, where nothing is said too.
    pub(crate) fn backup(&self, app: &AppName) -> BackupSettings {
        self.backups.get(app).cloned().unwrap_or_default()
    }

    /// Reads the settings.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes = match read_bounded(path, limits::CONFIG_FILE_BYTES_MAX) {
            Err(error) if error.is_missing() => return Ok(Self::default()),
            bytes => bytes?,
        };
        let mode = std::fs::metadata(path).map_err(|e| FileError::new("look at", path, e))?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(SettingsError::Exposed { path: path.to_path_buf() });
        }
        let text = String::from_utf8_lossy(&bytes);
        let settings = parse(&text).map_err(|mistake| SettingsError::Content { path: path.to_path_buf(), mistake })?;
        if let Some(controller) = &settings.controller {
            check_address(controller, &path.display().to_string())?;
        }
        Ok(settings)
    }
}

/// Reads the text of the file; a mistake is told as `LINE:COLUMN: what`.
pub(crate) fn parse(text: &str) -> Result<Settings, String> {
    let fragment: Fragment =
        toml::from_str(text).map_err(|error| mistake::located(text, error.span().map_or(0, |span| span.start), error.message()))?;
    let mut traffic = BTreeMap::new();
    for (app, section) in fragment.traffic {
        let at = section.span().start;
        let settings = section.into_inner().check(&app, at).map_err(|(at, message)| mistake::located(text, at, &message))?;
        traffic.insert(app, settings);
    }
    let mut secrets = BTreeMap::new();
    for (name, section) in fragment.secrets {
        let at = section.span().start;
        let settings = section.into_inner().check(at).map_err(|(at, message)| mistake::located(text, at, &message))?;
        secrets.insert(name, settings);
    }
    let mut backups = BTreeMap::new();
    for (app, section) in fragment.backup {
        let settings = section.check(&app, &secrets).map_err(|(at, message)| mistake::located(text, at, &message))?;
        backups.insert(app, settings);
    }
    let mut statics = BTreeMap::new();
    for (app, section) in fragment.statics {
        let at = section.span().start;
        let settings = section.into_inner().check(&app, at, &secrets).map_err(|(at, message)| mistake::located(text, at, &message))?;
        statics.insert(app, settings);
    }
    let mut migrations = BTreeMap::new();
    for (app, section) in fragment.migrations {
        let settings = section.check(&app, &secrets).map_err(|(at, message)| mistake::located(text, at, &message))?;
        migrations.insert(app, settings);
    }
    let drift_every = fragment.drift_every.map(|every| {
        let at = every.span().start;
        rhythm(every.as_ref()).map_err(|message| mistake::located(text, at, &message))
    });
    let (controller, drift_every, apps) = (fragment.controller, drift_every.transpose()?, fragment.apps);
    Ok(Settings { controller, drift_every, apps, traffic, backups, statics, migrations, secrets })
}

/// How often something is done: a span such as `5m`, or `off`.
fn rhythm(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    let seconds = ["s", "m", "h"].into_iter().zip([1, 60, 3600]).find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(factor)
    });
    let fits = seconds.map(Duration::from_secs).filter(|span| (RHYTHM_LEAST..=RHYTHM_MOST).contains(span));
    fits.map(Some).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is no rhythm: write a span from \"10s\" to \"24h\", such as \"5m\", or \"off\"")
    })
}

/// Checks that an address is `host:port`.
pub(crate) fn check_address(text: &str, where_from: &str) -> Result<(), SettingsError> {
    let error = || SettingsError::Address { where_from: where_from.to_owned(), text: text.chars().take(120).collect() };
    if is_address(text) { Ok(()) } else { Err(error()) }
}

/// Whether a text is `host:port`.
fn is_address(text: &str) -> bool {
    text.len() <= 300
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            let bracketed =
                |h: &str| h.strip_prefix('[').and_then(|h| h.strip_suffix(']')).is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
            port.parse::<u16>().is_ok_and(|port| port > 0) && ((!host.is_empty() && host.chars().all(plain)) || bracketed(host))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_bundle::trust::TrustedKeys;
    use roadstead_worker::failure::chain;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path)
    }

    #[test]
    fn the_file_says_what_apps_may_do() {
        let settings =
            read("controller = \"deploy.example.org:7443\"\n[apps.erp]\nuser = \"erp-live\"\nunits = [\"erp-web.service\"]\n").unwrap();
        assert_eq!(settings.controller.as_deref(), Some("deploy.example.org:7443"));
        let erp = &settings.apps[&AppName::parse("erp").unwrap()];
        assert_eq!((erp.user.as_deref(), erp.units.as_slice()), (Some("erp-live"), &["erp-web.service".to_owned()][..]));
        assert_eq!(Settings::read(Path::new("/nonexistent/agent.toml")).unwrap(), Settings::default());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let error = chain(&read("[apps.erp]\nusr = \"x\"\n").unwrap_err());
        assert!(error.ends_with("agent.toml:2:1: unknown key `usr`: did you mean `user`?"), "{error}");
        assert!(chain(&read("[apps.\"../x\"]\n").unwrap_err()).contains("app name"));
        assert!(chain(&read("controller = \"http://x\"\n").unwrap_err()).contains("host:port"));
    }

    /// The section of docs/configuration.md about a file: what it names, and its blocks.
    fn documented(heading: &str) -> (String, Vec<String>) {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")).unwrap();
        let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let section = rest.split("\n## ").next().unwrap().to_owned();
        let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| Some(block.split_once('\n')?.1.to_owned())).collect();
        (section, blocks)
    }

    #[test]
    fn the_page_names_every_key_and_its_example_is_read() {
        let (section, blocks) = documented("agent.toml");
        for block in &blocks {
            let settings = read(block).unwrap();
            assert_ne!(settings, Settings::default());
        }
        let tables = [
            ("", "zzzzzz = 1"),
            ("apps.APP.", "[apps.erp]\nzzzzzz = 1"),
            ("traffic.APP.", "[traffic.erp]\nprovider = \"nginx\"\nzzzzzz = 1"),
            ("backup.APP.", "[backup.erp]\nzzzzzz = 1"),
            ("backup.APP.bucket.", "[backup.erp.bucket]\nzzzzzz = 1"),
            ("static.APP.", "[static.erp]\nzzzzzz = 1"),
            ("static.APP.bucket.", "[static.erp.bucket]\nzzzzzz = 1"),
            ("migrations.APP.", "[migrations.erp]\nenv = {}\nzzzzzz = 1"),
            ("secrets.NAME.", "[secrets.vault]\nkind = \"vault\"\nzzzzzz = 1"),
        ];
        for (table, unknown) in tables {
            let error = parse(unknown).err().unwrap();
            for key in error
                .split_once("known are ")
                .unwrap()
                .1
                .split(", ")
                .filter(|key| !["apps", "traffic", "backup", "static", "migrations", "secrets"].contains(key))
                .filter(|key| (table, *key) != ("static.APP.bucket.", "keep-here"))
            {
                assert!(section.contains(&format!("| `{table}{key}` |")), "docs/configuration.md does not tell of {table}{key}");
            }
        }
        let (_, blocks) = documented("apps/APP.env");
        let variables = crate::host::environment_file::parse(&blocks[0]).unwrap();
        assert_eq!(variables.len(), 3);
        let (section, blocks) = documented("release-keys.toml");
        let key = || roadstead_bundle::sign::SigningKey::generate().unwrap().public().to_string();
        let text = blocks[0].replace("ed25519:KEY-OF-CI", &key()).replace("ed25519:KEY-OF-THE-RELEASE-MANAGERS", &key());
        assert_eq!(TrustedKeys::read(&text).unwrap().threshold(), 2);
        for (list, unknown) in [("", "zzzzzz = 1"), ("key.", "[[key]]\nzzzzzz = 1")] {
            let error = TrustedKeys::read(unknown).unwrap_err().to_string();
            for key in error.split_once("known are ").unwrap().1.split(", ") {
                assert!(section.contains(&format!("| `{list}{key}` |")), "docs/configuration.md does not tell of {list}{key}");
            }
        }
    }

    #[test]
    fn the_examples_of_the_page_about_secrets_are_read() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md")).unwrap();
        let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= 3, "the examples are there");
        for block in blocks {
            assert!(!read(block).unwrap_or_else(|error| panic!("{block}: {}", chain(&error))).secrets.is_empty());
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Settings::read(&path), Err(SettingsError::Exposed { .. })));
    }

    #[test]
    fn a_rhythm_is_a_span_or_off() {
        let every = |text: &str| read(&format!("drift-every = \"{text}\"\n")).map(|settings| settings.drift_every);
        assert_eq!(every("5m").unwrap(), Some(Some(Duration::from_secs(300))));
        assert_eq!(every("off").unwrap(), Some(None));
        for bad in ["", "5", "1s", "25h", "-5m", "5 m", "99999999999999999999h", "5184000000000000h"] {
            let error = chain(&every(bad).unwrap_err());
            assert!(error.contains("agent.toml:1:15:") && error.contains("is no rhythm"), "{error}");
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["a:1", "10.0.0.1:7443", "[::1]:7443", "deploy_1.example.org:65535"] {
            assert!(check_address(good, "x").is_ok(), "{good}");
        }
        for bad in
            ["", "a", "a:", ":7443", "a:0", "a:99999", "::1:7443", "[x]:1", "a b:1", "https://a:1", &format!("{}:1", "a".repeat(400))]
        {
            assert!(check_address(bad, "x").is_err(), "{bad}");
        }
    }
}
