# The lock watch: while a statement of a migration waits for a lock, a connection of its own looks who holds it.
import threading
import time

LOOK_EVERY = 0.5
BLOCKERS_MAX = 5

WAITS_FOR = """
    SELECT CASE WHEN relation IS NULL THEN 'a lock of type ' || locktype ELSE 'a lock on ' || relation::regclass::text END
    FROM pg_locks WHERE pid = %s AND NOT granted LIMIT 1"""
BLOCKERS = """
    SELECT DISTINCT p.pid, coalesce(nullif(a.application_name, ''), a.backend_type), a.usename, host(a.client_addr), a.state,
           extract(epoch FROM clock_timestamp() - a.state_change)::bigint, a.query, a.wait_event_type
    FROM unnest(pg_blocking_pids(%s)) AS p(pid) LEFT JOIN pg_stat_activity a ON a.pid = p.pid
    ORDER BY p.pid LIMIT 6"""


class Watch(threading.Thread):
    def __init__(self, session):
        super().__init__(name="roadstead-watch", daemon=True)
        self.session = session
        self.over = threading.Event()
        # When the statement that runs began; None between statements.
        self.since = None
        # Who was seen last, as it was told.
        self.seen = ""
        self.shown = None
        self.has_complained = False

    def began(self):
        self.since = time.monotonic()

    def ended(self):
        self.since = None

    def run(self):
        # In this thread: Django's connections belong to the thread that makes them.
        connection = self.session.connection.copy()
        connection.is_roadsteads = True
        while not self.over.wait(LOOK_EVERY):
            since = self.since
            if since is None or time.monotonic() - since < LOOK_EVERY / 2:
                continue
            try:
                self.look(connection)
            except Exception as error:
                connection.close()
                if not self.has_complained:
                    self.has_complained = True
                    told.say(f"the lock watch cannot look: {first_line(error)}")
        connection.close()

    def end(self):
        self.over.set()
        if self.is_alive():
            self.join(2.0)

    def look(self, connection):
        is_new = connection.connection is None
        with connection.cursor() as cursor:
            if is_new:
                cursor.execute("SELECT set_config('application_name', %s, false)", [f"roadstead-watch {self.session.orders.app}"])
                cursor.execute("SELECT set_config('statement_timeout', '5000', false)")
            cursor.execute(BLOCKERS, [self.session.pid])
            rows = cursor.fetchall()
            if not rows:
                self.shown = None
                told.goes_on("the lock is there")
                return
            cursor.execute(WAITS_FOR, [self.session.pid])
            wanted = cursor.fetchone()
        if wanted is None or self.since is None:
            return
        self.seen = f"for {wanted[0]} held by " + ", and ".join(words(*row) for row in rows[:BLOCKERS_MAX])
        if len(rows) > BLOCKERS_MAX:
            self.seen += ", and others"
        # How long it is so changes all the time, and is told with what else is.
        shown = (wanted[0], [(row[0], row[4], first_words(row[6] or "")) for row in rows])
        if shown != self.shown:
            self.shown = shown
            told.waits(self.seen)


def words(pid, program, user, address, state, seconds, query, waits):
    if pid == 0:
        return "a prepared transaction (see pg_prepared_xacts)"
    if state is None:
        # Of other roles' sessions the database tells no more, unless the app's role may read them all.
        about = ", ".join(text for text in (program, user and f"user {user}") if text)
        return f"pid {pid} ({about}; more is told to members of pg_read_all_stats)"
    doing = state if seconds is None else f"{state} for {max(seconds, 0)} s"
    if waits == "Lock":
        doing += ", itself waiting for a lock"
    about = ", ".join(text for text in (program, user and f"user {user}", address or "local", doing) if text)
    return f"pid {pid} ({about})" + (f": {first_words(query)}" if query else "")
