//! What an app's programs must not tell: the values that the host's operator set for it as root, and those that the host's providers of
//! secrets gave, for its releases or for the steps of its migrations. Nothing that leaves the host shows them: where one stands in output or
//! in a failure, the variable is named instead.

use roadstead_model::hidden::Hidden;
use roadstead_model::{AppName, Failure, ReleaseId, VariableName, limits};
use roadstead_worker::files::read_bounded;
use roadstead_worker::tasks::blocking;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::credentials;
use crate::host::environment_file;
use crate::layout::Layout;

/// Environment files of releases that are read: more than a host keeps.
const FILES_MAX: usize = 64;

/// An environment file of a release: what a configuration and the host's file hold, with all that has to be escaped.
pub(crate) const ENVIRONMENT_BYTES_MAX: u64 = 4 * limits::CONFIG_FILE_BYTES_MAX;

/// The values to hide.
#[derive(Debug, Default)]
pub(crate) struct Secrets(RwLock<Known>);

/// They are looked for together: one may be a part of another.
#[derive(Default)]
struct Known {
    values: Vec<(String, String)>,
    hidden: Hidden,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hidden.fmt(f)
    }
}

impl Secrets {
    /// What the host's operator set for an app, now and when its releases were prepared.
    pub(crate) async fn of(layout: &Layout, app: &AppName) -> Self {
        let (layout, app) = (layout.clone(), app.clone());
        blocking(move || Self::read(&layout, &app)).await
    }

    fn read(layout: &Layout, app: &AppName) -> Self {
        let now = variables(&layout.host_variables(app));
        let mut values: BTreeSet<(VariableName, String)> = BTreeSet::new();
        // What providers gave is secret, whatever it is called.
        let mut given: BTreeSet<(VariableName, String)> = BTreeSet::new();
        let found = std::fs::read_dir(layout.secret_files(app)).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in found.filter(|path| path.extension().is_some_and(|extension| extension == "env")).take(FILES_MAX) {
            given.extend(variables(&path));
        }
        given.extend(credentials::hidden(layout, app));
        // A value that was changed meanwhile, or taken out, is still what the release runs with.
        for entry in std::fs::read_dir(layout.environment_files(app)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".env")).and_then(|id| ReleaseId::parse(id).ok()) else {
                continue;
            };
            let own = names(&layout.own_names(app, &id));
            values.extend(variables(&entry.path()).into_iter().filter(|(name, _)| now.contains_key(name) || own.contains(name)));
        }
        values.extend(now);
        // What every path of the app says is no secret.
        let public = layout.app(app).display().to_string();
        let hidden = values.into_iter().filter(|(name, value)| !is_public(name) && !public.contains(value.as_str())).chain(given);
        let secrets = Self::default();
        secrets.add(hidden);
        secrets
    }

    /// Hides these from now on, too.
    pub(crate) fn add(&self, values: impl IntoIterator<Item = (VariableName, String)>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.values.extend(values.into_iter().map(|(name, value)| (format!("[value of {name}]"), value)));
        known.hidden = Hidden::new(known.values.iter().cloned());
    }

    /// The text without the values.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).hidden.hide(text)
    }

    fn hide_in_end<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).hidden.hide_in_end(text)
    }

    /// The failure without the values.
    pub(crate) fn hide_in(&self, failure: &Failure) -> Failure {
        let shown = Failure::new(failure.kind, self.hide(&failure.summary), self.hide(&failure.hint));
        // What does not fit a detail was cut off at its head, perhaps within a character.
        let was_cut = failure.detail.len() + char::MAX.len_utf8() > limits::FAILURE_DETAIL_BYTES_MAX;
        let detail = if was_cut { self.hide_in_end(&failure.detail) } else { self.hide(&failure.detail) };
        shown.with_detail(&detail)
    }
}

/// Names of variables, one a line.
fn names(path: &std::path::Path) -> BTreeSet<VariableName> {
    let Ok(bytes) = read_bounded(path, limits::CONFIG_FILE_BYTES_MAX) else { return BTreeSet::new() };
    String::from_utf8_lossy(&bytes).lines().filter_map(|line| VariableName::parse(line).ok()).collect()
}

/// Whether a variable says by its name that its value is nobody's secret: hiding words such as `production`, `django` or `localhost` would
/// make errors unreadable.
fn is_public(name: &VariableName) -> bool {
    let last = name.as_str().rsplit('_').next().unwrap_or_default().to_ascii_uppercase();
    matches!(
        last.as_str(),
        "DEBUG"
            | "ENV"
            | "ENVIRONMENT"
            | "HOST"
            | "HOSTS"
            | "LANG"
            | "LEVEL"
            | "MODE"
            | "MODULE"
            | "NAME"
            | "PORT"
            | "REGION"
            | "TZ"
            | "USER"
            | "ZONE"
    )
}

/// The variables of a file; of one that is not in order, what stands behind each `=`.
fn variables(path: &std::path::Path) -> BTreeMap<VariableName, String> {
    let Ok(bytes) = read_bounded(path, ENVIRONMENT_BYTES_MAX) else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(&bytes);
    environment_file::parse(&text).unwrap_or_else(|_| {
        let assigned = text.lines().filter_map(|line| line.split_once('='));
        let trimmed = assigned.map(|(name, value)| (name.trim(), value.trim().trim_matches(['"', '\'']).to_owned()));
        trimmed.filter_map(|(name, value)| Some((VariableName::parse(name).ok()?, value))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::FailureKind;

    #[test]
    fn a_name_may_say_that_its_value_is_no_secret() {
        let public = |name: &str| is_public(&VariableName::parse(name).unwrap());
        for name in ["DB_USER", "DJANGO_SETTINGS_MODULE", "ENVIRONMENT", "REDIS_HOST", "ALLOWED_HOSTS", "db_name"] {
            assert!(public(name), "{name}");
        }
        for name in ["SECRET_KEY", "DATABASE_URL", "DB_PASSWORD", "PW", "USER_TOKEN", "SENTRY_DSN", "DB"] {
            assert!(!public(name), "{name}");
        }
    }

    fn secrets(value: &str) -> Secrets {
        let secrets = Secrets::default();
        secrets.add([(VariableName::parse("KEY").unwrap(), value.to_owned())]);
        secrets
    }

    #[test]
    fn failures_are_hidden_in_all_their_parts() {
        let failure = Failure::new(FailureKind::Command, "a s3cr3t-key", "b s3cr3t-key").with_detail("c s3cr3t-key\nd");
        let told = secrets("s3cr3t-key").hide_in(&failure);
        assert_eq!((told.summary.as_str(), told.hint.as_str()), ("a [value of KEY]", "b [value of KEY]"));
        assert_eq!(told.detail, "c [value of KEY]\nd");
    }

    #[test]
    fn a_detail_that_was_cut_within_a_value_shows_nothing_of_it() {
        let value: String = (0..40).map(|n| char::from(b'A' + n % 26)).collect();
        for kept in 6..value.len() {
            let whole = format!("{value}{}", "\n".repeat(limits::FAILURE_DETAIL_BYTES_MAX - kept));
            let told = secrets(&value).hide_in(&Failure::new(FailureKind::Unit, "x", "").with_detail(&whole));
            // What stands for it may be longer, and is cut in its turn.
            assert!("[value of KEY]".ends_with(told.detail.trim_end()), "{kept}: {}", told.detail.trim_end());
            assert!(told.detail.len() <= limits::FAILURE_DETAIL_BYTES_MAX);
        }
    }

    #[test]
    fn the_files_of_the_app_say_what_is_secret() {
        let root = tempfile::tempdir().unwrap();
        let (layout, app) = (Layout::new(root.path()), AppName::parse("erp").unwrap());
        assert_eq!(Secrets::read(&layout, &app).hide("s3cr3t-key"), "s3cr3t-key");
        let local = layout.host_variables(&app);
        std::fs::create_dir_all(local.parent().unwrap()).unwrap();
        std::fs::create_dir_all(layout.environment_files(&app)).unwrap();
        let folder = layout.app(&app).display().to_string();
        std::fs::write(&local, format!("SECRET_KEY=\"s3cr3t-key\"\nMEDIA=\"{folder}\"\n")).unwrap();
        std::fs::write(
            layout.environment_files(&app).join("1.0-0123456789ab.env"),
            "SECRET_KEY=\"older-s3cr3t\"\nGONE=\"gone-s3cr3t\"\nLANG=\"de_DE.UTF-8\"\n",
        )
        .unwrap();
        std::fs::create_dir_all(layout.secret_files(&app)).unwrap();
        std::fs::write(layout.secret_files(&app).join("1.0.env"), "DB_NAME=\"given-s3cr3t\"\n").unwrap();
        assert_eq!(Secrets::read(&layout, &app).hide("is given-s3cr3t"), "is [value of DB_NAME]");
        std::fs::write(layout.own_names(&app, &ReleaseId::parse("1.0-0123456789ab").unwrap()), "SECRET_KEY\nGONE\n").unwrap();
        assert_eq!(Secrets::read(&layout, &app).hide("gone-s3cr3t"), "[value of GONE]", "root has taken it out since");
        let text = format!("s3cr3t-key older-s3cr3t de_DE.UTF-8 {folder}/x");
        let shown = format!("[value of SECRET_KEY] [value of SECRET_KEY] de_DE.UTF-8 {folder}/x");
        assert_eq!(Secrets::read(&layout, &app).hide(&text), shown);
        // A file that systemd would not take keeps its secrets all the same.
        std::fs::write(&local, "SECRET_KEY=\"unterminated-s3cr3t\nnot an assignment\n").unwrap();
        assert_eq!(Secrets::read(&layout, &app).hide("is unterminated-s3cr3t"), "is [value of SECRET_KEY]");
    }
}
