//! Static files where everybody has them from: in a bucket, or in a folder that is a CDN's origin, before any host moves to their release.
//!
//! What decides is pure: which files have their contents in their names ([`manifest`]), what is done with one ([`need`]), what it is
//! ([`media`]). [`folder`] is the one destination that is on this host; the bucket is the step's.

pub(crate) mod folder;
pub(crate) mod manifest;
pub(crate) mod media;
pub(crate) mod need;

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::host::statics;

/// A collected file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is below the collected files.
    pub(crate) path: String,
    /// How large it is.
    pub(crate) bytes: u64,
    /// Its name changes with its contents.
    pub(crate) hashed: bool,
}

/// The collected files of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Where they lie.
    pub(crate) source: PathBuf,
    /// What is published of them.
    pub(crate) entries: Vec<Entry>,
    /// Why no name is taken for one that changes with the contents, though there is a list of such names.
    pub(crate) distrusted: Option<String>,
}

impl Collected {
    /// Looks at collected files. They may be the app user's.
    pub(crate) fn read(source: &Path) -> io::Result<Self> {
        let files = statics::list(source)?;
        let (hashed, distrusted) = match hashed(source, &files)? {
            Ok(hashed) => (hashed, None),
            Err(why) => (BTreeSet::new(), Some(why)),
        };
        let entry = |(path, bytes): (String, u64)| {
            let hashed = manifest::is_among(&path, &hashed);
            Entry { path, bytes, hashed }
        };
        let entries = files.into_iter().filter(|(path, _)| path != manifest::NAME).map(entry).collect();
        Ok(Self { source: source.to_path_buf(), entries, distrusted })
    }
}

fn hashed(source: &Path, files: &[(String, u64)]) -> io::Result<Result<BTreeSet<String>, String>> {
    if !files.iter().any(|(path, _)| path == manifest::NAME) {
        return Ok(Ok(BTreeSet::new()));
    }
    let mut text = Vec::new();
    statics::open_below(source, manifest::NAME)?.take(manifest::BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(manifest::hashed(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collected_files_are_told_apart_by_the_list_that_lies_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        std::fs::create_dir(folder.path().join("css")).unwrap();
        write("css/a.css", "a");
        write("css/a.0123.css", "aa");
        write("css/a.0123.css.gz", "z");
        let all = |hashed: bool| {
            let entry = |path: &str, bytes, hashed| Entry { path: path.into(), bytes, hashed };
            vec![entry("css/a.0123.css", 2, hashed), entry("css/a.0123.css.gz", 1, hashed), entry("css/a.css", 1, false)]
        };
        assert_eq!(Collected::read(folder.path()).unwrap().entries, all(false));
        write("staticfiles.json", r#"{"paths": {"css/a.css": "css/a.0123.css"}, "version": "1.1", "hash": "x"}"#);
        let collected = Collected::read(folder.path()).unwrap();
        assert_eq!(collected.distrusted, None);
        assert_eq!(collected.entries, all(true));
        write("staticfiles.json", "[]");
        let collected = Collected::read(folder.path()).unwrap();
        assert_eq!(collected.entries, all(false));
        assert!(collected.distrusted.unwrap().contains("staticfiles.json"));
        assert_eq!(Collected::read(&folder.path().join("none")).unwrap().entries, []);
    }
}
