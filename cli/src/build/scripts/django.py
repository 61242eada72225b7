"""Asks a Django project what it is made of, without a database: migrations, models that differ from them, static files.

Reads a job from standard input and writes its answer to the job's "report", since a project may print what it likes.
"""

import json
import os
import sys
import traceback


def below(path, root):
    path, root = os.path.realpath(path), os.path.realpath(root)
    return path == root or path.startswith(root + os.sep)


def failed(stage, error):
    missing = error.args[0] if isinstance(error, KeyError) and error.args else None
    return {"stage": stage, "missing": missing if isinstance(missing, str) else None, "text": traceback.format_exc()}


def inside(path, root):
    """A path that the project writes, relative to its root; nothing when it lies elsewhere."""
    if not path or not isinstance(path, (str, os.PathLike)) or str(path).startswith((":memory:", "file:")):
        return None
    # As the settings have it: a link of the tree would lead to what it stands for.
    path = os.path.normpath(os.path.join(os.getcwd(), os.fspath(path)))
    root = os.path.realpath(root)
    relative = os.path.relpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), root)
    return None if relative.startswith("..") or relative == "." else relative


def look_at_settings(answer, settings, root):
    answer["debug"] = bool(settings.DEBUG)
    answer["allowed_hosts"] = [str(host) for host in settings.ALLOWED_HOSTS]
    answer["weak_key"] = str(settings.SECRET_KEY).startswith("django-insecure-")
    written = {}
    for database in settings.DATABASES.values():
        if str(database.get("ENGINE", "")).endswith(("sqlite3", "spatialite")):
            written[inside(database.get("NAME"), root)] = "the database"
    written[inside(settings.MEDIA_ROOT, root)] = "MEDIA_ROOT"
    handlers = settings.LOGGING.get("handlers", {}) if isinstance(settings.LOGGING, dict) else {}
    for handler in handlers.values():
        written[inside(handler.get("filename"), root)] = "the log file"
    answer["written"] = {path: what for path, what in written.items() if path}


def look_at_migrations(answer, root):
    from django.apps import apps
    from django.db.migrations.autodetector import MigrationAutodetector
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.state import ProjectState

    loader = MigrationLoader(None, ignore_no_migrations=True)
    answer["migrations"] = sorted(f"{app}.{name}" for app, name in loader.disk_migrations)
    answer["conflicts"] = {app: sorted(names) for app, names in loader.detect_conflicts().items()}
    own = {config.label for config in apps.get_app_configs() if below(config.path, root)}
    unmigrated = loader.unmigrated_apps & own
    answer["unmigrated"] = sorted(label for label in unmigrated if any(True for _ in apps.get_app_config(label).get_models()))
    if not answer["conflicts"]:
        detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))
        changes = detector.changes(graph=loader.graph)
        answer["drift"] = {
            label: [operation.describe() for migration in changes[label] for operation in migration.operations]
            for label in sorted(changes)
            if label in own and label not in unmigrated
        }


def collect(answer, statics):
    from django.apps import apps
    from django.core.management import call_command

    if not apps.is_installed("django.contrib.staticfiles"):
        raise RuntimeError("django.contrib.staticfiles is not among INSTALLED_APPS")
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.files.storage import FileSystemStorage

    # The storage is lazy: its class is asked for, which makes it.
    kind = staticfiles_storage.__class__
    answer["storage"] = f"{kind.__module__}.{kind.__qualname__}"
    if not isinstance(staticfiles_storage, FileSystemStorage):
        answer["elsewhere"] = True
        return
    if os.path.realpath(staticfiles_storage.location) != os.path.realpath(statics):
        raise RuntimeError(f"{answer['storage']} writes to {staticfiles_storage.location}, not to STATIC_ROOT")
    answer["needs_files"] = hasattr(staticfiles_storage, "manifest_name")
    call_command("collectstatic", interactive=False, verbosity=0)
    answer["collected"] = True


def main():
    job = json.load(sys.stdin)
    answer = {}
    sys.path.insert(0, job["manage"])
    stage = "settings"
    try:
        import django
        from django.conf import settings

        answer["django"] = django.get_version()
        stated = getattr(settings, "STATIC_ROOT", None)
        answer["static_root"] = inside(stated, job["root"])
        look_at_settings(answer, settings, job["root"])
        if job["statics"]:
            settings.STATIC_ROOT = job["statics"]
        stage = "setup"
        django.setup()
        stage = "migrations"
        look_at_migrations(answer, job["root"])
    except BaseException as error:
        answer["failed"] = failed(stage, error)
    if job["statics"] and answer.get("failed", {}).get("stage") in (None, "migrations"):
        try:
            collect(answer, job["statics"])
        except BaseException as error:
            answer["uncollected"] = failed("collectstatic", error)
    with open(job["report"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


main()
