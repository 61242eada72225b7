"""Asks a Django project what its migrations do: their operations as facts, and their SQL. No database is reached.

Reads a job from standard input and writes its answer to the job's "report", since a project may print what it likes. The same project
gives the same answer: no time, no address in memory and no path of this machine gets into it.
"""

import json
import os
import re
import sys
import time

# What PostgreSQL's features are asked of, where Django wants to know a server's version.
POSTGRESQL = 170000
MYSQL = {
    "version": "8.0.40", "sql_mode": "STRICT_TRANS_TABLES", "default_storage_engine": "InnoDB", "sql_auto_is_null": False,
    "lower_case_table_names": 0, "has_zoneinfo_database": True,
}
POSTGIS = (3, 4, 0)
# Migrations whose SQL is collected from one state: the newest come first, so that they are there when the time is over.
BLOCK = 100
SHORT = 300
# Callables that give the same each time.
PLAIN = (dict, list, set, frozenset, tuple, str, bytes, int, float, bool)


def clean(text, job):
    """A text without what differs between builds."""
    for place in sorted({job["root"], os.path.realpath(job["root"]), job["manage"], sys.prefix, os.path.expanduser("~")}, key=len, reverse=True):
        if len(place) > 1:
            text = text.replace(place, "…")
    return re.sub(r" at 0x[0-9a-fA-F]{4,}", "", text)


def reason(error, job):
    lines = str(error).strip().splitlines()
    return clean(f"{type(error).__name__}: {lines[0] if lines else 'no message'}", job)[:SHORT]


def name_of(thing):
    thing = getattr(thing, "func", thing)  # functools.partial
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


class Computed:
    """A default that the project computes when the migration runs."""

    def __init__(self, what):
        self.what = what

    def __str__(self):
        return f"<what {self.what} gives>"

    def __eq__(self, other):
        return isinstance(other, Computed) and other.what == self.what

    def __hash__(self):
        return hash(self.what)


def computed(field):
    """What computes a field's default, where its value differs from call to call."""
    if field.has_default():
        return name_of(field.default) if callable(field.default) and field.default not in PLAIN else None
    given = not field.null and field.blank and field.empty_strings_allowed
    if not given and (getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)):
        return "the clock"
    return None


# The database that is not asked.


class NoDatabase:
    """A cursor that finds nothing, and notes that it was asked."""

    description, rowcount, lastrowid, connection = None, -1, None, None

    def __init__(self, asked):
        self.asked = asked

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return iter(())

    def execute(self, *_args, **_kwargs):
        self.asked.append("cursor")

    executemany = callproc = execute

    def fetchone(self):
        return None

    def fetchall(self):
        return []

    def fetchmany(self, *_):
        return []

    def close(self):
        pass


def unreachable(*_args, **_kwargs):
    raise RuntimeError("it asks the database, and there is none when a release is built")


class Engine:
    """The project's database engine, without its database."""

    def __init__(self):
        from django.db import connections
        from django.db.utils import load_backend

        self.asked = []
        given = dict(connections.databases["default"])
        self.assumed = given["ENGINE"] == "django.db.backends.dummy"
        if self.assumed:
            given["ENGINE"] = "django.db.backends.postgresql"
        given["NAME"] = ":memory:" if given["ENGINE"].endswith(("sqlite3", "spatialite")) else (given["NAME"] or "none")
        self.connection = load_backend(given["ENGINE"]).DatabaseWrapper(given, alias="default")
        connections["default"] = self.connection
        self.vendor = self.connection.vendor
        self.close()

    def close(self):
        """Takes away what would reach a server, and says what the server would be."""
        connection, asked = self.connection, self.asked
        if self.vendor == "sqlite":
            return
        if self.vendor == "postgresql":
            connection.__dict__["pg_version"] = POSTGRESQL
            if hasattr(connection.ops, "compose_sql"):
                connection.ops.compose_sql = self.compose
        elif self.vendor == "mysql":
            connection.__dict__["mysql_server_data"] = dict(MYSQL)
        from django.conf import settings

        if not hasattr(settings, "POSTGIS_VERSION"):
            settings.POSTGIS_VERSION = POSTGIS
        connection.cursor = lambda *_args, **_kwargs: NoDatabase(asked)
        connection.connect = connection.ensure_connection = connection.get_new_connection = unreachable

    def compose(self, sql, params):
        return sql % tuple(self.quoted(param) for param in params) if params is not None else sql

    def quoted(self, value):
        """A value as PostgreSQL's client writes it."""
        if isinstance(value, Computed):
            return "'" + str(value).replace("'", "''") + "'"
        from django.db.backends.postgresql import psycopg_any

        if not psycopg_any.is_psycopg3:
            return psycopg_any.sql.quote(value, None)
        from django.conf import settings

        class Context:
            adapters = psycopg_any.get_adapters_template(settings.USE_TZ, self.connection.timezone)
            connection = None

        return psycopg_any.sql.quote(value, Context())

    def editor(self, atomic):
        """A schema editor that writes statements down."""
        editor = self.connection.schema_editor(collect_sql=True, atomic=atomic)
        editor.deferred_sql = []
        quote, effective = editor.quote_value, editor.effective_default

        def quote_value(value):
            return "'" + str(value).replace("'", "''") + "'" if isinstance(value, Computed) else quote(value)

        def effective_default(field):
            what = computed(field)
            return Computed(what) if what else effective(field)

        editor.quote_value, editor.effective_default = quote_value, effective_default
        editor._constraint_names = lambda *args, **kwargs: self.constraints(editor, *args, **kwargs)
        return editor

    def constraints(
        self, editor, model, column_names=None, unique=None, primary_key=None, index=None, foreign_key=None, check=None, type_=None, exclude=None
    ):
        """Names of constraints as Django and PostgreSQL give them. Only the database knows those that it has."""
        self.asked.append("constraints")
        table, columns = model._meta.db_table, list(column_names or [])
        if foreign_key:
            field = next((field for field in model._meta.local_fields if field.column in columns and field.remote_field), None)
            if field is None:
                return []
            target = field.target_field
            name = editor._create_index_name(table, columns, suffix=f"_fk_{target.model._meta.db_table}_{target.column}")
        elif primary_key:
            name = f"{table}_pkey"
        elif unique:
            name = f"{table}_{columns[0]}_key" if len(columns) == 1 else editor._create_index_name(table, columns, suffix="_uniq")
        elif index:
            name = editor._create_index_name(table, columns, suffix="" if len(columns) == 1 else "_idx")
        elif check:
            name = f"{table}_{columns[0]}_check" if columns else ""
        else:
            return []
        return [name] if name and name not in (exclude or ()) else []


# Facts.


class State:
    """What is known of tables and fields before an operation."""

    def __init__(self, project, app, engine):
        self.project, self.app, self.engine = project, app, engine

    def model(self, name, app=None):
        return self.project.models.get((app or self.app, name.lower()))

    def table(self, name, app=None):
        model = self.model(name, app)
        return self.named(app or self.app, name, model.options if model else {})

    def named(self, app, name, options):
        from django.db.backends.utils import truncate_name

        length = self.engine.connection.ops.max_name_length() if self.engine else None
        return str(options.get("db_table") or truncate_name(f"{app}_{name.lower()}", length)).strip('"')

    def unmanaged(self, options):
        return not options.get("managed", True) or bool(options.get("proxy"))

    def target(self, model, name):
        """The table that a field leads to."""
        if not isinstance(model, str):
            model = model._meta.label
        if model == "self":
            return self.table(name)
        app, _, other = model.rpartition(".")
        return self.table(other, app or None)

    def column(self, field, name):
        return field.db_column or (f"{name}_id" if field.remote_field and not field.many_to_many else name)

    def type_of(self, field):
        if field.remote_field:
            return None
        try:
            kind = field.db_type(self.engine.connection)
        except Exception:
            return None
        collation = getattr(field, "db_collation", None)
        return f"{kind} collate {collation}" if kind and collation else kind

    def checked(self, field):
        if not self.engine or field.remote_field:
            return False
        return field.get_internal_type() in self.engine.connection.data_type_check_constraints

    def field(self, model, name, field):
        """A field as facts."""
        if field is None:
            return None
        leads = bool(field.remote_field)
        many = bool(field.many_to_many)
        what = computed(field)
        empty = not field.null and field.blank and field.empty_strings_allowed
        default = "computed" if what else "constant" if field.has_default() or empty else "none"
        facts = {
            "column": self.column(field, name),
            "type": self.type_of(field) if self.engine else None,
            "null": bool(field.null) and not field.primary_key,
            "default": default,
            "db_default": has_db_default(field),
            "unique": bool(field.unique),
            "indexed": bool(field.db_index) and not field.unique,
            "check": self.checked(field),
            "generated": bool(getattr(field, "generated", False)),
            "many_to_many": many,
        }
        if leads and getattr(field, "db_constraint", getattr(field.remote_field, "db_constraint", True)):
            facts["references"] = self.target(field.remote_field.model, model)
        if many:
            through = field.remote_field.through
            facts["through"] = self.target(through, model) if through else field.db_table or f"{self.table(model)}_{name}"
            facts["own_through"] = through is None
        return facts


def has_db_default(field):
    from django.db.models.fields import NOT_PROVIDED

    return getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED


def kind_of(operation):
    kind = type(operation)
    return kind.__name__ if kind.__module__.startswith("django.") else f"{kind.__module__}.{kind.__qualname__}"


def flatten(operation, project, app, engine, state_only=False):
    """An operation, or those that it is made of, with the state before each. The database's half has a state of its own."""
    if kind_of(operation) != "SeparateDatabaseAndState":
        yield operation, State(project, app, engine), state_only
        return
    for operations, state_only in ((operation.database_operations, state_only), (operation.state_operations, True)):
        own = project.clone()
        for part in operations:
            yield from flatten(part, own, app, engine, state_only)
            part.state_forwards(app, own)


def routed(operation, app, name):
    from django.db import router

    hints = getattr(operation, "hints", None) or {}
    try:
        return bool(router.allow_migrate("default", app, **({"model_name": name} if name else {}), **hints))
    except Exception:
        return True


class Facts:
    """Makes facts of operations within a number of bytes of their own SQL."""

    def __init__(self, job, engine):
        self.job, self.engine, self.left = job, engine, job["run_sql_all_bytes_max"]

    def of(self, migration, project):
        for operation in migration.operations:
            for part, state, state_only in flatten(operation, project, migration.app_label, self.engine):
                yield self.operation(part, state, state_only)
            operation.state_forwards(migration.app_label, project)

    def operation(self, operation, state, state_only):
        kind = kind_of(operation)
        name = getattr(operation, "model_name", None) or (getattr(operation, "name", None) if kind in MODELS else None)
        facts = {"kind": kind, "about": clean(str(operation.describe()), self.job)[:SHORT], "reversible": bool(operation.reversible)}
        if isinstance(name, str):
            model = state.model(name)
            facts["table"] = state.table(name)
            state_only = state_only or (model is not None and state.unmanaged(model.options))
        if state_only or not routed(operation, state.app, name):
            facts["state_only"] = True
        shape = SHAPES.get(kind) or (named if kind.endswith("Extension") and "." not in kind else None)
        if shape:
            shape(facts, operation, state, self)
        return facts

    def sql(self, text):
        """As much of a statement as there is room for, and whether that is all."""
        size = len(text.encode())
        allowed = min(self.job["run_sql_bytes_max"], self.left)
        kept = text.encode()[:allowed].decode(errors="ignore")
        self.left -= len(kept.encode())
        return kept, size > allowed


MODELS = {
    "CreateModel", "DeleteModel", "AlterModelTable", "AlterModelTableComment", "AlterUniqueTogether", "AlterIndexTogether",
    "AlterOrderWithRespectTo", "AlterModelOptions", "AlterModelManagers",
}


def create_model(facts, operation, state, _):
    facts["table"] = state.named(state.app, operation.name, operation.options)
    if state.unmanaged(operation.options):
        facts["state_only"] = True
    fields = [field for _, field in operation.fields]
    leads = [field for field in fields if field.remote_field and getattr(field.remote_field, "db_constraint", True)]
    facts["references"] = sorted({state.target(field.remote_field.model, operation.name) for field in leads} - {facts["table"]})
    made = [f"{facts['table']}_{name}" for name, field in operation.fields if field.many_to_many and not field.remote_field.through]
    facts["tables"] = sorted(made)


def rename_model(facts, operation, state, _):
    model = state.model(operation.old_name)
    facts["table"] = state.table(operation.old_name)
    facts["to"] = state.named(state.app, operation.new_name, model.options if model else {})
    if model is not None and state.unmanaged(model.options):
        facts["state_only"] = True


def alter_table(facts, operation, state, _):
    facts["to"] = operation.table or state.named(state.app, operation.name, {})


def add_field(facts, operation, state, _):
    facts["field"], facts["after"] = operation.name, state.field(operation.model_name, operation.name, operation.field)


def old_field(state, operation, name):
    model = state.model(operation.model_name)
    return model.fields.get(name) if model else None


def remove_field(facts, operation, state, _):
    before = old_field(state, operation, operation.name)
    facts["field"], facts["before"] = operation.name, state.field(operation.model_name, operation.name, before)


def alter_field(facts, operation, state, of):
    remove_field(facts, operation, state, of)
    facts["after"] = state.field(operation.model_name, operation.name, operation.field)
    before = old_field(state, operation, operation.name)
    if before is not None and has_db_default(before) and has_db_default(operation.field):
        facts["db_default_changes"] = repr(before.db_default) != repr(operation.field.db_default)


def rename_field(facts, operation, state, _):
    before = old_field(state, operation, operation.old_name)
    facts["field"], facts["before"] = operation.old_name, state.field(operation.model_name, operation.old_name, before)
    facts["to"] = state.column(before, operation.new_name) if before is not None else operation.new_name


def together(facts, operation, state, _):
    model = state.model(operation.name)
    before = {tuple(columns) for columns in (model.options.get(operation.option_name) or ())} if model else set()
    after = {tuple(columns) for columns in (operation.option_value or ())}
    facts["adds"], facts["removes"] = bool(after - before), bool(before - after)


def constraint(facts, operation, state, _):
    from django.db.models import CheckConstraint, UniqueConstraint

    made = operation.constraint
    kinds = [("check", CheckConstraint), ("unique", UniqueConstraint)]
    facts["constraint"] = next((kind for kind, of in kinds if type(made) is of), "exclusion" if type(made).__name__ == "ExclusionConstraint" else "other")
    facts["name"] = str(made.name)
    # Django makes an index of one that is more than a list of columns.
    facts["as_index"] = facts["constraint"] == "unique" and any(getattr(made, part, None) for part in ("condition", "expressions", "include", "opclasses"))


def index(facts, operation, _state, _):
    facts["name"] = str(operation.index.name)


def named(facts, operation, _state, _):
    facts["name"] = str(getattr(operation, "name", None) or getattr(operation, "new_name", ""))


def run_python(facts, operation, _state, of):
    facts["name"] = name_of(operation.code)
    facts["atomic"] = operation.atomic


def run_sql(facts, operation, _state, of):
    given = operation.sql
    if isinstance(given, str):
        given = [given]
    parts = [part if isinstance(part, str) else part[0] for part in given]
    facts["sql"], cut = of.sql(clean(";\n".join(part.strip().rstrip(";") for part in parts if part.strip()), of.job))
    if cut:
        facts["sql_cut"] = True


SHAPES = {
    "CreateModel": create_model, "RenameModel": rename_model, "AlterModelTable": alter_table, "AddField": add_field,
    "RemoveField": remove_field, "AlterField": alter_field, "RenameField": rename_field, "AlterUniqueTogether": together,
    "AlterIndexTogether": together, "AddConstraint": constraint, "AddConstraintNotValid": constraint, "AddIndex": index,
    "AddIndexConcurrently": index, "RemoveIndex": named, "RemoveIndexConcurrently": named, "RemoveConstraint": named,
    "ValidateConstraint": named, "RenameIndex": named, "RunPython": run_python, "RunSQL": run_sql,
}


# The graph, and SQL.


def ordered(graph):
    """Migrations in the order in which `migrate` runs them."""
    seen = {}
    for leaf in sorted(graph.leaf_nodes()):
        for key in graph.forwards_plan(leaf):
            seen.setdefault(key)
    return list(seen)


def in_order(loader):
    """What an empty database gets, and behind it those that others replace: where some of these are applied, the rest of them runs."""
    from django.db.migrations.loader import MigrationLoader

    plan = [(key, True) for key in ordered(loader.graph)]
    there = {key for key, _ in plan}
    left = [key for key in loader.disk_migrations if key not in there]
    if not left:
        return plan, [], None
    whole = MigrationLoader(None, ignore_no_migrations=True, load=False, replace_migrations=False)
    whole.build_graph()
    replaces = {key for key, migration in whole.disk_migrations.items() if migration.replaces}
    return plan, [(key, key not in there) for key in ordered(whole.graph) if key not in replaces], whole


def walk(plan, migrations, facts, told):
    """Facts of each migration that is asked for, and the states from which its SQL is collected."""
    from django.db.migrations.state import ProjectState

    state, blocks = ProjectState(), []
    for place, (key, wanted) in enumerate(plan):
        if place % BLOCK == 0:
            blocks.append((state.clone(), plan[place:place + BLOCK]))
        migration = migrations[key]
        if not wanted:
            migration.mutate_state(state, preserve=False)
            continue
        operations = list(facts.of(migration, state))
        told[key] = {
            "name": f"{key[0]}.{key[1]}",
            "replaces": [f"{app}.{name}" for app, name in migration.replaces],
            "atomic": bool(migration.atomic),
            "operations": operations,
        }
    return blocks


class OutOfTime(Exception):
    pass


class Collector:
    """Collects SQL within a time and a number of bytes."""

    def __init__(self, job, engine):
        self.job, self.engine = job, engine
        self.until, self.left = time.monotonic() + job["seconds_max"], job["sql_all_bytes_max"]

    def block(self, state, plan, migrations, told):
        start = state
        state = start.clone()
        for place, (key, wanted) in enumerate(plan):
            migration = migrations[key]
            if not wanted:
                migration.mutate_state(state, preserve=False)
                continue
            try:
                if time.monotonic() > self.until:
                    raise OutOfTime()
                self.keep(told[key], self.collect(migration, state))
            except OutOfTime:
                told[key]["without_sql"] = f"the {self.job['seconds_max']} s that a build has for SQL were over"
            except (Exception, SystemExit) as error:
                told[key]["without_sql"] = reason(error, self.job)
                # It stopped half way: the next one begins where this one should have ended.
                state = start.clone()
                for earlier, _ in plan[:place + 1]:
                    migrations[earlier].mutate_state(state, preserve=False)

    def collect(self, migration, state):
        """What `sqlmigrate` prints."""
        from django.db.migrations import migration as module

        engine, connection = self.engine, self.engine.connection
        del engine.asked[:]
        editor = engine.editor(migration.atomic)
        in_transaction = editor.atomic_migration
        entered, module.atomic = module.atomic, unreachable
        try:
            connection.in_atomic_block = in_transaction
            for operation in migration.operations:
                if time.monotonic() > self.until:
                    raise OutOfTime()
                self.operation(operation, migration, state, editor)
            for statement in editor.deferred_sql:
                editor.execute(statement, None)
        finally:
            connection.in_atomic_block, module.atomic = False, entered
        lines = [clean(str(line), self.job) for line in editor.collected_sql]
        if lines and in_transaction:
            lines = [connection.ops.start_transaction_sql(), *lines, connection.ops.end_transaction_sql()]
        return lines

    def operation(self, operation, migration, state, editor):
        collected = editor.collected_sql
        if kind_of(operation) == "RunSQL" and self.engine.vendor != "postgresql":
            self.refuse_long(operation)
        collected.extend(["--", f"-- {operation.describe()}", "--"])
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        if not operation.reduces_to_sql:
            collected.append("-- THIS OPERATION CANNOT BE WRITTEN AS SQL")
            return
        length = len(collected)
        operation.database_forwards(migration.app_label, editor, before, state)
        if len(collected) == length:
            collected.append("-- (no-op)")

    def refuse_long(self, operation):
        """Where drivers take one statement at a time Django parses what it is given, which takes minutes for megabytes."""
        size = len(str(operation.sql))
        if size > self.job["sql_bytes_max"]:
            raise ValueError(f"it runs SQL of {size} characters: more than {self.job['sql_bytes_max']} are not parsed")

    def keep(self, told, lines):
        text = "\n".join(lines)
        size = len(text.encode())
        allowed = min(self.job["sql_bytes_max"], self.left)
        if not self.left and size:
            told["without_sql"] = f"the release's SQL has more than {self.job['sql_all_bytes_max']} bytes"
            return
        kept = text.encode()[:allowed].decode(errors="ignore") if size > allowed else text
        self.left -= len(kept.encode())
        told["sql"] = kept
        if self.engine.asked:
            told["assumes"] = True
        if size > allowed:
            told["sql_bytes"] = size


def look(job):
    import django

    django.setup()
    from django.db.migrations.loader import MigrationLoader

    answer = {"format": 1, "django": django.get_version(), "engine": "", "assumed": False}
    engine = None
    try:
        engine = Engine()
        answer["engine"], answer["assumed"] = engine.vendor, engine.assumed
    except (Exception, SystemExit) as error:
        answer["without_sql"] = reason(error, job)
    loader = MigrationLoader(None, ignore_no_migrations=True)
    plan, replaced, whole = in_order(loader)
    facts, told = Facts(job, engine), {}
    parts = [(walk(plan, loader.graph.nodes, facts, told), loader.graph.nodes)]
    if replaced:
        parts.append((walk(replaced, whole.graph.nodes, facts, told), whole.graph.nodes))
    collector = Collector(job, engine) if engine else None
    for blocks, migrations in parts if collector else []:
        for state, block in reversed(blocks):
            collector.block(state, block, migrations, told)
    answer["migrations"] = list(told.values())
    return answer


def main():
    job = json.load(sys.stdin)
    sys.path.insert(0, job["manage"])
    try:
        answer = {"facts": look(job)}
    except BaseException as error:
        answer = {"failed": reason(error, job)}
    with open(job["report"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


main()
