# The one session that migrates a PostgreSQL database: it carries the order's fence in its application_name and holds the database's
# advisory lock. Both are there on every connection that Django opens, or the run ends. Whoever is older is ended first, and is gone
# before anything is changed; whoever finds somebody newer ends.
import contextlib
import time

CANCELLED, IN_THE_FUTURE = "57014", "22023"
KEY = 0x524F414453544541
TAG = "roadstead-migrate"
# As libpq numbers the states of a transaction.
IDLE, IN_TRANSACTION, IN_ERROR, NO_CONNECTION = 0, 2, 3, 4
# So that a server that is away is known to be within the runner's patience; the app's settings win.
NETWORK = {"connect_timeout": 10, "keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
# How long a session that was told to end may take: what it did is rolled back first.
GONE_WITHIN = 60.0

SESSIONS = """
    SELECT pid, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s"""
HOLDS = """
    SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
                                     AND objsubid = 1 AND classid::bigint = %s AND objid::bigint = %s)"""
HOLDER = """
    SELECT a.pid, a.application_name, a.usename FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
          AND l.classid::bigint = %s AND l.objid::bigint = %s LIMIT 1"""
INVALID = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), t.relname, c.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname <> 'pg_toast'"""
# One that somebody builds at this moment is not left behind. (PostgreSQL 12 and newer tell.)
NOT_BEING_BUILT = " AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"


def halves():
    return [KEY >> 32, KEY & 0xFFFFFFFF]


def fence_of(text):
    """The order's place among all: term, rollout, sequence."""
    parts = text.split(".")
    return tuple(int(part) for part in parts) if len(parts) == 3 and all(part.isdigit() for part in parts) else None


class Session:
    def __init__(self, connection, orders):
        self.connection = connection
        self.orders = orders
        self.own = fence_of(orders.fence) or stop(f"{orders.fence!r} is no order's fence", "this is a mistake of Roadstead's: report it")
        self.name = f"{TAG} {orders.app} {orders.fence}"
        # Statements of the runner's own are no statements of a migration.
        self.is_asking = False
        self.is_claiming = False
        self.pid = None
        # What is looked at when a connection was opened anew.
        self.reopened = lambda: None

    @contextlib.contextmanager
    def asking(self):
        was, self.is_asking = self.is_asking, True
        try:
            yield
        finally:
            self.is_asking = was

    def ask(self, sql, parameters=()):
        with self.asking(), self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return cursor.fetchall() if cursor.description else []

    def ask_one(self, sql, parameters=()):
        return self.ask(sql, parameters)[0][0]

    def open(self):
        from django.db.backends.signals import connection_created

        # A pool of Django's would keep the session, and its lock, when the connection is closed.
        options = self.connection.settings_dict.setdefault("OPTIONS", {})
        options.pop("pool", None)
        for key, value in NETWORK.items():
            options.setdefault(key, value)
        connection_created.connect(self.opened, weak=False)
        self.connection.close()
        self.connection.ensure_connection()

    def end(self):
        """Whatever the process does afterwards is no migration: the lock and the fence go with the connection."""
        from django.db.backends.signals import connection_created

        connection_created.disconnect(self.opened)
        if not self.orders.is_child():
            with contextlib.suppress(Exception):
                self.connection.close()

    def state(self):
        """Of its transaction, as the driver knows it without asking."""
        raw = self.connection.connection
        return NO_CONNECTION if raw is None else int(raw.info.transaction_status)

    def is_there(self):
        """Whether the session answers; a transaction that a migration opened by itself and left is rolled back first."""
        from django.db import Error

        if self.connection.in_atomic_block or self.connection.connection is None:
            return self.state() != NO_CONNECTION
        if self.state() in (IN_TRANSACTION, IN_ERROR):
            with contextlib.suppress(Error):
                self.ask("ROLLBACK")
        return self.connection.connection is not None and self.connection.is_usable()

    def status_of(self, xid):
        """What became of a transaction; None when this database cannot say."""
        from django.db import DatabaseError

        try:
            return self.ask_one("SELECT txid_status(%s)", [xid])
        except DatabaseError as error:
            if sqlstate(error) == CANCELLED or not self.is_there():
                raise
            # After a crash, of a number that it has not given away yet: of that transaction nothing has survived.
            return "aborted" if sqlstate(error) == IN_THE_FUTURE else None

    def invalid(self):
        """Indexes that do not work: full name, table, name."""
        from django.db import DatabaseError

        try:
            is_told = self.ask_one("SELECT current_setting('server_version_num')::int >= 120000")
            return self.ask(INVALID + (NOT_BEING_BUILT if is_told else "") + " ORDER BY 1, 2 LIMIT 10")
        except DatabaseError as error:
            told.say(f"whether an index is INVALID could not be asked: {first_line(error)}")
            return []

    def opened(self, connection, **_):
        # A child that was forked has its parent's connection and no right to it; what it opens itself is its own.
        if connection is not self.connection or self.is_claiming or self.orders.is_child():
            return
        self.is_claiming = True
        try:
            self.claim()
        except BaseException:
            # Nobody may go on with a session that is not the one.
            self.connection.close()
            raise
        finally:
            self.is_claiming = False

    def claim(self):
        from django.db import OperationalError

        if self.ask_one("SELECT pg_is_in_recovery()"):
            raise OperationalError("the database is a standby that was not promoted")
        is_first, self.pid = self.pid is None, self.ask_one("SELECT pg_backend_pid()")
        self.refuse_shared_sessions()
        self.set_up()
        if self.ask_one("SELECT current_setting('application_name')") != self.name:
            stop(f"the database does not take the name {self.name!r} for the session", "see what stands between the host and the database")
        self.end_older()
        self.take_lock()
        # One that was asked to begin meanwhile has its name there by now.
        self.end_older()
        self.reopened()
        if not is_first:
            told.say(f"the connection was opened anew: pid {self.pid} has the lock and the fence {self.orders.fence}")

    def set_up(self):
        limits = {"application_name": self.name, "lock_timeout": str(self.orders.lock_timeout_ms)}
        if self.orders.statement_timeout_ms:
            limits["statement_timeout"] = str(self.orders.statement_timeout_ms)
        calls = ", ".join("set_config(%s, %s, false)" for _ in limits)
        self.ask(f"SELECT {calls}", [word for pair in limits.items() for word in pair])

    def make_sure(self):
        """Before each migration: this session still holds the lock, nobody newer is there, and no migration has left other limits."""
        self.connection.ensure_connection()
        self.set_up()
        pid, holds = self.ask(HOLDS, halves())[0]
        if pid != self.pid:
            self.refuse_pooler(f"the session of this run was pid {self.pid}, and its next statement ran in pid {pid}")
        if not holds:
            stop("this run has lost the database's migration lock", "see what released it: pg_advisory_unlock_all, DISCARD ALL, a pooler")
        self.end_older()

    def take_lock(self):
        waited = False
        while not self.ask_one("SELECT pg_try_advisory_lock(%s)", [KEY]):
            if not waited:
                holder = self.ask(HOLDER, halves())
                by = " of pid {} ({}, user {})".format(*holder[0]) if holder else ""
                told.waits(f"for another migration of this database{by}")
            waited = True
            time.sleep(0.5)
            self.end_older()
        if waited:
            told.goes_on("the other migration is over")

    def end_older(self):
        """Returns when no session of an older order of this app, and no other of this one, is left."""
        end, asked = time.monotonic() + GONE_WITHIN, set()
        while True:
            older = []
            for pid, name in self.ask(SESSIONS, [f"{TAG} {self.orders.app} %"]):
                fence = fence_of(name.rsplit(" ", 1)[-1])
                if fence is not None and fence > self.own:
                    stop(
                        f"this migration (order {self.orders.fence}) is superseded: order {name.rsplit(' ', 1)[-1]} migrates in pid {pid}",
                        "nothing more is changed by this one; follow the newer rollout",
                    )
                older.append((pid, name))
            if not older:
                return
            for pid, name in older:
                if pid not in asked:
                    told.say(f"an older run is still there, pid {pid} ({name}): it is terminated before anything is changed")
                    self.terminate(pid)
                    asked.add(pid)
            if time.monotonic() > end:
                stop(
                    f"the session of an older run, pid {older[0][0]} ({older[0][1]}), did not end within {GONE_WITHIN:.0f} s",
                    "end it as an administrator of the database, then deploy again",
                )
            time.sleep(0.1)

    def terminate(self, pid):
        from django.db import DatabaseError

        # With OPTIONS assume_role the sessions belong to the role that logs in.
        role = self.ask_one("SELECT current_setting('role')")
        try:
            self.ask("SELECT set_config('role', 'none', false)")
            self.ask("SELECT pg_terminate_backend(%s)", [pid])
            self.ask("SELECT set_config('role', %s, false)", [role])
        except DatabaseError as error:
            stop(
                f"the session of an older run, pid {pid}, cannot be terminated: {first_line(error)}",
                f"end it as an administrator: SELECT pg_terminate_backend({pid}); then deploy again. A member of pg_signal_backend may end it",
            )

    def refuse_shared_sessions(self):
        """Behind a pooler that lends a server process for a transaction, a lock of the session is anybody's."""
        raw = self.connection.connection
        as_told = getattr(getattr(raw, "info", None), "backend_pid", None)
        if as_told is None or as_told == self.pid:
            return
        # Something stands in between. A second client beside this one tells whether it lends.
        other = self.connection.copy()
        other.is_roadsteads = True
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                if cursor.fetchone()[0] == self.pid:
                    self.refuse_pooler(f"two connections of this host were given the same server process, pid {self.pid}")
        finally:
            other.close()
        again = self.ask_one("SELECT pg_backend_pid()")
        if again != self.pid:
            self.refuse_pooler(f"two statements of one connection ran in pid {self.pid} and pid {again}")

    def refuse_pooler(self, why):
        stop(
            f"the database is reached through a pooler that shares sessions: {why}. There the migration lock holds nobody off",
            "let the migration's settings name the database itself, or a pool with pool_mode = session",
        )
