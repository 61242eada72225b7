//! The files of a commit, laid out clean: exactly what git holds, nothing of the working tree.
//!
//! `git archive` is not used: it silently leaves out what `.gitattributes` marks as `export-ignore`. A private index and
//! `checkout-index` write every file, with the line endings that the commit itself declares and none of the user's settings.

use roadstead_bundle::manifest::Source;
use roadstead_model::{Timestamp, Version};
use std::fs;
use std::path::{Path, PathBuf};

use super::git::{Repository, TreeItem, git};
use crate::failure::{self, Failure, Result};

/// A commit's files in a folder of their own.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// Where they lie.
    pub(crate) folder: PathBuf,
    /// Where they come from.
    pub(crate) source: Source,
    /// The version that tags give the commit.
    pub(crate) version: Version,
}

/// What is to be laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The revision; `HEAD` when nothing else was asked for.
    pub(crate) revision: &'a str,
    /// The files as they lie in the working tree instead of the commit's.
    pub(crate) dirty: bool,
    /// The branch to name, where git cannot know it (CI checks out commits, not branches).
    pub(crate) branch: Option<&'a str>,
}

/// Lays the files out in `folder`, which is made.
pub(crate) fn checkout(repository: &Repository, wanted: Wanted<'_>, folder: &Path) -> Result<Checkout> {
    let commit = repository.commit(wanted.revision)?;
    fs::create_dir_all(folder).map_err(|error| failure::file("make", folder, &error))?;
    let changed = if wanted.dirty { repository.changed()? } else { Vec::new() };
    if wanted.dirty {
        copy_present(repository, folder)?;
    } else {
        write_commit(repository, &commit.hash, folder)?;
    }
    let dirty = !changed.is_empty();
    let branch = match wanted.branch {
        Some(branch) => Some(branch.to_owned()),
        None => repository.branch_of(&commit)?,
    };
    let (tags, described) = repository.description(&commit)?;
    let version = version(&tags, &described, dirty)?;
    let committed_at = Timestamp(commit.committed_at.saturating_mul(1000));
    let source = Source { commit: commit.hash, branch, author: commit.author, committed_at, dirty };
    Ok(Checkout { folder: folder.to_owned(), source, version })
}

/// The version of a commit: its highest tag that looks like a version, else any tag of it, else what `git describe` says.
fn version(tags: &[String], described: &str, dirty: bool) -> Result<Version> {
    let looks_like = |tag: &&String| tag.strip_prefix('v').unwrap_or(tag).starts_with(|c: char| c.is_ascii_digit());
    let text = tags.iter().find(looks_like).or_else(|| tags.first()).map_or(described, String::as_str);
    let without_v = text.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text);
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_~".contains(c) { c } else { '-' };
    let mut clean: String = without_v.chars().map(plain).collect();
    while clean.contains("..") {
        clean = clean.replace("..", ".");
    }
    let mut clean = clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let suffix = if dirty { "-dirty" } else { "" };
    clean.truncate(48 - suffix.len());
    Version::parse(&format!("{clean}{suffix}")).map_err(|error| {
        Failure::failed(format!("the commit's version {text:?} cannot be used"))
            .because(&error)
            .hint("tag the commit, for instance `git tag v1.0.0`")
    })
}

fn write_commit(repository: &Repository, commit: &str, folder: &Path) -> Result<()> {
    let items = repository.tree(commit)?;
    write_tree(repository.top(), &repository.tree_name(commit), folder)?;
    check_large_files(&items, folder)?;
    for submodule in items.iter().filter(|item| item.mode == "160000") {
        write_submodule(repository, submodule, folder)?;
    }
    Ok(())
}

fn write_tree(repository: &Path, tree: &str, folder: &Path) -> Result<()> {
    let index = folder.with_extension("index");
    let run = || {
        git(repository)
            .args(["-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.symlinks=true", "-c", "core.fileMode=true"])
            .env("GIT_INDEX_FILE", &index)
    };
    run().args(["read-tree", tree]).expect("cannot read the files of the commit")?;
    let mut prefix = folder.as_os_str().to_owned();
    prefix.push("/");
    let mut option = std::ffi::OsString::from("--prefix=");
    option.push(prefix);
    let written = run().args(["checkout-index", "--all", "--force"]).arg(option).expect("cannot write the files of the commit");
    drop(fs::remove_file(&index));
    written.map(drop)
}

/// A submodule's commit is taken from its clone in the working tree; one that is not there is refused by name.
fn write_submodule(repository: &Repository, submodule: &TreeItem, folder: &Path) -> Result<()> {
    let path = &submodule.path;
    let missing = |cause: &str| {
        Failure::failed(format!("the submodule {path} is not there at commit {:.12}", submodule.hash))
            .cause(cause.trim())
            .hint(format!("run `git submodule update --init --recursive -- {path}`, or take the submodule out of the repository"))
    };
    let clone = repository.folder().join(path);
    if !clone.join(".git").exists() {
        return Err(missing("it was never initialised"));
    }
    let inner = Repository::around(&clone)?;
    inner.commit(&submodule.hash).map_err(|failure| missing(&failure.summary))?;
    write_commit(&inner, &submodule.hash, &folder.join(path))
}

/// Git LFS leaves small pointer files where its program did not run: an app full of those would be deployed broken.
fn check_large_files(items: &[TreeItem], folder: &Path) -> Result<()> {
    for item in items.iter().filter(|item| item.mode.starts_with("100")) {
        let path = folder.join(&item.path);
        let small = fs::metadata(&path).is_ok_and(|file| file.len() < 1024);
        if small && fs::read(&path).is_ok_and(|content| content.starts_with(b"version https://git-lfs.github.com/spec/")) {
            return Err(Failure::failed(format!("{} is a Git LFS pointer, not the file itself", item.path))
                .hint("install git-lfs, then run `git lfs install` and `git lfs pull`"));
        }
    }
    Ok(())
}

/// Copies what lies in the working tree: tracked and new files, as they are; ignored ones stay out.
fn copy_present(repository: &Repository, folder: &Path) -> Result<()> {
    let from = repository.folder();
    for path in repository.present()? {
        let (source, target) = (from.join(&path), folder.join(&path));
        let Ok(metadata) = source.symlink_metadata() else { continue };
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failure::file("make", parent, &error))?;
        }
        if metadata.is_symlink() {
            let link = fs::read_link(&source).map_err(|error| failure::file("read", &source, &error))?;
            std::os::unix::fs::symlink(&link, &target).map_err(|error| failure::file("write", &target, &error))?;
        } else if metadata.is_dir() {
            copy_submodule(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(|error| failure::file("copy", &source, &error))?;
        }
    }
    Ok(())
}

fn copy_submodule(source: &Path, target: &Path) -> Result<()> {
    if !source.join(".git").exists() {
        return Err(Failure::failed(format!("the submodule {} is not there", source.display()))
            .hint("run `git submodule update --init --recursive`"));
    }
    copy_present(&Repository::around(source)?, target)
}

#[cfg(test)]
mod tests;
