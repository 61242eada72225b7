use super::*;
use crate::build::digest_of_folder;
use crate::build::lock::{Wanted, lock};
use crate::build::run::Run;
use crate::build::testing::{Project, Wheel, python};

const MODULE: &str = "import os\nNAMES = {'b', 'a', 'c'}\n\nclass Shape:\n    def area(self, width, height):\n        return width in {'x', 'y', 'z'} and os.name\n";

fn project(wheels: &Path) {
    let many: Vec<(String, String)> =
        (0..120).map(|n| (format!("many/m{n}.py"), format!("{MODULE}\nN = {n}\nfoo_{n} = 'foo_{}'\n", n % 7))).collect();
    let mut files: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.extend([
        ("many/__init__.py", ""),
        ("many/broken.py", "print 'two'\n"),
        ("many-1.data/scripts/tool.sh", "#!/bin/sh\necho tool\n"),
    ]);
    files.extend([
        ("many-1.data/scripts/old", "#!python\nimport many\nprint('old', many.__file__)\n"),
        ("many-1.data/data/share/many/x.txt", "x"),
    ]);
    Wheel { name: "many", version: "1", files: &files, scripts: "many = many.cli:main.run", ..Wheel::default() }.write(wheels);
}

fn tree(project: &Project) -> Installed {
    let (root, work) = (project.root(), project.work());
    let toolbox = project.toolbox(&work);
    let wanted = Wanted { checkout: &root, root: &root, files: &[], extras: &[], groups: &[], extra_packages: &[] };
    let lock = lock(&wanted, &toolbox, &project.cache, &work, false).unwrap();
    install(&lock, &root, &toolbox, &project.cache, &work).unwrap()
}

#[test]
fn the_same_lock_gives_the_same_tree_in_two_places() {
    let trees: Vec<_> = (0..2)
        .map(|_| {
            let (project_, installed) = made();
            let digest = digest_of_folder(&installed.tree).unwrap();
            assert!(!installed.cached);
            (digest, project_)
        })
        .collect();
    assert_eq!(trees[0].0, trees[1].0);
    assert!(tree(&trees[0].1).cached, "a second build finds it ready");
}

fn made() -> (Project, Installed) {
    let made = Project::new();
    project(&made.wheels());
    made.write("requirements.txt", "INDEX\nmany\n");
    let installed = tree(&made);
    (made, installed)
}

#[test]
fn the_tree_runs_wherever_it_lies() {
    let (_project, installed) = made();
    let moved = tempfile::tempdir().unwrap();
    let venv = moved.path().join("venv of mine");
    fs::create_dir_all(venv.join("bin")).unwrap();
    let copy = Run::new("cp").args(["-a", "--"]).arg(installed.tree.join("bin/.")).arg(venv.join("bin"));
    copy.expect("cannot copy").unwrap();
    fs::write(
        venv.join("bin/python"),
        format!("#!/bin/sh\nPYTHONPATH='{}' exec {} \"$@\"\n", installed.tree.join("lib").display(), python().executable.display()),
    )
    .unwrap();
    Run::new("chmod").arg("755").arg(venv.join("bin/python")).expect("chmod").unwrap();
    let said = Run::new(venv.join("bin/old")).expect("the script does not run").unwrap();
    assert!(said.starts_with("old ") && said.contains(installed.tree.to_str().unwrap()), "{said}");
    assert!(fs::read_to_string(installed.tree.join("bin/many")).unwrap().contains("from many.cli import main"));
    assert_eq!(fs::read_to_string(installed.tree.join("bin/tool.sh")).unwrap(), "#!/bin/sh\necho tool\n");
    assert_eq!(fs::read_to_string(installed.tree.join("share/many/x.txt")).unwrap(), "x");
    let lib = installed.tree.join("lib");
    let tag = python().tag;
    let header = fs::read(lib.join(format!("many/__pycache__/m1.{tag}.pyc"))).unwrap();
    assert_eq!(&header[4..8], 1_u32.to_le_bytes(), "unchecked, by hash");
    assert!(!lib.join(format!("many/__pycache__/broken.{tag}.pyc")).exists());
    assert!(!lib.join("many-1.dist-info/direct_url.json").exists() && !lib.join("pip").exists());
    let record = fs::read_to_string(lib.join("many-1.dist-info/RECORD")).unwrap();
    assert!(record.contains("many/m1.py,sha256=") && !record.contains("bin/"), "{record}");
}

const BACKEND: &str = "
import os, time, zipfile
def build_sdist(folder, settings=None):
    raise RuntimeError
def build_wheel(folder, settings=None, metadata=None):
    path = folder + '/native-1-py3-none-any.whl'
    info = 'native-1.dist-info/'
    names = {'native.py': open('native.py').read(), info + 'METADATA': 'Metadata-Version: 2.1\\nName: native\\nVersion: 1\\n',
        info + 'WHEEL': 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(names, key=lambda name: os.urandom(4)):
            archive.writestr(zipfile.ZipInfo(name, (1990 + os.getpid() % 30, 1, 1, 0, 0, 0)), names[name])
        archive.writestr(info + 'RECORD', ''.join(name + ',,\\n' for name in sorted(names, key=lambda name: os.urandom(4))) + info + 'RECORD,,\\n')
    return os.path.basename(path)
";

/// A project whose one package exists only as a source archive of the index.
fn only_source() -> Project {
    let made = Project::new();
    let source = made.root().parent().unwrap().join("native-1");
    fs::create_dir_all(&source).unwrap();
    let settings =
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n[project]\nname = 'native'\nversion = '1'\n";
    for (name, text) in [
        ("pyproject.toml", settings),
        ("backend.py", BACKEND),
        ("native.py", "x = 1\n"),
        ("PKG-INFO", "Metadata-Version: 2.1\nName: native\nVersion: 1\n"),
    ] {
        fs::write(source.join(name), text).unwrap();
    }
    let options = ["--sort=name", "--mtime=2020-01-01", "--owner=0", "--group=0", "-cf"];
    let archive = made.wheels().join("native-1.tar");
    Run::new("tar").arg("-C").arg(source.parent().unwrap()).args(options).arg(&archive).arg("native-1").expect("tar").unwrap();
    Run::new("gzip").arg("-n").arg(&archive).expect("gzip").unwrap();
    made.write("requirements.txt", "INDEX\nnative\n");
    made
}

#[test]
fn a_source_archive_is_built_here_and_its_wheel_is_the_same_every_time() {
    let house = || {
        let made = only_source();
        let (root, work) = (made.root(), made.work());
        let toolbox = made.toolbox(&work);
        let wanted = Wanted { checkout: &root, root: &root, files: &[], extras: &[], groups: &[], extra_packages: &[] };
        let lock = lock(&wanted, &toolbox, &made.cache, &work, false).unwrap();
        let folder = wheelhouse(&lock, &root, &toolbox, &made.cache, &work).unwrap();
        (digest_of_folder(&folder).unwrap(), fs::read_to_string(folder.join("lock.txt")).unwrap(), lock.digest())
    };
    let (one, other) = (house(), house());
    assert_eq!(one, other);
    assert!(one.1.starts_with("native==1 --hash=sha256:"), "{}", one.1);
}

#[test]
fn a_source_archive_for_a_python_that_is_not_here_is_refused() {
    let made = only_source();
    let (root, work) = (made.root(), made.work());
    let toolbox = made.toolbox(&work).for_another(PythonVersion { major: 3, minor: 39 });
    let wanted = Wanted { checkout: &root, root: &root, files: &[], extras: &[], groups: &[], extra_packages: &[] };
    let failure = lock(&wanted, &toolbox, &made.cache, &work, false).unwrap_err();
    assert!(failure.detail.contains("native"), "{failure}");
}

#[test]
fn bytecode_depends_on_its_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..60 {
        fs::write(folder.path().join(format!("m{n}.py")), format!("{MODULE}\nshared_{} = 'shared_{}'\n", n % 3, n % 5)).unwrap();
    }
    let all: Vec<String> = (0..60).map(|n| format!("m{n}.py")).collect();
    let (together, alone) = (folder.path().join("together"), folder.path().join("alone"));
    assert!(bytecode::compile_files(&python(), folder.path(), &together, &all).unwrap().is_empty());
    for name in all.iter().rev().step_by(7) {
        bytecode::compile_files(&python(), folder.path(), &alone, std::slice::from_ref(name)).unwrap();
        let pyc = format!("__pycache__/{}.{}.pyc", name.trim_end_matches(".py"), python().tag);
        assert_eq!(fs::read(together.join(&pyc)).unwrap(), fs::read(alone.join(&pyc)).unwrap(), "{name}");
    }
}
