# Runs each migration until its end is known. Django gives no place for that but `MigrationExecutor.apply_migration`.
import contextlib
import re
import time

LOCK_TRIES = 20
PAUSE_MAX = 30.0
LOST_TRIES = 3
# How long a database may be away in the middle of it.
PATIENCE = 30.0
LOCK_TIMEOUT, DEADLOCK, STATEMENT_TIMEOUT = "55P03", "40P01", "57014"
# How many statements of one migration are followed to the end of their transaction; further ones count at once.
FOLLOWED_MAX = 1000

# These wait for everybody's transactions and hold up nobody meanwhile; cut off in the middle they leave an invalid index.
CONCURRENTLY = re.compile(r"\s*(CREATE\s+(UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX)\b.*\bCONCURRENTLY\b", re.IGNORECASE | re.DOTALL)
# Nothing is done by these.
HARMLESS = re.compile(r"\s*(SET|SHOW|RESET)\b|\s*SELECT\b.*\b(pg_catalog|pg_class|information_schema)\b", re.IGNORECASE | re.DOTALL)

INVALID = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), t.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname <> 'pg_toast'"""
# One that somebody builds at this moment is not left behind. (PostgreSQL 12 and newer tell.)
NOT_BEING_BUILT = " AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"


class Attempt:
    """What one attempt at one migration did."""

    def __init__(self, is_atomic, pid):
        self.is_atomic = is_atomic
        # The session in which it did it.
        self.pid = pid
        self.begun = 0
        self.done = 0
        self.last = ""
        self.may_have_left = False


class Runner:
    def __init__(self, session, watch):
        self.session = session
        self.connection = session.connection
        self.watch = watch
        self.marks = Marks(session)
        self.attempt = None
        self.recorded_here = set()

    # --- statements, as Django's execute_wrapper passes them by

    def statement(self, execute, sql, parameters, many, context):
        if self.session.is_asking or context["connection"] is not self.connection:
            return execute(sql, parameters, many, context)
        orders = self.session.orders
        if orders.is_called_off:
            raise CalledOff
        attempt, text = self.attempt, str(sql)
        waits_long = CONCURRENTLY.match(text) is not None and not self.connection.in_atomic_block
        if waits_long:
            self.session.ask("SELECT set_config('lock_timeout', '0', false)")
        if attempt is not None and not HARMLESS.match(text):
            attempt.begun += 1
        if attempt is not None:
            attempt.pid, attempt.last, attempt.may_have_left = self.session.pid, first_words(text), waits_long
        self.watch.began()
        try:
            result = execute(sql, parameters, many, context)
        finally:
            self.watch.ended()
        if attempt is not None:
            attempt.may_have_left = False
            if not HARMLESS.match(text):
                self.count(attempt)
        if waits_long:
            self.session.set_up()
        return result

    def count(self, attempt):
        """A statement counts when its transaction is through."""
        from django.db import transaction

        def done():
            attempt.done += 1

        if attempt.is_atomic or attempt.begun > FOLLOWED_MAX:
            return done()
        try:
            transaction.on_commit(done, using=self.connection.alias)
        except transaction.TransactionManagementError:
            done()

    # --- migrations

    def apply(self, original, executor, state, migration, *arguments, **options):
        try:
            self.make_sure(executor, migration)
            self.refuse_half_done(migration)
            return self.until_known(original, executor, state, migration, arguments, options)
        except CalledOff:
            self.called_off(executor, migration)

    def until_known(self, original, executor, state, migration, arguments, options):
        lock_tries = lost_tries = 0
        while True:
            self.make_sure(executor, migration)
            if not migration.atomic:
                self.marks.begin(migration)
            self.attempt = Attempt(migration.atomic, self.session.pid)
            try:
                return self.once(original, executor, state, migration, arguments, options)
            except Exception as error:
                if self.is_lost(error):
                    lost_tries += 1
                    if self.was_committed(error, executor, migration, lost_tries):
                        told.say(f"{migration} is recorded in django_migrations: it had been committed")
                        self.is_applied(migration, executor.progress_callback, [migration, False])
                        return migration.mutate_state(state, preserve=True)
                    told.say(f"{migration} is not recorded: it was rolled back, and is tried again ({lost_tries} of {LOST_TRIES})")
                    continue
                lock_tries += 1
                if sqlstate(error) in (LOCK_TIMEOUT, DEADLOCK) and self.may_repeat() and lock_tries < LOCK_TRIES:
                    self.rest(error, migration, lock_tries)
                    continue
                self.failed(error, migration, lock_tries)
                raise

    def make_sure(self, executor, migration):
        """A connection that was lost between two migrations is no question: nothing ran."""
        from django.db import Error

        try:
            self.session.make_sure()
        except Error:
            if self.is_there() or not self.reopen():
                raise
            self.refuse_what_was_forgotten(executor, migration)
            self.session.make_sure()

    def once(self, original, executor, state, migration, arguments, options):
        """One attempt. What an atomic migration does, and that it was done, become true in one commit: by itself Django records one
        that leaves SQL for its end (indexes, foreign keys) only after its transaction. What is applied is told once it is."""
        from django.db import transaction

        tell, success = executor.progress_callback, []

        def progress(action, *further):
            if action == "apply_start":
                told.applying(migration)
            if action == "apply_success":
                success.extend(further)
            elif tell:
                tell(action, *further)

        executor.progress_callback = progress
        try:
            with transaction.atomic(using=self.connection.alias) if migration.atomic else contextlib.nullcontext():
                after = original(executor, state.clone(), migration, *arguments, **options)
        finally:
            executor.progress_callback = tell
        self.is_applied(migration, tell, success)
        return after

    def is_applied(self, migration, tell, success):
        self.recorded_here |= names(migration)
        if not migration.atomic:
            self.marks.end(migration)
        self.watch.shown = None
        told.goes_on(f"{migration} is through")
        told.applied()
        if tell:
            tell("apply_success", *success)

    def is_recorded(self, executor, migration):
        return names(migration) <= self.recorded(executor)

    def recorded(self, executor):
        with self.session.asking():
            return set(executor.recorder.applied_migrations())

    def may_repeat(self):
        attempt = self.attempt
        return attempt.is_atomic or (attempt.done == 0 and not attempt.may_have_left)

    def rest(self, error, migration, tries):
        pause = min(2.0 ** (tries - 1), PAUSE_MAX)
        why = "a deadlock" if sqlstate(error) == DEADLOCK else "the lock timeout"
        held = self.watch.seen or "for a lock"
        told.waits(f"{held}; {migration} met {why} (try {tries} of {LOCK_TRIES}) and is tried again in {pause:.0f} s")
        self.watch.seen = ""
        time.sleep(pause)

    # --- when it goes wrong

    def is_lost(self, error):
        """Whether the session is gone; what the app's own code did wrong is not for the database to answer."""
        if database_error(error) is None:
            return False
        # At the end of a transaction Django opens the connection again by itself.
        return self.session.pid != self.attempt.pid or not self.is_there()

    def is_there(self):
        return self.connection.connection is not None and self.connection.is_usable()

    def was_committed(self, error, executor, migration, tries):
        """What became of a migration whose session is gone; when that is not known, or it is half done, the run ends."""
        attempt = self.attempt
        told.say(f"the connection was lost during {migration}: {first_line(list(chain(error))[-1])}")
        look = look_at(migration)
        is_recorded = self.answer(executor, migration)
        if is_recorded is None:
            stop(
                f"the connection was lost during {migration} and the database did not come back within {PATIENCE:.0f} s: "
                f"whether {migration} was committed is not known",
                look,
            )
        if is_recorded:
            return True
        if not migration.atomic and attempt.begun:
            self.marks.is_told(migration)
            stop(
                f"the connection was lost during {migration}, which is not atomic and not recorded: it is half done. "
                f"{counted(attempt.done, 'statement')} had succeeded; of the one that ran, {attempt.last}, it is not known{self.invalid()}",
                f"{look}; a further rollout runs all of it again",
            )
        if tries >= LOST_TRIES:
            stop(f"the connection was lost {tries} times during {migration}; it was rolled back each time", "see the database's log")
        return False

    def answer(self, executor, migration):
        """Whether it is recorded, asked in a session of its own; None when the database does not say."""
        from django.db import Error

        for _ in range(LOST_TRIES):
            if not self.is_there() and not self.reopen():
                return None
            try:
                self.refuse_what_was_forgotten(executor, migration)
                return self.is_recorded(executor, migration)
            except Error as error:
                told.say(f"the connection was lost again: {first_line(error)}")
        return None

    def reopen(self):
        from django.db import Error

        end, pause = time.monotonic() + PATIENCE, 0.25
        while True:
            try:
                self.connection.close()
                self.connection.ensure_connection()
                return True
            except Error as error:
                if time.monotonic() + pause > end:
                    told.say(f"the database does not answer: {first_line(error)}")
                    return False
            time.sleep(pause)
            pause = min(pause * 2, 4.0)

    def refuse_what_was_forgotten(self, executor, migration):
        gone = self.recorded_here - self.recorded(executor)
        if gone:
            listed = ", ".join(sorted(f"{app}.{name}" for app, name in gone))
            stop(
                f"after the connection was lost during {migration} the database has no record of {listed}, which this run applied: "
                "it is not the database that it was, as after a failover to a standby that was behind",
                "see which server is the right one before you deploy again",
            )

    def refuse_half_done(self, migration):
        left = None if migration.atomic else self.marks.left_by(migration)
        if left is None:
            return
        fence, began = left
        self.marks.is_told(migration)
        stop(
            f"{migration} is not atomic, was begun by order {fence} at {began} and never ended: it may be half done{self.invalid()}",
            f"{look_at(migration)}; a further rollout runs all of it again",
        )

    def failed(self, error, migration, tries):
        attempt = self.attempt
        line = first_line(database_error(error) or error)
        if sqlstate(error) in (LOCK_TIMEOUT, DEADLOCK):
            line += f" (try {tries} of {LOCK_TRIES})"
            if self.watch.seen:
                line += f"; it waited {self.watch.seen}"
        if migration.atomic:
            told.say(f"{migration} failed and was rolled back, since it is atomic: {line}", " failed")
            told.say(hint_for(error), " next")
            return
        # It is known how it ended.
        self.marks.end(migration)
        did = f"{counted(attempt.done, 'statement')} had succeeded" if attempt.done else "no statement had succeeded"
        told.say(f"{migration} failed and is not atomic: {did} before {attempt.last} failed: {line}{self.invalid()}", " failed")
        told.say(f"take back by hand what is half done, or finish it; {hint_for(error)}", " next")

    def invalid(self):
        """Indexes that an index built concurrently left behind, each with what removes it."""
        is_told = self.session.ask_one("SELECT current_setting('server_version_num')::int >= 120000")
        rows = self.session.ask(INVALID + (NOT_BEING_BUILT if is_told else "") + " ORDER BY 1, 2 LIMIT 10")
        return "".join(f"; index {name} of {table} is INVALID, and DROP INDEX CONCURRENTLY {name}; removes it" for name, table in rows)

    def called_off(self, executor, migration):
        """The end came by a signal; what runs has been cancelled."""
        from django.db import Error

        for _ in range(2):
            try:
                recorded = self.is_recorded(executor, migration)
                break
            except Error:
                # The cancellation came late, and hit this.
                self.connection.close_if_unusable_or_obsolete()
        else:
            stop(f"called off during {migration}; whether it was committed is not known", look_at(migration))
        if recorded:
            stop(f"called off when {migration} had just been committed", "a further rollout goes on behind it")
        if migration.atomic:
            stop(f"called off during {migration}: its statement was cancelled and it was rolled back", "deploy again")
        did, left = counted(self.attempt.done, "statement"), self.invalid()
        self.marks.end(migration)
        stop(
            f"called off during {migration}, which is not atomic: its statement was cancelled, {did} before it had succeeded and stay{left}",
            f"{look_at(migration)}; a further rollout runs all of it again",
        )


def names(migration):
    """As django_migrations has them: a squashed migration is recorded as those that it replaces."""
    return set(map(tuple, migration.replaces)) or {(migration.app_label, migration.name)}


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def database_error(error):
    from django.db import Error

    return next((one for one in chain(error) if isinstance(one, Error)), None)


def sqlstate(error):
    """psycopg calls it `sqlstate`, psycopg2 `pgcode`."""
    return next((code for one in chain(error) for code in (getattr(one, "sqlstate", None), getattr(one, "pgcode", None)) if code), None)


def look_at(migration):
    app, name = migration.app_label, migration.name
    return (
        f"look: SELECT * FROM django_migrations WHERE app = '{app}' AND name = '{name}'; "
        f"compare the database with `manage.py sqlmigrate {app} {name}`"
    )


def hint_for(error):
    code = sqlstate(error)
    if code == LOCK_TIMEOUT:
        return "end what holds the lock, or deploy when it is quiet; lock-timeout under [django] of roadstead.toml is how long it may wait"
    if code == STATEMENT_TIMEOUT:
        return "raise statement-timeout under [django] of roadstead.toml, or make the statement shorter"
    return "correct the cause, then deploy again"
