# Runs each migration until its end is known. Django gives no place for that but `MigrationExecutor.apply_migration`. It stays Django that
# applies: the runner only learns in which transaction, asks the database afterwards what became of it, and repeats what was rolled back.
import time

LOCK_TRIES = 20
PAUSE_MAX = 30.0
LOST_TRIES = 3
# How long a database may be away in the middle of it.
PATIENCE = 30.0
LOCK_TIMEOUT, DEADLOCK = "55P03", "40P01"

# What became of an attempt.
DONE, ROLLED_BACK, PARTLY, HALF, UNKNOWN = "done", "rolled back", "partly committed", "not atomic and not recorded", "unknown"


class Runner:
    def __init__(self, session, watch):
        self.session = session
        self.connection = session.connection
        self.watch = watch
        self.marks = Marks(session)
        self.statements = Statements(session, watch)
        self.attempt = None
        self.migration = None
        # Whose plan is carried out, and what was recorded when it was made or when its last migration was through.
        self.executor = None
        self.known = set()
        # Where that is recorded: packages for tenants have a schema and an executor for each.
        self.schema = None
        # What may be recorded besides, by the attempt that is under way.
        self.underway = set()
        session.reopened = self.refuse_newer

    def apply(self, original, executor, state, migration, *arguments, **options):
        if self.migration is not None or self.session.orders.is_child():
            return original(executor, state, migration, *arguments, **options)
        if executor is not self.executor:
            self.executor, self.known, self.schema = executor, set(executor.loader.applied_migrations), self.current_schema()
        self.attempt, self.migration, self.underway = None, migration, set()
        try:
            return self.until_known(original, state, migration, arguments, options)
        except CalledOff:
            self.called_off(migration)
        finally:
            self.migration, self.underway = None, set()

    def until_known(self, original, state, migration, arguments, options):
        lock_tries = lost_tries = 0
        while True:
            self.underway = set()
            self.make_sure()
            self.underway = names(migration)
            attempt = self.attempt = Attempt(self.session.pid)
            try:
                after, success = self.once(original, attempt, state, migration, arguments, options)
                attempt.hooks = 0
                self.is_applied(migration, success)
                self.refuse_invalid(attempt, migration)
                return after
            except Exception as error:
                if self.session.state() in (IN_TRANSACTION, IN_ERROR) and not self.connection.in_atomic_block:
                    attempt.partly = "; a transaction that it had opened by itself is rolled back"
                is_lost = attempt.is_lost = self.is_lost(attempt, error)
                if is_lost:
                    told.say(f"the connection was lost during {migration}: {first_line(list(chain(error))[-1])}")
                fate = self.fate(attempt, migration)
                if is_lost and fate == DONE and attempt.is_atomic and not attempt.hooks:
                    told.say(f"{migration} is recorded in django_migrations: it had been committed")
                    self.is_applied(migration, [migration, False])
                    return migration.mutate_state(state, preserve=True)
                lost_tries, lock_tries = lost_tries + is_lost, lock_tries + (not is_lost)
                may_repeat = fate == ROLLED_BACK and attempt.beyond is None
                if may_repeat and is_lost and lost_tries < LOST_TRIES:
                    told.say(f"{migration} is not recorded: it was rolled back, and is tried again ({lost_tries} of {LOST_TRIES})")
                elif may_repeat and not is_lost and sqlstate(error) in (LOCK_TIMEOUT, DEADLOCK) and lock_tries < LOCK_TRIES:
                    self.rest(error, migration, lock_tries)
                else:
                    self.failed(error, fate, migration, is_lost, lost_tries if is_lost else lock_tries)
                    raise

    def make_sure(self):
        """A connection that was lost between two migrations is no question: nothing ran."""
        from django.db import Error

        try:
            self.session.make_sure()
        except Error:
            if self.session.is_there() or not self.reopen():
                raise
            self.session.make_sure()
        self.refuse_newer()

    def once(self, original, attempt, state, migration, arguments, options):
        """One attempt. What is applied is told as such once its end is known."""
        executor, success = self.executor, []
        tell, apply = executor.progress_callback, migration.apply

        def progress(action, *further):
            if action == "apply_start":
                told.applying(migration)
            if action == "apply_success":
                success.extend(further)
            elif tell:
                tell(action, *further)

        def observed(before, editor, *further, **named):
            self.begins(attempt, migration, editor)
            after = apply(before, editor, *further, **named)
            self.ends(attempt, editor)
            return after

        executor.progress_callback, migration.apply = progress, observed
        try:
            with self.statements.of(attempt):
                return original(executor, state.clone(), migration, *arguments, **options), success
        finally:
            executor.progress_callback = tell
            del migration.apply

    def begins(self, attempt, migration, editor):
        """Some schema editors are never atomic, whatever the migration says."""
        is_atomic = editor.atomic_migration and self.connection.in_atomic_block
        if is_atomic:
            attempt.xid = self.session.ask_one("SELECT txid_current()")
        else:
            self.refuse_half_done(migration)
            self.marks.begin(migration)
            attempt.invalid_before = {row[0] for row in self.session.invalid()}
        attempt.is_atomic = is_atomic

    def ends(self, attempt, editor):
        """SQL that was left for the end (indexes, foreign keys) is run now, a moment before Django would: then Django records the
        migration in its transaction. By itself it would do that later, in a transaction of its own."""
        if not attempt.is_atomic:
            return
        for sql in editor.deferred_sql:
            editor.execute(sql, None)
        editor.deferred_sql.clear()
        attempt.hooks = len(self.connection.run_on_commit)

    def is_applied(self, migration, success):
        if self.attempt.is_atomic is False:
            self.marks.end(migration)
        # Some write more there than their own name.
        self.known = self.recorded() | names(migration)
        self.watch.shown = None
        told.goes_on(f"{migration} is through")
        told.applied()
        if self.executor.progress_callback:
            self.executor.progress_callback("apply_success", *success)
        told.say(str(migration), " applied")

    def recorded(self):
        with self.session.asking():
            return set(self.executor.recorder.applied_migrations())

    def current_schema(self):
        return self.session.ask_one("SELECT current_schema()")

    def rest(self, error, migration, tries):
        pause = min(2.0 ** (tries - 1), PAUSE_MAX)
        why = "a deadlock" if sqlstate(error) == DEADLOCK else "the lock timeout"
        held = self.watch.seen or "for a lock"
        told.waits(f"{held}; {migration} met {why} (try {tries} of {LOCK_TRIES}) and is tried again in {pause:.0f} s")
        self.watch.seen = ""
        time.sleep(pause)

    # --- what became of it

    def is_lost(self, attempt, error):
        """Whether the session is gone; what the app's own code did wrong is not for the database to answer."""
        if database_error(error) is None:
            return False
        # At the end of a transaction Django opens the connection again by itself.
        return self.session.pid != attempt.pid or not self.session.is_there()

    def fate(self, attempt, migration):
        """What became of an attempt that did not end well, asked in a session that is well."""
        from django.db import Error

        for _ in range(LOST_TRIES):
            try:
                if not self.session.is_there() and not self.reopen():
                    break
                self.refuse_newer()
                is_recorded = names(migration) <= self.recorded()
                if attempt.is_atomic is False:
                    return DONE if is_recorded else HALF
                # One that had not begun has done nothing.
                status = "aborted" if attempt.is_atomic is None else self.session.status_of(attempt.xid)
                if status == "aborted" and is_recorded:
                    self.superseded([migration])
                return {"committed": DONE if is_recorded else PARTLY, "aborted": ROLLED_BACK}.get(status, UNKNOWN)
            except Error as error:
                # Lost again; or a cancellation came late, and hit this.
                told.say(f"what became of {migration} could not be asked: {first_line(error)}")
        return UNKNOWN

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

    # --- what ends the run

    def refuse_newer(self):
        """Somebody who migrated while this run was away is over, but what was recorded stays. A squashed migration is recorded by the
        way, when all that it replaces is."""
        if self.executor is None or self.current_schema() != self.schema:
            return
        recorded, squashed = self.recorded(), set(self.executor.loader.replacements)
        gone, more = self.known - recorded - squashed, recorded - self.known - self.underway - squashed
        if gone:
            stop(
                f"the database has no record any more of {listed(gone)}: it is not the database that it was, as after a failover to a "
                "standby that was behind",
                "see which server is the right one before you deploy again",
            )
        if more:
            self.superseded(more)

    def superseded(self, by):
        stop(
            f"this migration (order {self.session.orders.fence}) is superseded: meanwhile another run recorded {listed(by)}",
            "nothing more is changed by this one; follow the newer rollout",
        )

    def refuse_half_done(self, migration):
        left = self.marks.left_by(migration)
        if left is None:
            return
        fence, began = left
        self.marks.is_told(migration)
        stop(
            f"{migration} is not atomic, was begun by order {fence} at {began} and never ended: it may be half done{self.invalid()}",
            f"{look_at(migration)}; a further rollout runs all of it again",
        )

    def refuse_invalid(self, attempt, migration):
        """IF NOT EXISTS is content with an invalid index, too."""
        if attempt.is_atomic is not False:
            return
        left = [
            name
            for name, table, bare in self.session.invalid()
            if name not in attempt.invalid_before or any(bare in text for text in attempt.concurrently)
        ]
        if left:
            stop(
                f"{migration} ended without an error and is recorded, but left an index that does not work{self.invalid(left)}",
                "remove it and build it by hand; a further rollout goes on behind this migration",
            )

    def invalid(self, only=None):
        """Indexes that an index built concurrently left behind, each with what removes it."""
        rows = [row for row in self.session.invalid() if only is None or row[0] in only]
        return "".join(f"; index {name} of {table} is INVALID, and DROP INDEX CONCURRENTLY {name}; removes it" for name, table, _ in rows)

    def failed(self, error, fate, migration, is_lost, tries):
        line = first_line(database_error(error) or error)
        if not is_lost and sqlstate(error) in (LOCK_TIMEOUT, DEADLOCK):
            line += f" (try {tries} of {LOCK_TRIES})"
            if self.watch.seen:
                line += f"; it waited {self.watch.seen}"
        what = f"lost its connection (time {tries} of {LOST_TRIES})" if is_lost else "failed"
        self.tell_end(fate, migration, what, f": {line}", hint_for(error))
        if fate == HALF:
            # The order that is carried out again must not begin it again. A newer one may.
            self.marks.is_told(migration)

    def called_off(self, migration):
        """The end came by a signal; what runs has been cancelled."""
        if self.attempt is None or self.attempt.is_atomic is None:
            stop(f"called off before {migration} was begun", "deploy again")
        fate = self.fate(self.attempt, migration)
        if fate == ROLLED_BACK:
            stop(f"called off during {migration}: its statement was cancelled and it was rolled back{self.beyond()}", "deploy again")
        if fate == DONE and not self.attempt.hooks:
            stop(f"called off when {migration} had just been committed", "a further rollout goes on behind it")
        self.tell_end(fate, migration, "was called off, its statement was cancelled,", "", "deploy again")
        if fate == HALF:
            self.marks.is_told(migration)
        raise SystemExit(1)

    def beyond(self):
        return f"; but {self.attempt.beyond}, and what that did is not known" if self.attempt.beyond else ""

    def tell_end(self, fate, migration, what, why, hint):
        """What became of a migration with which the run ends."""
        attempt, look = self.attempt, look_at(migration)
        if fate == DONE:
            say = f"{migration} is committed and recorded, but what is done behind that, as functions for after its commit, did not end{why}"
            then = "do by hand what is missing; a further rollout goes on behind this migration"
        elif fate == ROLLED_BACK:
            say, then = f"{migration} {what} and was rolled back, since it is atomic{self.beyond()}{why}", hint
        elif fate == PARTLY:
            say = (
                f"{migration} {what} and may be half done: it is not recorded, but the transaction in which it began is committed, by a "
                f"COMMIT of its own (or the server crashed and gave the transaction's number away again){why}"
            )
            then = f"take back by hand what is half done, or finish it: a further rollout runs all of it again; {look}"
        elif fate == HALF:
            did = counted(attempt.done, "statement") if attempt.done else "no statement"
            last = f"{attempt.last}, whose end is not known" if attempt.is_lost else f"{attempt.last} failed"
            say = f"{migration} {what} and is not atomic: {did} had succeeded before {last}{why}{attempt.partly}{self.beyond()}{self.invalid()}"
            then = f"take back by hand what is half done, or finish it: a further rollout runs all of it again; {hint}; {look}"
        else:
            say, then = f"{migration} {what}, and whether it was committed is not known: the database does not say{why}", look
        told.say(say, " failed")
        told.say(then, " next")


def listed(migrations):
    return ", ".join(sorted(str(one) if not isinstance(one, tuple) else ".".join(one) for one in migrations))


def names(migration):
    """As django_migrations has them: a squashed migration is recorded as those that it replaces."""
    return set(map(tuple, migration.replaces)) or {(migration.app_label, migration.name)}


def chain(error):
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
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
    if code == CANCELLED:
        return "raise statement-timeout under [django] of roadstead.toml, or make the statement shorter"
    return "correct the cause, then deploy again"
