//! Backups in a bucket: how their objects are called, which of them count, and what of them is believed.
//!
//! ```text
//! s3://BUCKET/PREFIX/NAME.dump.age   what is kept, encrypted
//! s3://BUCKET/PREFIX/NAME.facts      what the database held, table by table
//! s3://BUCKET/PREFIX/NAME.json       its evidence, which comes last: without it the others count for nothing
//! ```

use roadstead_bucket::Object;
use roadstead_model::{Backup, Failure};
use std::collections::BTreeSet;
use std::path::Path;

use super::compare::TakeOutcome;
use super::shelf::{Shelf, evidence_of};
use crate::host::links;
use crate::settings::{BackupSettings, BucketSettings};
use crate::steps::util::io_failure;

/// What lies there for so long without evidence is left of an upload that was not finished; what is younger may be one that is under way on
/// another host.
const STRAY_AFTER_SECONDS: u64 = 24 * 3600;

/// The key of a file of backups.
pub(crate) fn key(settings: &BucketSettings, file: &str) -> String {
    format!("{}/{file}", settings.prefix)
}

/// Where a file of backups is, for people and evidence.
pub(crate) fn place(settings: &BucketSettings, file: &str) -> String {
    format!("s3://{}/{}", settings.place.bucket, key(settings, file))
}

/// Whether a backup was brought to a bucket by this agent: what an operator's command says of its own place has no digest.
pub(crate) fn is_in_one(backup: &Backup) -> bool {
    backup.place.starts_with("s3://") && !backup.digest.is_empty()
}

/// The key of a backup's file, if it lies in the bucket of these settings.
pub(crate) fn key_of(settings: &BucketSettings, backup: &Backup) -> Option<String> {
    let (_, file) = backup.place.rsplit_once('/')?;
    (is_in_one(backup) && backup.place == place(settings, file) && file.split('.').next() == Some(&backup.name))
        .then(|| key(settings, file))
}

/// The keys of a backup in the order in which they are removed: once its evidence is gone, the others count for nothing.
pub(crate) fn keys_of(settings: &BucketSettings, backup: &Backup) -> Option<[String; 3]> {
    let file = key_of(settings, backup)?;
    Some([key(settings, &format!("{}.json", backup.name)), key(settings, &format!("{}.facts", backup.name)), file])
}

/// Objects that are called as ours are, have lain there for long, and belong to no backup that is finished or known here.
pub(crate) fn strays(objects: &[Object], shelf: &Shelf, known: &BTreeSet<String>, now_seconds: u64) -> Vec<String> {
    let finished: BTreeSet<&str> = objects.iter().filter_map(|object| object.key.strip_suffix(".json")).collect();
    let before = now_seconds.saturating_sub(STRAY_AFTER_SECONDS);
    let stray = |object: &&Object| {
        let of = shelf.name_of(Path::new(&object.key)).filter(|name| !known.contains(name));
        let whole = of.and_then(|name| Some(format!("{}/{name}", object.key.rsplit_once('/')?.0)));
        object.is_before(before) && whole.is_some_and(|whole| !finished.contains(whole.as_str()))
    };
    objects.iter().filter(stray).map(|object| object.key.clone()).collect()
}

/// The evidence that a bucket has of a backup, if it can be that of a backup which lies there.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn believed(settings: &BucketSettings, name: &str, evidence: &[u8], facts: &[u8]) -> Result<Backup, &'static str> {
    let backup = evidence_of(name, evidence).ok_or("its evidence is not that of a backup of this name")?;
    if key_of(settings, &backup).is_none() {
        return Err("its evidence says that it lies elsewhere");
    }
    if !backup.encrypted {
        return Err("its evidence says that it is not encrypted");
    }
    match serde_json::from_slice::<TakeOutcome>(facts) {
        Ok(TakeOutcome::Taken(taken)) if taken.name == name => Ok(backup),
        _ => Err("its facts are not those of a backup of this name"),
    }
}

/// Removes files of backups from this host that lie in the bucket, too, unless they are to stay. What lies elsewhere was brought by somebody.
///
/// # Errors
/// [`Failure`].
pub(crate) fn let_go(shelf: &Shelf, settings: &BackupSettings, backups: &[Backup]) -> Result<(), Failure> {
    let Some(bucket) = settings.bucket.as_ref().filter(|bucket| !bucket.keep_here) else { return Ok(()) };
    for file in backups.iter().filter(|backup| key_of(bucket, backup).is_some()).filter_map(|backup| shelf.kept(backup)) {
        links::remove(&file).map_err(|error| io_failure("remove", &file, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::retention::sample;
    use roadstead_bucket::{Place, Style};
    use roadstead_model::{AppName, BackupCheck, HttpUrl, SecretRef};

    fn settings() -> BucketSettings {
        let endpoint = HttpUrl::parse("https://s3.example.org").unwrap();
        BucketSettings {
            place: Place { endpoint, bucket: "backups".into(), region: "us-east-1".into(), style: Style::Path },
            prefix: "production/erp".into(),
            authorities: None,
            access_key: SecretRef::parse("keys:a").unwrap(),
            secret_key: SecretRef::parse("keys:b").unwrap(),
            session_token: None,
            keep_here: false,
        }
    }

    fn backup(name: &str) -> Backup {
        Backup {
            place: place(&settings(), &format!("{name}.dump.age")),
            digest: "d".repeat(64),
            encrypted: true,
            ..sample(name, 5, BackupCheck::Restored)
        }
    }

    #[test]
    fn only_what_lies_in_this_very_place_is_touched() {
        let ours = backup("erp-r-1-5");
        assert_eq!(
            keys_of(&settings(), &ours).unwrap(),
            ["production/erp/erp-r-1-5.json", "production/erp/erp-r-1-5.facts", "production/erp/erp-r-1-5.dump.age"]
        );
        for place in [
            "s3://other/production/erp/erp-r-1-5.dump.age",
            "s3://backups/erp/erp-r-1-5.dump.age",
            "s3://backups/production/erp/erp-r-1-6.dump.age",
            "s3://backups/production/erp/x/erp-r-1-5.dump.age",
            "/var/lib/roadstead-backups/erp/erp-r-1-5.dump.age",
        ] {
            assert_eq!(keys_of(&settings(), &Backup { place: place.into(), ..ours.clone() }), None, "{place}");
        }
        assert!(!is_in_one(&Backup { digest: String::new(), ..ours }), "what a command says of its own is its own");
    }

    #[test]
    fn what_lies_in_the_bucket_need_not_lie_here() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(root.path(), &AppName::parse("erp").unwrap());
        let (there, elsewhere) = (backup("erp-r-1-5"), Backup { place: "s3://other/erp/erp-r-2-5.dump.age".into(), ..backup("erp-r-2-5") });
        let here = Backup { place: root.path().join("erp/erp-r-3-5.dump.age").display().to_string(), ..backup("erp-r-3-5") };
        let all = [there, elsewhere, here];
        std::fs::create_dir(root.path().join("erp")).unwrap();
        let files = all.each_ref().map(|backup| shelf.kept(backup).unwrap());
        files.iter().for_each(|file| std::fs::write(file, "age").unwrap());
        let of = |bucket| BackupSettings { bucket, ..BackupSettings::default() };
        let_go(&shelf, &of(None), &all).unwrap();
        let_go(&shelf, &of(Some(BucketSettings { keep_here: true, ..settings() })), &all).unwrap();
        assert!(files.iter().all(|file| file.exists()));
        let_go(&shelf, &of(Some(settings())), &all).unwrap();
        assert_eq!(files.map(|file| file.exists()), [false, true, true]);
    }

    #[test]
    fn what_is_left_of_an_upload_is_told_from_what_counts() {
        let shelf = Shelf::of(Path::new("/b"), &AppName::parse("erp").unwrap());
        let object =
            |(key, modified): (&str, &str)| Object { key: format!("erp/{key}"), bytes: 1, modified: modified.into(), tag: String::new() };
        let (old, young) = ("2026-11-20T00:00:00.000Z", "2026-11-27T12:00:00.000Z");
        let objects = [
            ("erp-r-1-5.dump.age", old),
            ("erp-r-1-5.facts", old),
            ("erp-r-1-5.json", old),
            ("erp-r-2-6.dump.age", old),
            ("erp-r-2-6.facts", old),
            ("erp-r-3-7.dump.age", old),
            ("erp-r-4-8.dump.age", young),
            ("erp-r-5-9.dump.age", ""),
            ("theirs.dump.age", old),
            ("erp-r-6-9.zip", old),
            ("blog-r-6-9.dump.age", old),
        ]
        .map(object);
        // 2026-11-27T19:00:00Z
        let strays = strays(&objects, &shelf, &BTreeSet::from(["erp-r-3-7".to_owned()]), 1_795_806_000);
        assert_eq!(strays, ["erp/erp-r-2-6.dump.age", "erp/erp-r-2-6.facts"]);
    }

    #[test]
    fn evidence_of_another_host_is_believed_as_far_as_it_fits() {
        let (settings, name) = (settings(), "erp-r-1-5");
        let refused = |change: fn(&mut Backup)| {
            let mut backup = backup(name);
            change(&mut backup);
            believed(&settings, name, &serde_json::to_vec(&backup).unwrap(), b"{}").unwrap_err()
        };
        assert!(refused(|backup| backup.name = "erp-r-1-6".into()).contains("of this name"));
        assert!(refused(|backup| backup.place = "/etc/shadow".into()).contains("elsewhere"));
        assert!(refused(|backup| backup.place = "s3://backups/production/erp/../erp-r-1-5.dump.age".into()).contains("elsewhere"));
        assert!(refused(|backup| backup.digest.clear()).contains("elsewhere"));
        assert!(refused(|backup| backup.encrypted = false).contains("not encrypted"));
        assert!(refused(|_| {}).contains("its facts"));
        assert!(believed(&settings, name, b"{", b"{}").is_err());
    }
}
