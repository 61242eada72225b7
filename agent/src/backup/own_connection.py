# What the scripts of backups and restores have in common. They run in place of a command of manage.py: as the application's user, in its own
# environment and over the connection that its settings name. What came of one is written into the folder that it is given.
import glob
import json
import os
import re
import runpy
import subprocess
import sys

# Words and no variables: files of variables are the app's, and win over the unit's own.
FOLDER, NAME, WAY = sys.argv[1:4]
# What is told of a database has to fit the memory of who compares it.
TOLD_BYTES_MAX = 8 * 1024 * 1024
OLDEST = 12
# What of a connection is handed on. The driver may bring a newer libpq than pg_dump has, with words that this one does not know.
WORDS = {
    "host", "hostaddr", "port", "dbname", "user", "passfile", "options", "connect_timeout", "keepalives", "keepalives_idle",
    "keepalives_interval", "keepalives_count", "target_session_attrs", "channel_binding", "gssencmode", "krbsrvname", "sslmode", "sslcert",
    "sslkey", "sslrootcert", "sslcrl",
}


class Refused(Exception):
    """No backup can be made: what is in the way, what to do, and the last output that tells."""


def tell(done, total, what):
    print(f"roadstead-progress {done} {total} {what}", flush=True)


def write(outcome, **told):
    """Tells what came of it. The name is that of this very run: what another one left behind is not taken for its word."""
    path, text = os.path.join(FOLDER, "taken.json"), json.dumps({outcome: {"name": NAME, **told}})
    if len(text) > TOLD_BYTES_MAX:
        return write("refused", what=f"the database has more tables and definitions than can be compared ({len(text) >> 20} MiB of them)",
                     next="name a `command` under [backup.APP] in agent.toml that makes and checks its backups")
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def newest_tools(server):
    """The folder of the PostgreSQL programs to use: those of the server's own major version, else newer ones."""
    found = {}
    for path in glob.glob("/usr/lib/postgresql/*/bin/pg_dump") + glob.glob("/usr/pgsql-*/bin/pg_dump") + glob.glob("/usr/bin/pg_dump"):
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        version = re.search(r"\) (\d+)", said)
        if version:
            found.setdefault(int(version.group(1)), os.path.dirname(path))
    fit = sorted(major for major in found if major >= server)
    if not fit:
        there = f"only of version {', '.join(map(str, sorted(found)))}" if found else "not here"
        raise Refused(f"the server is PostgreSQL {server}, and pg_dump is {there}: an older one does not know all that it holds",
                      f"install postgresql-client-{server} or newer")
    return found[fit[0]]


def conninfo(raw, **others):
    """The connection as words of libpq, without the password; `others` are put in the place of its own."""
    info = raw.info.get_parameters() if hasattr(raw.info, "get_parameters") else raw.get_dsn_parameters()
    kept = {**{key: value for key, value in info.items() if key in WORDS}, **others}
    escaped = lambda value: "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
    return " ".join(f"{key}={escaped(value)}" for key, value in kept.items())


def asking(cursor):
    def ask(sql):
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []

    ask.cursor = cursor
    return ask


def begin(ask, major, snapshot=None):
    ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    if snapshot:
        ask(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    for setting in SAME_TEXT + (["SET LOCAL transaction_timeout TO 0"] if major >= 17 else []):
        ask(setting)


def identity_of(ask):
    from django.db import Error

    try:
        return ask("SELECT system_identifier::text FROM pg_catalog.pg_control_system()")[0]
    except Error:
        return "unknown"


def refuse_pooler(connection, raw, pid):
    """Behind a pooler that lends a server process for a transaction, what pg_dump sets would stay with whoever has it next."""
    if getattr(raw.info, "backend_pid", pid) == pid:
        return
    other = connection.copy()
    try:
        mine, others = asking(connection.cursor()), asking(other.cursor())
        for _ in range(10):
            # others may come in between: it is asked again
            if others("SELECT pg_catalog.pg_backend_pid()")[0] == pid or mine("SELECT pg_catalog.pg_backend_pid()")[0] != pid:
                raise Refused("the database is reached through a pooler that lends its sessions for a transaction",
                              "let the settings of the migrating host name the database itself, or a pool with pool_mode = session")
    finally:
        other.close()


def hide_password(raw):
    """The environment of a program that connects as the application does: a password is no argument."""
    password = raw.info.password
    return {**os.environ, "PGAPPNAME": "roadstead-backup", **({"PGPASSWORD": password} if password else {})}


def instead(work):
    """Does this in place of the command that manage.py was called for."""
    sys.argv = sys.argv[4:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    from django.core.management.base import BaseCommand

    def run(self, *args, **options):
        os.umask(0o077)
        try:
            work()
        except Refused as refused:
            write("refused", what=refused.args[0], next=refused.args[1], detail="".join(refused.args[2:]))
        os._exit(0)

    BaseCommand.execute = run
    runpy.run_path(sys.argv[0], run_name="__main__")
