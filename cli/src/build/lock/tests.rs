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

/// As [`locked`], with extras and groups.
fn chosen(project: &Project, files: &[&str], extras: &[&str], groups: &[&str]) -> Result<Lock> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (files, extras, groups, root, work) = (owned(files), owned(extras), owned(groups), project.root(), project.work());
    let wanted = Wanted { checkout: &root, root: &root, files: &files, extras: &extras, groups: &groups, extra_packages: &[] };
    lock(&wanted, &project.toolbox(&work), &project.cache, &work, false)
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

#[test]
fn extras_and_groups_are_locked_when_they_are_asked_for() {
    let project = project();
    project.write("index.txt", "INDEX\n");
    project.write(
        "pyproject.toml",
        "[project]\nname='p'\ndependencies=[]\n[project.optional-dependencies]\nweb=['web']\n[dependency-groups]\nrun=['leaf<2']\n",
    );
    let files = ["index.txt", "pyproject.toml"];
    assert_eq!(versions(&chosen(&project, &files, &["web"], &["run"]).unwrap()), ["leaf==1.0", "web==1.0"]);
    assert_eq!(versions(&chosen(&project, &files, &[], &["run"]).unwrap()), ["leaf==1.0"]);
    assert!(versions(&chosen(&project, &files, &[], &[]).unwrap()).is_empty());
    assert!(chosen(&project, &files, &[], &["dev"]).unwrap_err().summary.contains("no dependency group \"dev\""));
}

#[test]
fn a_path_source_outside_of_the_repository_is_refused_by_name() {
    let project = project();
    let outside = project.root().parent().unwrap().join("elsewhere");
    std::fs::create_dir_all(&outside).unwrap();
    project.write("requirements.txt", "INDEX\n-e ../elsewhere\n");
    project.write("more.txt", "INDEX\nelse @ file:///elsewhere\n");
    project.write("pyproject.toml", "[tool.poetry.dependencies]\npython='*'\nown={path='../elsewhere'}\n");
    project.write(
        "poetry.lock",
        "[[package]]\nname='own'\nversion='1'\npython-versions='*'\n[package.source]\ntype='directory'\nurl='../elsewhere'\n",
    );
    for file in ["requirements.txt", "poetry.lock"] {
        let failure = locked(&project, &[file], &[], false).unwrap_err();
        assert!(failure.summary.contains("elsewhere") && failure.summary.contains("lies outside"), "{file}: {failure}");
    }
    assert!(locked(&project, &["more.txt"], &[], false).is_err());
}

#[test]
fn a_uv_lock_decides_as_uv_means_it_and_its_path_sources_must_lie_inside() {
    let project = project();
    project.write("index.txt", "INDEX\n");
    let wheels = project.wheels().display().to_string();
    project.write(
        "pyproject.toml",
        &format!("[project]\nname='p'\nversion='1'\nrequires-python='>=3.8'\ndependencies=['web']\n[dependency-groups]\nrun=['leaf==1.0']\n[tool.uv]\nfind-links=['{wheels}']\nno-index=true\n"),
    );
    let work = project.work();
    let toolbox = project.toolbox(&work);
    let made = crate::build::run::Run::clean(toolbox.uv().unwrap(), &["UV_"]).args(["lock", "--quiet", "--python"]);
    made.arg(&toolbox.python().executable).within(&project.root()).expect("uv cannot lock").unwrap();
    let lock = chosen(&project, &["index.txt", "uv.lock"], &[], &[]).unwrap();
    assert_eq!(versions(&lock), ["leaf==1.0", "web==1.0"]);
    assert_eq!(versions(&chosen(&project, &["index.txt", "uv.lock"], &[], &["run"]).unwrap()), ["leaf==1.0", "web==1.0"]);
    assert!(!project.root().join(".roadstead-uv-export.txt").exists());
    let failure = chosen(&project, &["index.txt", "uv.lock"], &[], &["gone"]).unwrap_err();
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("extras and groups")), "{failure}");
}

#[test]
fn wheels_can_be_chosen_for_a_python_that_is_not_here() {
    let project = project();
    Wheel { name: "young", version: "1.0", files: &[("young.py", "")], ..Wheel::default() }.write(&project.wheels());
    let requires: &[&str] = &["young; python_version >= '3.38'", "leaf<2; python_version < '3.38'"];
    Wheel { name: "marked", version: "1.0", requires, files: &[("marked.py", "")], ..Wheel::default() }.write(&project.wheels());
    project.write("requirements.txt", "INDEX\nmarked\n");
    let (root, work) = (project.root(), project.work());
    let wanted = Wanted { checkout: &root, root: &root, files: &[], extras: &[], groups: &[], extra_packages: &[] };
    let target = roadstead_bundle::spec::PythonVersion { major: 3, minor: 39 };
    let toolbox = project.toolbox(&work).for_another(target);
    let found = lock(&wanted, &toolbox, &project.cache, &work, false).unwrap();
    assert_eq!(versions(&found), ["marked==1.0", "young==1.0"], "markers speak of that Python");
    assert_eq!(versions(&locked(&project, &[], &[], false).unwrap()), ["leaf==1.0", "marked==1.0"]);
    let folder = crate::build::packages::wheelhouse(&found, &root, &toolbox, &project.cache, &work).unwrap();
    let text = std::fs::read_to_string(folder.join("lock.txt")).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("marked==1.0 --hash=sha256:") && folder.join("young-1.0-py3-none-any.whl").is_file(), "{text}");
}
