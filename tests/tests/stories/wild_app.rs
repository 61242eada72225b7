//! An application with the habits of large ones: it lies in a subfolder of a monorepo, opens a log file and reads a version file from
//! its current directory at import, wants a module that git does not hold, collects static files into its source tree, makes files
//! before and after that, ships a configuration that binds all interfaces, runs a loop of its own, and stops half-way in `migrate`.

use crate::SOON;
use roadstead_tests::fleet::PlainFleet;
use roadstead_tests::lab::{Host, wait_until};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Child;

const TOML: &str = r#"[app]
name = "wild"
python = "3.11"
root = "backend"

[dependencies]
files = ["pyproject.toml"]
extra-packages = ["gunicorn"]
groups = ["tasks"]

[django]
settings = "wild.settings"
manage = "src/manage.py"

[env]
SECRET_KEY = { required = true }
MUST_EXIST = { required = true }
FLAG = { required = true }
PEM = {}

[build]
env = { SECRET_KEY = "only-for-the-build", MUST_EXIST = "", FLAG = "False" }
before-collectstatic = [["python", "src/manage.py", "act", "theme"]]
after-collectstatic = [["python", "src/manage.py", "act", "pack"]]

[static]
root = "src/collected"

[files]
shared = ["app.log", "src/db.sqlite3", "notes"]
from-host = ["src/wild/local.py"]
exclude = ["frontend/**"]

[services.web]
kind = "gunicorn"
app = "wild.wsgi:application"
arguments = ["--worker-class=gthread"]
env = { PYTHONPATH = "src" }

[services.loop]
kind = "command"
command = ["python", "src/manage.py", "act", "loop"]

[[checks.health]]
service = "web"
path = "/"
status = 200
contains = "\"flag\": true"
headers = { Host = "wild.example.org", X-Forwarded-Proto = "https" }

[hooks]
before-migrate = [["python", "src/manage.py", "act", "before"]]
after-migrate = [["python", "src/manage.py", "act", "after"]]
"#;

const SETTINGS: &str = r#"
import os
from pathlib import Path

import markupsafe

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = open("VERSION").read().strip()
LOG = open("app.log", "a")
try:
    from .local import MODE
except ImportError:
    MODE = "none"
SECRET_KEY = os.environ["SECRET_KEY"]
FLAG = {"True": True, "False": False}[os.environ["FLAG"]]
EMPTY = os.environ["MUST_EXIST"]
PEM = os.environ.get("PEM", "")
DEBUG = False
ALLOWED_HOSTS = ["wild.example.org", "localhost"]
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = ["^open"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "wild.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.staticfiles", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "collected"
"#;

const URLS: &str = r#"
import os
from pathlib import Path

from django.conf import settings
from django.http import JsonResponse
from django.urls import path


def show(request):
    cache = Path.home() / ".cache/fontconfig"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "x").write_text("x")
    here = settings.BASE_DIR / "wild"
    return JsonResponse({
        "version": settings.VERSION, "mode": settings.MODE, "flag": settings.FLAG, "empty": settings.EMPTY, "pem": settings.PEM.count("\n"),
        "theme": (here / "theme.txt").read_text(), "hidden": (here / ".hidden").exists(), "keep": (here / "themes").is_dir(),
        "link": (here / "link.txt").read_text().strip(), "front": Path("../frontend").exists(), "folder": os.path.basename(os.getcwd()),
    })


urlpatterns = [path("", show), path("open", show)]
"#;

const ACT: &str = r#"
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("what")

    def handle(self, what, **options):
        if what == "theme":
            (settings.BASE_DIR / "wild/theme.txt").write_text("dark")
        elif what == "pack":
            names = sorted(path.name for path in settings.STATIC_ROOT.rglob("*") if path.is_file())
            (settings.STATIC_ROOT / "packed.txt").write_text(" ".join(names))
        elif what == "loop":
            while True:
                Path("notes/alive").write_text("alive")
                time.sleep(0.2)
        else:
            with open("notes/order", "a") as notes:
                notes.write("%s %d\n" % (what, "shop_thing" in connection.introspection.table_names()))
"#;

const MIGRATION: &str = r#"
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = []
    operations = [migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())])]
"#;

/// A migration that a database refuses, or one that it takes.
fn later(number: u32, before: &str, works: bool) -> String {
    let body = if works { "pass" } else { "raise RuntimeError('permission denied to create extension')" };
    format!(
        "from django.db import migrations\n\n\ndef act(apps, editor):\n    {body}\n\n\nclass Migration(migrations.Migration):\n    \
         dependencies = [('shop', '{before}')]\n    operations = [migrations.RunPython(act)]  # {number}\n"
    )
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn project(folder: &Path) {
    for (path, text) in [
        ("roadstead.toml", TOML),
        (".gitignore", "local.py\n"),
        ("frontend/package.json", "{}"),
        ("backend/VERSION", "7\n"),
        ("backend/.env", "FLAG=False\n"),
        ("backend/gunicorn.conf.py", "bind = '0.0.0.0:9999'\n"),
        (
            "backend/pyproject.toml",
            "[project]\nname = 'wild'\nversion = '1'\ndependencies = ['django>=5.2,<5.3']\n[dependency-groups]\ntasks = ['markupsafe']\n",
        ),
        (
            "backend/src/manage.py",
            "import os\nfrom django.core.management import execute_from_command_line\nimport sys\n\
             os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'wild.settings')\nexecute_from_command_line(sys.argv)\n",
        ),
        ("backend/src/wild/__init__.py", ""),
        ("backend/src/wild/settings.py", SETTINGS),
        ("backend/src/wild/urls.py", URLS),
        ("backend/src/wild/wsgi.py", "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n"),
        ("backend/src/wild/.hidden", "x"),
        ("backend/src/wild/themes/.gitkeep", ""),
        ("backend/src/shop/__init__.py", ""),
        ("backend/src/shop/models.py", "from django.db import models\n\n\nclass Thing(models.Model):\n    name = models.TextField()\n"),
        ("backend/src/shop/migrations/__init__.py", ""),
        ("backend/src/shop/migrations/0001_initial.py", MIGRATION),
        ("backend/src/shop/management/commands/act.py", ACT),
        ("backend/src/shop/static/shop/shop.css", "body {}\n"),
    ] {
        write(folder, path, text);
    }
    symlink("../../VERSION", folder.join("backend/src/wild/link.txt")).unwrap();
}

#[test]
fn an_application_with_the_habits_of_large_ones() {
    let fleet = PlainFleet::new("wild", &["wild"]).unwrap();
    let (host, folder) = (&fleet.hosts[0], fleet.desk.folder().join("wild"));
    project(&folder);
    let built = fleet.release(&folder, "1.0").unwrap();
    assert!(
        built.stderr.contains(".env is part of the release") && built.stderr.contains("gunicorn.conf.py is not read"),
        "{}",
        built.stderr
    );
    let refused = |version: &str| {
        let done = fleet.desk.try_roadstead(&["deploy", "wild", version]).unwrap();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(!done.success(), "{said}");
        said
    };

    // What the host lacks is named before anything changes.
    let said = refused("1.0");
    for name in ["FLAG", "MUST_EXIST", "SECRET_KEY"] {
        assert!(said.contains(&format!("{name} is required and not set: every service needs it")), "{said}");
    }
    host.write(
        "/etc/roadstead/apps/wild.env",
        "SECRET_KEY=only-in-the-lab\nMUST_EXIST=\nFLAG=True\nPEM=\"-----BEGIN-----\nab\ncd\n-----END-----\n\"\n",
    )
    .unwrap();
    // That the host has them now is heard a moment later.
    let mut said = String::new();
    let told = |said: &mut String| {
        *said = refused("1.0");
        said.contains("needs the file src/wild/local.py from this host")
    };
    wait_until("what the host lacks besides to be told", SOON, || told(&mut said)).unwrap();
    host.sh("test ! -e /srv/roadstead/wild/releases").unwrap();
    host.sh("echo \"MODE = 'from the host'\" | install -D -m 600 /dev/stdin /etc/roadstead/apps/wild/src/wild/local.py").unwrap();
    fleet.desk.roadstead(&["deploy", "wild", "1.0"]).unwrap();

    let (status, body) = fleet.ask(host, "/open").unwrap();
    assert_eq!(status, 200, "{body}");
    let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({
        "version": "7", "mode": "from the host", "flag": true, "empty": "", "pem": 4, "theme": "dark", "hidden": true, "keep": true,
        "link": "7", "front": false, "folder": "backend",
    });
    assert_eq!(shown, expected);
    let (status, packed) = fleet.ask(host, "/static/packed.txt").unwrap();
    assert_eq!((status, packed.as_str()), (200, "shop.css"));
    let shared = "/srv/roadstead/wild/shared";
    assert_eq!(host.read(&format!("{shared}/notes/order")).unwrap(), "before 0\nafter 1\n");
    host.sh(&format!("test -f {shared}/notes/alive -a -f {shared}/app.log")).unwrap();
    let listening = host.sh("ss -ltnH 'sport = :9999'").unwrap();
    assert_eq!(listening, "", "gunicorn.conf.py is not read");

    // A database that refuses a migration stops the rollout there, by name; the next attempt goes on.
    let migrations = folder.join("backend/src/shop/migrations");
    write(&migrations, "0002_more.py", &later(2, "0001_initial", true));
    write(&migrations, "0003_extension.py", &later(3, "0002_more", false));
    fleet.release(&folder, "1.1").unwrap();
    let writer = host.exec_in_background(&["sh", "-c", &writes()]).unwrap();
    wait_until("others to write", SOON, || rows(host, DATABASE) > 10).unwrap();
    let said = refused("1.1");
    assert!(said.contains("while applying shop.0003_extension, after 1 migrations") && said.contains("permission denied"), "{said}");
    assert_eq!(fleet.serving("wild", host).unwrap(), "1.0");
    backed_up(&fleet, host, writer);
    write(&migrations, "0003_extension.py", &later(3, "0002_more", true));
    // What reads a variable that nobody declared never gets traffic, and is told which.
    write(&folder, "backend/src/wild/wsgi.py", "import os\n\nos.environ['BILLING_URL']\n");
    fleet.release(&folder, "1.2").unwrap();
    let said = refused("1.2");
    assert!(said.contains("BILLING_URL"), "{said}");
    assert_eq!(fleet.ask(host, "/open").unwrap().0, 200);
    let applied = host.exec(&["sqlite3", DATABASE, "SELECT name FROM django_migrations WHERE app = 'shop'"]).unwrap();
    assert_eq!(applied, "0001_initial\n0002_more\n0003_extension\n");
}

/// The app's SQLite database.
const DATABASE: &str = "/srv/roadstead/wild/shared/src/db.sqlite3";

/// Rows that come while the database is backed up, each in a transaction of its own, as the app's user.
fn writes() -> String {
    let into = format!("sqlite3 -cmd '.timeout 30000' {DATABASE}");
    let script = format!(
        "{into} 'PRAGMA journal_mode = WAL; CREATE TABLE noise (n INTEGER PRIMARY KEY, text)' && \
         while [ ! -e /tmp/enough ]; do {into} 'INSERT INTO noise (text) VALUES (hex(randomblob(300)))' || exit 1; done"
    );
    format!("exec runuser -u wild -- sh -c \"{script}\"")
}

fn rows(host: &Host, database: &str) -> u64 {
    let counted = host.exec(&["sqlite3", "-cmd", ".timeout 30000", database, "SELECT count(*) FROM noise"]);
    counted.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// What SQLite's online backup made before the migration is whole, of one moment, and is looked at again like any other.
fn backed_up(fleet: &PlainFleet, host: &Host, mut writer: Child) {
    host.sh("touch /tmp/enough").unwrap();
    assert!(writer.wait().unwrap().success(), "nobody who writes was turned away");
    let backup = fleet.desk.json(&["db", "list", "wild"]).unwrap()[0].clone();
    println!("{}", fleet.desk.roadstead(&["db", "list", "wild"]).unwrap());
    let (name, place) = (backup["name"].as_str().unwrap(), backup["place"].as_str().unwrap());
    assert_eq!(backup["check"], "restored", "{backup:#}");
    assert!(host.exec(&["sqlite3", place, "PRAGMA integrity_check"]).unwrap().trim() == "ok", "{backup:#}");
    let of_then = host.exec(&["sqlite3", place, "SELECT name FROM django_migrations WHERE app = 'shop'"]).unwrap();
    assert_eq!(of_then, "0001_initial\n", "what was there before the migration");
    let (then, now) = (rows(host, place), rows(host, DATABASE));
    assert!(0 < then && then < now, "others went on writing: {then} of {now}");

    let verify = || fleet.desk.try_roadstead(&["db", "verify", name, "--reason", "a story"]).unwrap();
    assert_eq!(verify().code, Some(0));
    let cannot = fleet.desk.try_roadstead(&["db", "restore", name, "--yes-lose-data", "--reason", "a story"]).unwrap();
    assert!(cannot.code == Some(1) && cannot.stderr.contains("SQLite"), "{cannot:?}");
    host.sh(&format!("printf x | dd of={place} bs=1 seek=3000 conv=notrunc status=none")).unwrap();
    let damaged = verify();
    assert!(damaged.code == Some(1) && damaged.stderr.contains("its digest differs"), "{damaged:?}");
}
