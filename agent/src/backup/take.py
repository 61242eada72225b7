# Takes a backup of the application's own database. What the database holds is looked at in the very snapshot that is dumped, while others go
# on writing. Changes nothing in the database, and writes the backup and what it saw.
import shutil
import sqlite3
import threading

# `looks`, or `takes`; what is restored then, up to how many bytes; `always`, also where nothing waits to be applied; how many jobs dump.
MEANS = dict(word.partition("=")[::2] for word in WAY.split(","))
LOOKS, ALWAYS, JOBS = "looks" in MEANS, "always" in MEANS, int(MEANS.get("jobs", 1))
RESTORED_UP_TO = int(MEANS.get("restored", -1))
SLACK = 64 * 1024 * 1024


def unapplied(connection):
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return [f"{m.app_label}.{m.name}" for m, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def room(dump, restored):
    """Refuses to begin where the disk would be full before the end: with the dump, and with the cluster that it is restored into and its log."""
    parts = dump if JOBS > 1 else 0
    size, needed = restored, dump + parts + (restored + restored // 4 if restored <= RESTORED_UP_TO else 0) + SLACK
    free = shutil.disk_usage(FOLDER).free
    if free < needed:
        raise Refused(f"{free >> 20} MiB are free where backups are made, and a database of {size >> 20} MiB may need {needed >> 20} MiB",
                      "make room, or give backups a larger disk with `directory` under [backup.APP] in agent.toml")


def postgresql(connection):
    from django.db import Error

    try:
        return of_postgresql(connection)
    except Error as error:
        said = str(error).strip().splitlines()[0]
        if is_gone(connection.connection):
            raise gone(said)
        raise Refused(f"the database does not let it be backed up: {said}",
                      "let the app's role read all of the database (GRANT USAGE ON SCHEMA, SELECT ON ALL TABLES, ALL SEQUENCES), or name a "
                      "`command` under [backup.APP] in agent.toml")


def is_gone(raw):
    """Whether the session is lost, and not only its transaction."""
    try:
        raw.cursor().execute("ROLLBACK")
    except Exception as error:
        print(f"the session of the backup: {error}", flush=True)
    return bool(raw.closed)


def gone(said, *output):
    return Refused(f"the database went away while it was backed up: {said}",
                   "deploy again when the right server answers; nothing was migrated", *output)


def of_postgresql(connection):
    raw = connection.connection
    ask = asking(connection.cursor())
    first = lambda sql: ask(sql)[0]
    refuse_pooler(connection, raw, int(first("SELECT pg_catalog.pg_backend_pid()")))
    version = first("SELECT current_setting('server_version')")
    major = int(first("SELECT current_setting('server_version_num')")) // 10000
    if major < OLDEST:
        raise Refused(f"the server is PostgreSQL {version}, and backups are built in from {OLDEST} on",
                      "name a `command` under [backup.APP] in agent.toml")
    if first("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"):
        print("the application's role is a superuser: a role of its own that owns its tables alone is safer", flush=True)
    tools, identity = newest_tools(major), identity_of(ask)
    name, size = first("SELECT current_database()::text"), int(first("SELECT pg_catalog.pg_database_size(current_database())"))
    begin(ask, major)
    snapshot = first("SELECT pg_catalog.pg_export_snapshot()")
    tables = postgresql_tables(ask)
    if not tables:
        return None
    room(sum(table["bytes"] for table in tables), size)
    every = {table["name"]: max(1, max(table["estimate"], table["bytes"] // 200) // SAMPLE) for table in tables}
    sequences, roles = postgresql_sequences(ask), [json.loads(text) for text in ask(ROLES)]
    of_database = "FROM pg_catalog.pg_database WHERE datname = current_database()"
    encoding, collate, ctype = (
        first(f"SELECT {what}::text {of_database}") for what in ("pg_catalog.pg_encoding_to_char(encoding)", "datcollate", "datctype")
    )
    dump = Dump(connection, raw, tools, snapshot, {table["name"]: table["bytes"] for table in tables})
    try:
        look = in_snapshot(connection, snapshot, major)
        facts, columns, migrations = postgresql_facts(look, tables, every), postgresql_columns(look), postgresql_migrations(look, tables)
    except BaseException:
        dump.child.kill()
        raise
    dump.finish()
    host = raw.info.host if "/" not in (raw.info.host or "/") else "a socket"
    return {
        "format": "postgresql", "jobs": JOBS, "bytes": size, "tools": tools, "major": major, "database": f"PostgreSQL {version}, database {name} on {host}:{raw.info.port}",
        "identity": f"{identity}/{name}", "encoding": encoding, "collate": collate, "ctype": ctype,
        "listed": {table["listed"]: table["name"] for table in tables}, "roles": roles, "every": every, "sequences": sequences, "facts": facts,
        "columns": columns, "migrations": migrations,
    }


def in_snapshot(connection, snapshot, major):
    """Asks on a connection of its own, each question in a transaction of its own: one that looks at thousands of tables at once would take the
    server's room for locks."""
    other = connection.copy()
    own = asking(other.cursor())

    def ask(sql):
        begin(own, major, snapshot)
        answer = own(sql)
        own("COMMIT")
        return answer

    return ask


class Dump:
    """pg_dump at work. What it says is read all the time; how far it is shows from the tables that it has begun with."""

    def __init__(self, connection, raw, tools, snapshot, sizes):
        self.raw, self.file = raw, os.path.join(FOLDER, "backup")
        kind = ["--format=custom", f"--file={self.file}"]
        if JOBS > 1:
            self.folder = self.file + ".parts"
            kind = ["--format=directory", f"--jobs={JOBS}", f"--file={self.folder}"]
        words = [os.path.join(tools, "pg_dump"), "--no-password", "--verbose", f"--snapshot={snapshot}", "--lock-wait-timeout=60s",
                 f"--dbname={conninfo(raw)}", *kind]
        role = connection.settings_dict.get("OPTIONS", {}).get("assume_role")
        if role:
            words.append(f"--role={role}")
        self.sizes, self.kept = sizes, []
        self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                                      env=hide_password(raw))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        total, done, last = sum(self.sizes.values()), 0, None
        for line in self.child.stderr:
            begun = re.search(r'dumping contents of table "(.*)"$', line.rstrip())
            if begun:
                done += self.sizes.get(last, 0)
                last = begun.group(1)
                tell(done, total, f"dumping {last}")
            self.kept = (self.kept + [line.rstrip()])[-20:]

    def finish(self):
        code = self.child.wait()
        self.reader.join()
        if code != 0 and is_gone(self.raw):
            raise gone(f"pg_dump ended with exit status {code}", "\n".join(self.kept))
        if code != 0:
            raise Refused(f"pg_dump ended with exit status {code}", "see its last output; nothing was migrated", "\n".join(self.kept))
        if JOBS > 1:
            pack(self.folder, self.file)
        total = sum(self.sizes.values())
        tell(total, total, "dumped")


def sqlite(connection):
    path = str(connection.settings_dict["NAME"])
    # a connection of its own: Django's makes other values of what is in the file
    raw = sqlite3.connect(path, uri=path.startswith("file:"), isolation_level=None, timeout=60)
    raw.execute("BEGIN")
    try:
        if not raw.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]:
            return None
        pages, size = (raw.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
        room(pages * size, 0)
        facts = sqlite_facts(raw)
        copy = sqlite3.connect(os.path.join(FOLDER, "backup"))
        with copy:
            raw.backup(copy, pages=4096, progress=lambda status, left, total: tell((total - left) * size, total * size, "copying"))
        copy.close()
    finally:
        raw.execute("ROLLBACK")
    return {
        "format": "sqlite", "bytes": pages * size, "tools": "", "major": sqlite3.sqlite_version_info[0], "database": f"SQLite {sqlite3.sqlite_version}, {path}",
        "identity": path, "encoding": "UTF8", "listed": {}, "roles": [], "every": {}, "sequences": {}, "facts": facts,
    }


def take():
    from django.db import connections

    connection = connections["default"]
    ways = {"postgresql": postgresql, "sqlite": sqlite}
    connection.ensure_connection()
    if not ALWAYS and not unapplied(connection):
        return write("not-needed", why="no migration is to be applied")
    if connection.vendor not in ways and not connection.introspection.table_names():
        return write("not-needed", why="the database has no tables yet")
    if LOOKS:
        settings = connection.settings_dict
        where = f" on {settings['HOST']}" if settings.get("HOST") else ""
        return write("waiting", database=f"{connection.display_name}, database {settings['NAME']}{where}")
    if connection.vendor not in ways:
        raise Refused(f"backups of {connection.vendor} are not built in",
                      "name a `command` under [backup.APP] in agent.toml that makes them")
    taken = ways[connection.vendor](connection)
    if taken is None:
        return write("not-needed", why="the database has no tables yet")
    write("taken", **taken)


instead(take)
