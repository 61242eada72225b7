//! `[backup.APP]`: where this host keeps backups of an app's database, who can read them, and what it insists upon whatever it is told.

use roadstead_model::{AppName, BackupDemand, ProviderName};
use roadstead_secrets::ProviderSettings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

use super::bucket::{self, BucketSettings};
use super::traffic::{CommandSettings, Mistake, list, path, placed, user, word};

/// The folder where nothing else is said, as its package makes it.
const FOLDER: &str = "/var/lib/roadstead-backups";
const KEEP_DEFAULT: u32 = 7;
const KEEP_MAX: u32 = 1000;
/// Each job is a connection, and a process that packs.
const JOBS_MAX: u32 = 16;
const RECIPIENTS_MAX: usize = 20;
const WORDS_MAX: usize = 64;
/// A backup may take long; what ends it is the deadline of its order.
const COMMAND_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How backups of an app are made and kept on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupSettings {
    /// Where they lie.
    pub(crate) folder: PathBuf,
    /// Public keys of age; with any, backups are encrypted to them.
    pub(crate) recipients: Vec<String>,
    /// So many of the newest stay.
    pub(crate) keep: u32,
    /// Older ones go, but for the last that is good.
    pub(crate) keep_for: Option<Duration>,
    /// How many jobs dump and restore at once.
    pub(crate) jobs: u32,
    /// What the host insists upon, whatever an order says.
    pub(crate) at_least: BackupDemand,
    /// What makes them in place of the built-in way.
    pub(crate) command: Option<CommandSettings>,
    /// Where the secret key lies while an encrypted one is restored; nowhere else than where nothing is said.
    pub(crate) identity: Option<PathBuf>,
    /// Where they go when they are made, if they do not stay on the host.
    pub(crate) bucket: Option<BucketSettings>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from(FOLDER),
            recipients: Vec::new(),
            keep: KEEP_DEFAULT,
            keep_for: None,
            jobs: 1,
            at_least: BackupDemand::None,
            command: None,
            identity: None,
            bucket: None,
        }
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Section {
    directory: Option<Spanned<PathBuf>>,
    recipients: Option<Spanned<Vec<Spanned<String>>>>,
    keep: Option<Spanned<u32>>,
    keep_for: Option<Spanned<String>>,
    jobs: Option<Spanned<u32>>,
    at_least: Option<Spanned<String>>,
    command: Option<Spanned<Vec<Spanned<String>>>>,
    user: Option<Spanned<String>>,
    identity: Option<Spanned<PathBuf>>,
    bucket: Option<Spanned<bucket::Section>>,
}

impl Section {
    /// The settings that it makes, for an app.
    pub(super) fn check(self, app: &AppName, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Result<BackupSettings, Mistake> {
        if let Some(bucket) = &self.bucket {
            leaves(bucket.span().start, self.recipients.as_ref().is_some_and(|keys| !keys.get_ref().is_empty()), self.command.is_some())?;
        }
        let bucket = self.bucket.map(|bucket| bucket.into_inner().check(app, providers)).transpose()?;
        let default = BackupSettings::default();
        let or = |value: Option<Spanned<PathBuf>>, default| value.map_or(Ok(default), |value| placed(value, |p| folder(&p).map(|()| p)));
        let as_user = self.user.map(|text| placed(text, |text| user(&text).map(|()| text))).transpose()?;
        let command = match self.command {
            None => None,
            Some(words) => {
                let start = words.span().start;
                let words = list(Some(words), WORDS_MAX, word)?;
                if words.first().is_none_or(|program| path(Path::new(program)).is_err()) {
                    return Err((start, "the first word of `command` is the absolute path of a program".to_owned()));
                }
                Some(CommandSettings { words, within: COMMAND_WITHIN, user: as_user })
            }
        };
        Ok(BackupSettings {
            folder: or(self.directory, default.folder)?,
            recipients: list(self.recipients, RECIPIENTS_MAX, recipient)?,
            keep: self.keep.map_or(Ok(KEEP_DEFAULT), |keep| placed(keep, how_many))?,
            keep_for: self.keep_for.map(|text| placed(text, |text| how_long(&text))).transpose()?,
            jobs: self.jobs.map_or(Ok(default.jobs), |jobs| placed(jobs, how_many_jobs))?,
            at_least: self.at_least.map_or(Ok(default.at_least), |text| placed(text, |text| text.parse().map_err(text_of)))?,
            command,
            identity: self.identity.map(|value| placed(value, |p| path(&p).map(|()| p))).transpose()?,
            bucket,
        })
    }
}

/// Whether what is made here may go to a bucket.
fn leaves(at: usize, encrypted: bool, by_command: bool) -> Result<(), Mistake> {
    if by_command {
        return Err((at, "`command` says itself where its backups are: take it out, or `bucket`".to_owned()));
    }
    if !encrypted {
        let why = "a backup that leaves this host has to be encrypted: whoever reads the bucket would read the database. Add `recipients`, \
                   public keys of age, to the section above";
        return Err((at, why.to_owned()));
    }
    Ok(())
}

fn text_of(error: roadstead_model::InvalidDemand) -> String {
    error.to_string()
}

fn folder(folder: &Path) -> Result<(), String> {
    path(folder)?;
    match folder.components().count() {
        0..=2 => Err(format!("{} is no folder for backups: it is a part of the system", folder.display())),
        _ => Ok(()),
    }
}

fn how_many(keep: u32) -> Result<u32, String> {
    if (1..=KEEP_MAX).contains(&keep) { Ok(keep) } else { Err(format!("write how many backups are kept, 1 to {KEEP_MAX}")) }
}

fn how_many_jobs(jobs: u32) -> Result<u32, String> {
    if (1..=JOBS_MAX).contains(&jobs) { Ok(jobs) } else { Err(format!("write how many jobs work on a backup at once, 1 to {JOBS_MAX}")) }
}

fn how_long(text: &str) -> Result<Duration, String> {
    let days = ["d", "w"].into_iter().zip([1, 7]).find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(factor)
    });
    days.filter(|days| (1..=36_500).contains(days)).map(|days| Duration::from_secs(days * 24 * 3600)).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is no age of a backup: write days or weeks, such as \"30d\" or \"8w\"")
    })
}

/// A native public key of age: `age1` and the rest of a Bech32 text.
fn recipient(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = text.len() == 62 && text.starts_with("age1") && text.bytes().all(plain);
    if text.starts_with("AGE-SECRET-KEY-") {
        return Err("this is a secret key: it belongs to whoever restores backups, and never on this host. Write its public key, age1…, \
                    and make a new pair, since this one was written to a file of the host"
            .to_owned());
    }
    if fits {
        Ok(())
    } else {
        Err("this is no public key of age: it begins with age1 and has 62 letters and digits (see age-keygen)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<BackupSettings, String> {
        let section: Section = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        section.check(&AppName::parse("erp").unwrap(), &BTreeMap::new()).map_err(|(_, message)| message)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(of("").unwrap(), BackupSettings::default());
        let key = format!("age1{}", "q".repeat(58));
        let given = of(&format!(
            "directory = \"/mnt/backups\"\nrecipients = [\"{key}\"]\nkeep = 3\nkeep-for = \"30d\"\nat-least = \"listed\"\n\
             command = [\"/usr/local/sbin/snap\", \"erp\"]\nuser = \"backup\"\n"
        ))
        .unwrap();
        assert_eq!((given.folder.to_str(), given.keep, given.recipients.len()), (Some("/mnt/backups"), 3, 1));
        assert_eq!(given.keep_for, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(given.at_least.to_string(), "listed");
        assert_eq!(given.command.unwrap().user.as_deref(), Some("backup"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, says) in [
            ("directory = \"/etc\"", "part of the system"),
            ("directory = \"backups\"", "no absolute path"),
            ("recipients = [\"AGE-SECRET-KEY-1QQ\"]", "secret key"),
            ("recipients = [\"age1short\"]", "no public key"),
            ("keep = 0", "1 to 1000"),
            ("jobs = 0", "1 to 16"),
            ("jobs = 17", "1 to 16"),
            ("keep-for = \"30\"", "days or weeks"),
            ("keep-for = \"99999999999999999999d\"", "days or weeks"),
            ("at-least = \"sworn\"", "\"restored\""),
            ("command = [\"pg_dump\"]", "absolute path"),
            ("command = []", "absolute path"),
            ("identity = \"key.txt\"", "no absolute path"),
            ("kep = 3", "unknown"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
