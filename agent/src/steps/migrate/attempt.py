# One attempt at one migration, and what is known of it: the transaction in which it runs, its statements, and whether it did anything
# outside of that transaction. Whatever is not certainly rolled back is never repeated; so every doubt here counts against it.
import contextlib
import os
import re

# These wait for everybody's transactions and hold up nobody meanwhile; cut off in the middle they leave an invalid index, or a partition
# half detached.
CONCURRENTLY = re.compile(
    r"((CREATE\s+(UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX)\b|ALTER\s+TABLE\b.*\bDETACH\s+PARTITION\b).*\bCONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)
# What may stand before the first word of a statement.
BEFORE = re.compile(r"(\s+|\(|;|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
# Ends a transaction that the runner knows without a commit: what follows is in another one. (A commit is seen by the transaction's status.)
ENDS = re.compile(r"\b(ROLLBACK|ABORT)\b(?!\s+((WORK|TRANSACTION)\s+)?TO\b)", re.IGNORECASE)


# One statement that may commit a part of itself.
COMMITS = re.compile(r"(DO|CALL)\b|.*(\bCOMMIT\b|\bCONCURRENTLY\b)", re.IGNORECASE | re.DOTALL)


class Attempt:
    def __init__(self, pid):
        # The session in which its last statement ran.
        self.pid = pid
        # Of the schema editor that is really used; None until the migration begins.
        self.is_atomic = None
        self.xid = None
        self.is_lost = False
        # Why it may have done what a rollback does not take back; None while there is no reason.
        self.beyond = None
        # How many functions it left for after its commit.
        self.hooks = 0
        # Statements that succeeded, and the beginning of the last one that began.
        self.done = 0
        self.last = "its first statement"
        # What is said of a last statement of which a part may be done.
        self.partly = ""
        self.invalid_before = set()
        self.concurrently = []


def text_of(sql, connection):
    """What is sent, without what may stand before its first word."""
    if isinstance(sql, bytes):
        sql = sql.decode(errors="replace")
    elif hasattr(sql, "as_string"):
        # psycopg composes it.
        sql = sql.as_string(connection.connection)
    text = str(sql)
    before = BEFORE.match(text)
    return text[before.end() :] if before else text


class Statements:
    """Sees every statement of the connection that migrates, as Django's execute_wrapper passes it by, and that others are used."""

    def __init__(self, session, watch):
        self.session = session
        self.connection = session.connection
        self.watch = watch
        self.attempt = None
        os.register_at_fork(before=lambda: self.is_beyond("it started processes of its own"))

    def is_beyond(self, why):
        if self.attempt is not None and self.attempt.beyond is None:
            self.attempt.beyond = why

    def pass_by(self, execute, sql, parameters, many, context):
        orders = self.session.orders
        if self.session.is_asking or orders.is_child():
            return execute(sql, parameters, many, context)
        if orders.is_called_off:
            raise CalledOff
        attempt, text = self.attempt, text_of(sql, self.connection)
        waits_long = CONCURRENTLY.match(text) is not None and not self.connection.in_atomic_block
        if attempt is not None:
            attempt.pid, attempt.last = self.session.pid, first_words(text)
            attempt.partly = "; a part of that one may be done" if COMMITS.match(text) else ""
            if waits_long:
                attempt.concurrently.append(text)
            if attempt.is_atomic and (self.session.state() == IDLE or ENDS.search(text)):
                self.is_beyond("it may have ended its transaction by itself")
        with self.without_lock_timeout() if waits_long else contextlib.nullcontext():
            self.watch.began()
            try:
                result = execute(sql, parameters, many, context)
            finally:
                self.watch.ended()
        if attempt is not None:
            attempt.done += 1
        return result

    @contextlib.contextmanager
    def without_lock_timeout(self):
        was, pid = self.session.ask_one("SELECT current_setting('lock_timeout')"), self.session.pid
        self.session.ask("SELECT set_config('lock_timeout', '0', false)")
        try:
            yield
        finally:
            # A session that is gone is not opened anew for this.
            if self.session.pid == pid and self.session.state() == IDLE:
                self.session.ask("SELECT set_config('lock_timeout', %s, false)", [was])

    @contextlib.contextmanager
    def of(self, attempt):
        """While this attempt lasts: statements of other databases, and connections that are opened (of threads, too), are noticed."""
        from django.db import connections
        from django.db.backends.signals import connection_created

        def elsewhere(execute, *arguments):
            self.is_beyond("it used another connection than the one that migrates")
            return execute(*arguments)

        def opened(connection, **_):
            if connection is not self.connection and not getattr(connection, "is_roadsteads", False):
                self.is_beyond("it used another connection than the one that migrates")

        self.attempt = attempt
        connection_created.connect(opened, weak=False)
        try:
            with contextlib.ExitStack() as stack:
                for other in connections.all():
                    if other is not self.connection:
                        stack.enter_context(other.execute_wrapper(elsewhere))
                yield
        finally:
            connection_created.disconnect(opened)
            self.attempt = None
