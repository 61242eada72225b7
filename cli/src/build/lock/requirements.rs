//! Requirements files: any encoding with a byte order mark, nested `-r` and `-c`, hashes, options, paths.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Demand, Wanted, below, pyproject};
use crate::failure::{self, Failure, Result};

const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const NESTING_MAX: usize = 16;

/// Options that go along to pip as they are, with the number of their values.
const OPTIONS: [(&str, bool); 12] = [
    ("--index-url", true),
    ("-i", true),
    ("--extra-index-url", true),
    ("--trusted-host", true),
    ("--no-index", false),
    ("--pre", false),
    ("--prefer-binary", false),
    ("--no-binary", true),
    ("--only-binary", true),
    ("--find-links", true),
    ("-f", true),
    ("--use-feature", true),
];

/// A package's name as indexes compare it.
pub(crate) fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            _ => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Reads a requirements file into the demand.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>, demand: &mut Demand) -> Result<()> {
    nested(path, wanted, demand, 0, false)
}

fn nested(path: &Path, wanted: &Wanted<'_>, demand: &mut Demand, depth: usize, constraints: bool) -> Result<()> {
    if depth > NESTING_MAX {
        return Err(
            Failure::failed(format!("{} includes files more than {NESTING_MAX} deep", path.display())).hint("does a file include itself?")
        );
    }
    let here = path.parent().unwrap_or(wanted.root);
    for line in logical_lines(&text(path)?) {
        let (word, rest) = option(&line);
        match word {
            "-r" | "--requirement" => nested(&inside(here, rest, wanted.checkout)?, wanted, demand, depth + 1, constraints)?,
            "-c" | "--constraint" => nested(&inside(here, rest, wanted.checkout)?, wanted, demand, depth + 1, true)?,
            _ if constraints => demand.constraints.push(without_hashes(&line)),
            _ => add_line(&line, here, wanted, demand)?,
        }
    }
    Ok(())
}

/// Adds one requirement line or option.
pub(super) fn add_line(line: &str, here: &Path, wanted: &Wanted<'_>, demand: &mut Demand) -> Result<()> {
    let (word, rest) = option(line);
    match word {
        "--require-hashes" => Ok(()),
        "-e" | "--editable" => add_requirement(rest, here, wanted, demand),
        _ if word.starts_with('-') => add_option(word, rest, here, demand),
        _ => add_requirement(line, here, wanted, demand),
    }
}

fn add_option(word: &str, rest: &str, here: &Path, demand: &mut Demand) -> Result<()> {
    let Some((name, takes_value)) = OPTIONS.iter().find(|(name, _)| *name == word) else {
        return Err(Failure::failed(format!("the option {word} in a requirements file is not supported"))
            .hint("take it out of the file; pip's own settings (PIP_… variables, pip.conf) are honoured"));
    };
    let folder = ["--find-links", "-f"].contains(name).then(|| here.join(rest)).filter(|path| path.is_dir());
    let value = folder.map_or_else(|| rest.to_owned(), |path| path.display().to_string());
    let option = if *takes_value { format!("{name} {value}") } else { (*name).to_owned() };
    if !demand.options.contains(&option) {
        demand.options.push(option);
    }
    Ok(())
}

fn add_requirement(line: &str, here: &Path, wanted: &Wanted<'_>, demand: &mut Demand) -> Result<()> {
    let Some((path, extras)) = local_path(line) else {
        // Only lines of one pinned version may carry hashes; the rest is for the resolver.
        let list = if line.contains("--hash") { &mut demand.hashed } else { &mut demand.free };
        let line = line.to_owned();
        if !list.contains(&line) {
            list.push(line);
        }
        return Ok(());
    };
    let target = [wanted.root.join(&path), here.join(&path)].into_iter().find(|path| path.exists());
    let Some(target) = target else {
        return Err(
            Failure::failed(format!("the requirement {line:?} names a path that is not in the commit")).hint("commit it, or take it out")
        );
    };
    let Some(inside) = below(wanted.checkout, &target) else {
        return Err(Failure::failed(format!("the requirement {line:?} lies outside of the folder of roadstead.toml"))
            .hint("publish it as a package, or move it into the repository below roadstead.toml"));
    };
    if below(wanted.root, &target).is_some_and(|path| path.as_os_str().is_empty()) {
        let groups = Wanted { extras: &extras, groups: &[], ..*wanted };
        return pyproject::read(&wanted.root.join("pyproject.toml"), &groups, demand);
    }
    let inside = inside.display().to_string();
    let suffix = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    if target.is_dir() {
        demand.local.insert(inside.clone());
    }
    demand.free.push(format!("./{inside}{suffix}"));
    Ok(())
}

/// The path and extras of a line that names a file or folder instead of a package.
fn local_path(line: &str) -> Option<(String, Vec<String>)> {
    let plain = line.split(" ;").next().unwrap_or(line).trim();
    let plain = plain.strip_prefix("file://").or_else(|| plain.strip_prefix("file:")).unwrap_or(plain);
    let archive = [".whl", ".tar.gz", ".zip"].iter().any(|end| plain.ends_with(end)) && !plain.contains("://") && !plain.contains('@');
    if !(plain == "."
        || plain.starts_with("./")
        || plain.starts_with("../")
        || plain.starts_with('/')
        || plain.starts_with(".[")
        || archive)
    {
        return None;
    }
    match plain.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((path, extras)) => Some((path.to_owned(), extras.split(',').map(|extra| extra.trim().to_owned()).collect())),
        None => Some((plain.to_owned(), Vec::new())),
    }
}

fn option(line: &str) -> (&str, &str) {
    if !line.starts_with('-') {
        return ("", line);
    }
    match line.split_once(|c: char| c.is_whitespace() || c == '=') {
        Some((word, rest)) => (word, rest.trim()),
        // `-rbase.txt` is allowed, too.
        None if line.len() > 2 && !line.starts_with("--") && line.is_char_boundary(2) => line.split_at(2),
        None => (line, ""),
    }
}

fn without_hashes(line: &str) -> String {
    line.split(" --hash").next().unwrap_or(line).trim().to_owned()
}

fn inside(here: &Path, file: &str, checkout: &Path) -> Result<PathBuf> {
    let path = here.join(file);
    if path.is_file() && below(checkout, &path).is_some() {
        Ok(path)
    } else {
        Err(Failure::failed(format!("the file {file} that {} includes is not in the commit", here.display()))
            .hint("commit it, or take the line out"))
    }
}

fn text(path: &Path) -> Result<String> {
    let size = fs::metadata(path).map_err(|error| failure::file("read", path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::failed(format!("{} has {size} bytes; a requirements file has at most {FILE_BYTES_MAX}", path.display())));
    }
    let bytes = fs::read(path).map_err(|error| failure::file("read", path, &error))?;
    decode(&bytes).ok_or_else(|| Failure::failed(format!("{} is neither UTF-8 nor UTF-16", path.display())).hint("save it as UTF-8"))
}

fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| bytes.len().is_multiple_of(2))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [first, 0, ..] if *first != 0 => wide(bytes, u16::from_le_bytes),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// Lines with continuations joined, comments and blank ones dropped.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let line = if line.trim_start().starts_with('#') { "" } else { line };
        if let Some(part) = line.trim_end().strip_suffix('\\') {
            open.push_str(part);
            open.push(' ');
            continue;
        }
        open.push_str(line);
        let whole = std::mem::take(&mut open);
        let whole = whole.split(" #").next().unwrap_or_default().split("\t#").next().unwrap_or_default();
        let words = whole.split_whitespace().collect::<Vec<_>>().join(" ");
        if !words.is_empty() {
            lines.push(words);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand_of(files: &[(&str, &[u8])]) -> Result<Demand> {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let wanted = Wanted { checkout: root.path(), root: root.path(), files: &[], extras: &[], groups: &[], extra_packages: &[] };
        let mut demand = Demand::default();
        read(&root.path().join(files[0].0), &wanted, &mut demand)?;
        Ok(demand)
    }

    #[test]
    fn includes_constraints_comments_and_continuations_become_plain_lines() {
        let demand = demand_of(&[
            ("requirements/prod.txt", b"-r base.txt\n--constraint=limits.txt\ngunicorn >= 20  # server\n\n# x\n"),
            ("requirements/base.txt", b"Django==5.0 \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\n-rmore.txt\n"),
            ("requirements/more.txt", b"celery[redis] ; python_version >= '3.8'\n--extra-index-url https://x/simple\n"),
            ("requirements/limits.txt", b"kombu==5.3 --hash=sha256:cc\n"),
        ])
        .unwrap();
        assert_eq!(demand.hashed, ["Django==5.0 --hash=sha256:aa --hash=sha256:bb"]);
        assert_eq!(demand.free, ["celery[redis] ; python_version >= '3.8'", "gunicorn >= 20"]);
        assert_eq!(
            (demand.constraints, demand.options),
            (vec!["kombu==5.3".to_owned()], vec!["--extra-index-url https://x/simple".to_owned()])
        );
    }

    #[test]
    fn encodings_with_and_without_marks_are_read() {
        let wide = |mark: &[u8], unit: fn(u16) -> [u8; 2]| [mark.to_vec(), "a==1\n".encode_utf16().flat_map(unit).collect()].concat();
        let files = [
            wide(&[0xff, 0xfe], u16::to_le_bytes),
            wide(&[0xfe, 0xff], u16::to_be_bytes),
            wide(&[], u16::to_le_bytes),
            b"\xef\xbb\xbfa==1".to_vec(),
        ];
        for content in &files {
            assert_eq!(demand_of(&[("r.txt", content)]).unwrap().free, ["a==1"], "{content:?}");
        }
        assert!(demand_of(&[("r.txt", b"\xff\xfe\x00")]).is_err());
        assert!(demand_of(&[("r.txt", b"caf\xe9==1")]).unwrap_err().summary.contains("UTF-8"));
    }

    #[test]
    fn what_cannot_be_built_from_is_named() {
        for (line, told) in [
            ("-e ../lib", "../lib"),
            ("--target x", "--target"),
            ("-r gone.txt", "gone.txt"),
            ("./lib", "not in the commit"),
            ("-r r.txt", "deep"),
        ] {
            let failure = demand_of(&[("r.txt", line.as_bytes())]).unwrap_err();
            assert!(failure.to_string().contains(told), "{line}: {failure}");
        }
    }

    #[test]
    fn local_packages_and_the_project_itself() {
        let demand = demand_of(&[
            ("r.txt", b"-e ./libs/own[fast]\n-e .[prod]\nvendor/x-1-py3-none-any.whl\ngit+https://x/y@main#egg=y\n"),
            ("libs/own/pyproject.toml", b""),
            ("vendor/x-1-py3-none-any.whl", b""),
            ("pyproject.toml", b"[project]\nname='p'\ndependencies=['a']\n[project.optional-dependencies]\nprod=['b']\ndev=['c']\n"),
        ])
        .unwrap();
        assert_eq!(demand.free, ["./libs/own[fast]", "a", "b", "./vendor/x-1-py3-none-any.whl", "git+https://x/y@main#egg=y"]);
        assert_eq!(demand.local.into_iter().collect::<Vec<_>>(), ["libs/own"]);
    }

    #[test]
    fn names_compare_as_indexes_compare_them() {
        assert_eq!(["My_Pkg.x", "a--b", "zope.interface"].map(normal_name), ["my-pkg-x", "a-b", "zope-interface"]);
    }
}
