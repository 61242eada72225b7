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
        self.is_listening = False
        self.process = os.getpid()
        # Whose statement is cancelled when it is called off.
        self.session = None

    def is_child(self):
        """Whether this is a process that was forked from the one that migrates."""
        return os.getpid() != self.process


def end_at_sigterm(orders):
    """A statement that runs is cancelled from a thread: a driver that waits for its answer in C sees no signal until then."""
    if orders.is_listening or threading.current_thread() is not threading.main_thread():
        return
    orders.is_listening = True
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def called_off(*_):
        if not orders.is_called_off:
            orders.is_called_off = True
            raise CalledOff

    def as_ever():
        # A child's signals are its own: its parent would take them for its end.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def cancel():
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        raw = orders.session.connection.connection if orders.session else None
        with contextlib.suppress(Exception):
            raw.cancel()

    signal.signal(signal.SIGTERM, called_off)
    os.register_at_fork(after_in_child=as_ever)
    threading.Thread(target=cancel, name="roadstead-cancel", daemon=True).start()


@contextlib.contextmanager
def patched_executor(runner):
    from django.db.migrations.executor import MigrationExecutor

    original = MigrationExecutor.apply_migration

    def apply_migration(executor, state, migration, *arguments, **options):
        if executor.connection is not runner.connection:
            return original(executor, state, migration, *arguments, **options)
        return runner.apply(original, executor, state, migration, *arguments, **options)

    MigrationExecutor.apply_migration = apply_migration
    try:
        yield
    finally:
        MigrationExecutor.apply_migration = original


@contextlib.contextmanager
def on_postgresql(connection, orders):
    session = orders.session = Session(connection, orders)
    end_at_sigterm(orders)
    watch = Watch(session)
    runner = Runner(session, watch)
    try:
        session.open()
        watch.start()
        with patched_executor(runner), connection.execute_wrapper(runner.statements.pass_by):
            yield
    finally:
        watch.end()
        orders.session = None
        session.end()


@contextlib.contextmanager
def on_mysql(connection, orders):
    """MySQL and MariaDB: their lock is the session's, too, and one for the whole server."""
    from django.db.backends.signals import connection_created

    state = {"has_begun": False}

    def lock(connection=connection, **_):
        waited = False
        while True:
            with connection.cursor() as cursor:
                cursor.execute("SELECT GET_LOCK('roadstead-migrate', 0)")
                has = cursor.fetchone()[0]
            if has == 1:
                break
            if has is None:
                stop("the database does not give its migration lock: GET_LOCK failed", "see the database's log, then deploy again")
            if not waited:
                told.waits("for another migration on this database server")
            waited = True
            time.sleep(1)
        state["has_begun"] = True
        told.goes_on("the other migration is over")

    def opened(connection, **_):
        if connection is ours and not orders.is_child():
            lock(connection)

    ours = connection
    end_at_sigterm(orders)
    connection_created.connect(opened, weak=False)
    connection.close()
    try:
        connection.ensure_connection()
        yield
    except CalledOff:
        if not state["has_begun"]:
            stop("called off before it had the database's migration lock: nothing was changed", "deploy again")
        stop("called off; this database takes back no change of a table", "look what the last migration has done before you deploy again")
    finally:
        connection_created.disconnect(opened)
        connection.close()


@contextlib.contextmanager
def one_runner(alias, orders):
    from django.db import connections

    connection = connections[alias]
    vendors = {"postgresql": on_postgresql, "mysql": on_mysql}
    # Databases without such locks go without; there the order of one host alone keeps a second runner away.
    with vendors[connection.vendor](connection, orders) if connection.vendor in vendors else contextlib.nullcontext():
        yield


def hold_migrate(command, orders):
    """Whichever class the project's `migrate` is, and also where its manage.py calls it by itself; what runs before and within is not held."""
    run_from_argv, execute = command.run_from_argv, command.execute
    state = {"is_held": False}

    def told_by_argv(self, argv):
        self.is_migrate = argv[1:2] == ["migrate"]
        return run_from_argv(self, argv)

    def held(self, *args, **options):
        modules = {each.__module__.rpartition(".")[2] for each in type(self).__mro__}
        if state["is_held"] or not (getattr(self, "is_migrate", False) or modules & {"migrate", "migrate_schemas"}):
            return execute(self, *args, **options)
        state["is_held"] = True
        try:
            with one_runner(options.get("database") or "default", orders):
                return execute(self, *args, **options)
        except CalledOff:
            stop("called off while no migration was under way", "deploy again")
        finally:
            state["is_held"] = False

    command.run_from_argv, command.execute = told_by_argv, held


def main():
    app, fence, lock_timeout_ms, statement_timeout_ms, *sys.argv = sys.argv[1:]
    orders = Orders(app, fence, lock_timeout_ms, statement_timeout_ms)
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    from django.core.management.base import BaseCommand

    hold_migrate(BaseCommand, orders)
    runpy.run_path(sys.argv[0], run_name="__main__")


main()
