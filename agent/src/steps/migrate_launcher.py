# Runs manage.py while holding the database's advisory lock, on the very connection that changes the schema: however many
# runners there are, and whoever started them, one migrates. The lock ends with the connection. Databases without such locks
# go without; there the order of one host alone is what keeps a second runner away.
import os
import runpy
import sys
import time

KEY = 0x524F414453544541


def lock(alias):
    from django.db import connections

    connection = connections[alias]
    if connection.vendor != "postgresql":
        return
    waited = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEY])
            if cursor.fetchone()[0]:
                return
        if waited % 10 == 0:
            print("another migration of this database runs: waiting for it", flush=True)
        waited += 1
        time.sleep(1)


def hold_lock_during(command):
    execute = command.execute
    state = {"outermost": True}

    def locked(self, *args, **options):
        if state["outermost"]:
            state["outermost"] = False
            lock(options.get("database") or "default")
        return execute(self, *args, **options)

    command.execute = locked


def main():
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    from django.core.management.base import BaseCommand

    hold_lock_during(BaseCommand)
    runpy.run_path(sys.argv[0], run_name="__main__")


main()
