# What is written down of a migration that is not atomic, in a table of the runner's own, before its first statement: a run that was
# killed leaves nothing else from which the next could know that the migration may be half done.

MAKE = """
    CREATE TABLE IF NOT EXISTS roadstead_migrating (
        app text NOT NULL, name text NOT NULL, fence text NOT NULL, began timestamptz NOT NULL DEFAULT now(), told text,
        PRIMARY KEY (app, name))"""


class Marks:
    def __init__(self, session):
        self.session = session

    def ask(self, migration, sql, *parameters):
        """Its rows; none where the table is not there, or is not for this role: then the run goes on without."""
        from django.db import DatabaseError

        try:
            if not self.session.ask_one("SELECT to_regclass('roadstead_migrating') IS NOT NULL"):
                if not sql.startswith("INSERT"):
                    return []
                self.session.ask(MAKE)
            return self.session.ask(sql, parameters)
        except DatabaseError as error:
            if not self.session.is_there():
                raise
            told.say(f"what became of {migration} cannot be written down: {first_line(error)}. If a run of it was killed, look yourself")
            return []

    def begin(self, migration):
        self.end(migration)
        sql = "INSERT INTO roadstead_migrating (app, name, fence) VALUES (%s, %s, %s)"
        self.ask(migration, sql, migration.app_label, migration.name, self.session.orders.fence)

    def end(self, migration):
        self.ask(migration, "DELETE FROM roadstead_migrating WHERE app = %s AND name = %s", migration.app_label, migration.name)

    def left_by(self, migration):
        """When an earlier run began it and nobody knows how that ended; None when there was none, or a newer order follows one that told."""
        sql = "SELECT fence, began::text, told FROM roadstead_migrating WHERE app = %s AND name = %s"
        for fence, began, told_by in self.ask(migration, sql, migration.app_label, migration.name):
            if told_by is None or fence_of(told_by) == self.session.own:
                return fence, began
        return None

    def is_told(self, migration):
        sql = "UPDATE roadstead_migrating SET told = %s WHERE app = %s AND name = %s"
        self.ask(migration, sql, self.session.orders.fence, migration.app_label, migration.name)
