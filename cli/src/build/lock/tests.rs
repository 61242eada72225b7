use super::*;
use crate::build::testing::{Project, Wheel};

const BACKEND: &str = "
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    with zipfile.ZipFile(folder + '/own-3-py3-none-any.whl', 'w') as archive:
        archive.writestr('own.py', open('own.py').read())
        archive.writestr('own-3.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: own\\nVersion: 3\\nRequires-Dist: leaf\\n')
        archive.writestr('own-3.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        archive.writestr('own-3.dist-info/RECORD', 'own.py,,\\nown-3.dist-info/METADATA,,\\nown-3.dist-info/WHEEL,,\\nown-3.dist-info/RECORD,,\\n')
    return 'own-3-py3-none-any.whl'
";

fn project() -> Project {
    let project = Project::new();
    Wheel { name: "web", version: "1.0", requires: &["leaf>=1"], files: &[("web.py", "")], ..Wheel::default() }.write(&project.wheels());
    Wheel { name: "leaf", version: "1.0", files: &[("leaf.py", "a=1")], ..Wheel::default() }.write(&project.wheels());
    Wheel { name: "leaf", version: "2.0", files: &[("leaf.py", "a=2")], ..Wheel::default() }.write(&project.wheels());
    project
}

fn locked(project: &Project, files: &[&str], extra: &[&str], refresh: bool) -> Result<Lock> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (files, extra, root, work) = (owned(files), owned(extra), project.root(), project.work());
    let wanted = Wanted { checkout: &root, root: &root, files: &files, extras: &[], groups: &[], extra_packages: &extra };
    lock(&wanted, &project.toolbox(&work), &project.cache, &work, refresh)
}

fn versions(lock: &Lock) -> Vec<String> {
    lock.packages.iter().map(|package| format!("{}=={}", package.name, package.version)).collect()
}

#[test]
fn loose_requirements_become_a_sorted_lock_with_hashes_that_stays_until_refreshed() {
    let project = project();
    project.write("requirements.txt", "INDEX\nweb\n");
    let first = locked(&project, &[], &[], false).unwrap();
    assert_eq!(versions(&first), ["leaf==2.0", "web==1.0"]);
    assert!(!first.pinned && first.text().lines().all(|line| line.contains(" --hash=sha256:")), "{}", first.text());
    Wheel { name: "leaf", version: "3.0", files: &[("leaf.py", "")], ..Wheel::default() }.write(&project.wheels());
    assert_eq!(locked(&project, &[], &[], false).unwrap(), first, "the index is not asked again");
    assert_eq!(versions(&locked(&project, &[], &[], true).unwrap()), ["leaf==3.0", "web==1.0"]);
}

#[test]
fn what_any_patch_release_of_the_python_wants_is_locked() {
    let project = project();
    let Some((series, _)) = project.toolbox(&project.work()).python().full.rsplit_once('.').map(|(s, p)| (s.to_owned(), p.to_owned()))
    else {
        panic!("a Python without a version")
    };
    let old = format!("leaf==1.0; python_full_version < \"{series}.1\"");
    let new = format!("later; python_full_version >= \"{series}.90\"");
    Wheel { name: "later", version: "1.0", files: &[("later.py", "")], ..Wheel::default() }.write(&project.wheels());
    let requires: &[&str] = &[&old, &new, "absent; python_full_version < \"3\""];
    Wheel { name: "patchy", version: "1.0", requires, files: &[("patchy.py", "")], ..Wheel::default() }.write(&project.wheels());
    project.write("requirements.txt", "INDEX\npatchy\n");
    assert_eq!(versions(&locked(&project, &[], &[], false).unwrap()), ["later==1.0", "leaf==1.0", "patchy==1.0"]);
}

#[test]
fn a_file_with_hashes_is_taken_as_it_stands_and_further_packages_fit_around_it() {
    let project = project();
    project.write("loose.txt", "INDEX\nleaf==1.0\n");
    let leaf = locked(&project, &["loose.txt"], &[], false).unwrap();
    let Archive::File { sha256, .. } = &leaf.packages[0].archive else { panic!("{leaf:?}") };
    project.write("requirements.txt", &format!("INDEX\nleaf==1.0 --hash=sha256:{sha256}\n"));
    let both = locked(&project, &["requirements.txt"], &["web"], false).unwrap();
    assert_eq!(versions(&both), ["leaf==1.0", "web==1.0"]);
    project.write("requirements.txt", &format!("INDEX\nleaf==1.0 --hash=sha256:{}\n", "0".repeat(64)));
    let failure = locked(&project, &["requirements.txt"], &[], false).unwrap_err();
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("before you trust them")), "{failure}");
}

#[test]
fn a_package_in_the_repository_is_locked_by_its_files() {
    let project = project();
    project.write("requirements.txt", "INDEX\n./libs/own\n");
    project.write("libs/own/pyproject.toml", "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n");
    project.write("libs/own/backend.py", BACKEND);
    project.write("libs/own/own.py", "x = 1\n");
    let before = locked(&project, &[], &[], false).unwrap();
    assert_eq!(versions(&before), ["leaf==2.0", "own==3"]);
    assert!(before.text().contains("own==3 @ ./libs/own --hash=blake3:"), "{}", before.text());
    project.write("libs/own/own.py", "x = 2\n");
    assert_ne!(locked(&project, &[], &[], false).unwrap().digest(), before.digest());
}

#[test]
fn what_is_missing_or_foreign_is_named_with_a_way_out() {
    let project = project();
    project.write("requirements.txt", "INDEX\nnothing-of-this-name\n");
    project.write("Pipfile", "");
    for (file, told) in [("requirements.txt", "no such version"), ("Pipfile", "pipenv requirements"), ("gone.txt", "is committed")] {
        let failure = locked(&project, &[file], &[], false).unwrap_err();
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains(told)), "{file}: {failure}");
    }
    let empty = Project::new();
    assert!(locked(&empty, &[], &[], false).unwrap().packages.is_empty());
}

#[test]
fn a_poetry_lock_decides_versions_and_archives() {
    let project = project();
    let index = format!("[[tool.poetry.source]]\nname='x'\nurl='{}'\n", project.wheels().display());
    project.write("pyproject.toml", &format!("[tool.poetry.dependencies]\npython='^3.8'\nweb='*'\n{index}"));
    let hash = "0".repeat(64);
    project.write(
        "poetry.lock",
        &format!("[[package]]\nname='web'\nversion='1.0'\npython-versions='*'\nfiles=[{{file='w',hash='sha256:{hash}'}}]\n[[package]]\nname='leaf'\nversion='1.0'\npython-versions='*'\n"),
    );
    project.write("index.txt", "INDEX\n");
    let failure = locked(&project, &["index.txt", "poetry.lock"], &[], false).unwrap_err();
    assert!(failure.summary.contains("web 1.0 is not the archive"), "{failure}");
}
