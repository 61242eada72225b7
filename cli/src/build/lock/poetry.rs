//! `poetry.lock`: its pins become constraints and its digests the only ones allowed; what is wanted stands in `pyproject.toml`.

use roadstead_bundle::spec::PythonVersion;
use std::path::Path;
use toml::{Table, Value};

use super::requirements::{add_line, normal_name};
use super::{Demand, Wanted, pyproject};
use crate::build::python::Python;
use crate::failure::{Failure, Result};

/// Reads the lock and the project beside it into the demand.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>, python: &Python, demand: &mut Demand) -> Result<()> {
    let lock = pyproject::table(path)?;
    let project_path = path.with_file_name("pyproject.toml");
    let project = pyproject::table(&project_path)?;
    let version = python.version().unwrap_or(PythonVersion { major: 3, minor: 0 });
    let packages: Vec<&Table> = lock.get("package").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table).collect();
    for package in &packages {
        constrain(package, &lock, version, wanted, demand)?;
    }
    let poetry = at(&project, &["tool", "poetry"]);
    let lines = if pyproject::has_dependencies(&project) {
        pyproject::lines(&project, &project_path, &Wanted { groups: &standard_groups(&project, wanted), ..*wanted })?
    } else {
        main_lines(poetry, version, wanted)?
    };
    for line in lines.into_iter().chain(group_lines(poetry, version, &project, wanted)?) {
        add_line(&line, path.parent().unwrap_or(wanted.root), wanted, demand)?;
    }
    Ok(())
}

/// One locked package as a constraint, with the digests of its archives.
fn constrain(package: &Table, lock: &Table, python: PythonVersion, wanted: &Wanted<'_>, demand: &mut Demand) -> Result<()> {
    let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (normal_name(text("name")), text("version"));
    if !fits(text("python-versions"), python) {
        return Ok(());
    }
    let marker = match package.get("markers") {
        Some(Value::String(marker)) => format!(" ; {marker}"),
        _ => String::new(),
    };
    if let Some(source) = package.get("source").and_then(Value::as_table) {
        let get = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
        match get("type") {
            "git" => {
                let commit = [get("resolved_reference"), get("reference")].into_iter().find(|r| !r.is_empty()).unwrap_or("HEAD");
                demand.constraints.push(format!("{name} @ git+{}@{commit}{marker}", get("url")));
                return Ok(());
            }
            "url" => demand.constraints.push(format!("{name} @ {}{marker}", get("url"))),
            "directory" | "file" => return add_line(&format!("./{}", get("url").trim_start_matches("./")), wanted.root, wanted, demand),
            _ => {
                let option = format!("--extra-index-url {}", get("url"));
                if !get("url").is_empty() && !demand.options.contains(&option) {
                    demand.options.push(option);
                }
                demand.constraints.push(format!("{name}=={version}{marker}"));
            }
        }
    } else {
        demand.constraints.push(format!("{name}=={version}{marker}"));
    }
    let old = || at(lock, &["metadata", "files"]).and_then(|files| files.get(text("name")));
    let files = package.get("files").filter(|files| files.as_array().is_some_and(|files| !files.is_empty())).or_else(old);
    let hashes =
        files.and_then(Value::as_array).into_iter().flatten().filter_map(|file| file.get("hash")?.as_str()?.strip_prefix("sha256:"));
    let hashes: Vec<String> = hashes.map(str::to_owned).collect();
    if !hashes.is_empty() {
        demand.allowed.entry(name).or_default().extend(hashes);
    }
    Ok(())
}

fn main_lines(poetry: Option<&Table>, python: PythonVersion, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let table = poetry.and_then(|poetry| poetry.get("dependencies")).and_then(Value::as_table);
    let extras = poetry.and_then(|poetry| poetry.get("extras")).and_then(Value::as_table);
    let mut optional = Vec::new();
    for extra in wanted.extras {
        let list = extras.and_then(|extras| extras.get(extra)).and_then(Value::as_array);
        let list = list.ok_or_else(|| Failure::failed(format!("pyproject.toml has no extra {extra:?}")))?;
        optional.extend(list.iter().filter_map(Value::as_str).map(normal_name));
    }
    Ok(table.into_iter().flatten().flat_map(|(name, value)| requirement(name, value, python, &optional)).collect())
}

/// Groups of the standard kind among the wanted ones.
fn standard_groups(project: &Table, wanted: &Wanted<'_>) -> Vec<String> {
    let groups = project.get("dependency-groups").and_then(Value::as_table);
    wanted.groups.iter().filter(|group| groups.is_some_and(|groups| groups.contains_key(*group))).cloned().collect()
}

fn group_lines(poetry: Option<&Table>, python: PythonVersion, project: &Table, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let standard = standard_groups(project, wanted);
    let mut lines = Vec::new();
    for group in wanted.groups.iter().filter(|group| !standard.contains(group)) {
        let table = poetry.and_then(|poetry| at(poetry, &["group", group, "dependencies"]));
        let old = || poetry.and_then(|poetry| poetry.get("dev-dependencies")).and_then(Value::as_table).filter(|_| group == "dev");
        let table = table.or_else(old).ok_or_else(|| Failure::failed(format!("pyproject.toml has no dependency group {group:?}")))?;
        lines.extend(table.iter().flat_map(|(name, value)| requirement(name, value, python, &[])));
    }
    Ok(lines)
}

/// Requirement lines for one dependency in Poetry's own notation. Versions come from the constraints.
fn requirement(name: &str, value: &Value, python: PythonVersion, optional: &[String]) -> Vec<String> {
    if name == "python" {
        return Vec::new();
    }
    match value {
        Value::Array(choices) => choices.iter().flat_map(|choice| requirement(name, choice, python, optional)).collect(),
        Value::Table(table) => {
            let text = |key: &str| table.get(key).and_then(Value::as_str);
            let left_out = table.get("optional").and_then(Value::as_bool) == Some(true) && !optional.contains(&normal_name(name));
            if left_out || !fits(text("python").unwrap_or("*"), python) {
                return Vec::new();
            }
            if let Some(path) = text("path") {
                return vec![format!("./{}", path.trim_start_matches("./"))];
            }
            let extras: Vec<&str> = table.get("extras").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
            vec![format!("{name}{extras}{}", text("markers").map(|marker| format!(" ; {marker}")).unwrap_or_default())]
        }
        _ => vec![name.to_owned()],
    }
}

/// Whether a Python fits a constraint such as `>=3.8,<3.12`, `^3.9`, `~3.10` or `3.8 || 3.9`. What is not understood fits.
fn fits(constraint: &str, python: PythonVersion) -> bool {
    let alternatives: Vec<&str> = constraint.split("||").flat_map(|part| part.split(" | ")).collect();
    alternatives
        .iter()
        .any(|part| part.split([',', ' ']).map(str::trim).filter(|term| !term.is_empty()).all(|term| term_fits(term, python)))
        || constraint.trim().is_empty()
}

fn term_fits(term: &str, python: PythonVersion) -> bool {
    let at = term.find(|c: char| c.is_ascii_digit()).unwrap_or(term.len());
    let (operator, number) = term.split_at(at);
    let mut parts = number.split('.');
    let Some(major) = parts.next().and_then(|part| part.parse::<u8>().ok()) else { return true };
    let minor = parts.next().and_then(|part| part.parse::<u8>().ok());
    let patch = parts.next().and_then(|part| part.parse::<u8>().ok()).unwrap_or(0);
    let (ours, theirs) = ((python.major, python.minor), (major, minor.unwrap_or(0)));
    match operator.trim() {
        ">=" | ">" => ours >= theirs,
        "<" => ours < theirs || (ours == theirs && patch > 0),
        "<=" => ours <= theirs,
        "^" => ours >= theirs && python.major == major,
        "~" | "~=" if minor.is_some() && operator == "~" => ours == theirs,
        "~" | "~=" => ours >= theirs && python.major == major,
        "!=" => patch != 0 || number.ends_with(".0") || ours != theirs,
        _ => minor.map_or(python.major == major, |_| ours == theirs),
    }
}

fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Table> {
    keys.iter().try_fold(table, |table, key| table.get(*key).and_then(Value::as_table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_constraints_hold_as_poetry_means_them() {
        let python = PythonVersion { major: 3, minor: 11 };
        for good in [
            "*",
            "",
            ">=3.8,<4.0",
            "^3.9",
            "~3.11",
            "3.11.*",
            ">=3.8 <3.12",
            "3.8 || 3.11",
            ">=3.11",
            "<=3.11",
            "!=3.9.*",
            ">=3.9, !=3.9.7, <4",
            "<3.11.5",
        ] {
            assert!(fits(good, python), "{good}");
        }
        for bad in ["<3.11", "~3.10", ">=3.12", "^2.7", "3.10.*", "<3.9 || >=3.12", "!=3.11"] {
            assert!(!fits(bad, python), "{bad}");
        }
    }

    #[test]
    fn dependencies_become_lines_and_pins_become_constraints() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "pyproject.toml",
            "[tool.poetry.dependencies]\npython='^3.8'\nDjango='^5'\ncelery={version='*',extras=['redis']}\nold={version='*',python='<3.9'}\n\
             pg={version='*',optional=true}\nx={version='*',optional=true,markers=\"sys_platform=='linux'\"}\n[tool.poetry.extras]\nfast=['x']\n\
             [tool.poetry.group.web.dependencies]\ngunicorn='*'\n",
        );
        write(
            "poetry.lock",
            "[[package]]\nname='Django'\nversion='5.0'\npython-versions='>=3.10'\nfiles=[{file='d.whl',hash='sha256:aa'}]\n\
             [[package]]\nname='old'\nversion='1'\npython-versions='<3.9'\n\
             [[package]]\nname='lib'\nversion='1'\npython-versions='*'\n[package.source]\ntype='git'\nurl='https://x/lib'\nresolved_reference='c0ffee'\n",
        );
        let lists = [vec!["fast".to_owned()], vec!["web".to_owned()]];
        let wanted =
            Wanted { checkout: folder.path(), root: folder.path(), files: &[], extras: &lists[0], groups: &lists[1], extra_packages: &[] };
        let python =
            Python { executable: "/p".into(), full: "3.11.2".into(), architecture: String::new(), libc: String::new(), tag: String::new() };
        let mut demand = Demand::default();
        read(&folder.path().join("poetry.lock"), &wanted, &python, &mut demand).unwrap();
        assert_eq!(demand.free, ["Django", "celery[redis]", "x ; sys_platform=='linux'", "gunicorn"]);
        assert_eq!(demand.constraints, ["django==5.0", "lib @ git+https://x/lib@c0ffee"]);
        assert!(demand.allowed["django"].contains("aa") && demand.is_pinned());
    }
}
