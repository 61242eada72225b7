//! pip's installation report, read as locked packages.

use roadstead_model::Digest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

use super::{Archive, LockedPackage, below, normal_name};
use crate::failure::{Failure, Result};

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
    archive_info: Option<ArchiveInfo>,
    vcs_info: Option<VcsInfo>,
    subdirectory: Option<String>,
}

#[derive(Deserialize, Default)]
struct ArchiveInfo {
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
}

/// The packages of a report. `folders` are the checkout's own packages with their digests.
pub(super) fn packages(bytes: &[u8], root: &Path, folders: &BTreeMap<String, Digest>) -> Result<Vec<LockedPackage>> {
    let report: Report =
        serde_json::from_slice(bytes).map_err(|error| Failure::failed("pip wrote a report that cannot be read").because(&error))?;
    report.install.into_iter().map(|item| package(item, root, folders)).collect()
}

fn package(item: Item, root: &Path, folders: &BTreeMap<String, Digest>) -> Result<LockedPackage> {
    let name = normal_name(&item.metadata.name);
    let version = item.metadata.version;
    let DownloadInfo { url, archive_info, vcs_info, subdirectory } = item.download_info;
    let local = url.strip_prefix("file://").and_then(|path| below(root, Path::new(&decoded(path))));
    let archive = if let Some(VcsInfo { vcs, commit_id }) = vcs_info {
        let folder = subdirectory.map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        Archive::Git { url: format!("{vcs}+{url}@{commit_id}{folder}") }
    } else if let Some(info) = archive_info {
        let old = || info.hash.as_deref().and_then(|hash| hash.strip_prefix("sha256=")).map(str::to_owned);
        let sha256 = info.hashes.get("sha256").cloned().or_else(old).ok_or_else(|| {
            Failure::failed(format!("the index names no SHA-256 for {name} {version}")).cause(url.clone()).hint("use an index that does")
        })?;
        Archive::File { url: local.map_or(url, |path| path.display().to_string()), sha256 }
    } else {
        let path = local.map(|path| path.display().to_string()).unwrap_or_default();
        let digest = folders.get(&path).copied().ok_or_else(|| {
            Failure::failed(format!("{name} lies at {url}, which is no part of the commit"))
                .hint("publish it as a wheel, or move it into the repository")
        })?;
        Archive::Folder { path, digest }
    };
    Ok(LockedPackage { name, version, archive })
}

/// A URL's path with its `%` escapes resolved.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = bytes
            .get(index + 1..index + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[index], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                index += 3;
            }
            (byte, _) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_commits_and_old_hashes_are_read_and_the_rest_is_refused() {
        let json = |info: &str| {
            format!(r#"{{"install":[{{"metadata":{{"name":"My.Pkg","version":"1"}},"download_info":{{"url":"https://x/p",{info}}}}}]}}"#)
        };
        let read = |info: &str| packages(json(info).as_bytes(), Path::new("/"), &BTreeMap::new()).map(|all| all[0].clone());
        let file = Archive::File { url: "https://x/p".into(), sha256: "ab".into() };
        assert_eq!(read(r#""archive_info":{"hashes":{"sha256":"ab"}}"#).unwrap().archive, file);
        assert_eq!(read(r#""archive_info":{"hash":"sha256=ab"}"#).unwrap().name, "my-pkg");
        let git = read(r#""vcs_info":{"vcs":"git","commit_id":"c0ffee"},"subdirectory":"py""#).unwrap();
        assert_eq!(git.archive, Archive::Git { url: "git+https://x/p@c0ffee#subdirectory=py".into() });
        assert!(read(r#""archive_info":{}"#).unwrap_err().summary.contains("no SHA-256"));
        assert!(read(r#""dir_info":{}"#).unwrap_err().summary.contains("no part of the commit"));
        assert!(packages(b"{", Path::new("/"), &BTreeMap::new()).is_err());
        assert_eq!(decoded("/a%20b/%zz%"), "/a b/%zz%");
    }
}
