//! `pyproject.toml`: dependencies, extras and groups as the packaging standards write them.

use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

use super::requirements::{add_line, normal_name};
use super::{Demand, Wanted};
use crate::failure::{self, Failure, Result};

/// Reads the file into the demand.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>, demand: &mut Demand) -> Result<()> {
    let file = table(path)?;
    for line in lines(&file, path, wanted)? {
        add_line(&line, wanted.root, wanted, demand)?;
    }
    Ok(())
}

/// A TOML file of the team's.
pub(super) fn table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(|error| failure::file("read", path, &error))?;
    text.parse().map_err(|error: toml::de::Error| Failure::failed(format!("{} cannot be read", path.display())).because(&error))
}

/// Whether the file lists dependencies in the standard way.
pub(super) fn has_dependencies(file: &Table) -> bool {
    let project = file.get("project").and_then(Value::as_table);
    project.is_some_and(|project| project.contains_key("dependencies")) || file.contains_key("dependency-groups")
}

/// The requirement lines of the project, the wanted extras and the wanted groups.
pub(super) fn lines(file: &Table, path: &Path, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let project = file.get("project").and_then(Value::as_table);
    let mut lines = match project.and_then(|project| project.get("dependencies")) {
        Some(list) => strings(list),
        None => dynamic(file, path, wanted)?,
    };
    let extras = project.and_then(|project| project.get("optional-dependencies")).and_then(Value::as_table);
    for extra in wanted.extras {
        lines.extend(strings(named(extras, extra, "extra", path)?));
    }
    for group in wanted.groups {
        group_lines(file, group, path, &mut BTreeSet::new(), &mut lines)?;
    }
    own_extras(project, extras, lines, path)
}

/// A project may ask for its own extras, as in `name[prod]`.
fn own_extras(project: Option<&Table>, extras: Option<&Table>, lines: Vec<String>, path: &Path) -> Result<Vec<String>> {
    let name = project.and_then(|project| project.get("name")).and_then(Value::as_str).map(normal_name);
    let mut queue = lines;
    let mut done = Vec::new();
    let mut seen = BTreeSet::new();
    while !queue.is_empty() {
        let line = queue.remove(0);
        let own = line.split_once('[').filter(|(head, _)| name.as_deref() == Some(&normal_name(head.trim())));
        let Some((_, rest)) = own else {
            done.push(line);
            continue;
        };
        for extra in rest.split(']').next().unwrap_or_default().split(',').map(str::trim) {
            if seen.insert(extra.to_owned()) {
                queue.extend(strings(named(extras, extra, "extra", path)?));
            }
        }
    }
    Ok(done)
}

fn group_lines(file: &Table, group: &str, path: &Path, seen: &mut BTreeSet<String>, lines: &mut Vec<String>) -> Result<()> {
    if !seen.insert(group.to_owned()) {
        return Ok(());
    }
    let groups = file.get("dependency-groups").and_then(Value::as_table);
    for item in named(groups, group, "dependency group", path)?.as_array().into_iter().flatten() {
        match item {
            Value::String(line) => lines.push(line.clone()),
            Value::Table(table) => {
                if let Some(other) = table.get("include-group").and_then(Value::as_str) {
                    group_lines(file, other, path, seen, lines)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The dependencies of a project that leaves them to its build tool.
fn dynamic(file: &Table, path: &Path, wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let get = |keys: &[&str]| keys.iter().try_fold(file, |table, key| table.get(*key).and_then(Value::as_table));
    let setuptools = get(&["tool", "setuptools", "dynamic", "dependencies"]).and_then(|table| table.get("file"));
    if let Some(files) = setuptools {
        let files = if let Some(one) = files.as_str() { vec![one.to_owned()] } else { strings(files) };
        return Ok(files.into_iter().map(|file| format!("-r {file}")).collect());
    }
    if !wanted.groups.is_empty() || file.get("dependency-groups").is_some() {
        return Ok(Vec::new());
    }
    let hint = if get(&["tool", "poetry", "dependencies"]).is_some() {
        "run `poetry lock`, commit poetry.lock, and name it in `dependencies`"
    } else {
        "list them under [project] dependencies, or name a requirements file in roadstead.toml"
    };
    Err(Failure::failed(format!("{} lists no dependencies", path.display())).hint(hint))
}

fn named<'a>(table: Option<&'a Table>, name: &str, what: &str, path: &Path) -> Result<&'a Value> {
    let wanted = normal_name(name);
    let found = table.into_iter().flatten().find(|(key, _)| normal_name(key) == wanted);
    found.map(|(_, value)| value).ok_or_else(|| {
        let known: Vec<&str> = table.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::failed(format!("{} has no {what} {name:?}", path.display())).cause(format!("it has: {known}"))
    })
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str, extras: &[&str], groups: &[&str]) -> Result<Vec<String>> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let (extras, groups) = (owned(extras), owned(groups));
        let root = Path::new("/app");
        let wanted = Wanted { checkout: root, root, files: &[], extras: &extras, groups: &groups, extra_packages: &[] };
        lines(&text.parse().unwrap(), Path::new("pyproject.toml"), &wanted)
    }

    #[test]
    fn dependencies_extras_and_nested_groups_are_found() {
        let text = "[project]\nname='My-App'\ndependencies=['django']\n[project.optional-dependencies]\nprod=['gunicorn']\nall=['my_app[prod]','x']\n\
            [dependency-groups]\nbase=['a']\nweb=[{include-group='base'},'b',{include-group='web'}]\n";
        assert_eq!(lines_of(text, &["all"], &["web"]).unwrap(), ["django", "x", "a", "b", "gunicorn"]);
        assert_eq!(lines_of(text, &[], &[]).unwrap(), ["django"]);
        assert!(lines_of(text, &["nope"], &[]).unwrap_err().causes[0].contains("prod"));
    }

    #[test]
    fn a_project_with_groups_alone_and_one_without_anything() {
        assert_eq!(lines_of("[dependency-groups]\ndev=['pytest']", &[], &["dev"]).unwrap(), ["pytest"]);
        let failure = lines_of("[tool.poetry.dependencies]\npython='^3.11'\ndjango='*'", &[], &[]).unwrap_err();
        assert!(failure.hint.unwrap().contains("poetry lock"));
        let dynamic = "[project]\nname='x'\n[tool.setuptools.dynamic]\ndependencies={file=['requirements.txt']}";
        assert_eq!(lines_of(dynamic, &[], &[]).unwrap(), ["-r requirements.txt"]);
    }
}
