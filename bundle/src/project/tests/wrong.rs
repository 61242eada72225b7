//! What people get wrong, and what they are told: file, line, column, and what was probably meant.

use super::*;

/// What is told about a plain project with these lines behind it.
fn told(lines: &str) -> String {
    super::told(&format!("{PLAIN}{lines}"))
}

#[test]
fn jobs() {
    assert!(told("[jobs.backfill]\n").contains("[jobs.backfill] has no command: command = [\"python\", \"manage.py\", \"backfill\"]"));
    assert!(told("[jobs.Backfill]\ncommand = [\"python\"]\n").contains("lower-case letters"));
    assert!(told("[jobs.backfill]\ncommand = [\"/bin/sh\"]\n").contains("not with a path"));
    assert!(told("[jobs.backfill]\ncommand = [\"python\"]\ntimeout = \"25h\"\n").contains("between 1ms and 24h"));
    assert!(told("[jobs.backfill]\ncommand = [\"python\"]\nhost = \"web-1\"\n").contains("unknown key \"host\""));
}

#[test]
fn keys_and_tables_that_nobody_knows() {
    assert_eq!(told("worker = 4\n"), "roadstead.toml:11:1: unknown key \"worker\" in [services.web]; did you mean \"workers\"?");
    assert_eq!(told("[service.api]\n"), "roadstead.toml:11:2: unknown key \"service\" in the file; did you mean \"services\"?");
    assert_eq!(
        told("[deploy]\n"),
        "roadstead.toml:11:2: unknown key \"deploy\" in the file; it knows app, django, dependencies, build, env, static, files, services, checks, hooks, steps, jobs"
    );
    assert_eq!(told("[files]\nshare = []\n"), "roadstead.toml:12:1: unknown key \"share\" in [files]; did you mean \"shared\"?");
    assert_eq!(
        told("[env]\nDEBUG = { defualt = \"\" }\n"),
        "roadstead.toml:12:11: unknown key \"defualt\" in DEBUG of [env]; did you mean \"default\"?"
    );
}

#[test]
fn values_of_another_kind() {
    assert_eq!(told("workers = \"4\"\n"), "roadstead.toml:11:11: workers is to be a whole number, not a text");
    assert_eq!(told("workers = 0\n"), "roadstead.toml:11:11: workers is to be between 1 and 256");
    assert_eq!(told("[env]\nDEBUG = \"True\"\n"), "roadstead.toml:12:9: DEBUG of [env] is to be a table, not a text");
    assert_eq!(told("[files]\nshared = \"media\"\n"), "roadstead.toml:12:10: shared is to be a list of texts: [\"…\"], not a text");
    assert_eq!(
        told("[hooks]\nafter-migrate = [\"python manage.py x\"]\n"),
        "roadstead.toml:12:18: a command in after-migrate is to be a list of texts: [\"…\"], not a text"
    );
    assert_eq!(told("start-timeout = 30\n"), "roadstead.toml:11:17: start-timeout is to be a text in quotes, not a number");
    assert_eq!(
        told("start-timeout = \"30\"\n"),
        "roadstead.toml:11:17: start-timeout: \"30\" is no time; write it as \"30s\", \"5m\" or \"1h\""
    );
    assert_eq!(
        told("[dependencies]\nship = \"wheel\"\n"),
        "roadstead.toml:12:8: ship: it is \"auto\", \"installed\", \"wheels\" or \"both\""
    );
}

#[test]
fn services_that_do_not_go_together() {
    let beat = "kind = \"celery-beat\"\napp = \"shop.celery\"\n";
    assert_eq!(
        told(&format!("[services.beat]\n{beat}[services.clock]\n{beat}")),
        "roadstead.toml:14:11: the services beat and clock are both the scheduler of shop.celery: every task would be sent twice"
    );
    assert_eq!(told("[services.web]\nkind = \"daphne\"\n"), "roadstead.toml:11:11: duplicate key");
    let listening =
        "listen = \"127.0.0.1:8000\"\n[services.live]\nkind = \"daphne\"\napp = \"shop.asgi:application\"\nlisten = \"127.0.0.1:8000\"\n";
    assert_eq!(told(listening), "roadstead.toml:8:11: the services live and web listen on the same port");
    assert_eq!(
        told("listen = \"8000\"\n"),
        "roadstead.toml:11:10: listen is \"unix\" (the default: /run/roadstead/APP/SERVICE.sock) or an address and port, such as \"127.0.0.1:8000\""
    );
    assert_eq!(
        told("working-directory = \"var/run\"\n[files]\nshared = [\"var\"]\n"),
        "roadstead.toml:8:11: the working directory of web is the shared var: a process runs in its release, which shows whose it is"
    );
    assert_eq!(
        told("arguments = [\"--threads=8\"]\n"),
        "roadstead.toml:11:14: --threads is not among the arguments of gunicorn: the agent sets it, or a key of its own does"
    );
}

#[test]
fn labels_checks_and_commands() {
    let selector = told("hosts = \"role=\"\n");
    assert!(selector.starts_with("roadstead.toml:11:9: hosts: "), "{selector}");
    assert_eq!(
        told("[[checks.smoke]]\nservice = \"web\"\npath = \"status\"\n"),
        "roadstead.toml:13:8: a path begins with / and holds no spaces"
    );
    assert_eq!(
        told("[[checks.health]]\npath = \"/\"\n"),
        "roadstead.toml:11:1: [[checks.health]] needs service, such as service = \"web\""
    );
    assert_eq!(
        told("[build]\nbefore-collectstatic = [[\"./build.sh\"]]\n"),
        "roadstead.toml:12:25: a command in before-collectstatic begins with a program of the app's packages, such as \"python\" or \"celery\", not with a path"
    );
}

#[test]
fn paths_that_lead_elsewhere_or_meet() {
    assert_eq!(
        told("[files]\nfrom-host = [\"/etc/shop.py\"]\n"),
        "roadstead.toml:12:14: \"/etc/shop.py\" is not a path below the app's root: no '..', no leading '/', no empty part"
    );
    let meets = told("[static]\nroot = \"public/static\"\n[files]\nshared = [\"public\"]\n");
    assert_eq!(meets, "roadstead.toml:13:1: shared names public, and static files are collected into public/static: keep them apart");
    let twice = told("[files]\nshared = [\"media\"]\nfrom-host = [\"media/key.pem\"]\n");
    assert_eq!(twice, "roadstead.toml:11:1: from-host names media/key.pem, which is shared: a file comes from one place");
    assert_eq!(told("[files]\nshared = [\"a\", \"a\"]\n"), "roadstead.toml:11:1: shared names a twice");
    assert_eq!(
        told("[files]\nexclude = [\"../secret\"]\n"),
        "roadstead.toml:12:12: exclude holds patterns of paths below the folder of roadstead.toml, such as \"docs/**\""
    );
}

#[test]
fn names_and_texts() {
    let name = super::told(&PLAIN.replace("\"shop\"", "\"My Shop\""));
    assert!(name.starts_with("roadstead.toml:2:8: name: "), "{name}");
    let python = super::told(&PLAIN.replace("\"3.11\"", "\"python3\""));
    assert_eq!(python, "roadstead.toml:3:10: python: \"python3\" is not a Python version: write major and minor, as in \"3.11\"");
    let settings = super::told(&PLAIN.replace("shop.settings", "shop/settings.py"));
    assert_eq!(settings, "roadstead.toml:6:12: settings: \"shop/settings.py\" is no module; write it as \"config.settings\"");
    let variable = told("[env]\nMY-KEY = {}\n");
    assert!(variable.starts_with("roadstead.toml:12:1: "), "{variable}");
    assert_eq!(
        told("[dependencies]\ngroups = [\"--dev\"]\n"),
        "roadstead.toml:12:11: \"--dev\" in groups is no name: letters, digits, '-', '_' and '.'"
    );
    assert_eq!(
        told("[dependencies]\nextra-packages = [\"--index-url=http://x\"]\n"),
        "roadstead.toml:12:19: a package is written as \"gunicorn>=23\""
    );
}
