use super::*;
use crate::build::cache::Cache;
use crate::build::python::Python;
use crate::build::testing::python;
use roadstead_bundle::manifest::Source;
use roadstead_model::{Timestamp, Version};
use std::os::unix::fs::PermissionsExt;

/// A checkout with a `roadstead.toml` of these sections, and an environment that has nothing but Python.
struct Desk {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join("checkout").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let bin = folder.path().join("venv/bin");
        fs::create_dir_all(&bin).unwrap();
        let Python { executable, .. } = python();
        fs::write(bin.join("python"), format!("#!/bin/sh\nexec {} \"$@\"\n", executable.display())).unwrap();
        fs::set_permissions(bin.join("python"), fs::Permissions::from_mode(0o755)).unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        Self { folder, cache }
    }

    fn run(&self, sections: &str, with_python: bool, output: &Output) -> Result<Outcome> {
        let text =
            format!("[app]\nname = \"shop\"\npython = \"3.11\"\n[services.web]\nkind = \"gunicorn\"\napp = \"shop:app\"\n{sections}");
        let project = roadstead_bundle::project::read(Path::new("roadstead.toml"), &text).unwrap();
        let source = Source { commit: "c".into(), branch: None, author: "a".into(), committed_at: Timestamp(0), dirty: false };
        let checkout = Checkout { folder: self.folder.path().join("checkout"), source, version: Version::parse("1.0").unwrap() };
        let (work, bin, collected) =
            (self.cache.work().unwrap(), self.folder.path().join("venv/bin"), self.folder.path().join("collected"));
        fs::create_dir_all(&collected).unwrap();
        let stage = Stage { project: &project, checkout: &checkout, bin: with_python.then_some(&*bin), collected: &collected, work: &work };
        run(&stage, output)
    }
}

#[test]
fn build_commands_make_files_of_the_release_in_order_with_the_builds_variables() {
    let desk = Desk::new(&[
        ("VERSION", "7"),
        (
            "make.py",
            "import os, sys\nopen('app.log', 'a'); open('made.txt', 'a').write(open('VERSION').read() + sys.argv[1] + os.environ['THEME'] + os.environ.get('SECRET', '-'))\n",
        ),
    ]);
    let commands = "[build]\nbefore-collectstatic = [[\"python\", \"make.py\", \"a\"], [\"python\", \"make.py\", \"b\"]]\nenv = { THEME = \"dark\" }\n[files]\nshared = [\"app.log\"]\n";
    let outcome = desk.run(commands, true, &Output::plain()).unwrap();
    assert_eq!(fs::read_to_string(desk.folder.path().join("checkout/made.txt")).unwrap(), "7adark-7bdark-");
    assert!(!desk.folder.path().join("checkout/app.log").exists(), "what is shared is not made at build");
    assert_eq!((outcome.migrations.len(), outcome.collect), (0, None));
    let failing = "[build]\nbefore-collectstatic = [[\"python\", \"-c\", \"import sys; sys.exit('no theme')\"]]\n";
    let failure = desk.run(failing, true, &Output::plain()).unwrap_err();
    assert!(failure.summary.contains("the build command python -c") && failure.detail.contains("no theme"), "{failure}");
}

#[test]
fn without_the_apps_python_only_what_needs_none_is_built() {
    let desk = Desk::new(&[("manage.py", "")]);
    let output = Output::plain();
    let django = "[django]\nsettings = \"shop.settings\"\n[static]\nroot = \"assets\"\n";
    let outcome = desk.run(django, false, &output).unwrap();
    assert_eq!(outcome.collect, Some(Collect::Host));
    assert!(output.warnings()[0].contains("does not list its migrations"), "{:?}", output.warnings());
    for sections in [format!("{django}collect = \"build\"\n"), "[build]\nafter-collectstatic = [[\"npm\", \"run\", \"x\"]]\n".to_owned()] {
        let failure = desk.run(&sections, false, &output).unwrap_err();
        assert!(failure.summary.contains("has no Python 3.11"), "{failure}");
    }
}

#[test]
fn files_that_mean_something_else_than_people_think_are_named() {
    let desk = Desk::new(&[(".env", "DEBUG=1"), (".env.example", ""), ("gunicorn.conf.py", "bind='0.0.0.0'")]);
    let output = Output::plain();
    desk.run("", true, &output).unwrap();
    let told = output.warnings();
    assert!(told.len() == 2 && told[0].starts_with(".env is part") && told[1].starts_with("gunicorn.conf.py is not read"), "{told:?}");
}

fn answer(edit: impl FnOnce(&mut Answer)) -> Answer {
    let mut answer = Answer { allowed_hosts: vec!["*".into()], ..Answer::default() };
    edit(&mut answer);
    answer
}

fn advice(sections: &str, answer: &Answer) -> Vec<String> {
    let text = format!(
        "[app]\nname = \"shop\"\npython = \"3.11\"\n[services.web]\nkind = \"gunicorn\"\napp = \"shop:app\"\n[django]\nsettings = \"s\"\n{sections}"
    );
    let project = roadstead_bundle::project::read(Path::new("roadstead.toml"), &text).unwrap();
    let source = Source { commit: "c".into(), branch: None, author: "a".into(), committed_at: Timestamp(0), dirty: false };
    let folder = tempfile::tempdir().unwrap();
    let checkout = Checkout { folder: folder.path().to_owned(), source, version: Version::parse("1.0").unwrap() };
    let cache = Cache::at(folder.path().join("cache")).unwrap();
    let work = cache.work().unwrap();
    let stage = Stage { project: &project, checkout: &checkout, bin: None, collected: folder.path(), work: &work };
    let output = Output::plain();
    advise(answer, &stage, &output);
    output.warnings()
}

#[test]
fn what_differs_from_a_server_is_said_at_build() {
    let written = |answer: &mut Answer| {
        answer.written = [("db.sqlite3", "the database"), ("media/up", "MEDIA_ROOT"), ("debug.log", "the log file")]
            .map(|(path, what)| (path.to_owned(), what.to_owned()))
            .into();
    };
    let told = advice("[files]\nshared = [\"media\", \"db.sqlite3\"]\n", &answer(written));
    assert_eq!(told, ["the log file debug.log lies in the release, which nobody can write: name it under shared of [files]"]);
    let told = advice(
        "",
        &answer(|answer| {
            answer.debug = true;
            answer.allowed_hosts.clear();
            answer.weak_key = true;
        }),
    );
    assert!(told.len() == 3 && told[0].contains("DEBUG") && told[1].contains("localhost") && told[2].contains("SECRET_KEY"), "{told:?}");
    let told = advice(
        "",
        &answer(|answer| {
            answer.unmigrated = vec!["billing".into()];
            answer.drift = [("sales".to_owned(), vec!["Add field x to order".to_owned()])].into();
        }),
    );
    assert!(told[0].contains("the models of sales differ") && told[1].contains("billing has models and no migrations"), "{told:?}");
    let told = advice("[static]\nroot = \"assets\"\n", &answer(|answer| answer.static_root = Some("public/static".into())));
    assert!(told[0].contains("STATIC_ROOT is public/static"), "{told:?}");
}

#[test]
fn static_files_go_to_the_hosts_only_where_nobody_insists() {
    let desk = Desk::new(&[]);
    let collect = |sections: &str, answer: &Answer| {
        let text = format!(
            "[app]\nname = \"shop\"\npython = \"3.11\"\n[services.web]\nkind = \"gunicorn\"\napp = \"shop:app\"\n[django]\nsettings = \"s\"\n[static]\nroot = \"a\"\n{sections}"
        );
        let project = roadstead_bundle::project::read(Path::new("roadstead.toml"), &text).unwrap();
        let source = Source { commit: "c".into(), branch: None, author: "a".into(), committed_at: Timestamp(0), dirty: false };
        let checkout = Checkout { folder: desk.folder.path().to_owned(), source, version: Version::parse("1.0").unwrap() };
        let work = desk.cache.work().unwrap();
        let stage = Stage { project: &project, checkout: &checkout, bin: None, collected: desk.folder.path(), work: &work };
        collected(answer, &stage, &Output::plain())
    };
    let trouble = |missing: Option<&str>| django::Trouble {
        stage: "collectstatic".into(),
        missing: missing.map(str::to_owned),
        text: "OSError: no such table".into(),
    };
    let elsewhere = answer(|answer| answer.elsewhere = true);
    let broken = answer(|answer| answer.uncollected = Some(trouble(None)));
    let variable = answer(|answer| answer.uncollected = Some(trouble(Some("BUCKET"))));
    assert_eq!(collect("", &answer(|_| {})).unwrap(), Some(Collect::Build));
    assert_eq!(collect("", &elsewhere).unwrap(), Some(Collect::Host));
    assert_eq!(collect("", &broken).unwrap(), Some(Collect::Host));
    assert!(collect("collect = \"build\"\n", &broken).unwrap_err().detail.contains("no such table"));
    // What only misses a variable is better told than worked around.
    assert!(collect("", &variable).unwrap_err().hint.unwrap().contains("BUCKET"));
}
