//! Bundles as users make and read them: the same commit gives the same release wherever it is built, and what is told about bundles.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TOML: &str = r#"[app]
name = "parcel"
python = "PYTHON"

[dependencies]
ship = "both"

[build]
before-collectstatic = [["python", "make.py"]]

[services.web]
kind = "command"
command = ["python", "-m", "http.server"]
"#;

const WHEEL: &str = r#"
import sys, zipfile
name, version, folder = sys.argv[1:]
info = f"{name}-{version}.dist-info/"
files = {f"{name}.py": f"VALUE = {version!r}\n", info + "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    info + "entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n"}
with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as archive:
    for path, text in files.items():
        archive.writestr(path, text)
    archive.writestr(info + "RECORD", "".join(path + ",,\n" for path in files) + info + "RECORD,,\n")
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A repository with an index of its own in it: nothing of these tests needs a network.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let version = run(Command::new("python3").args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]));
        made.write("roadstead.toml", &TOML.replace("PYTHON", version.trim()));
        made.write("requirements.txt", "--no-index\n--find-links wheels\nleaf==1.0\n");
        made.write("make.py", "open('made.txt', 'w').write('made')\n");
        made.write("app/__init__.py", "x = {'b', 'a'}\n");
        made.write("app/templates/.gitkeep", "");
        made.write(".hidden", "x");
        made.write("run.sh", "#!/bin/sh\n");
        fs::set_permissions(made.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("app/__init__.py", made.path().join("link.py")).unwrap();
        fs::create_dir(made.path().join("wheels")).unwrap();
        for (name, version) in [("leaf", "1.0"), ("leaf", "2.0"), ("extra", "1.5")] {
            run(Command::new("python3").args(["-c", WHEEL, name, version]).arg(made.path().join("wheels")));
        }
        run(Command::new("git").arg("-C").arg(made.path()).args(["init", "-q", "-b", "main"]));
        made.commit("1.0");
        made
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, version: &str) {
        let git = |words: &[&str]| {
            let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
            let mut command = Command::new("git");
            command.arg("-C").arg(self.path()).args(identity).args(words);
            run(command.env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z").env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"));
        };
        git(&["add", "--all"]);
        git(&["commit", "-q", "-m", version]);
        git(&["tag", &format!("v{version}")]);
    }
}

/// A machine: a home, a cache, a place for the repository, and the settings of whoever works there.
struct Machine {
    folder: tempfile::TempDir,
    script: &'static str,
    variables: &'static [(&'static str, &'static str)],
}

impl Machine {
    fn new(script: &'static str, variables: &'static [(&'static str, &'static str)]) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), script, variables }
    }

    fn roadstead(&self, words: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.script), env!("CARGO_BIN_EXE_roadstead")]).args(words);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path().join("home")).envs(self.variables.iter().copied());
        command.env_remove("XDG_CACHE_HOME").env_remove("ROADSTEAD_CACHE_DIR").env("NO_COLOR", "1");
        command
    }

    /// Clones the repository, builds a version there; the release's digest and the bundle.
    fn build(&self, repository: &Repository, version: &str, more: &[&str]) -> (String, PathBuf) {
        let (clone, bundle) = (self.folder.path().join("work/clone"), self.folder.path().join(format!("{version}.bundle")));
        if !clone.exists() {
            run(Command::new("git").args(["clone", "-q"]).arg(repository.path()).arg(&clone));
        }
        let (place, out, tag) = (clone.display().to_string(), bundle.display().to_string(), format!("v{version}"));
        let words = [&["build", &place, "--commit", &tag, "--out", &out, "--output", "json"], more].concat();
        let json: serde_json::Value = serde_json::from_str(&run(&mut self.roadstead(&words))).unwrap();
        (json["digest"].as_str().unwrap().to_owned(), bundle)
    }
}

#[test]
fn the_same_commit_is_the_same_release_on_two_machines() {
    let repository = Repository::new();
    let here = Machine::new("umask 022", &[]);
    let there = Machine::new(
        "umask 077 && sleep 1",
        &[
            ("TZ", "Pacific/Auckland"),
            ("LANG", "de_DE.UTF-8"),
            ("PYTHONHASHSEED", "7"),
            ("SOURCE_DATE_EPOCH", "1"),
            ("PYTHONPATH", "/nowhere"),
        ],
    );
    let (one, first) = here.build(&repository, "1.0", &["--unsigned"]);
    let (other, second) = there.build(&repository, "1.0", &["--unsigned"]);
    assert_eq!(one, other);
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap(), "the bundle's every byte");
    // The clone's own settings and files that are not of the commit change nothing.
    fs::write(there.folder.path().join("work/clone/stray.py"), "x = 1\n").unwrap();
    run(Command::new("git").arg("-C").arg(there.folder.path().join("work/clone")).args(["config", "core.autocrlf", "true"]));
    assert_eq!(there.build(&repository, "1.0", &["--unsigned"]).0, one);
}

/// The text with what differs from run to run replaced: digests, folders, the machine's Python, sizes.
fn plain(text: &str, places: &[&Path]) -> String {
    let mut text = text.to_owned();
    for place in places {
        text = text.replace(&place.display().to_string(), "FOLDER");
    }
    let word = |word: &str| {
        let hex = |text: &str| text.len() >= 12 && text.chars().all(|c| c.is_ascii_hexdigit());
        match word.rsplit_once('-') {
            _ if hex(word.trim_end_matches(':')) => "DIGEST".to_owned(),
            Some((version, digest)) if hex(digest) => format!("{version}-DIGEST"),
            _ if word.starts_with("ed25519:") => "KEY".to_owned(),
            _ => word.to_owned(),
        }
    };
    let lines = text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "));
    let bytes = |word: &str| if word.contains('.') && word.parse::<f64>().is_ok() { "SIZE".to_owned() } else { word.to_owned() };
    let lines = lines.map(|line| match line.split(' ').next() {
        Some("Python") => "Python     MACHINE".to_owned(),
        // Bytecode is larger on one Python than on another.
        Some("Code" | "Packages") => line.split(' ').map(bytes).collect::<Vec<_>>().join(" "),
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn bundles_are_inspected_verified_and_compared() {
    let repository = Repository::new();
    repository.write("requirements.txt", "--no-index\n--find-links wheels\nleaf\nextra\n");
    repository.write("app/__init__.py", "x = {'c'}\n");
    repository.write("app/new.py", "");
    fs::remove_file(repository.path().join("run.sh")).unwrap();
    repository.commit("1.1");
    let machine = Machine::new("true", &[]);
    let key = machine.folder.path().join("release.key").display().to_string();
    let trust = run(&mut machine.roadstead(&["key", "generate", "--name", "ci", "--out", &key]));
    let keys = machine.folder.path().join("keys.toml");
    fs::write(&keys, trust).unwrap();
    let (_, old) = machine.build(&repository, "1.0", &["--key", &key]);
    let (_, new) = machine.build(&repository, "1.1", &["--key", &key]);
    let told = |words: &[&str]| {
        let output = machine.roadstead(&[&["bundle"], words].concat()).output().unwrap();
        plain(&said(&output), &[machine.folder.path()])
    };
    let (old, new, keys) = (old.display().to_string(), new.display().to_string(), keys.display().to_string());
    insta::assert_snapshot!(told(&["inspect", &new]), @r"
    Release    1.1-DIGEST
    App        parcel
    Commit     DIGEST
    Author     Ada <ada@example.org>
    Python     MACHINE
    Code       15 files, SIZE KiB
    Packages   2: installed, SIZE KiB; as wheels, SIZE KiB
    Migrations 0
    Services   web
    Signed by  DIGEST (not checked: see `roadstead bundle verify`)
    ");
    insta::assert_snapshot!(told(&["verify", &new, "--keys", &keys]), @"1.1-DIGEST is whole and signed by ci.");
    insta::assert_snapshot!(told(&["diff", &old, &new]), @r"
    1 file added, 2 changed, 1 removed
      + app/new.py
      ~ app/__init__.py
      ~ requirements.txt
      - run.sh
      package extra: none -> 1.5
      package leaf: 1.0 -> 2.0
    ");
    insta::assert_snapshot!(told(&["diff", &new, &new]), @"0 files added, 0 changed, 0 removed");

    // One changed byte, another key, half a file: each is refused by its name.
    let damaged = machine.folder.path().join("damaged.bundle");
    let mut bytes = fs::read(&new).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&damaged, &bytes).unwrap();
    let damaged_name = damaged.display().to_string();
    let refused = told(&["verify", &damaged_name, "--keys", &keys]);
    assert!(refused.starts_with("Error: FOLDER/damaged.bundle cannot be used"), "{refused}");
    fs::write(&damaged, &bytes[..middle]).unwrap();
    assert!(told(&["inspect", &damaged_name]).starts_with("Error: FOLDER/damaged.bundle cannot be used"));
    let stranger = run(&mut machine.roadstead(&["key", "generate", "--name", "stranger", "--out", &format!("{key}2")]));
    let strangers = machine.folder.path().join("strangers.toml");
    fs::write(&strangers, stranger).unwrap();
    insta::assert_snapshot!(told(&["verify", &new, "--keys", &strangers.display().to_string()]), @r"
    Error: FOLDER/1.1.bundle is not trusted
    Caused by: no trusted key signed the release, 1 must; signatures by keys that are not trusted here, or that do not hold: DIGEST
    ");
}
