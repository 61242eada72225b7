# Runs manage.py so that one runner at a time changes the database, whoever started others. Arguments: the app, the order's fence, the
# limits of a lock and of a statement in milliseconds (0: none), then manage.py and its words. They are words of the command line and no
# variables: a variable could be the app's.
import contextlib
import os
import runpy
import signal
import sys
import threading
import time


class CalledOff(KeyboardInterrupt):
    """psycopg cancels what runs when it sees one of these; Django rolls back."""


class Orders:
    def __init__(self, app, fence, lock_timeout_ms, statement_timeout_ms):
        self.app, self.fence = app, fence
        self.lock_timeout_ms, self.statement_timeout_ms = int(lock_timeout_ms), int(statement_timeout_ms)
        self.is_called_off = False


def end_at_sigterm(orders, session):
    """A statement that runs is cancelled from a thread: a driver that waits for its answer in C sees no signal until then."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def called_off(*_):
        if not orders.is_called_off:
            orders.is_called_off = True
            raise CalledOff

    def cancel():
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        raw = session.connection.connection if session else None
        with contextlib.suppress(Exception):
            raw.cancel()

    signal.signal(signal.SIGTERM, called_off)
    threading.Thread(target=cancel, name="roadstead-cancel", daemon=True).start()


def patch_executor(runner):
    from django.db.migrations.executor import MigrationExecutor

    original = getattr(MigrationExecutor, "apply_migration", None)
    if original is None:
        told.say("this Django has no MigrationExecutor.apply_migration: what fails is not tried again")
        return

    def apply_migration(executor, state, migration, *arguments, **options):
        if executor.connection is not runner.connection:
            return original(executor, state, migration, *arguments, **options)
        return runner.apply(original, executor, state, migration, *arguments, **options)

    MigrationExecutor.apply_migration = apply_migration


@contextlib.contextmanager
def on_postgresql(connection, orders):
    session = Session(connection, orders)
    end_at_sigterm(orders, session)
    session.open()
    watch = Watch(session)
    runner = Runner(session, watch)
    patch_executor(runner)
    watch.start()
    try:
        with connection.execute_wrapper(runner.statement):
            yield
    finally:
        watch.end()


@contextlib.contextmanager
def on_mysql(connection, orders):
    """MySQL and MariaDB: their lock is the session's, too, and one for the whole server."""
    from django.db.backends.signals import connection_created

    def lock(connection=connection, **_):
        waited = False
        while True:
            with connection.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK('roadstead-migrate', 0)")
                if cursor.fetchone()[0] == 1:
                    break
            if not waited:
                told.waits("for another migration on this database server")
            waited = True
            time.sleep(1)
        told.goes_on("the other migration is over")

    def opened(connection, **_):
        if connection is ours:
            lock(connection)

    ours = connection
    end_at_sigterm(orders, None)
    connection_created.connect(opened, weak=False)
    connection.close()
    connection.ensure_connection()
    try:
        yield
    except CalledOff:
        stop("called off; this database takes back no change of a table", "look what the last migration has done before you deploy again")


@contextlib.contextmanager
def one_runner(alias, orders):
    from django.db import connections

    connection = connections[alias]
    vendors = {"postgresql": on_postgresql, "mysql": on_mysql}
    # Databases without such locks go without; there the order of one host alone keeps a second runner away.
    with vendors[connection.vendor](connection, orders) if connection.vendor in vendors else contextlib.nullcontext():
        yield


def hold_during(command, orders):
    execute = command.execute
    state = {"outermost": True}

    def held(self, *args, **options):
        if not state["outermost"]:
            return execute(self, *args, **options)
        state["outermost"] = False
        try:
            with one_runner(options.get("database") or "default", orders):
                return execute(self, *args, **options)
        except CalledOff:
            stop("called off while no migration was under way", "deploy again")

    command.execute = held


def main():
    app, fence, lock_timeout_ms, statement_timeout_ms, *sys.argv = sys.argv[1:]
    orders = Orders(app, fence, lock_timeout_ms, statement_timeout_ms)
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    from django.core.management.base import BaseCommand

    hold_during(BaseCommand, orders)
    runpy.run_path(sys.argv[0], run_name="__main__")


main()
