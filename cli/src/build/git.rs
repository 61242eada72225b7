//! Questions to git about a repository and a commit.

use std::path::{Path, PathBuf};

use super::run::Run;
use crate::failure::{Failure, Result};

/// Variables by which a surrounding git (a hook, an alias) would point ours elsewhere.
const MISLEADING: [&str; 7] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"];

/// A repository and the folder in it that holds the app.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    top: PathBuf,
    prefix: String,
}

/// What git knows of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its full hash.
    pub(crate) hash: String,
    /// `Name <address>` of its author.
    pub(crate) author: String,
    /// Seconds since 1970 of its commit date.
    pub(crate) committed_at: u64,
}

/// One file, link or submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeItem {
    /// Git's mode, such as `100644`.
    pub(crate) mode: String,
    /// The object's hash.
    pub(crate) hash: String,
    /// Its path below the app's folder.
    pub(crate) path: String,
}

impl Repository {
    /// The repository that holds this folder.
    pub(crate) fn around(folder: &Path) -> Result<Self> {
        let ran = git(folder).args(["rev-parse", "--show-toplevel", "--show-prefix"]).output()?;
        if !ran.success {
            let failure = Failure::failed(format!("{} is not in a git repository", folder.display())).cause(ran.stderr.trim());
            return Err(failure.hint("a release is built from a commit: run `git init`, add the files and commit them"));
        }
        let mut lines = ran.stdout.lines();
        let top = PathBuf::from(lines.next().unwrap_or_default());
        Ok(Self { top, prefix: lines.next().unwrap_or_default().trim_end_matches('/').to_owned() })
    }

    /// The top of the working tree.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// The app's folder in the working tree.
    pub(crate) fn folder(&self) -> PathBuf {
        self.top.join(&self.prefix)
    }

    /// A git command in the app's folder.
    pub(crate) fn git(&self) -> Run {
        git(&self.folder())
    }

    /// The commit that a revision names.
    pub(crate) fn commit(&self, revision: &str) -> Result<Commit> {
        let unknown = |why: &str| {
            let hint = if revision == "HEAD" {
                "commit something first"
            } else {
                "`git log --oneline` shows commits; a shallow clone may lack it"
            };
            Failure::failed(format!("there is no commit {revision:?} in {}", self.top.display())).cause(why.trim()).hint(hint)
        };
        let wanted = format!("{revision}^{{commit}}");
        let ran = self.git().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]).output()?;
        let hash = ran.stdout.trim().to_owned();
        if !ran.success || hash.is_empty() {
            return Err(unknown("git does not know it"));
        }
        let shown = self.git().args(["show", "--no-patch", "--format=%an <%ae>%n%ct", &hash]).expect("cannot read the commit")?;
        let mut lines = shown.lines();
        let author = lines.next().unwrap_or_default().to_owned();
        let committed_at = lines.next().and_then(|seconds| seconds.parse().ok()).ok_or_else(|| unknown("it has no date"))?;
        Ok(Commit { hash, author, committed_at })
    }

    /// The branch that is checked out, when the commit is its tip.
    pub(crate) fn branch_of(&self, commit: &Commit) -> Result<Option<String>> {
        let head = self.git().args(["rev-parse", "--verify", "--quiet", "HEAD"]).output()?;
        let branch = self.git().args(["symbolic-ref", "--quiet", "--short", "HEAD"]).output()?;
        Ok((branch.success && head.stdout.trim() == commit.hash).then(|| branch.stdout.trim().to_owned()))
    }

    /// `git describe` and the tags on the commit.
    pub(crate) fn description(&self, commit: &Commit) -> Result<(Vec<String>, String)> {
        let tags = self.git().args(["tag", "--points-at", &commit.hash, "--sort=-version:refname"]).expect("cannot list tags")?;
        let described =
            self.git().args(["describe", "--tags", "--always", "--abbrev=10", &commit.hash]).expect("cannot describe the commit")?;
        Ok((tags.lines().map(str::to_owned).collect(), described.trim().to_owned()))
    }

    /// Every file, link and submodule of the commit below the app's folder.
    pub(crate) fn tree(&self, commit: &str) -> Result<Vec<TreeItem>> {
        let listed = git(&self.top).args(["ls-tree", "-r", "-z", "--full-tree", &self.tree_name(commit)]).output()?;
        if !listed.success {
            let failure = Failure::failed(format!("the commit {commit:.12} has no folder {:?}", self.prefix)).cause(listed.stderr.trim());
            return Err(failure.hint("choose a commit that holds the app, or the folder in which the app lies"));
        }
        Ok(listed.stdout.split('\0').filter_map(item).collect())
    }

    /// The name of the commit's tree at the app's folder.
    pub(crate) fn tree_name(&self, commit: &str) -> String {
        format!("{commit}:{}", self.prefix)
    }

    /// Paths below the app's folder that differ from HEAD or are not tracked; ignored ones are not told.
    pub(crate) fn changed(&self) -> Result<Vec<String>> {
        let status =
            self.git().args(["status", "--porcelain", "-z", "--untracked-files=all", "--", "."]).expect("cannot read the status")?;
        Ok(status.split('\0').filter(|line| line.len() > 3).map(|line| line[3..].to_owned()).collect())
    }

    /// Paths below the app's folder as they lie in the working tree: tracked, and untracked but not ignored.
    pub(crate) fn present(&self) -> Result<Vec<String>> {
        let list = self.git().args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).expect("cannot list files")?;
        Ok(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
    }
}

/// A git command that sees this folder's repository and no other, whatever it was called from.
pub(crate) fn git(folder: &Path) -> Run {
    let run = Run::new("git").env("LC_ALL", "C.UTF-8").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    MISLEADING.iter().fold(run, |run, name| run.without(name)).arg("-C").arg(folder).args(["-c", "core.quotePath=false"])
}

fn item(line: &str) -> Option<TreeItem> {
    let (head, path) = line.split_once('\t')?;
    let mut words = head.split(' ');
    let mode = words.next()?.to_owned();
    let hash = words.nth(1)?.to_owned();
    Some(TreeItem { mode, hash, path: path.to_owned() })
}
