//! `[static.APP]`: where this host publishes an app's static files before it moves to a release, and how long others may keep them.

use roadstead_model::{AppName, ProviderName};
use roadstead_secrets::ProviderSettings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

use super::bucket::{self, BucketSettings};
use super::traffic::{Mistake, path, placed};

/// For files whose names change with their contents.
const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";
/// For the others: a page that was told of a new release has its files soon.
const CACHE_CONTROL_PLAIN: &str = "public, max-age=60";
const CACHE_CONTROL_BYTES_MAX: usize = 200;
/// The top of a file system and a folder of it is where other things lie.
const PARTS_LEAST: usize = 3;

/// Where static files of an app are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StaticSettings {
    /// A folder that others hand out: the origin of a CDN that is mounted here.
    Folder(PathBuf),
    /// A bucket, and what its server says to whoever keeps a file.
    Bucket {
        /// The bucket.
        bucket: Box<BucketSettings>,
        /// The `Cache-Control` of files whose names change with their contents.
        hashed: String,
        /// That of the others.
        plain: String,
    },
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Section {
    directory: Option<Spanned<PathBuf>>,
    bucket: Option<Spanned<bucket::Section>>,
    cache_control: Option<Spanned<String>>,
    cache_control_plain: Option<Spanned<String>>,
}

impl Section {
    /// The settings that it makes, for an app. `at` is where it stands.
    pub(super) fn check(
        self,
        app: &AppName,
        at: usize,
        providers: &BTreeMap<ProviderName, ProviderSettings>,
    ) -> Result<StaticSettings, Mistake> {
        match (self.directory, self.bucket) {
            (Some(directory), None) => {
                if let Some(text) = self.cache_control.or(self.cache_control_plain) {
                    let why = "a directory says nothing to whoever keeps its files: set it at the server that hands them out";
                    return Err((text.span().start, why.to_owned()));
                }
                Ok(StaticSettings::Folder(placed(directory, |directory| folder(&directory).map(|()| directory))?))
            }
            (None, Some(bucket)) => {
                let bucket = bucket.into_inner();
                if let Some(at) = bucket.is_of_backups() {
                    return Err((at, "`keep-here` is of backups: static files stay on the host in any case".to_owned()));
                }
                let or = |text: Option<Spanned<String>>, default: &str| {
                    text.map_or_else(|| Ok(default.to_owned()), |text| placed(text, |text| cache_control(&text).map(|()| text)))
                };
                Ok(StaticSettings::Bucket {
                    bucket: Box::new(bucket.check(app, providers)?),
                    hashed: or(self.cache_control, CACHE_CONTROL)?,
                    plain: or(self.cache_control_plain, CACHE_CONTROL_PLAIN)?,
                })
            }
            (Some(_), Some(bucket)) => {
                Err((bucket.span().start, "static files go to a `directory` or to a bucket: take one of them out".to_owned()))
            }
            (None, None) => Err((at, format!("say where static files go: `directory`, or a section [static.{app}.bucket]"))),
        }
    }
}

fn folder(folder: &Path) -> Result<(), String> {
    path(folder)?;
    if folder.components().count() < PARTS_LEAST {
        return Err(format!("{} is no folder for static files: name one of their own within it", folder.display()));
    }
    Ok(())
}

/// What a header can hold, and a signature too: no two spaces in a row.
fn cache_control(text: &str) -> Result<(), String> {
    let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if (1..=CACHE_CONTROL_BYTES_MAX).contains(&text.len()) && plain && text.trim() == text && !text.contains("  ") {
        return Ok(());
    }
    Err(format!("write what the header Cache-Control is to say, at most {CACHE_CONTROL_BYTES_MAX} letters, such as \"public, max-age=60\""))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const KEYS: &str = "[secrets.keys]\nkind = \"credential\"\n";
    const BUCKET: &str = "[static.erp.bucket]\nendpoint = \"https://s3.example.org\"\nbucket = \"cdn\"\naccess-key = \"keys:a\"\n\
                          secret-key = \"keys:b\"\n";

    fn of(text: &str) -> Result<StaticSettings, String> {
        let settings = parse(&format!("{KEYS}[static.erp]\n{text}"))?;
        Ok(settings.statics[&AppName::parse("erp").unwrap()].clone())
    }

    #[test]
    fn files_go_to_a_directory_or_to_a_bucket() {
        assert_eq!(of("directory = \"/mnt/cdn/erp\"\n").unwrap(), StaticSettings::Folder("/mnt/cdn/erp".into()));
        let StaticSettings::Bucket { bucket, hashed, plain } = of(BUCKET).unwrap() else { panic!("a bucket") };
        assert_eq!((bucket.place.bucket.as_str(), bucket.prefix.as_str()), ("cdn", "erp"));
        assert_eq!((hashed.as_str(), plain.as_str()), (CACHE_CONTROL, CACHE_CONTROL_PLAIN));
        let text = format!("cache-control = \"public, max-age=5\"\ncache-control-plain = \"no-cache\"\n{BUCKET}");
        let StaticSettings::Bucket { hashed, plain, .. } = of(&text).unwrap() else { panic!("a bucket") };
        assert_eq!((hashed.as_str(), plain.as_str()), ("public, max-age=5", "no-cache"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_its_place() {
        for (text, at, says) in [
            (String::new(), "3:1:", "say where"),
            ("directory = \"cdn\"\n".to_owned(), "4:13:", "no absolute path"),
            ("directory = \"/mnt/../etc\"\n".to_owned(), "4:13:", "no absolute path"),
            ("directory = \"/mnt\"\n".to_owned(), "4:13:", "of their own"),
            ("directory = \"/mnt/cdn\"\ncache-control = \"x\"\n".to_owned(), "5:17:", "the server that hands them out"),
            (format!("directory = \"/mnt/cdn\"\n{BUCKET}"), "5:1:", "take one of them out"),
            (format!("{BUCKET}keep-here = true\n"), "9:13:", "`keep-here` is of backups"),
            (format!("cache-control = \"a\\nb\"\n{BUCKET}"), "4:17:", "Cache-Control"),
            (format!("cache-control = \"a  b\"\n{BUCKET}"), "4:17:", "Cache-Control"),
            (format!("cache-control-plain = \"\"\n{BUCKET}"), "4:23:", "Cache-Control"),
            (BUCKET.replace("keys:b", "AKIACANARYCANARY"), "8:14:", "make a new one"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.starts_with(at) && error.contains(says) && !error.contains("CANARY"), "{text}: {error}");
        }
    }
}
