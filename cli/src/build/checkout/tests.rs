use super::*;

fn run(folder: &Path, words: &[&str]) {
    let identity =
        ["-c", "user.name=A Person", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"];
    git(folder).args(identity).args(words).expect("git").unwrap();
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["init", "-q"]);
    folder
}

fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn commit(folder: &Path) {
    run(folder, &["add", "-A"]);
    run(folder, &["commit", "-q", "-m", "x", "--allow-empty"]);
}

fn take(folder: &Path, wanted: Wanted<'_>) -> Result<(Checkout, tempfile::TempDir)> {
    let target = tempfile::tempdir().unwrap();
    let made = checkout(&Repository::around(folder)?, wanted, &target.path().join("out"))?;
    Ok((made, target))
}

const HEAD: Wanted<'_> = Wanted { revision: "HEAD", dirty: false, branch: None };

#[test]
fn only_what_is_committed_is_there_and_all_of_it() {
    let folder = repository();
    let at = folder.path();
    write(at, ".gitattributes", "secret.txt export-ignore\n*.bat text eol=crlf\n");
    write(at, "secret.txt", "kept");
    write(at, "a b/ü.txt", "named");
    write(at, "run.sh", "#!/bin/sh\n");
    std::os::unix::fs::symlink("run.sh", at.join("link")).unwrap();
    run(at, &["add", "-A"]);
    run(at, &["update-index", "--chmod=+x", "run.sh"]);
    run(at, &["commit", "-q", "-m", "x"]);
    write(at, "secret.txt", "changed");
    write(at, "new.txt", "new");
    let (made, _target) = take(at, HEAD).unwrap();
    let read = |path: &str| fs::read_to_string(made.folder.join(path)).unwrap();
    assert_eq!((read("secret.txt").as_str(), read("a b/ü.txt").as_str()), ("kept", "named"));
    assert!(!made.folder.join("new.txt").exists());
    assert_eq!(fs::read_link(made.folder.join("link")).unwrap(), Path::new("run.sh"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(made.folder.join("run.sh")).unwrap().permissions());
    assert_eq!(mode & 0o100, 0o100);
    assert!(!made.source.dirty && made.source.branch.as_deref() == Some("main"));
    assert_eq!(made.source.author, "A Person <a@example.com>");
}

#[test]
fn dirty_files_come_only_when_asked_for_and_are_marked() {
    let folder = repository();
    let at = folder.path();
    write(at, ".gitignore", "*.log\n");
    write(at, "app.py", "old");
    commit(at);
    run(at, &["tag", "v1.0"]);
    let dirty = Wanted { dirty: true, ..HEAD };
    let (clean, _target) = take(at, dirty).unwrap();
    assert!(!clean.source.dirty && clean.version.as_str() == "1.0", "nothing differs, so nothing is marked");
    write(at, "app.py", "new");
    write(at, "more.py", "more");
    write(at, "x.log", "noise");
    let (made, _target) = take(at, dirty).unwrap();
    assert!(made.source.dirty);
    assert_eq!(made.version.as_str(), "1.0-dirty");
    assert_eq!(fs::read_to_string(made.folder.join("app.py")).unwrap(), "new");
    assert!(made.folder.join("more.py").exists() && !made.folder.join("x.log").exists());
}

#[test]
fn the_version_comes_from_the_tag_or_says_how_far_it_is() {
    let folder = repository();
    let at = folder.path();
    commit(at);
    for tag in ["nightly", "v1.9.0", "v1.10.0"] {
        run(at, &["tag", tag]);
    }
    assert_eq!(take(at, HEAD).unwrap().0.version.as_str(), "1.10.0");
    commit(at);
    let version = take(at, HEAD).unwrap().0.version.to_string();
    assert!(version.contains("-1-g"), "{version}");
    assert_eq!(take(at, Wanted { revision: "v1.9.0", ..HEAD }).unwrap().0.source.branch, None);
    for (tag, expected) in [("v2", "2"), ("release/2024+1", "release-2024-1"), ("vega", "vega"), ("1..2", "1.2")] {
        assert_eq!(version_of(tag), expected);
    }
}

fn version_of(tag: &str) -> String {
    version(&[tag.to_owned()], "abc", false).unwrap().to_string()
}

#[test]
fn an_app_in_a_folder_of_a_larger_repository_is_laid_out_alone() {
    let folder = repository();
    let at = folder.path();
    write(at, "other/x.py", "");
    write(at, "apps/shop/manage.py", "");
    commit(at);
    let (made, _target) = take(&at.join("apps/shop"), HEAD).unwrap();
    assert!(made.folder.join("manage.py").exists() && !made.folder.join("other").exists());
}

#[test]
fn submodules_are_followed_or_named() {
    let library = repository();
    write(library.path(), "lib.py", "");
    commit(library.path());
    let folder = repository();
    let at = folder.path();
    run(at, &["submodule", "--quiet", "add", library.path().to_str().unwrap(), "vendor/lib"]);
    commit(at);
    let (made, _target) = take(at, HEAD).unwrap();
    assert!(made.folder.join("vendor/lib/lib.py").exists());
    run(at, &["submodule", "--quiet", "deinit", "-f", "vendor/lib"]);
    let failure = take(at, HEAD).unwrap_err();
    assert!(failure.summary.contains("vendor/lib") && failure.hint.unwrap().contains("submodule update"), "{}", failure.summary);
}

#[test]
fn pointers_of_large_files_and_missing_commits_are_named() {
    let folder = repository();
    let at = folder.path();
    assert!(take(at, HEAD).unwrap_err().hint.unwrap().contains("commit something"));
    write(at, "logo.png", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    commit(at);
    assert!(take(at, HEAD).unwrap_err().summary.contains("logo.png"));
    assert!(take(at, Wanted { revision: "--all", ..HEAD }).unwrap_err().summary.contains("--all"));
}
