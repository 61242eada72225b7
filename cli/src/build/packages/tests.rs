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
