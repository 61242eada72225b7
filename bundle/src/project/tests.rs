use super::*;

mod reference;
mod wrong;

use crate::spec::{Collect, Listen, ServiceKind};
use proptest::prelude::*;

const PLAIN: &str = r#"[app]
name = "shop"
python = "3.11"

[django]
settings = "shop.settings"

[services.web]
kind = "gunicorn"
app = "shop.wsgi:application"
"#;

fn told(text: &str) -> String {
    read(Path::new("roadstead.toml"), text).unwrap_err().to_string()
}

#[test]
fn a_plain_project_needs_ten_lines() {
    let project = read(Path::new("roadstead.toml"), PLAIN).unwrap();
    assert_eq!(project.spec.name.as_str(), "shop");
    assert_eq!(project.spec.django.as_ref().unwrap().manage.as_str(), "manage.py");
    let service = project.spec.services.values().next().unwrap();
    assert!(matches!(service.kind, ServiceKind::Gunicorn { workers: 2, listen: Listen::Unix, .. }));
    assert_eq!(project.build, BuildSettings::default());
}

#[test]
fn the_example_is_understood() {
    let text = include_str!("../../../examples/erp/roadstead.toml");
    let project = read(Path::new("roadstead.toml"), text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(project.spec.services.len(), 3);
    assert_eq!((project.spec.checks.health.len(), project.spec.checks.smoke.len()), (1, 3));
    assert_eq!(project.spec.statics.unwrap().collect, Collect::Build);
    assert_eq!(project.build.environment.len(), 1);
}

#[test]
fn every_mistake_is_named_at_its_place_with_what_was_meant() {
    let text = PLAIN.replace("kind = \"gunicorn\"", "kind = \"gunicron\"").replace("settings =", "setings =");
    assert_eq!(
        told(&text),
        "roadstead.toml:5:1: [django] needs settings, such as settings = \"config.settings\"\n\
         roadstead.toml:6:1: unknown key \"setings\" in [django]; did you mean \"settings\"?\n\
         roadstead.toml:9:8: there is no kind \"gunicron\": did you mean \"gunicorn\"?"
    );
}

#[test]
fn what_would_take_the_wheel_from_the_agent_is_refused() {
    for argument in ["--bind=0.0.0.0:80", "-b0.0.0.0:80", "--config", "--chdir=/tmp", "-D", "--user=root"] {
        let told = told(&format!("{PLAIN}arguments = [{argument:?}]\n"));
        assert!(told.starts_with("roadstead.toml:11:14: -"), "{told}");
    }
    assert!(read(Path::new("x"), &format!("{PLAIN}arguments = [\"--max-requests=1000\"]\n")).is_ok());
    let shell = "[services.job]\nkind = \"command\"\ncommand = [\"python manage.py x && rm -rf /\"]\n";
    assert!(told(&format!("{PLAIN}{shell}")).contains("without a shell"));
    let path = "[hooks]\nafter-cutover = [[\"/bin/sh\", \"-c\", \"x\"]]\n";
    assert!(told(&format!("{PLAIN}{path}")).contains("not with a path"));
}

#[test]
fn values_are_checked_across_sections() {
    let check = "[[checks.health]]\nservice = \"wbe\"\npath = \"/\"\n";
    assert!(told(&format!("{PLAIN}{check}")).contains("roadstead.toml:12:11: there is no service \"wbe\"; there is web"));
    let worker = "[services.worker]\nkind = \"celery-worker\"\napp = \"shop\"\n[[checks.smoke]]\nservice = \"worker\"\npath = \"/\"\n";
    assert!(told(&format!("{PLAIN}{worker}")).contains("answers no requests"));
    let ports =
        "listen = \"127.0.0.1:8000\"\n[services.api]\nkind = \"uvicorn\"\napp = \"shop.asgi:application\"\nlisten = \"127.0.0.1:8000\"\n";
    assert!(told(&format!("{PLAIN}{ports}")).contains("listen on the same port"));
    assert!(told(&format!("{PLAIN}[files]\nshared = [\"../x\"]\n")).contains("no '..'"));
    assert!(told(&format!("{PLAIN}[files]\nshared = [\"media\", \"media/a\"]\n")).contains("the outer one is enough"));
    assert!(told("").contains("there is no [app]"));
    assert!(told("[app\n").starts_with("roadstead.toml:1:5: "), "{}", told("[app\n"));
    assert!(told(&"#".repeat(300 * 1024)).contains("are not read"));
}

proptest! {
    #[test]
    fn junk_is_refused_without_a_panic(text in "\\PC{0,200}") {
        drop(read(Path::new("x"), &text));
    }

    #[test]
    fn any_changed_line_is_read_or_named(line in 0..10_usize, with in "[a-z.\\[\\]=\" 0-9]{0,30}") {
        let changed: Vec<&str> = PLAIN.lines().enumerate().map(|(at, old)| if at == line { with.as_str() } else { old }).collect();
        if let Err(mistakes) = read(Path::new("x"), &changed.join("\n")) {
            prop_assert!(!mistakes.mistakes.is_empty());
        }
    }
}
