# What is written down of a migration that is not atomic, in a table of the runner's own, before its first statement: a run that was
# killed leaves nothing else from which the next could know that the migration may be half done.

MAKE = """
    CREATE TABLE IF NOT EXISTS roadstead_migrating (
        app text NOT NULL, name text NOT NULL, fence text NOT NULL, began timestamptz NOT NULL DEFAULT now(), told text,
        PRIMARY KEY (app, name))"""


class Marks:
    def __init__(self, session):
        self.session = session

    def exists(self):
        return self.session.ask_one("SELECT to_regclass('roadstead_migrating') IS NOT NULL")

    def begin(self, migration):
        from django.db import DatabaseError

        try:
            if not self.exists():
                self.session.ask(MAKE)
        except DatabaseError as error:
            told.say(f"that {migration} begins cannot be written down: {first_line(error)}. If this run is killed, look yourself")
            return
        self.end(migration)
        values = [migration.app_label, migration.name, self.session.orders.fence]
        self.session.ask("INSERT INTO roadstead_migrating (app, name, fence) VALUES (%s, %s, %s)", values)

    def end(self, migration):
        if self.exists():
            self.session.ask("DELETE FROM roadstead_migrating WHERE app = %s AND name = %s", [migration.app_label, migration.name])

    def left_by(self, migration):
        """When an earlier run began it and nobody knows how that ended; None when there was none, or a newer order follows one that told."""
        if not self.exists():
            return None
        sql = "SELECT fence, began::text, told FROM roadstead_migrating WHERE app = %s AND name = %s"
        for fence, began, told_by in self.session.ask(sql, [migration.app_label, migration.name]):
            if told_by is None or fence_of(told_by) == self.session.own:
                return fence, began
        return None

    def is_told(self, migration):
        if not self.exists():
            return
        sql = "UPDATE roadstead_migrating SET told = %s WHERE app = %s AND name = %s"
        self.session.ask(sql, [self.session.orders.fence, migration.app_label, migration.name])
